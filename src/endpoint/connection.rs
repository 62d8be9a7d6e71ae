//! One WebSocket connection, of either role.
//!
//! # Life
//! ```text
//! client: Dialing -> AwaitingResponse ---------\
//!                                               Open -> Closing -> Closed
//! server: AwaitingRequest -> Deciding ---------/
//!                       \-> Refusing -> Closing -> Closed
//! ```
//! `Open` covers the closing handshake too; how far that is, the flags say. `Closing` is entered
//! exactly once, when the handles are told to close; `Closed` when the last of them has. Records
//! about the connection end with one `Closed` record, if JavaScript has ever heard of it.
//!
//! Nothing here calls JavaScript, so borrows may be held within a method; none outlives it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::rc::{Rc, Weak};

use super::compression::Compression;
use super::dial::Dial;
use super::opening::Opening;
use super::publishing::Backlog;
use super::sending::Sent;
use super::settings::Group;
use super::table::{Entry, Table};
use super::timings::Timings;
use super::{Failure, Listener};
use crate::context::{Context, Kind, Member, MemberKind, Record, Span, Stats};
use crate::protocol::{Receiver, Role};
use crate::transport::{
    Bridge, Owner, ReadInto, ReceiveBuffer, StreamOwner, TcpTransport, Transport, UvError,
};

/// See the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Dialing,
    AwaitingResponse,
    AwaitingRequest,
    Deciding,
    Refusing,
    Open,
    Closing,
    Closed,
}

/// Facts that, once true, mostly stay true.
#[derive(Default)]
pub(super) struct Flags(Cell<u32>);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:expr;)*) => {
        impl Flags {
            $($(#[$doc])* pub(super) const $name: u32 = 1 << $bit;)*
        }
    };
}

flags! {
    /// In the context's list of members to flush.
    DIRTY = 0;
    /// In the context's list of members to resume.
    RESUMABLE = 1;
    /// Our Close frame is queued or sent.
    SENT_CLOSE = 2;
    /// The peer's Close frame has come.
    RECEIVED_CLOSE = 3;
    /// The user has paused reading.
    PAUSED = 4;
    /// The send queue has passed the high-water mark.
    ABOVE = 5;
    /// Our side ends once everything is written.
    FIN_WANTED = 6;
    /// Our side is ended, or about to be.
    FIN_SENT = 7;
    /// The peer has ended its side.
    EOF = 8;
    /// JavaScript knows the number.
    ANNOUNCED = 9;
    /// The peer broke the protocol.
    FAILED = 10;
    /// Reading is stopped, by the user or because enough is waiting.
    STOPPED = 11;
    /// The connection does not keep the loop alive.
    UNREF = 12;
    /// Nothing is parsed until 'open' has been delivered: what was agreed on is not known yet.
    HELD = 13;
    /// JavaScript wants to see every byte that is read.
    TAPPED = 14;
    /// Parsing has begun: it is too late to agree on anything.
    PARSING = 15;
    /// Something of a publication waits behind the cork.
    TRAILED = 16;
    /// A message is being sent in fragments: no other may begin.
    FRAGMENTING = 17;
    /// What is sent waits behind a frame that is being compressed.
    WAITING = 18;
}

impl Flags {
    pub(super) fn has(&self, flag: u32) -> bool {
        self.0.get() & flag != 0
    }

    /// Sets a flag and returns whether it was set before.
    pub(super) fn set(&self, flag: u32) -> bool {
        let before = self.0.get();
        self.0.set(before | flag);
        before & flag != 0
    }

    pub(super) fn clear(&self, flag: u32) {
        self.0.set(self.0.get() & !flag);
    }
}

/// What carries a connection whose handshake was done elsewhere.
pub(crate) enum Stream {
    /// An open socket, to be run natively.
    #[cfg(unix)]
    Socket(OwnedFd),
    /// A JavaScript stream.
    Bridge,
}

/// See the module's documentation.
pub(crate) struct Connection {
    this: Weak<Self>,
    pub(super) id: u32,
    pub(super) role: Role,
    pub(super) phase: Cell<Phase>,
    pub(super) flags: Flags,
    /// Our place among the context's members.
    pub(super) place: Cell<u32>,
    /// Handles of ours whose close callback has not run.
    pub(super) handles: Cell<u16>,
    pub(super) context: Rc<Context>,
    /// Replaced at most once, when a server's options have changed since it began to listen.
    pub(super) group: RefCell<Rc<Group>>,
    listener: Option<Rc<Listener>>,
    pub(super) transport: OnceCell<Box<dyn Transport>>,

