//! One WebSocket connection, of either role.
//!
//! # Life
//! ```text
//! client: Dialing -> AwaitingResponse ---------\
//!                                               Open -> Closing -> Closed
//! server: AwaitingRequest -> Deciding ---------/
//!                       \-> Refusing -> Closing -> Closed
//!                       \-> Leaving --> Closing -> Closed
//! ```
//! `Leaving` is a connection whose request is none for a WebSocket: its socket is given to Node's HTTP
//! server, and the connection stands for it until that is done with it.
//! `Open` covers the closing handshake too; how far that is, the flags say. `Closing` is entered
//! exactly once, when the handles are told to close; `Closed` when the last of them has. Records
//! about the connection end with one `Closed` record, if JavaScript has ever heard of it.
//!
//! Nothing here calls JavaScript, so borrows may be held within a method; none outlives it.

use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::rc::Rc;

use super::compression::Compression;
use super::heartbeat::Heartbeat;
use super::rare::Rare;
use super::settings::Group;
use super::table::{Entry, Table};
use super::tally::Tally;
use super::timings::Timings;
use super::{Failure, Server};
use crate::context::{Context, Kind, Member, MemberKind, Record, Span, Stats};
use crate::protocol::limits::Limit;
use crate::protocol::{ControlBudget, Receiver, Role};
use crate::transport::{
    Bridge, Judge, Owner, Pipe, ReadInto, ReceiveBuffer, Session, StreamOwner, TcpTransport,
    TlsTransport, Transport, UvError,
};

/// See the module's documentation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    Dialing,
    AwaitingResponse,
    AwaitingRequest,
    Deciding,
    Refusing,
    Leaving,
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
    /// Bytes wait to be parsed.
    HAS_INPUT = 19;
    /// A queued write is under way.
    WRITING = 20;
    /// Somebody wants to hear of the end of a send.
    NOTIFIES = 21;
    /// Its listener counts it among the handshakes that are under way.
    PENDING = 22;
    /// Its server counts it among the connections that it may have.
    ADMITTED = 23;
    /// Reading is stopped because memory is short.
    THROTTLED = 24;
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
    pub(super) id: u32,
    pub(super) role: Role,
    pub(super) phase: Cell<Phase>,
    pub(super) flags: Flags,
    /// Our place among the context's members.
    pub(super) place: Cell<u32>,
    /// Handles of ours whose close callback has not run.
    pub(super) handles: Cell<u16>,
    pub(super) context: Rc<Context>,
    /// Replaced when it turns out whose it is, and when a server's options have changed since it
    /// began to listen.
    pub(super) group: RefCell<Rc<Group>>,
    /// Of a server's connection: whose it is. Decided on with its request.
    server: Cell<Option<Rc<Server>>>,
    pub(super) transport: OnceCell<Pipe>,
    pub(super) receiver: RefCell<Receiver>,
    /// Present if permessage-deflate was agreed on.
    pub(super) compression: Cell<Option<Box<Compression>>>,
    /// Frames not yet given to the transport.
    pub(super) cork: RefCell<Vec<u8>>,
    /// Published frames behind the cork, in the context's log.
    pub(super) logged: Cell<Span>,
    /// What an idle connection has nothing of.
    rare: Cell<Option<Rc<Rare>>>,
    pub(super) control: Cell<ControlBudget>,
    /// The round in which a handle of its own has last read.
    round: Cell<u32>,
    pub(super) deadline: Cell<u64>,
    /// While the deadline is that of a heartbeat.
    pub(super) heartbeat: Cell<Option<Box<Heartbeat>>>,
    pub(super) bytes_received: Cell<u64>,
    pub(super) bytes_sent: Cell<u64>,
    pub(super) tally: Tally,
    /// Bytes that the context's budget has been told of.
    pub(super) account: Cell<usize>,
}

