//! A listening socket.

use std::any::Any;
use std::cell::{Cell, OnceCell, RefCell};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::{Rc, Weak};

use super::connection::{Connection, Flags, Phase};
use super::server::{Hosts, Server};
use super::settings::Group;
use super::table::Entry;
use super::Failure;
use crate::context::{Context, Kind, Member, MemberKind, Record, Stats};
use crate::protocol::handshake::host::Host;
use crate::protocol::limits::Limit;
use crate::protocol::Role;
use crate::transport::{
    parse_ip, resolve, Owner, ReceiveBuffer, Resolution, ResolveOwner, ServerSecurity, StreamOwner,
    TcpListener, UvError,
};

/// Milliseconds until connections are accepted again after that has failed: soon enough for whoever
/// waits, and too seldom to be a load.
const ACCEPT_RETRY: u64 = 100;

/// What a server may not ask for that shares a socket.
const NOT_PLAIN: &str =
    "\"options.tls\" may only have \"cert\", \"key\" and \"passphrase\" where a port is \
                         shared: all else is said by the server that opened it";

/// How a listener listens.
pub(crate) struct ListenerOptions {
    /// Length of the system's queue.
    pub backlog: i32,
    /// Handshakes under way from which on no more connections are accepted; 0 for no limit.
    pub max_pending_handshakes: u32,
}

/// Accepts connections on one address, for one server or for several of its context that have
/// different host names. The socket is closed when the last of them is.
pub(crate) struct Listener {
    this: Weak<Self>,
    context: Rc<Context>,
    place: Cell<u32>,
    tcp: OnceCell<TcpListener>,
    resolution: RefCell<Option<Resolution>>,
    /// What was asked for; the system chooses a port for 0.
    host: Option<Box<str>>,
    port: u16,
    options: ListenerOptions,
    /// Connections that are not open yet, or refused and not gone.
    pending: Cell<u32>,
    /// A connection was announced and not taken.
    is_held_back: Cell<bool>,
    /// Those that are not closed, the oldest first.
    servers: RefCell<Vec<Rc<Server>>>,
    /// Those that are, until they end.
    ending: RefCell<Vec<Rc<Server>>>,
    /// Whether the host of a request matters.
    has_hosts: Cell<bool>,
    /// Handles whose close callback has not run: a failed attempt to bind leaves one, too.
    handles: Cell<u32>,
    closing: Cell<bool>,
    /// Present if connections are those of TLS. Made by the server that opened the socket; others add
    /// their certificates.
    security: RefCell<Option<Rc<ServerSecurity>>>,
    over: Cell<bool>,
    /// When to accept again after that has failed; 0 while it has not.
    retry: Cell<u64>,
}

