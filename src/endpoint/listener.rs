//! A listening server.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};

use super::connection::{Connection, Phase};
use super::settings::Group;
use super::table::Entry;
use super::Failure;
use crate::context::{Context, Kind, Member, MemberKind, Record, Stats};
use crate::protocol::Role;
use crate::transport::{
    parse_ip, resolve, Owner, ReceiveBuffer, Resolution, ResolveOwner, StreamOwner, TcpListener,
    UvError,
};

/// Milliseconds until connections are accepted again after that has failed: soon enough for whoever
/// waits, and too seldom to be a load.
const ACCEPT_RETRY: u64 = 100;

/// Accepts connections on one address. It ends, with one `ServerClosed` record, when it is closed
/// and the last connection that it accepted is gone.
pub(crate) struct Listener {
    this: Weak<Self>,
    id: u32,
    context: Rc<Context>,
    group: Rc<Group>,
    place: Cell<u32>,
    tcp: OnceCell<TcpListener>,
    resolution: RefCell<Option<Resolution>>,
    backlog: i32,
    /// Handles whose close callback has not run: a failed attempt to bind leaves one, too.
    handles: Cell<u32>,
    connections: Cell<u32>,
    closing: Cell<bool>,
    keep_alive: Cell<bool>,
    reports_refusals: Cell<bool>,
    reports_connections: Cell<bool>,
    over: Cell<bool>,
    /// When to accept again after that has failed; 0 while it has not.
    retry: Cell<u64>,
    failure: RefCell<Option<Box<Failure>>>,
}

impl Listener {
    /// Starts to listen on `host` (a name, an address, or nothing for all addresses) and `port`
    /// (0 lets the system choose). `Listening` or `ServerError` follows; without a name to look up
    /// the port is bound when this returns.
    pub(crate) fn listen(
        context: &Rc<Context>,
        group: &Rc<Group>,
        host: Option<&str>,
        port: u16,
        backlog: i32,
        pending: &Rc<dyn Any>,
    ) -> Rc<Self> {
        let id = group.table.reserve();
        let listener = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            id,
            context: Rc::clone(context),
            group: Rc::clone(group),
            place: Cell::new(0),
            tcp: OnceCell::new(),
            resolution: RefCell::default(),
            backlog,
            handles: Cell::new(0),
            connections: Cell::new(0),
            closing: Cell::new(false),
            keep_alive: Cell::new(context.keeps_alive()),
            reports_refusals: Cell::new(false),
            reports_connections: Cell::new(false),
            over: Cell::new(false),
            retry: Cell::new(0),
            failure: RefCell::default(),
        });
        group.table.set(id, Entry::Listener(Rc::clone(&listener)));
        let member: Rc<dyn Member> = Rc::<Self>::clone(&listener);
        listener.place.set(context.join(member));
        match host {
            None => listener.bind_any(port),
            Some(host) => match parse_ip(host) {
                Some(ip) => listener.bind(SocketAddr::new(ip, port)),
                None => {
                    let owner: Rc<dyn ResolveOwner> =
                        Rc::new(Lookup(Rc::clone(&listener), host.to_owned()));
                    match resolve(context.event_loop(), host, port, 0, owner, Rc::clone(pending)) {
                        Ok(resolution) => {
                            listener.resolution.replace(Some(resolution));
                        }
                        Err(error) => listener.fail(Failure::lookup(error, host)),
                    }
                }
            },
        }
        listener
    }

    /// The number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.tcp.get()?.local_address().ok()
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.borrow().as_deref().cloned()
    }

    /// Stops accepting.
    pub(crate) fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        if let Some(resolution) = self.resolution.take() {
            resolution.cancel();
        }
        if let Some(tcp) = self.tcp.get() {
            tcp.close();
        }
        self.end_if_over();
    }

    /// Keeps the loop alive, or not.
    pub(crate) fn keep_alive(&self, keep_alive: bool) {
        self.keep_alive.set(keep_alive);
        if let Some(tcp) = self.tcp.get() {
            tcp.set_ref(keep_alive);
        }
    }

    /// Lets JavaScript answer requests that are to be refused, or not.
    pub(crate) fn report_refusals(&self, report: bool) {
        self.reports_refusals.set(report);
    }

    pub(super) fn reports_refusals(&self) -> bool {
        self.reports_refusals.get()
    }

    /// Reports connections when they are accepted, before their request, or not.
    pub(crate) fn report_connections(&self, report: bool) {
        self.reports_connections.set(report);
    }

    pub(super) fn connection_gone(&self) {
        self.connections.set(self.connections.get().saturating_sub(1));
        self.end_if_over();
    }

    /// Binds to every address of both families, or of IPv4 where there is no IPv6, as Node does.
    fn bind_any(&self, port: u16) {
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        match self.try_bind(&v6) {
            Ok(()) => self.listening(),
            Err(UvError::EAFNOSUPPORT | UvError::EADDRNOTAVAIL | UvError::EINVAL) => {
                self.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
            }
            Err(error) => self.fail(Failure::listen(error, &v6)),
        }
    }

    fn bind(&self, address: SocketAddr) {
        match self.try_bind(&address) {
            Ok(()) => self.listening(),
            Err(error) => self.fail(Failure::listen(error, &address)),
        }
    }

    fn try_bind(&self, address: &SocketAddr) -> Result<(), UvError> {
        let Some(this) = self.this.upgrade() else {
            return Err(UvError::EINVAL);
        };
        let tcp = TcpListener::new(&self.context, this)?;
        self.handles.set(self.handles.get() + 1);
        if let Err(error) = tcp.listen(address, self.backlog) {
            tcp.close();
            return Err(error);
        }
        tcp.set_ref(self.keep_alive.get());
        let _ = self.tcp.set(tcp);
        Ok(())
    }

    fn pause_accepting(&self) {
        if let Some(tcp) = self.tcp.get() {
            tcp.set_accepting(false);
            let on = self.context.event_loop();
            on.update_time();
            self.retry.set(on.now().saturating_add(ACCEPT_RETRY));
            self.context.arm(self.place.get(), self.retry.get());
        }
    }

    fn listening(&self) {
        self.context.record(Record::new(Kind::Listening, 0, self.id, 0, 0));
    }

    fn fail(&self, failure: Failure) {
        self.failure.replace(Some(Box::new(failure)));
        self.context.record(Record::new(Kind::ServerError, 0, self.id, 0, 0));
        self.close();
    }

    fn end_if_over(&self) {
        let over = self.closing.get() && self.handles.get() == 0 && self.connections.get() == 0;
        if over && !self.over.replace(true) {
            self.context.listener_ended(self.id);
            self.context.leave(self.place.get());
        }
    }
}