    pub(super) receiver: RefCell<Receiver>,
    /// Present if permessage-deflate was agreed on.
    pub(super) compression: Cell<Option<Box<Compression>>>,
    /// Bytes that came before they could be parsed.
    pub(super) input: RefCell<Vec<u8>>,
    /// Frames not yet given to the transport.
    pub(super) cork: RefCell<Vec<u8>>,
    /// Published frames behind the cork, in the context's log.
    pub(super) logged: Cell<Span>,
    /// Published frames that wait for the system, or for the end of a message.
    pub(super) backlog: RefCell<Option<Box<Backlog>>>,
    /// Bytes of the queued write that is under way, if any.
    pub(super) in_flight: Cell<usize>,
    /// The payload of the last PING that could not be answered yet.
    pub(super) pending_pong: RefCell<Option<Box<[u8]>>>,
    pub(super) sent: RefCell<Option<Box<Sent>>>,
    pub(super) deadline: Cell<u64>,
    pub(super) opening: RefCell<Option<Box<Opening>>>,
    pub(super) dial: RefCell<Option<Box<Dial>>>,
    /// Of a client.
    pub(super) timings: OnceCell<Box<Timings>>,
    pub(super) failure: RefCell<Option<Box<Failure>>>,
    pub(super) bytes_received: Cell<u64>,
    pub(super) bytes_sent: Cell<u64>,
}

impl Connection {
    /// Makes a connection, gives it a number and makes it a member of its context.
    pub(super) fn new(
        context: &Rc<Context>,
        group: &Rc<Group>,
        role: Role,
        phase: Phase,
        listener: Option<Rc<Listener>>,
    ) -> Rc<Self> {
        let id = group.table.reserve();
        let receiver = group.settings.receiver(role);
        let connection = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            id,
            role,
            phase: Cell::new(phase),
            flags: Flags::default(),
            place: Cell::new(0),
            handles: Cell::new(0),
            context: Rc::clone(context),
            group: RefCell::new(Rc::clone(group)),
            listener,
            transport: OnceCell::new(),
            receiver: RefCell::new(receiver),
            compression: Cell::default(),
            input: RefCell::default(),
            cork: RefCell::default(),
            logged: Cell::default(),
            backlog: RefCell::default(),
            in_flight: Cell::new(0),
            pending_pong: RefCell::default(),
            sent: RefCell::default(),
            deadline: Cell::new(0),
            opening: RefCell::default(),
            dial: RefCell::default(),
            timings: OnceCell::new(),
            failure: RefCell::default(),
            bytes_received: Cell::new(0),
            bytes_sent: Cell::new(0),
        });
        group.table.set(id, Entry::Connection(Rc::clone(&connection)));
        connection.place.set(context.join(connection.as_member()));
        connection
    }

    /// Makes a connection whose opening handshake has been done elsewhere, over `stream`. Writes
    /// `response` first and is open; `head` is what the peer sent behind its part of the handshake.
    pub(crate) fn attach(
        context: &Rc<Context>,
        group: &Rc<Group>,
        role: Role,
        stream: Stream,
        head: &[u8],
        response: &[u8],
    ) -> Result<Rc<Self>, UvError> {
        let connection = Self::new(context, group, role, Phase::Open, None);
        let attached = match stream {
            #[cfg(unix)]
            Stream::Socket(socket) => connection.new_tcp().and_then(|tcp| {
                let opened = tcp.open(socket);
                connection.take_tcp(tcp);
                opened
            }),
            Stream::Bridge => {
                let bridge = Bridge::new(context, connection.id, connection.as_owner());
                connection.handles.set(connection.handles.get() + 1);
                let _ = connection.transport.set(Box::new(bridge));
                Ok(())
            }
        };
        if let Err(error) = attached {
            connection.close_handles();
            return Err(error);
        }
        connection.flags.set(Flags::ANNOUNCED);
        if !response.is_empty() {
            connection.cork_bytes(response);
        }
        if !head.is_empty() {
            connection.input.borrow_mut().extend_from_slice(head);
            connection.resume_later();
        }
        connection.start_reading();
        Ok(connection)
    }

    /// How long the steps of a client's opening handshake took.
    pub(crate) fn timings(&self) -> Option<&Timings> {
        self.timings.get().map(|timings| &**timings)
    }

    /// Takes bytes that a bridged stream has brought. Returns false when it is to bring no more
    /// until an `InputWanted` record.
    pub(crate) fn feed(&self, bytes: &mut [u8]) -> bool {
        self.take_in(bytes);
        !self.flags.has(Flags::STOPPED)
    }

    /// Ends our side without a closing handshake, behind everything that was sent.
    pub(crate) fn end_stream(&self) {
        match self.phase.get() {
            Phase::Open => self.end_after_flush(),
            Phase::AwaitingRequest | Phase::Deciding => self.refuse(|_| {}),
            _ => {}
        }
    }

    /// Shows JavaScript every byte that is read from now on, or no longer. For those who listen to
    /// `_socket`.
    pub(crate) fn tap(&self, is_on: bool) {
        if is_on {
            self.flags.set(Flags::TAPPED);
            let waiting = self.input.borrow();
            if !waiting.is_empty() {
                self.context.record_input(self.id, &waiting);
            }
        } else {
            self.flags.clear(Flags::TAPPED);
        }
    }

    /// A bridged stream has ended its readable side.
    pub(crate) fn feed_end(&self) {
        self.input_ended(UvError::EOF);
    }

    /// A bridged stream is gone. What it has brought to its end is still parsed.
    pub(crate) fn feed_closed(&self) {
        let is_parsing = self.phase.get() == Phase::Open
            && self.flags.has(Flags::EOF)
            && !self.flags.has(Flags::PAUSED)
            && !self.input.borrow().is_empty();
        if !is_parsing {
            self.close_handles();
        }
    }

    /// The number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The context it lives in.
    pub(crate) fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// Whether messages can be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.phase.get() == Phase::Open && !self.flags.has(Flags::SENT_CLOSE | Flags::FIN_WANTED)
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.borrow().as_deref().cloned()
    }

    /// Our address and the peer's, while there is a socket.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.transport.get().map_or((None, None), |transport| {
            (transport.local_address().ok(), transport.peer_address().ok())
        })
    }

    /// Octets received and sent on the wire.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.bytes_received.get(), self.bytes_sent.get())
    }

    /// The byte pipe, once there is one.
    pub(crate) fn transport(&self) -> Option<&dyn Transport> {
        self.transport.get().map(Box::as_ref)
    }

    /// Drops the connection by a reset: the peer sees ECONNRESET.
    pub(crate) fn reset(&self) {
        if self.phase.get() < Phase::Closing {
            if let Some(transport) = self.transport.get() {
                transport.reset_on_close();
            }
            self.close_handles();
        }
    }

    /// Drops the connection without a closing handshake. What was sent before is still given to
    /// the system.
    pub(crate) fn terminate(&self) {
        if self.phase.get() < Phase::Closing {
            if self.phase.get() == Phase::Open && self.in_flight.get() == 0 {
                self.write_corked_once();
            }
            self.close_handles();
        }
    }

    /// Stops reading until `resume_reading`. Does nothing unless open.
    pub(crate) fn pause_reading(&self) {
        if self.phase.get() == Phase::Open && !self.flags.set(Flags::PAUSED) {
            self.stop_reading();
        }
    }

    /// Goes on reading.
    pub(crate) fn resume_reading(&self) {
        if self.phase.get() != Phase::Open || !self.flags.has(Flags::PAUSED) {
            return;
        }
        self.flags.clear(Flags::PAUSED);
        self.restart_reading();
        self.resume_later();
    }

    /// Gives the connection settings of its own, before the first frame is parsed.
    pub(crate) fn configure(&self, group: Rc<Group>) {
        if self.phase.get() == Phase::Deciding {
            self.receiver.replace(group.settings.receiver(self.role));
            self.group.replace(group);
        }
    }

    pub(super) fn table(&self) -> Rc<Table> {
        Rc::clone(&self.group.borrow().table)
    }

    pub(super) fn close_timeout(&self) -> u64 {
        self.group.borrow().settings.close_timeout
    }

    pub(super) fn listener(&self) -> Option<&Rc<Listener>> {
        self.listener.as_ref()
    }

    pub(super) fn this(&self) -> Option<Rc<Self>> {
        self.this.upgrade()
    }

    fn as_member(self: &Rc<Self>) -> Rc<dyn Member> {
        Rc::<Self>::clone(self)
    }

    fn as_owner(self: &Rc<Self>) -> Rc<dyn StreamOwner> {
        Rc::<Self>::clone(self)
    }

    pub(super) fn new_tcp(self: &Rc<Self>) -> Result<TcpTransport, UvError> {
        let tcp = TcpTransport::new(&self.context, self.as_owner())?;
        self.handles.set(self.handles.get() + 1);
        Ok(tcp)
    }

    /// Makes `tcp` the transport. It was counted when it was made.
    pub(super) fn take_tcp(self: &Rc<Self>, tcp: TcpTransport) {
        tcp.set_owner(self.as_owner());
        if self.flags.has(Flags::UNREF) {
            tcp.set_ref(false);
        }
        let _ = self.transport.set(Box::new(tcp));
    }

    pub(super) fn start_reading(&self) {
        if let Some(transport) = self.transport.get() {
            if transport.read_start().is_err() {
                self.close_handles();
            }
        }
    }

    pub(super) fn stop_reading(&self) {
        if let (Some(transport), false) = (self.transport.get(), self.flags.set(Flags::STOPPED)) {
            transport.read_stop();
        }
    }

    /// Starts to read again after `stop_reading`.
    pub(super) fn restart_reading(&self) {
        if self.flags.has(Flags::STOPPED) {
            self.flags.clear(Flags::STOPPED);
            self.start_reading();
        }
    }

    /// Asks for `resume` after the next delivery.
    pub(super) fn resume_later(&self) {
        if let Some(this) = self.this() {
            if !self.flags.set(Flags::RESUMABLE) {
                self.context.mark_resumable(this);
            }
        }
    }

    /// Arms the one deadline, `timeout` milliseconds from now; 0 disarms it.
    pub(super) fn arm(&self, timeout: u64) {
        if timeout == 0 {
            self.deadline.set(0);
            return;
        }
        let on = self.context.event_loop();
        on.update_time();
        let when = on.now().saturating_add(timeout);
        self.deadline.set(when);
        self.context.arm(self.place.get(), when);
    }

    /// Reports `failure` once and closes, as a client's opening does.
    pub(super) fn fail(&self, failure: Failure) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        self.failure.replace(Some(Box::new(failure)));
        if self.flags.has(Flags::ANNOUNCED) {
            self.context.record(Record::new(Kind::Error, 0, self.id, 0, 0));
        }
        self.close_handles();
    }

    /// Closes because the stream is broken. Whoever listens to `_socket` is told why.
    pub(super) fn break_off(&self, failure: Failure) {
        let mut reason = self.failure.borrow_mut();
        if reason.is_none() && self.phase.get() < Phase::Closing {
            *reason = Some(Box::new(failure));
        }
        drop(reason);
        self.close_handles();
    }

    /// Enters `Closing`: tells every handle to close. Does nothing the second time.
    pub(super) fn close_handles(&self) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        self.phase.set(Phase::Closing);
        self.deadline.set(0);
        self.abandon_waiting();
        let dial = self.dial.take();
        if let Some(dial) = &dial {
            dial.close();
        }
        if let Some(transport) = self.transport.get() {
            transport.close();
        }
        // A pipe that closes at once has finished the connection already.
        if self.handles.get() == 0 && self.phase.get() == Phase::Closing {
            self.finish();
        }
    }

    /// Counts a closed handle; the last one ends the connection.
    pub(super) fn handle_closed(&self) {
        self.handles.set(self.handles.get().saturating_sub(1));
        if self.handles.get() == 0 && self.phase.get() == Phase::Closing {
            self.finish();
        }
        self.context.handle_closed();
    }

    /// Tells JavaScript of a connection whose request has not come yet.
    pub(super) fn announce(&self, listener: u32) {
        self.flags.set(Flags::ANNOUNCED);
        self.context.record(Record::new(Kind::Accepted, 0, self.id, listener, 0));
    }

    fn finish(&self) {
        self.phase.set(Phase::Closed);
        let cork = self.cork.take();
        self.context.buffers().give_back(cork);
        self.backlog.take();
        self.input.take();
        let uncompressed = self.drop_waiting();
        self.opening.take();
        if self.flags.has(Flags::ANNOUNCED) {
            self.context.record(Record::new(Kind::Closed, 0, self.id, uncompressed, 0));
        } else {
            self.table().release(self.id);
        }
        if let Some(listener) = &self.listener {
            listener.connection_gone();
        }
        self.context.leave(self.place.get());
    }
}

