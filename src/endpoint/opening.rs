//! The opening handshake of both roles (RFC 6455 section 4).

use super::connection::{Connection, Flags, Phase};
use super::Failure;
use crate::context::Kind;
use crate::protocol::handshake::client::{
    parse_response, write_request, ClientHandshakeError, RequestParts,
};
use crate::protocol::handshake::server::{parse_request, write_rejection, write_response};
use crate::protocol::handshake::{HandshakeLimits, HeadScanner};

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

/// Flags of an upgrade record: what the request carries beside the mandatory headers.
const HAS_PROTOCOLS: u32 = 1;
const HAS_EXTENSIONS: u32 = 2;
/// The request is not acceptable; JavaScript has asked to answer such requests itself.
const NOT_ACCEPTABLE: u32 = 4;
/// An upgrade record carries the listener's number above its flags.
const LISTENER_SHIFT: u32 = 3;
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
        let mut opening = self.opening.take().unwrap_or_else(|| Opening::new(None));
        let mut input = self.input.borrow_mut();
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
                self.opening.replace(Some(opening));
                return;
            }
            Err(error) => {
                drop(input);
                return self.refuse(|cork| error.write_response(cork));
            }
        };
        let head = all.get(..end).unwrap_or_default();
        let listener = self.listener();
        let flags = match parse_request(head, &limits) {
            Ok(request) => {
                opening.accept = Some(request.accept);
                let protocols = if request.has_protocols { HAS_PROTOCOLS } else { 0 };
                let extensions = if request.has_extensions { HAS_EXTENSIONS } else { 0 };
                protocols | extensions
            }
            Err(_) if listener.is_some_and(|listener| listener.reports_refusals()) => {
                NOT_ACCEPTABLE
            }
            Err(error) => {
                drop(input);
                return self.refuse(|cork| error.write_response(cork));
            }
        };
        self.opening.replace(Some(opening));
        self.phase.set(Phase::Deciding);
        self.deadline.set(0);
        self.flags.set(Flags::ANNOUNCED);
        let flags = flags | listener.map_or(0, |listener| listener.id()) << LISTENER_SHIFT;
        self.context.record_with(Kind::Upgrade, flags, self.id, head);
        if in_place {
            input.extend_from_slice(bytes.get(end..).unwrap_or_default());
        } else {
            input.drain(..end);
        }
        if input.is_empty() {
            *input = Vec::new();
        }
    }

    /// Answers the upgrade request with 101 and opens the connection. `headers` are whole lines
    /// behind those that are mandatory. Returns false when the peer is gone or the request was
    /// answered already.
    pub(crate) fn accept(&self, protocol: Option<&str>, headers: &str) -> bool {
        let accept = self.opening.borrow().as_deref().and_then(|opening| opening.accept);
        accept.is_some_and(|accept| {
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
        self.opening.take();
        self.phase.set(Phase::Open);
        self.cork_with(response);
        self.restart_reading();
        if !self.input.borrow().is_empty() {
            self.resume_later();
        }
        self.phase.get() == Phase::Open
    }

    /// Refuses the upgrade request.
    pub(crate) fn reject(&self, status: u16, body: &str, headers: &str) {
        if self.phase.get() == Phase::Deciding {
            self.refuse(|cork| write_rejection(cork, status, body, headers));
        }
    }

    pub(super) fn refuse_because_closing(&self) {
        self.refuse(|cork| write_rejection(cork, 503, "", ""));
    }

    /// The head did not come in time.
    pub(super) fn request_is_late(&self) {
        if self.bytes_received.get() > 0 {
            self.refuse(|cork| write_rejection(cork, 408, "", ""));
        } else {
            self.close_handles();
        }
    }

    /// Writes `response` and ends the connection once the peer has, or after a while.
    pub(super) fn refuse(&self, response: impl FnOnce(&mut Vec<u8>)) {
        self.phase.set(Phase::Refusing);
        self.opening.take();
        self.input.take();
        self.cork_with(response);
        self.end_after_flush();
        self.arm(LINGER);
        self.restart_reading();
    }

    // ---- client

    /// The stream is connected: sends the request.
    pub(super) fn send_request(&self) {
        let Some(key) = self.context.buffers().random::<16>() else {
            return self.fail(Failure::new("The system's random generator failed", None));
        };
        let Some(dial) = self.dial.take() else { return };
        let destination = dial.into_destination();
        self.phase.set(Phase::AwaitingResponse);
        self.cork_with(|cork| {
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
        self.opening.replace(Some(Opening::new(Some(SentRequest {
            key,
            protocols: destination.protocols,
            extensions: destination.extensions.is_some(),
        }))));
        self.start_reading();
    }

    /// Takes bytes of the response's head.
    pub(super) fn response_bytes(&self, bytes: &mut [u8]) {
        let Some(mut opening) = self.opening.take() else {
            return;
        };
        let Some(request) = &opening.request else {
            return;
        };
        let mut input = self.input.take();
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
                    self.input.replace(input);
                    self.opening.replace(Some(opening));
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
                if let Some(timings) = self.timings() {
                    timings.upgraded();
                }
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
                if !input.is_empty() || response.has_extension {
                    self.input.replace(input);
                    // Parsed once 'open' has been delivered, so that listeners added there see it.
                    self.resume_later();
                }
            }
            Err(error) => self.fail(Failure::new(error.to_string(), error.code())),
        }
    }

    pub(super) fn opening_is_late(&self) {
        self.fail(Failure::new("Opening handshake has timed out", None));
    }
}