struct Lookup(Rc<Listener>, String);

impl ResolveOwner for Lookup {
    fn resolved(&self, outcome: Result<Vec<SocketAddr>, UvError>) {
        let Self(listener, host) = self;
        if listener.closing.get() {
            return;
        }
        listener.resolution.take();
        match outcome {
            Ok(addresses) => match addresses.first() {
                Some(address) => listener.bind(*address),
                None => listener.fail(Failure::lookup(UvError::EAI_NONAME, host)),
            },
            Err(error) => listener.fail(Failure::lookup(error, host)),
        }
    }
}

impl Owner for Listener {
    fn closed(&self) {
        self.handles.set(self.handles.get().saturating_sub(1));
        self.end_if_over();
        self.context.handle_closed();
    }
}

impl StreamOwner for Listener {
    fn receive_buffer(&self) -> &ReceiveBuffer {
        self.context.receive_buffer()
    }

    fn incoming(&self, outcome: Result<(), UvError>) {
        if self.closing.get() {
            return;
        }
        if outcome.is_err() {
            // No descriptor is free, say. That concerns nobody: those who wait, wait a little longer.
            return self.pause_accepting();
        }
        let (Some(this), Some(tcp)) = (self.this.upgrade(), self.tcp.get()) else {
            return;
        };
        self.connections.set(self.connections.get() + 1);
        let connection = Connection::new(
            &self.context,
            &self.group,
            Role::Server,
            Phase::AwaitingRequest,
            Some(this),
        );
        let accepted = connection.new_tcp().and_then(|stream| {
            let accepted = tcp.accept(&stream);
            connection.take_tcp(stream);
            accepted
        });
        if accepted.is_err() {
            return connection.close_handles();
        }
        if self.reports_connections.get() {
            connection.announce(self.id);
        }
        connection.arm(self.group.settings.handshake_timeout);
        connection.start_reading();
    }

    // A listener carries no bytes; these are never called.
    fn received(&self, _bytes: &mut [u8]) {}
    fn ended(&self, _reason: UvError) {}
    fn written(&self, _outcome: Result<(), UvError>) {}
    fn shut(&self, _outcome: Result<(), UvError>) {}
    fn connected(&self, _outcome: Result<(), UvError>) {}
}

impl Member for Listener {
    fn kind(&self) -> MemberKind {
        MemberKind::Listener
    }

    fn retire(&self) {
        self.close();
    }

    fn end(&self) {
        self.close();
    }

    fn flush(&self) {}

    fn resume(&self) {}

    fn deadline(&self) -> u64 {
        self.retry.get()
    }

    fn deadline_reached(&self) {
        self.retry.set(0);
        if let Some(tcp) = self.tcp.get() {
            tcp.set_accepting(true);
        }
    }

    fn set_ref(&self, keep_alive: bool) {
        self.keep_alive(keep_alive);
    }

    fn count(&self, stats: &mut Stats) {
        stats.listeners += u32::from(!self.closing.get());
    }
}
