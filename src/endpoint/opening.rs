//! The opening handshake of both roles (RFC 6455 section 4).

#[cfg(unix)]
use std::os::fd::OwnedFd;

use super::connection::{Connection, Flags, Phase};
use super::rare::Rare;
use super::timings::Timings;
use super::Failure;
use crate::context::{Kind, Record};
use crate::protocol::handshake::client::{
    parse_response, write_request, ClientHandshakeError, RequestParts,
};
use crate::protocol::handshake::host::Host;
use crate::protocol::handshake::server::{
    asks_for_websocket, parse_request, target_of, write_rejection, write_response,
};
use crate::protocol::handshake::{HandshakeError, HandshakeLimits, HeadScanner};
use crate::protocol::limits::Limit;

/// How long a refused peer may take to end its side, in milliseconds. Closing at once could reset
/// the connection before the refusal is read.
const LINGER: u64 = 2_000;

/// How a response begins (RFC 9112 section 2.3).
const HTTP: &[u8] = b"HTTP/1.";

/// Provisional answers that a client skips. One is usual (103), and none of them is of use to it.
const MAX_PROVISIONAL: u32 = 8;

/// State of an opening handshake; dropped when it is over.
pub(super) struct Opening {
    scanner: HeadScanner,
    /// Server: the answer to the key of an acceptable request.
    accept: Option<[u8; 28]>,
    /// Client: provisional answers so far.
    provisional: u32,
    /// Client: what was sent.
    request: Option<SentRequest>,
}

struct SentRequest {
    key: [u8; 16],
    protocols: Option<String>,
    extensions: bool,
}

/// The status of a request for a host that nobody is here for (RFC 9110 section 15.5.20).
const MISDIRECTED: u16 = 421;

/// Flags of an upgrade record: what the request carries beside the mandatory headers.
const HAS_PROTOCOLS: u32 = 1;
const HAS_EXTENSIONS: u32 = 2;
/// The request is not acceptable; JavaScript has asked to answer such requests itself.
const NOT_ACCEPTABLE: u32 = 4;
/// An upgrade record carries the server's number above its flags.
const SERVER_SHIFT: u32 = 3;
/// Flags of an open record: the server chose a subprotocol, and an extension.
const PROTOCOL_CHOSEN: u32 = 1;
const EXTENSION_CHOSEN: u32 = 2;

impl Opening {
    fn new(request: Option<SentRequest>) -> Box<Self> {
        let limits = HandshakeLimits::default();
        Box::new(Self {
            scanner: HeadScanner::new(limits.max_header_size),
            accept: None,
            provisional: 0,
            request,
        })
    }
}

impl Connection {
    // ---- server

    /// Takes bytes of the request's head.
    pub(super) fn request_bytes(&self, bytes: &mut [u8]) {
        let limits = HandshakeLimits::default();
        let rare = self.rare();
        let mut opening = rare.opening.take().unwrap_or_else(|| Opening::new(None));
        let mut input = rare.input.borrow_mut();
        // The whole head usually comes in one read: parsed where it is, nothing is copied.
        let in_place = input.is_empty();
        if !in_place {
            input.extend_from_slice(bytes);
        }
        let all: &[u8] = if in_place { bytes } else { &input };
        let end = match opening.scanner.scan(all) {
            Ok(Some(end)) => end,
            Ok(None) => {
                if in_place {
                    input.extend_from_slice(bytes);
                }
                rare.opening.set(Some(opening));
                return;
            }
            Err(error) => {
                self.tell_refusal(error.status, error.message, all);
                drop(input);
                return self.refuse_for(&error);
            }
        };
        let head = all.get(..end).unwrap_or_default();
        if !self.route(head) {
            self.tell_refusal(MISDIRECTED, "", head);
            drop(input);
            return self.refuse(|cork| write_rejection(cork, MISDIRECTED, "", ""));
        }
        if let Err(limit) = self.enter_server() {
            drop(input);
            return self.refuse_because_full(limit);
        }
        let server = self.server();
        let flags = match parse_request(head, &limits) {
            Ok(request) => {
                opening.accept = Some(request.accept);
                let protocols = if request.has_protocols { HAS_PROTOCOLS } else { 0 };
                let extensions = if request.has_extensions { HAS_EXTENSIONS } else { 0 };
                protocols | extensions
            }
            Err(_)
                if server.as_ref().is_some_and(|server| server.reports_http())
                    && !asks_for_websocket(head) =>
            {
                if in_place {
                    input.extend_from_slice(bytes);
                }
                return self.leave_to_http(server.map_or(0, |server| server.id()));
            }
            Err(HandshakeError { is_request: true, .. })
                if server.as_ref().is_some_and(|server| server.reports_refusals()) =>
            {
                NOT_ACCEPTABLE
            }
            Err(error) => {
                self.tell_refusal(error.status, error.message, head);
                drop(input);
                return self.refuse_for(&error);
            }
        };
        rare.opening.set(Some(opening));
        self.phase.set(Phase::Deciding);
        self.deadline.set(0);
        self.flags.set(Flags::ANNOUNCED);
        let flags = flags | server.map_or(0, |server| server.id()) << SERVER_SHIFT;
        self.context.record_with(Kind::Upgrade, flags, self.id, head);
        if in_place {
            input.extend_from_slice(bytes.get(end..).unwrap_or_default());
        } else {
            input.drain(..end);
        }
        if !input.is_empty() {
            self.flags.set(Flags::HAS_INPUT);
        } else {
            *input = Vec::new();
        }
    }