impl Listener {
    /// Starts to listen on `host` (a name, an address, or nothing for all addresses) and `port`
    /// (0 lets the system choose). `Listening` or `ServerError` follows; without a name to look up
    /// the port is bound when this returns.
    pub(crate) fn listen(
        context: &Rc<Context>,
        group: &Rc<Group>,
        hosts: Hosts,
        host: Option<&str>,
        port: u16,
        options: ListenerOptions,
        pending: &Rc<dyn Any>,
    ) -> Rc<Server> {
        let listener = Rc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            context: Rc::clone(context),
            place: Cell::new(0),
            tcp: OnceCell::new(),
            resolution: RefCell::default(),
            host: host.map(Box::from),
            port,
            options,
            pending: Cell::new(0),
            is_held_back: Cell::new(false),
            servers: RefCell::default(),
            ending: RefCell::default(),
            has_hosts: Cell::new(false),
            handles: Cell::new(0),
            closing: Cell::new(false),
            security: RefCell::new(hosts.security.clone()),
            over: Cell::new(false),
            retry: Cell::new(0),
        });
        let member: Rc<dyn Member> = Rc::<Self>::clone(&listener);
        listener.place.set(context.join(member));
        let server = listener.join(group, hosts);
        server.opens_socket();
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
                        Err(error) => listener.fail(&Failure::lookup(error, host)),
                    }
                }
            },
        }
        server
    }

    /// Makes another server, for other hosts. `Listening` follows once that is so.
    pub(crate) fn join(self: &Rc<Self>, group: &Rc<Group>, hosts: Hosts) -> Rc<Server> {
        let server = Server::new(self, group, hosts);
        group.table.set(server.id(), Entry::Server(Rc::clone(&server)));
        if let (Some(shared), Some(own)) = (self.security(), &server.hosts.security) {
            shared.share(&server.name(), own);
        }
        self.servers.borrow_mut().push(Rc::clone(&server));
        self.servers_changed();
        if self.tcp.get().is_some() {
            server.listening();
        }
        server
    }

    /// Whether a server of `context` for `hosts` that wants this address may join.
    pub(crate) fn takes(
        &self,
        context: &Rc<Context>,
        hosts: &Hosts,
        host: Option<&str>,
        port: u16,
    ) -> bool {
        let is_port = || match self.port {
            0 => self.address().is_some_and(|address| address.port() == port),
            own => own == port,
        };
        Rc::ptr_eq(&self.context, context)
            && !self.closing.get()
            && self.host.as_deref() == host
            && port != 0
            && self.servers.borrow().iter().all(|server| server.hosts.name != hosts.name)
            && is_port()
    }

    /// How connections are secured, if they are.
    pub(crate) fn security(&self) -> Option<Rc<ServerSecurity>> {
        self.security.borrow().clone()
    }

    /// Says why a server that is secured so cannot join, if it cannot.
    pub(crate) fn fault_of(&self, security: Option<&ServerSecurity>) -> Option<&'static str> {
        match (self.security(), security) {
            (None, None) => None,
            (Some(_), Some(own)) if own.is_plain() => None,
            (Some(_), Some(_)) => Some(NOT_PLAIN),
            _ => Some("\"options.tls\" must be given to all servers of a port, or to none"),
        }
    }

    /// Secures connections from now on as `server` wants it: by its certificate and, if it has opened
    /// the socket, in all else. Returns why it cannot, if so.
    pub(super) fn secure(
        &self,
        server: &Server,
        security: &Rc<ServerSecurity>,
    ) -> Option<&'static str> {
        let mut current = self.security.borrow_mut();
        let Some(shared) = &mut *current else { return None };
        if server.has_opened_socket() {
            security.inherit(shared);
            *shared = Rc::clone(security);
        } else if !security.is_plain() {
            return Some(NOT_PLAIN);
        }
        shared.share(&server.name(), security);
        None
    }

    /// The context it lives in.
    pub(super) fn context(&self) -> &Rc<Context> {
        &self.context
    }

    /// Length of the queue of connections to accept.
    pub(crate) fn backlog(&self) -> i32 {
        self.options.backlog
    }

    /// Handshakes that are under way, and refused ones whose connections are not gone.
    pub(crate) fn pending(&self) -> u32 {
        self.pending.get()
    }

    /// A connection's handshake is over, one way or the other.
    pub(super) fn handshake_over(&self) {
        let pending = self.pending.get();
        self.pending.set(pending.saturating_sub(1));
        if pending == self.options.max_pending_handshakes {
            self.update_accepting();
        }
    }

    /// Accepts, unless too many handshakes are under way, or accepting has just failed.
    fn update_accepting(&self) {
        // Nothing is taken by a context that ends.
        let is_over = self.closing.get() || !self.context.accepts(MemberKind::Listener);
        let Some(tcp) = self.tcp.get().filter(|_| !is_over) else { return };
        let has_room = self.has_room();
        let accepting = tcp.set_accepting(has_room && self.retry.get() == 0);
        if accepting.is_err() && self.retry.get() == 0 {
            self.retry_later();
        }
        if has_room && self.is_held_back.take() {
            self.take_connection();
        }
    }

    fn has_room(&self) -> bool {
        let max = self.options.max_pending_handshakes;
        max == 0 || self.pending.get() < max
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.tcp.get()?.local_address().ok()
    }

    /// Whether the host of a request decides which server it is for.
    pub(super) fn has_hosts(&self) -> bool {
        self.has_hosts.get()
    }

    /// Finds the server for a host: the one that has it as its name; then the one whose wildcard is
    /// the longest that fits; then the default one, which is the one without a name, or else the
    /// first that is not strict.
    pub(crate) fn select(&self, host: Option<Host<'_>>) -> Option<Rc<Server>> {
        let servers = self.servers.borrow();
        let rank = |server: &Rc<Server>| server.hosts.name.as_ref()?.rank(&host?);
        let named = servers
            .iter()
            .filter_map(|server| Some((rank(server)?, server)))
            .max_by_key(|(rank, _)| *rank)
            .map(|(_, server)| server);
        let unnamed = || servers.iter().find(|server| server.hosts.name.is_none());
        let lenient = || servers.iter().find(|server| !server.hosts.is_strict);
        named.or_else(unnamed).or_else(lenient).map(Rc::clone)
    }

    /// A server has been closed.
    pub(super) fn leave(&self, server: &Rc<Server>) {
        self.servers.borrow_mut().retain(|other| !Rc::ptr_eq(other, server));
        if let Some(security) = self.security() {
            security.forget(&server.name());
        }
        self.ending.borrow_mut().push(Rc::clone(server));
        let heir = self.servers.borrow().first().map(Rc::clone);
        match heir {
            Some(heir) => {
                self.servers_changed();
                // Whose request is awaited has nothing to do with any of them yet.
                let table = &heir.group.table;
                for id in table.connections(|each| each.awaits_request_of(server)) {
                    table.with_connection(id, |connection| connection.assign(&heir));
                }
            }
            None => self.close(),
        }
        self.end_what_is_over();
    }

    fn servers_changed(&self) {
        let has_hosts = self.servers.borrow().iter().any(|server| server.hosts.name.is_some());
        self.has_hosts.set(has_hosts);
        self.update_ref();
    }

    /// Keeps the loop alive if one of the servers is to.
    pub(super) fn update_ref(&self) {
        if let Some(tcp) = self.tcp.get() {
            tcp.set_ref(self.keeps_alive());
        }
    }

    fn keeps_alive(&self) -> bool {
        self.servers.borrow().iter().any(|server| server.keep_alive.get())
    }

    /// Stops accepting.
    fn close(&self) {
        if self.closing.replace(true) {
            return;
        }
        self.has_hosts.set(false);
        if let Some(resolution) = self.resolution.take() {
            resolution.cancel();
        }
        if let Some(tcp) = self.tcp.get() {
            tcp.close();
        }
    }

    fn close_servers(&self) {
        let servers = self.servers.take();
        for server in &servers {
            server.set_closing();
        }
        self.ending.borrow_mut().extend(servers);
        self.close();
        self.end_what_is_over();
    }

    fn snapshot(&self) -> Vec<Rc<Server>> {
        self.servers.borrow().clone()
    }

    /// Binds to every address of both families, or of IPv4 where there is no IPv6, as Node does.
    fn bind_any(&self, port: u16) {
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
        match self.try_bind(&v6) {
            Ok(()) => self.listening(),
            Err(UvError::EAFNOSUPPORT | UvError::EADDRNOTAVAIL | UvError::EINVAL) => {
                self.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
            }
            Err(error) => self.fail(&Failure::listen(error, &v6)),
        }
    }

    fn bind(&self, address: SocketAddr) {
        match self.try_bind(&address) {
            Ok(()) => self.listening(),
            Err(error) => self.fail(&Failure::listen(error, &address)),
        }
    }

    fn try_bind(&self, address: &SocketAddr) -> Result<(), UvError> {
        let Some(this) = self.this.upgrade() else {
            return Err(UvError::EINVAL);
        };
        let tcp = TcpListener::new(&self.context, this)?;
        self.handles.set(self.handles.get() + 1);
        if let Err(error) = tcp.listen(address, self.options.backlog) {
            tcp.close();
            return Err(error);
        }
        tcp.set_ref(self.keeps_alive());
        let _ = self.tcp.set(tcp);
        Ok(())
    }

    fn pause_accepting(&self) {
        self.retry_later();
        self.update_accepting();
    }

    fn retry_later(&self) {
        let on = self.context.event_loop();
        on.update_time();
        self.retry.set(on.now().saturating_add(ACCEPT_RETRY));
        self.context.arm(self.place.get(), self.retry.get());
    }

    fn listening(&self) {
        for server in self.snapshot() {
            server.listening();
        }
    }

    fn fail(&self, failure: &Failure) {
        for server in self.snapshot() {
            server.fail(failure);
        }
        self.close_servers();
    }

    /// Ends the servers that are closed and have no connection, and the listener behind the last one.
    /// The port is free when the server ends that was the last to leave it.
    pub(super) fn end_what_is_over(&self) {
        if self.closing.get() && self.handles.get() > 0 {
            return;
        }
        self.ending.borrow_mut().retain(|server| {
            let is_over = server.is_deserted();
            if is_over {
                self.context.listener_ended(server.id());
            }
            !is_over
        });
        let is_over = self.closing.get() && self.ending.borrow().is_empty();
        if is_over && !self.over.replace(true) {
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
                None => listener.fail(&Failure::lookup(UvError::EAI_NONAME, host)),
            },
            Err(error) => listener.fail(&Failure::lookup(error, host)),
        }
    }
}

