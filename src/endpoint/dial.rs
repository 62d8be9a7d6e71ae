//! A client's way to a connected stream: name lookup, then a race of addresses.
//!
//! Addresses are tried as RFC 8305 (Happy Eyeballs) says: families alternate, each attempt gets a
//! head start of 250 ms over the next, a failure starts the next at once, and the first stream that
//! connects wins.

use std::any::Any;
use std::cell::{Cell, OnceCell};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use super::connection::{Connection, Flags, Phase};
use super::timings::Timings;
use super::{Failure, Group};
use crate::context::Context;
use crate::protocol::Role;
use crate::transport::{
    parse_ip, resolve, ClientSecurity, Owner, ReceiveBuffer, Resolution, ResolveOwner, StreamOwner,
    TcpTransport, TlsFault, Transport, UvError,
};

/// The head start of an attempt, in milliseconds: RFC 8305's recommendation, and Node's default.
const ATTEMPT_DELAY: u64 = 250;

/// Where a client goes and what it asks there.
pub(crate) struct Destination {
    /// A name or an IP address without brackets.
    pub hostname: String,
    /// The port.
    pub port: u16,
    /// 4, 6, or 0 for both.
    pub family: u8,
    /// The Host header.
    pub host_header: String,
    /// The request target.
    pub path: String,
    /// Sec-WebSocket-Protocol.
    pub protocols: Option<String>,
    /// Sec-WebSocket-Extensions.
    pub extensions: Option<String>,
    /// Further header lines.
    pub headers: String,
    /// Present if the connection is one of TLS: how, and the name that the server's certificate is to
    /// have.
    pub security: Option<(Rc<ClientSecurity>, String)>,
}

/// State of the way there; dropped when a stream is connected.
pub(super) struct Dial {
    destination: Destination,
    resolution: Option<Resolution>,
    addresses: VecDeque<SocketAddr>,
    attempts: Vec<Rc<Attempt>>,
    errors: Vec<Failure>,
    /// When the handshake as a whole is late; 0 for never.
    late: u64,
}

/// One address being tried.
pub(super) struct Attempt {
    connection: Rc<Connection>,
    address: SocketAddr,
    tcp: OnceCell<TcpTransport>,
    done: Cell<bool>,
}

impl Dial {
    pub(super) fn into_destination(self: Box<Self>) -> Destination {
        self.destination
    }

    /// Gives up: closes every attempt and silences the lookup.
    pub(super) fn close(&self) {
        for attempt in &self.attempts {
            attempt.close();
        }
        if let Some(resolution) = &self.resolution {
            resolution.cancel();
        }
    }

    pub(super) fn set_ref(&self, keep_alive: bool) {
        for attempt in &self.attempts {
            if let Some(tcp) = attempt.tcp.get() {
                tcp.set_ref(keep_alive);
            }
        }
    }
}

impl Connection {
    /// Starts a client connection. Failures are reported by records, never from here. `pending` is
    /// kept while a name lookup is under way.
    pub(crate) fn connect(
        context: &Rc<Context>,
        group: &Rc<Group>,
        destination: Destination,
        pending: &Rc<dyn Any>,
    ) -> Rc<Self> {
        let connection = Self::new(context, group, Role::Client, Phase::Dialing, None);
        connection.flags.set(Flags::ANNOUNCED);
        connection.rare().timings.set(Some(Timings::start()));
        let timeout = group.settings.handshake_timeout;
        let on = context.event_loop();
        on.update_time();
        let late = if timeout == 0 { 0 } else { on.now().saturating_add(timeout) };
        let ip = parse_ip(&destination.hostname);
        let (hostname, port) = (destination.hostname.clone(), destination.port);
        let family = destination.family;
        connection.rare().dial.replace(Some(Box::new(Dial {
            destination,
            resolution: None,
            addresses: VecDeque::new(),
            attempts: Vec::new(),
            errors: Vec::new(),
            late,
        })));
        connection.arm(timeout);
        match ip {
            Some(ip) => connection.try_addresses(vec![SocketAddr::new(ip, port)]),
            None => {
                let owner: Rc<dyn ResolveOwner> = Rc::new(Lookup(Rc::clone(&connection)));
                match resolve(on, &hostname, port, family, owner, Rc::clone(pending)) {
                    Ok(resolution) => {
                        connection.with_dial(|dial| dial.resolution = Some(resolution));
                    }
                    Err(error) => connection.fail(Failure::lookup(error, &hostname)),
                }
            }
        }
        connection
    }