impl Connection {
    /// Makes a connection, gives it a number and makes it a member of its context.
    pub(super) fn new(
        context: &Rc<Context>,
        group: &Rc<Group>,
        role: Role,
        phase: Phase,
        server: Option<Rc<Server>>,
    ) -> Rc<Self> {
        let id = group.table.reserve();
        let receiver = group.settings.receiver(role);
        let connection = Rc::new(Self {
            id,
            role,
            phase: Cell::new(phase),
            flags: Flags::default(),
            place: Cell::new(0),
            handles: Cell::new(0),
            context: Rc::clone(context),
            group: RefCell::new(Rc::clone(group)),
            server: Cell::new(server),
            transport: OnceCell::new(),
            receiver: RefCell::new(receiver),
            compression: Cell::default(),
            cork: RefCell::default(),
            logged: Cell::default(),
            rare: Cell::default(),
            control: Cell::default(),
            round: Cell::new(context.round()),
            deadline: Cell::new(0),
            heartbeat: Cell::default(),
            bytes_received: Cell::new(0),
            bytes_sent: Cell::new(0),
            tally: Tally::default(),
            account: Cell::new(0),
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
                let _ = connection.transport.set(Pipe::Bridge(Box::new(bridge)));
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
            connection.put_aside(head);
            connection.settle_account();
            connection.resume_later();
        }
        connection.start_reading();
        connection.opens();
        Ok(connection)
    }

    /// How long the steps of a client's opening handshake took.
    pub(crate) fn timings(&self) -> Option<Timings> {
        self.if_rare(|rare| rare.timings.get())?
    }

    /// Takes bytes that a bridged stream has brought. Returns false when it is to bring no more
    /// until an `InputWanted` record.
    pub(crate) fn feed(&self, bytes: &mut [u8]) -> bool {
        self.take_in(bytes);
        self.settle_input();
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
            if self.flags.has(Flags::HAS_INPUT) {
                let is_shown = self.context.record_input(self.id, &self.rare().input.borrow());
                if !is_shown {
                    self.lacks_memory_for_input();
                }
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
            && self.flags.has(Flags::HAS_INPUT);
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
        self.if_rare(|rare| rare.failure.borrow().clone())?
    }

    /// Our address and the peer's, while there is a socket.
    pub(crate) fn addresses(&self) -> (Option<SocketAddr>, Option<SocketAddr>) {
        self.transport.get().map_or((None, None), |transport| {
            (transport.local_address().ok(), transport.peer_address().ok())
        })
    }

    /// The peer's address, without its port.
    pub(super) fn peer_ip(&self) -> Option<IpAddr> {
        Some(self.transport.get()?.peer_address().ok()?.ip())
    }

    /// Octets received and sent on the wire.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.bytes_received.get(), self.bytes_sent.get())
    }

    /// The byte pipe, once there is one.
    pub(crate) fn transport(&self) -> Option<&dyn Transport> {
        self.transport.get().map(|transport| &**transport)
    }

    /// A bridged stream has got `len` bytes, and may be full now.
    pub(crate) fn output_passed_on(&self, len: usize, is_full: bool) {
        if let Some(transport) = self.transport.get() {
            transport.passed_on(len, is_full);
            self.settle_account();
        }
    }

    /// A bridged stream takes more again.
    pub(crate) fn output_drained(&self) {
        if let Some(transport) = self.transport.get() {
            transport.drained();
            self.settle_account();
        }
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
            if self.phase.get() == Phase::Open && !self.flags.has(Flags::WRITING) {
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
            self.use_group(group);
        }
    }

    fn use_group(&self, group: Rc<Group>) {
        self.receiver.replace(group.settings.receiver(self.role));
        self.group.replace(group);
    }

    /// Whether it belongs to `server` for want of a request that says whose it is.
    pub(super) fn awaits_request_of(&self, server: &Rc<Server>) -> bool {
        let is_its = || self.server().is_some_and(|own| Rc::ptr_eq(&own, server));
        self.phase.get() == Phase::AwaitingRequest && is_its()
    }

    /// Makes it one of `server`, before the first frame is parsed.
    pub(super) fn assign(&self, server: &Rc<Server>) {
        let before = self.server.replace(Some(Rc::clone(server)));
        server.connection_added();
        if let Some(before) = before {
            self.leave_server(&before);
        }
        self.use_group(Rc::clone(&server.group));
    }

    fn leave_server(&self, server: &Server) {
        if self.flags.has(Flags::ADMITTED) {
            self.flags.clear(Flags::ADMITTED);
            server.admitted_gone(self.id);
        }
        server.connection_gone();
    }

    /// Asks its server for admission, once.
    pub(super) fn enter_server(&self) -> Result<(), Limit> {
        if self.flags.has(Flags::ADMITTED) {
            return Ok(());
        }
        if let Some(server) = self.server() {
            server.admit(self)?;
        }
        self.flags.set(Flags::ADMITTED);
        Ok(())
    }

    /// Its server has no room for it.
    pub(super) fn refuse_because_full(&self, limit: Limit) {
        self.breaches(limit);
        self.refuse_as_unavailable();
    }

    pub(super) fn table(&self) -> Rc<Table> {
        Rc::clone(&self.group.borrow().table)
    }

    pub(super) fn close_timeout(&self) -> u64 {
        self.group.borrow().settings.close_timeout
    }

    pub(super) fn server(&self) -> Option<Rc<Server>> {
        let server = self.server.take();
        self.server.set(server.clone());
        server
    }

    /// Nothing once the number is given back.
    pub(super) fn this(&self) -> Option<Rc<Self>> {
        self.table().connection(self.id)
    }

    /// What is rare of this connection, made now if there was none.
    pub(super) fn rare(&self) -> Rc<Rare> {
        let rare = self.rare.take().unwrap_or_default();
        self.rare.set(Some(Rc::clone(&rare)));
        rare
    }

    /// Looks at what is rare, if there is any.
    pub(super) fn if_rare<T>(&self, look: impl FnOnce(&Rare) -> T) -> Option<T> {
        let rare = self.rare.take()?;
        self.rare.set(Some(Rc::clone(&rare)));
        Some(look(&rare))
    }

    /// Frees what is rare as soon as the connection is like most others.
    pub(super) fn forget_rare(&self) {
        if let Some(rare) = self.rare.take().filter(|rare| !rare.is_empty()) {
            self.rare.set(Some(rare));
        }
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
        let _ = self.transport.set(Pipe::Tcp(tcp));
    }

    /// Makes a session of TLS over `tcp` the transport. `tcp` was counted when it was made.
    pub(super) fn take_tls(self: &Rc<Self>, tcp: &TcpTransport, session: (Session, Judge)) {
        let tls = TlsTransport::new(&self.context, tcp, self.as_owner(), session);
        if self.flags.has(Flags::UNREF) {
            tls.set_ref(false);
        }
        let _ = self.transport.set(Pipe::Tls(tls));
    }

    pub(super) fn start_reading(&self) {
        if let Some(transport) = self.transport.get() {
            if let Err(error) = transport.read_start() {
                self.breaks(Failure::stream(error, "read"));
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
        if self.flags.has(Flags::STOPPED) && !self.flags.has(Flags::THROTTLED) {
            self.flags.clear(Flags::STOPPED);
            self.start_reading();
        }
    }

    /// Asks for `resume` after the next delivery.
    pub(super) fn resume_later(&self) {
        if !self.flags.set(Flags::RESUMABLE) {
            self.context.mark_resumable(self.place.get());
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

    /// The handshake that a listener has counted is over.
    pub(super) fn handshake_over(&self) {
        if self.flags.has(Flags::PENDING) {
            self.flags.clear(Flags::PENDING);
            if let Some(server) = self.server() {
                server.listener().handshake_over();
            }
        }
    }

    /// Counts the breach of a limit. It is told in front of what becomes of the connection.
    pub(super) fn breaches(&self, limit: Limit) {
        let server = self.server().map_or(0, |server| server.id());
        self.context.record(Record::new(Kind::Breach, limit as u32, self.id, server, 0));
    }

    /// Reports `failure` once and closes, as a client's opening does.
    pub(super) fn fail(&self, failure: Failure) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        self.rare().failure.replace(Some(failure));
        if self.flags.has(Flags::ANNOUNCED) {
            self.context.record(Record::new(Kind::Error, 0, self.id, 0, 0));
        }
        self.close_handles();
    }

    /// Ends by `failure`, and tells it to whom it concerns in this phase.
    pub(super) fn breaks(&self, failure: Failure) {
        match self.phase.get() {
            Phase::Dialing | Phase::AwaitingResponse => self.fail(failure),
            Phase::AwaitingRequest => self.request_failed(failure),
            Phase::Closing | Phase::Closed => {}
            _ => self.break_off(failure),
        }
    }

    /// Closes because the stream is broken. Whoever listens to `_socket` is told why.
    pub(super) fn break_off(&self, failure: Failure) {
        if self.phase.get() < Phase::Closing {
            self.rare().failure.borrow_mut().get_or_insert(failure);
        }
        self.close_handles();
    }

    /// Enters `Closing`: tells every handle to close. Does nothing the second time.
    pub(super) fn close_handles(&self) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        self.phase.set(Phase::Closing);
        self.settle_account();
        self.handshake_over();
        self.deadline.set(0);
        self.abandon_waiting();
        if let Some(dial) = self.if_rare(|rare| rare.dial.take()).flatten() {
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
    pub(super) fn announce(&self, server: u32) {
        self.flags.set(Flags::ANNOUNCED);
        self.context.record(Record::new(Kind::Accepted, 0, self.id, server, 0));
    }

    fn finish(&self) {
        self.phase.set(Phase::Closed);
        let cork = self.cork.take();
        self.context.buffers().give_back(cork);
        self.if_rare(Rare::clear);
        self.flags.clear(Flags::HAS_INPUT);
        let uncompressed = self.drop_waiting();
        if self.flags.has(Flags::ANNOUNCED) {
            self.context.record(Record::new(Kind::Closed, 0, self.id, uncompressed, 0));
        } else {
            self.table().release(self.id);
        }
        if let Some(server) = self.server.take() {
            self.leave_server(&server);
        }
        self.context.leave(self.place.get());
    }
}

impl Owner for Connection {
    fn closed(&self) {
        self.handle_closed();
    }

    fn panicked(self: Rc<Self>) {
        self.breaks(Failure::panic());
    }
}

impl StreamOwner for Connection {
    fn receive_buffer(&self) -> &ReceiveBuffer {
        self.context.receive_buffer()
    }

    fn may_read(&self) -> bool {
        self.context.may_read(&self.round)
    }

    fn receive_in_place(&self, read: ReadInto<'_>) -> Option<Result<usize, UvError>> {
        let outcome = self.take_in_place(read);
        if outcome.is_some() {
            self.settle_input();
            self.context.relieve();
        }
        outcome
    }

    fn received(&self, bytes: &mut [u8]) {
        self.take_in(bytes);
        self.settle_input();
        self.context.relieve();
    }

    fn undecoded_changed(&self) {
        self.settle_input();
        self.context.relieve();
    }

    fn ended(&self, reason: UvError) {
        self.input_ended(reason);
    }

    fn written(&self, outcome: Result<(), UvError>) {
        self.write_finished(outcome);
        self.settle_account();
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

    // Connect attempts have an owner of their own (`dial`): this is a session of TLS.
    fn connected(&self, _outcome: Result<(), UvError>) {
        self.note_time(Timings::secured);
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
            Phase::AwaitingRequest | Phase::Deciding => self.refuse_as_unavailable(),
            Phase::Refusing | Phase::Leaving | Phase::Open | Phase::Closing | Phase::Closed => {}
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
        self.settle_account();
        // The log is about to be emptied. Only a connection that is closing still had a span.
        self.logged.take();
    }

    fn resume(&self) {
        if self.flags.has(Flags::RESUMABLE) {
            self.flags.clear(Flags::RESUMABLE);
            self.take_in_waiting();
            self.settle_input();
        }
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
            Phase::Open if self.heartbeat_due() => {}
            // Neither the peer's Close frame nor its FIN came in time.
            Phase::Open => {
                self.breaches(Limit::CloseTimeout);
                self.terminate();
            }
            Phase::Refusing => self.terminate(),
            Phase::Deciding | Phase::Leaving | Phase::Closing | Phase::Closed => {}
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
        self.if_rare(|rare| {
            if let Some(dial) = rare.dial.borrow().as_deref() {
                dial.set_ref(keep_alive);
            }
        });
    }

    fn count(&self, stats: &mut Stats) {
        match self.phase.get() {
            Phase::Dialing | Phase::AwaitingResponse => stats.pending_connects += 1,
            Phase::AwaitingRequest | Phase::Deciding => stats.pending_handshakes += 1,
            Phase::Open => stats.connections += 1,
            Phase::Refusing | Phase::Leaving => {}
            Phase::Closing | Phase::Closed => stats.closing += u32::from(self.handles.get()),
        }
        stats.bytes_buffered += self.bytes_buffered() as u64;
    }

    fn settle(&self) {
        self.settle_account();
    }

    fn account(&self) -> usize {
        self.account.get()
    }

    fn evict(&self) {
        self.evict_holder();
    }

    fn release(&self) {
        self.release_throttled();
    }
}