    /// Offers the connection to JavaScript, with everything that was read of it.
    fn leave_to_http(&self, server: u32) {
        self.phase.set(Phase::Leaving);
        self.deadline.set(0);
        self.flags.set(Flags::ANNOUNCED);
        self.flags.set(Flags::HAS_INPUT);
        // Whatever comes now is the next reader's.
        self.stop_reading();
        self.context.record(Record::new(Kind::Http, 0, self.id, server, 0));
    }

    /// Gives the socket away, and what was read of it. The connection stays, without it, until it is
    /// terminated.
    #[cfg(unix)]
    pub(crate) fn release(&self) -> Option<(OwnedFd, Vec<u8>)> {
        let transport = self.transport().filter(|_| self.phase.get() == Phase::Leaving)?;
        let socket = transport.release().ok()?;
        self.handshake_over();
        self.flags.clear(Flags::HAS_INPUT);
        let input = self.rare().input.take();
        self.forget_rare();
        self.settle_account();
        Some((socket, input))
    }

    /// Makes it a connection of the server that the request is for. Returns false if it is for none.
    fn route(&self, head: &[u8]) -> bool {
        let Some(server) = self.server().filter(|server| server.listener().has_hosts()) else {
            return true;
        };
        let selected = server.listener().select(Host::of_request(head));
        if let Some(selected) = &selected {
            self.assign(selected);
        }
        selected.is_some()
    }

    /// Answers the upgrade request with 101 and opens the connection. `headers` are whole lines
    /// behind those that are mandatory. Returns false when the peer is gone or the request was
    /// answered already.
    pub(crate) fn accept(&self, protocol: Option<&str>, headers: &str) -> bool {
        let accept = self.if_rare(|rare| {
            let opening = rare.opening.take();
            let accept = opening.as_deref().and_then(|opening| opening.accept);
            rare.opening.set(opening);
            accept
        });
        accept.flatten().is_some_and(|accept| {
            self.open_with(|cork| write_response(cork, &accept, protocol, headers))
        })
    }

    /// As `accept`, with a head that JavaScript has made.
    pub(crate) fn accept_with(&self, head: &str) -> bool {
        self.open_with(|cork| cork.extend_from_slice(head.as_bytes()))
    }

    fn open_with(&self, response: impl FnOnce(&mut Vec<u8>)) -> bool {
        if self.phase.get() != Phase::Deciding || self.context.is_ending() {
            return false;
        }
        self.if_rare(|rare| rare.opening.take());
        self.forget_rare();
        self.phase.set(Phase::Open);
        self.handshake_over();
        self.cork_with(0, response);
        self.restart_reading();
        if self.flags.has(Flags::HAS_INPUT) {
            self.resume_later();
        }
        self.opens();
        self.phase.get() == Phase::Open
    }

    /// Refuses the upgrade request.
    pub(crate) fn reject(&self, status: u16, body: &str, headers: &str) {
        if matches!(self.phase.get(), Phase::Deciding | Phase::Leaving) {
            self.refuse(|cork| write_rejection(cork, status, body, headers));
        }
    }

    pub(super) fn refuse_as_unavailable(&self) {
        self.refuse(|cork| write_rejection(cork, 503, "", ""));
    }

    /// Reports that a head is refused without asking JavaScript, if it wants to know.
    fn tell_refusal(&self, status: u16, reason: &str, head: &[u8]) {
        if let Some(server) = self.server().filter(|server| server.logs_refusals()) {
            let text = format!("{reason}\n{}", target_of(head));
            self.context.record_with(Kind::Refused, status.into(), server.id(), text.as_bytes());
        }
    }

    fn refuse_for(&self, error: &HandshakeError) {
        if let Some(limit) = error.limit {
            self.breaches(limit);
        }
        self.refuse(|cork| error.write_response(cork));
    }

    /// The head did not come in time.
    pub(super) fn request_is_late(&self) {
        self.breaches(Limit::HandshakeTimeout);
        if self.bytes_received.get() > 0 {
            self.refuse(|cork| write_rejection(cork, 408, "", ""));
        } else {
            self.close_handles();
        }
    }