    /// Visits the way to the stream, if that is not connected yet.
    fn with_dial<T>(&self, visit: impl FnOnce(&mut Dial) -> T) -> Option<T> {
        self.if_rare(|rare| rare.dial.borrow_mut().as_deref_mut().map(visit))?
    }

    fn try_addresses(self: &Rc<Self>, found: Vec<SocketAddr>) {
        let is_dialing = self.with_dial(|dial| {
            let wanted = found.into_iter().filter(|address| match dial.destination.family {
                4 => address.is_ipv4(),
                6 => address.is_ipv6(),
                _ => true,
            });
            dial.addresses = alternate_families(wanted.collect());
        });
        if is_dialing.is_some() {
            self.try_next();
        }
    }

    /// Starts the next attempt, or fails when none is left and none is under way.
    fn try_next(self: &Rc<Self>) {
        loop {
            let Some(next) = self.with_dial(|dial| dial.addresses.pop_front()) else { return };
            let Some(address) = next else { break };
            match self.attempt(address) {
                Ok(attempt) => {
                    self.with_dial(|dial| dial.attempts.push(attempt));
                    break;
                }
                Err(error) => self.note_failure(Failure::connect(error, &address)),
            }
        }
        self.fail_if_nothing_is_left();
        self.arm_dial();
    }

    fn attempt(self: &Rc<Self>, address: SocketAddr) -> Result<Rc<Attempt>, UvError> {
        let attempt = Rc::new(Attempt {
            connection: Rc::clone(self),
            address,
            tcp: OnceCell::new(),
            done: Cell::new(false),
        });
        let owner: Rc<dyn StreamOwner> = Rc::<Attempt>::clone(&attempt);
        let tcp = TcpTransport::new(&self.context, owner)?;
        self.handles.set(self.handles.get() + 1);
        if self.flags.has(Flags::UNREF) {
            tcp.set_ref(false);
        }
        let connecting = tcp.connect(&address);
        if connecting.is_err() {
            tcp.close();
        }
        let _ = attempt.tcp.set(tcp);
        connecting.map(|()| attempt)
    }

    fn note_failure(&self, failure: Failure) {
        self.with_dial(|dial| dial.errors.push(failure));
    }

    fn fail_if_nothing_is_left(&self) {
        let failure = self.with_dial(|dial| {
            let busy = dial.attempts.iter().any(|attempt| !attempt.done.get());
            if busy || !dial.addresses.is_empty() {
                return None;
            }
            Some(if dial.errors.is_empty() {
                Failure::lookup(UvError::EAI_NONAME, &dial.destination.hostname)
            } else {
                Failure::all(std::mem::take(&mut dial.errors))
            })
        });
        if let Some(failure) = failure.flatten() {
            self.fail(failure);
        }
    }

    /// Arms the deadline for the next attempt's start or for the whole handshake, whichever comes
    /// first.
    fn arm_dial(&self) {
        let state = self.with_dial(|dial| (dial.late, !dial.addresses.is_empty()));
        let Some((late, more)) = state else { return };
        let now = self.context.event_loop().now();
        let next = if more { now.saturating_add(ATTEMPT_DELAY) } else { u64::MAX };
        let when = if late == 0 { next } else { late.min(next) };
        if when == u64::MAX {
            self.deadline.set(0);
        } else {
            self.deadline.set(when);
            self.context.arm(self.place.get(), when);
        }
    }