impl Owner for Listener {
    fn closed(&self) {
        self.handles.set(self.handles.get().saturating_sub(1));
        self.end_what_is_over();
        self.context.handle_closed();
    }

    // It goes on, unless its context ends. Whether what was announced has been taken is not known: that is
    // tried again, soon.
    fn panicked(self: Rc<Self>) {
        if self.context.is_ending() {
            self.close_servers();
        } else if !self.closing.get() {
            self.is_held_back.set(true);
            self.retry_later();
        }
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
        if self.has_room() {
            self.take_connection();
        } else {
            // A handle announces no other one until this one is taken.
            self.is_held_back.set(true);
        }
    }

    // A listener carries no bytes; these are never called.
    fn received(&self, _bytes: &mut [u8]) {}
    fn ended(&self, _reason: UvError) {}
    fn written(&self, _outcome: Result<(), UvError>) {}
    fn shut(&self, _outcome: Result<(), UvError>) {}
    fn connected(&self, _outcome: Result<(), UvError>) {}
}

impl Listener {
    /// Takes the connection that is announced.
    fn take_connection(&self) {
        // Whose it is will be known with its request.
        let oldest = self.servers.borrow().first().map(Rc::clone);
        let (Some(server), Some(tcp)) = (oldest, self.tcp.get()) else {
            return;
        };
        server.connection_added();
        let connection = Connection::new(
            &self.context,
            &server.group,
            Role::Server,
            Phase::AwaitingRequest,
            Some(Rc::clone(&server)),
        );
        let accepted = connection.new_tcp().and_then(|stream| {
            let accepted = tcp.accept(&stream);
            match self.security() {
                None => connection.take_tcp(stream),
                Some(security) => match security.accept() {
                    Ok(session) => connection.take_tls(&stream, session),
                    Err(_) => {
                        connection.take_tcp(stream);
                        return Err(UvError::EPROTO);
                    }
                },
            }
            accepted
        });
        if accepted.is_err() {
            return connection.close_handles();
        }
        connection.flags.set(Flags::PENDING);
        self.pending.set(self.pending.get() + 1);
        if !self.has_room() {
            self.accepting_stops(server.id());
        }
        // What is one too many goes before its request is read, if it can only be for one server.
        if !self.has_hosts() {
            if let Err(limit) = connection.enter_server() {
                connection.start_reading();
                return connection.refuse_because_full(limit);
            }
        }
        if server.reports_connections() {
            connection.announce(server.id());
        }
        connection.arm(server.group.settings.handshake_timeout);
        connection.start_reading();
    }

    fn accepting_stops(&self, server: u32) {
        let limit = Limit::MaxPendingHandshakes as u32;
        self.context.record(Record::new(Kind::Breach, limit, 0, server, 0));
        self.update_accepting();
    }
}

impl Member for Listener {
    fn kind(&self) -> MemberKind {
        MemberKind::Listener
    }

    fn retire(&self) {
        self.close_servers();
    }

    fn end(&self) {
        self.close_servers();
    }

    fn flush(&self) {}

    fn resume(&self) {}

    fn deadline(&self) -> u64 {
        self.retry.get()
    }

    fn deadline_reached(&self) {
        self.retry.set(0);
        self.update_accepting();
    }

    fn set_ref(&self, keep_alive: bool) {
        for server in self.servers.borrow().iter() {
            server.keep_alive.set(keep_alive);
        }
        self.update_ref();
    }

    fn count(&self, stats: &mut Stats) {
        stats.listeners += self.servers.borrow().len() as u32;
    }
}