    /// The stream has failed before the request came. Without a request nobody knows of the connection
    /// but the server.
    pub(super) fn request_failed(&self, failure: Failure) {
        if let Some(server) = self.server() {
            let (_, peer) = self.addresses();
            server.report_failure(&failure, peer);
        }
        self.break_off(failure);
    }

    /// Writes `response` and ends the connection once the peer has, or after a while.
    pub(super) fn refuse(&self, response: impl FnOnce(&mut Vec<u8>)) {
        self.phase.set(Phase::Refusing);
        self.if_rare(Rare::clear);
        self.flags.clear(Flags::HAS_INPUT);
        self.cork_with(0, response);
        self.end_after_flush();
        self.arm(LINGER);
        self.restart_reading();
    }

    // ---- client

    /// The stream is connected: sends the request.
    pub(super) fn send_request(&self) {
        let Some(key) = self.context.buffers().random::<16>() else {
            return self.fail(Failure::random());
        };
        let rare = self.rare();
        let Some(dial) = rare.dial.take() else { return };
        let destination = dial.into_destination();
        self.phase.set(Phase::AwaitingResponse);
        self.cork_with(0, |cork| {
            write_request(
                cork,
                &RequestParts {
                    path: &destination.path,
                    host: &destination.host_header,
                    key,
                    protocols: destination.protocols.as_deref(),
                    extensions: destination.extensions.as_deref(),
                    headers: &destination.headers,
                },
            );
        });
        rare.opening.set(Some(Opening::new(Some(SentRequest {
            key,
            protocols: destination.protocols,
            extensions: destination.extensions.is_some(),
        }))));
        self.start_reading();
    }

    /// Takes bytes of the response's head.
    pub(super) fn response_bytes(&self, bytes: &mut [u8]) {
        let rare = self.rare();
        let Some(mut opening) = rare.opening.take() else {
            return;
        };
        let Some(request) = &opening.request else {
            return;
        };
        let mut input = rare.input.take();
        input.extend_from_slice(bytes);
        // What does not begin like a response may never end like one.
        let start = input.get(..HTTP.len().min(input.len())).unwrap_or_default();
        if !HTTP.starts_with(start) {
            let code = Some("HPE_INVALID_CONSTANT");
            return self.fail(Failure::new("Parse Error: Expected HTTP/", code));
        }
        // Where the head that is being read begins: behind provisional answers.
        let mut from = 0;
        let outcome = loop {
            let rest = input.get(from..).unwrap_or_default();
            let end = match opening.scanner.scan(rest) {
                Ok(Some(end)) => end,
                Ok(None) => {
                    input.drain(..from);
                    rare.input.replace(input);
                    rare.opening.set(Some(opening));
                    return;
                }
                // Node's parser names this error so.
                Err(_) => {
                    let code = Some("HPE_HEADER_OVERFLOW");
                    return self.fail(Failure::new("Parse Error: Header overflow", code));
                }
            };
            let head = rest.get(..end).unwrap_or_default();
            let protocols = request.protocols.as_deref();
            match parse_response(head, request.key, protocols, request.extensions) {
                // The final answer follows a provisional one (RFC 9110 section 15.2).
                Err(ClientHandshakeError::UnexpectedStatus(100..=199))
                    if opening.provisional < MAX_PROVISIONAL =>
                {
                    opening.provisional += 1;
                    opening.scanner = HeadScanner::new(HandshakeLimits::default().max_header_size);
                    from += end;
                }
                outcome => break outcome.map(|response| (response, from..from + end)),
            }
        };
        match outcome {
            Ok((response, head)) => {
                self.phase.set(Phase::Open);
                self.deadline.set(0);
                self.opens();
                self.note_time(Timings::upgraded);
                let protocol = if response.protocol.is_some() { PROTOCOL_CHOSEN } else { 0 };
                let extension = if response.has_extension { EXTENSION_CHOSEN } else { 0 };
                let flags = protocol | extension;
                let end = head.end;
                let head = input.get(head).unwrap_or_default();
                self.context.record_with(Kind::Open, flags, self.id, head);
                input.drain(..end);
                if response.has_extension {
                    self.flags.set(Flags::HELD);
                }
                if !input.is_empty() {
                    rare.input.replace(input);
                    self.flags.set(Flags::HAS_INPUT);
                }
                if self.flags.has(Flags::HAS_INPUT | Flags::HELD) {
                    // Parsed once 'open' has been delivered, so that listeners added there see it.
                    self.resume_later();
                }
            }
            Err(error) => self.fail(Failure::new(error.to_string(), error.code())),
        }
    }

    pub(super) fn opening_is_late(&self) {
        self.breaches(Limit::HandshakeTimeout);
        self.fail(Failure::new("Opening handshake has timed out", None));
    }
}
