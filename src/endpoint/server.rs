//! What a WebSocketServer with a port of its own has natively: a virtual host of a [`Listener`].
//!
//! A server counts its connections and ends, with one `ServerClosed` record, when it is closed and
//! the last of them is gone. The socket is the listener's, which servers of one context share that
//! have different host names.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::settings::Group;
use super::{Admission, Connection, Failure, Listener};
use crate::context::{Kind, Record};
use crate::protocol::handshake::host::Hostname;
use crate::protocol::limits::Limit;
use crate::transport::ServerSecurity;

/// For which hosts a server is.
#[derive(Default)]
pub(crate) struct Hosts {
    /// The host name; without one it is the default of its listener.
    pub name: Option<Hostname>,
    /// Whether it takes nothing but requests for that host.
    pub is_strict: bool,
    /// How it wants its connections to be secured, if at all.
    pub security: Option<Rc<ServerSecurity>>,
}

/// See the module's documentation.
pub(crate) struct Server {
    id: u32,
    listener: Rc<Listener>,
    pub(super) group: Rc<Group>,
    pub(super) hosts: Hosts,
    connections: Cell<u32>,
    closing: Cell<bool>,
    pub(super) keep_alive: Cell<bool>,
    reports_refusals: Cell<bool>,
    reports_connections: Cell<bool>,
    logs_refusals: Cell<bool>,
    /// It was there first.
    has_opened_socket: Cell<bool>,
    reports_http: Cell<bool>,
    /// What limits its connections, if anything does.
    admission: OnceCell<Rc<Admission>>,
    /// Addresses of the connections, if these are counted.
    addresses: RefCell<HashMap<u32, IpAddr>>,
    failure: RefCell<Option<Box<Failure>>>,
}

impl Server {
    pub(super) fn new(listener: &Rc<Listener>, group: &Rc<Group>, hosts: Hosts) -> Rc<Self> {
        Rc::new(Self {
            id: group.table.reserve(),
            listener: Rc::clone(listener),
            group: Rc::clone(group),
            hosts,
            connections: Cell::new(0),
            closing: Cell::new(false),
            keep_alive: Cell::new(listener.context().keeps_alive()),
            reports_refusals: Cell::new(false),
            reports_connections: Cell::new(false),
            logs_refusals: Cell::new(false),
            has_opened_socket: Cell::new(false),
            reports_http: Cell::new(false),
            admission: OnceCell::new(),
            addresses: RefCell::default(),
            failure: RefCell::default(),
        })
    }

    /// The number.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// What accepts its connections.
    pub(crate) fn listener(&self) -> &Rc<Listener> {
        &self.listener
    }

    /// The address it listens on.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.listener.address()
    }

    /// Why it failed.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.failure.borrow().as_deref().cloned()
    }

    /// Takes no more connections. Other servers of the listener do.
    pub(crate) fn close(self: &Rc<Self>) {
        if !self.set_closing() {
            self.listener.leave(self);
        }
    }

    /// Returns whether it was closing before.
    pub(super) fn set_closing(&self) -> bool {
        self.closing.replace(true)
    }

    /// Keeps the loop alive, or not.
    pub(crate) fn keep_alive(&self, keep_alive: bool) {
        self.keep_alive.set(keep_alive);
        self.listener.update_ref();
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

    pub(super) fn reports_connections(&self) -> bool {
        self.reports_connections.get()
    }

    /// Reports heads that are refused without asking JavaScript, by `Refused` records.
    pub(crate) fn log_refusals(&self) {
        self.logs_refusals.set(true);
    }

    pub(super) fn logs_refusals(&self) -> bool {
        self.logs_refusals.get()
    }

    /// Reports why a connection of TLS has failed before its request: code, message and address, a line
    /// each.
    pub(super) fn report_failure(&self, failure: &Failure, peer: Option<SocketAddr>) {
        if let (Some(_), Some(code)) = (&self.hosts.security, &failure.code) {
            let peer = peer.map_or_else(String::new, |peer| peer.ip().to_string());
            let text = format!("{code}\n{}\n{peer}", failure.message);
            let context = self.listener.context();
            context.record_with(Kind::ClientError, 0, self.id, text.as_bytes());
        }
    }

    pub(super) fn opens_socket(&self) {
        self.has_opened_socket.set(true);
    }

    pub(super) fn has_opened_socket(&self) -> bool {
        self.has_opened_socket.get()
    }

    /// The host name, empty for a server that has none.
    pub(super) fn name(&self) -> String {
        self.hosts.name.as_ref().map_or_else(String::new, ToString::to_string)
    }

    /// Secures connections from now on by `security`. Returns why it cannot, if so.
    pub(crate) fn secure(&self, security: &Rc<ServerSecurity>) -> Option<&'static str> {
        self.listener.secure(self, security)
    }

    /// Lets JavaScript have the connections of requests that are none for a WebSocket.
    pub(crate) fn report_http(&self) {
        self.reports_http.set(true);
    }

    pub(super) fn reports_http(&self) -> bool {
        self.reports_http.get()
    }

    /// Lets `admission` limit its connections.
    pub(crate) fn set_admission(&self, admission: Option<Rc<Admission>>) {
        if let Some(admission) = admission {
            let _ = self.admission.set(admission);
        }
    }

    /// Counts a connection among those that it may have. `admitted_gone` takes that back.
    pub(super) fn admit(&self, connection: &Connection) -> Result<(), Limit> {
        let Some(admission) = self.admission.get() else { return Ok(()) };
        let counts_addresses = admission.counts_addresses();
        let address = counts_addresses.then(|| connection.peer_ip()).flatten();
        admission.enter(address)?;
        if let Some(address) = address {
            self.addresses.borrow_mut().insert(connection.id(), address);
        }
        Ok(())
    }

    pub(super) fn admitted_gone(&self, id: u32) {
        if let Some(admission) = self.admission.get() {
            let address = self.addresses.borrow_mut().remove(&id);
            admission.leave(address);
        }
    }

    pub(super) fn listening(&self) {
        self.listener.context().record(Record::new(Kind::Listening, 0, self.id, 0, 0));
    }

    pub(super) fn fail(&self, failure: &Failure) {
        self.failure.replace(Some(Box::new(failure.clone())));
        self.listener.context().record(Record::new(Kind::ServerError, 0, self.id, 0, 0));
    }

    pub(super) fn connection_added(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    pub(super) fn connection_gone(&self) {
        self.connections.set(self.connections.get().saturating_sub(1));
        if self.is_deserted() {
            self.listener.end_what_is_over();
        }
    }

    /// Whether it is closed and has no connection.
    pub(super) fn is_deserted(&self) -> bool {
        self.closing.get() && self.connections.get() == 0
    }
}