impl Owner for Connection {
    fn closed(&self) {
        self.handle_closed();
    }
}

impl StreamOwner for Connection {
    fn receive_buffer(&self) -> &ReceiveBuffer {
        self.context.receive_buffer()
    }

    fn receive_in_place(&self, read: ReadInto<'_>) -> Option<Result<usize, UvError>> {
        let outcome = self.take_in_place(read);
        if outcome.is_some() {
            self.context.relieve();
        }
        outcome
    }

    fn received(&self, bytes: &mut [u8]) {
        self.take_in(bytes);
        self.context.relieve();
    }

    fn ended(&self, reason: UvError) {
        self.input_ended(reason);
    }

    fn written(&self, outcome: Result<(), UvError>) {
        self.write_finished(outcome);
    }

    fn shut(&self, outcome: Result<(), UvError>) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        // A failed shutdown means that nobody is there any more.
        if outcome.is_err() || self.flags.has(Flags::EOF) {
            self.close_handles();
        }
    }

    fn connected(&self, _outcome: Result<(), UvError>) {
        // Connect attempts have an owner of their own (`dial`).
    }

    fn incoming(&self, _outcome: Result<(), UvError>) {
        // Streams do not listen.
    }
}

impl Member for Connection {
    fn kind(&self) -> MemberKind {
        MemberKind::Connection
    }