    /// While dialing, a deadline may only mean that the next address gets its turn. Returns
    /// whether it did.
    pub(super) fn dial_deadline(&self) -> bool {
        let Some(late) = self.with_dial(|dial| dial.late) else { return false };
        if late != 0 && self.context.event_loop().now() >= late {
            return false;
        }
        if let Some(this) = self.this() {
            this.try_next();
        }
        true
    }

    fn attempt_ended(self: &Rc<Self>, attempt: &Attempt, outcome: Result<(), UvError>) {
        if self.phase.get() != Phase::Dialing || attempt.done.replace(true) {
            return;
        }
        match outcome {
            Ok(()) => {
                let late = self.with_dial(|dial| {
                    for other in &dial.attempts {
                        if !other.done.get() {
                            other.close();
                        }
                    }
                    dial.late
                });
                let Some(late) = late else { return };
                self.deadline.set(late);
                if late != 0 {
                    self.context.arm(self.place.get(), late);
                }
                self.note_time(Timings::connected);
                let session = self.if_rare(|rare| {
                    let dial = rare.dial.borrow();
                    let (security, name) = dial.as_deref()?.destination.security.as_ref()?;
                    Some(security.connect(name))
                });
                match (attempt.tcp.get(), session.flatten()) {
                    (None, _) => {}
                    (Some(tcp), None) => self.take_tcp(tcp.clone()),
                    (Some(tcp), Some(Ok(session))) => self.take_tls(tcp, session),
                    (Some(tcp), Some(Err(error))) => {
                        self.take_tcp(tcp.clone());
                        return self.fail(Failure::tls(&TlsFault::new(&error)));
                    }
                }
                self.send_request();
            }
            Err(error) => {
                attempt.close();
                self.note_failure(Failure::connect(error, &attempt.address));
                self.try_next();
            }
        }
    }
}

/// Orders addresses so that the families alternate, beginning with the system's first choice
/// (RFC 8305 section 4).
fn alternate_families(addresses: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut second = second.into_iter();
    let mut ordered = VecDeque::new();
    for address in first {
        ordered.push_back(address);
        ordered.extend(second.next());
    }
    ordered.extend(second);
    ordered
}

struct Lookup(Rc<Connection>);

impl ResolveOwner for Lookup {
    fn resolved(&self, outcome: Result<Vec<SocketAddr>, UvError>) {
        let connection = &self.0;
        if connection.phase.get() != Phase::Dialing {
            return;
        }
        let host = connection.with_dial(|dial| {
            dial.resolution = None;
            dial.destination.hostname.clone()
        });
        let Some(host) = host else { return };
        match outcome {
            Ok(addresses) => {
                connection.note_time(Timings::resolved);
                connection.try_addresses(addresses);
            }
            Err(error) => connection.fail(Failure::lookup(error, &host)),
        }
    }
}

impl Attempt {
    fn close(&self) {
        if let Some(tcp) = self.tcp.get() {
            tcp.close();
        }
    }
}

impl Owner for Attempt {
    fn closed(&self) {
        self.connection.handle_closed();
    }

    fn panicked(self: Rc<Self>) {
        Rc::clone(&self.connection).panicked();
    }
}

impl StreamOwner for Attempt {
    fn receive_buffer(&self) -> &ReceiveBuffer {
        self.connection.context.receive_buffer()
    }

    fn connected(&self, outcome: Result<(), UvError>) {
        self.connection.attempt_ended(self, outcome);
    }

    // A stream that is connected belongs to the connection; these are never called here.
    fn received(&self, _bytes: &mut [u8]) {}
    fn ended(&self, _reason: UvError) {}
    fn written(&self, _outcome: Result<(), UvError>) {}
    fn shut(&self, _outcome: Result<(), UvError>) {}
    fn incoming(&self, _outcome: Result<(), UvError>) {}
}