    fn retire(&self) {
        match self.phase.get() {
            Phase::Dialing | Phase::AwaitingResponse => self.fail(Failure::context_closed()),
            Phase::AwaitingRequest | Phase::Deciding => self.refuse_because_closing(),
            Phase::Refusing | Phase::Open | Phase::Closing | Phase::Closed => {}
        }
    }

    fn end(&self) {
        match self.phase.get() {
            Phase::Dialing | Phase::AwaitingResponse => self.fail(Failure::context_closed()),
            _ => self.terminate(),
        }
    }

    fn flush(&self) {
        self.flags.clear(Flags::DIRTY);
        self.write_corked();
        // The log is about to be emptied. Only a connection that is closing still had a span.
        self.logged.take();
    }

    fn resume(&self) {
        self.flags.clear(Flags::RESUMABLE);
        self.take_in_waiting();
    }

    fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    fn deadline_reached(&self) {
        self.deadline.set(0);
        match self.phase.get() {
            Phase::Dialing if self.dial_deadline() => {}
            Phase::Dialing | Phase::AwaitingResponse => self.opening_is_late(),
            Phase::AwaitingRequest => self.request_is_late(),
            // Neither the peer's Close frame nor its FIN came in time.
            Phase::Refusing | Phase::Open => self.terminate(),
            Phase::Deciding | Phase::Closing | Phase::Closed => {}
        }
    }

    fn set_ref(&self, keep_alive: bool) {
        if keep_alive {
            self.flags.clear(Flags::UNREF);
        } else {
            self.flags.set(Flags::UNREF);
        }
        if let Some(transport) = self.transport.get() {
            transport.set_ref(keep_alive);
        }
        if let Some(dial) = self.dial.borrow().as_deref() {
            dial.set_ref(keep_alive);
        }
    }

    fn count(&self, stats: &mut Stats) {
        match self.phase.get() {
            Phase::Dialing | Phase::AwaitingResponse => stats.pending_connects += 1,
            Phase::AwaitingRequest | Phase::Deciding => stats.pending_handshakes += 1,
            Phase::Open => stats.connections += 1,
            Phase::Refusing => {}
            Phase::Closing | Phase::Closed => stats.closing += u32::from(self.handles.get()),
        }
        let input = self.input.borrow().len() + self.receiver.borrow().retained();
        stats.bytes_buffered += (input + self.unsent()) as u64;
    }
}
