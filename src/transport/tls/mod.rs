//! TLS as a byte pipe over a byte pipe (RFC 8446, RFC 5246).
//!
//! The pipe below calls back [`Layer`], which turns records into plain bytes for the connection above,
//! and calls that back as the pipe below would. rustls does the cryptography; it holds no bytes. What is
//! held here is a record that has not come whole, and what the system has not taken.
//!
//! # What is sent
//! A write is turned into records a few at a time, and the next ones are made when the system has taken
//! these. So what waits is held as plain bytes, once, by the write that waits; the records in flight are
//! at most [`CHUNK`]. Bytes count as taken when their records are.
//!
//! # What is read
//! Records are decrypted where they were read, as long as they lie whole in the receive buffer. What a
//! read has brought is handed on before the next one, so nothing decrypted is held here either.
//!
//! # The end
//! The peer's close_notify and the end of the stream without one are both reported as the end of the
//! stream, as in Node: a WebSocket has a closing handshake of its own, and tells a truncated stream
//! (1006) from a closed one. Any other failure is reported as `EPROTO`, and [`Transport::fault`] says
//! what it was.

mod certificates;
mod config;
mod fault;
mod session;

use std::cell::{Cell, OnceCell, RefCell};
use std::net::SocketAddr;
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::rc::Rc;

pub(crate) use config::{
    ClientOptions, ClientSecurity, ClientTrust, Identity, Judge, ServerOptions, ServerSecurity,
    Versions,
};
pub(crate) use fault::TlsFault;
pub(crate) use rustls::Error as TlsError;
pub(crate) use session::Session;

use super::{Bytes, Owner, ReceiveBuffer, StreamOwner, TcpTransport, Transport, UvError};
use crate::context::Context;
use session::{Progress, Taken, RECORD, RECORD_OVERHEAD};

/// Plain bytes that are turned into records at once: what makes 64 KiB of them, so that their buffer
/// is one that is kept for reuse.
const CHUNK: usize = 4 * (RECORD - RECORD_OVERHEAD);
/// Bytes that may be held of what has not come whole. A record has 16 KiB, a message of the handshake
/// no more than 64 KiB, and each of its fragments a header.
const MAX_PARTIAL: usize = 128 * 1024;
/// The header of a record, whose last two bytes are the length of what follows (RFC 8446 section 5.1).
const RECORD_HEADER: usize = 5;

/// What was agreed on, for those who ask.
pub(crate) struct Security {
    /// The number of the version, 0x0304 for TLS 1.3.
    pub version: Option<u16>,
    /// The name of the cipher suite, as the standards spell it.
    pub cipher: Option<String>,
    /// The protocol, if one was negotiated.
    pub alpn: Option<Vec<u8>>,
    /// The name that a client has asked for.
    pub server_name: Option<String>,
    /// The peer's certificate and those behind it, DER.
    pub chain: Vec<Vec<u8>>,
    /// Whether the peer is trusted.
    pub is_authorized: bool,
    /// Why it is not.
    pub fault: Option<TlsFault>,
}

/// A stream of TLS over one of TCP.
pub(crate) struct TlsTransport(Rc<Layer>);

impl TlsTransport {
    /// Puts `session` between `below`, a stream that is connected, and `owner`.
    pub(crate) fn new(
        context: &Rc<Context>,
        below: &TcpTransport,
        owner: Rc<dyn StreamOwner>,
        (session, judge): (Session, Judge),
    ) -> Self {
        let pipe = Rc::new(Layer {
            context: Rc::clone(context),
            below: below.clone(),
            owner: RefCell::new(Some(owner)),
            judge,
            session: RefCell::new(session),
            phase: Cell::new(Phase::New),
            partial: RefCell::default(),
            outgoing: RefCell::default(),
            fault: OnceCell::new(),
            server_name: OnceCell::new(),
        });
        let as_owner: Rc<dyn StreamOwner> = Rc::<Layer>::clone(&pipe);
        below.set_owner(as_owner);
        Self(pipe)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    /// Nothing has been sent.
    New,
    Handshaking,
    /// Data may be sent and may come.
    Ready,
    /// Nothing more will come.
    Ended,
    /// The session has failed.
    Failed,
    Closed,
}

/// What is to be sent.
#[derive(Default)]
struct Outgoing {
    /// The pipe below has a queued write.
    is_writing: bool,
    /// Records behind that.
    records: Vec<u8>,
    /// Plain bytes of the last write whose records are in `records` or queued below.
    ahead: usize,
    /// A write of the connection, from what has no records yet.
    queued: Option<Bytes>,
    /// Our side is to be ended behind all that.
    ends: bool,
}

struct Layer {
    context: Rc<Context>,
    below: TcpTransport,
    /// Present until the pipe below is closed.
    owner: RefCell<Option<Rc<dyn StreamOwner>>>,
    judge: Judge,
    session: RefCell<Session>,
    phase: Cell<Phase>,
    /// Records that have not come whole. The session refers to places in them, so it is given them
    /// whenever it is used.
    partial: RefCell<Vec<u8>>,
    outgoing: RefCell<Outgoing>,
    fault: OnceCell<TlsFault>,
    /// The name that a client has asked for.
    server_name: OnceCell<Box<str>>,
}

impl Layer {
    fn owner(&self) -> Option<Rc<dyn StreamOwner>> {
        self.owner.borrow().clone()
    }

    /// Takes what the pipe below has brought, or begins when that is nothing.
    fn take_in(&self, bytes: &mut [u8]) {
        let mut rest = bytes;
        loop {
            let mut plain = self.context.buffers().take();
            let progress = if self.partial.borrow().is_empty() {
                let bytes = std::mem::take(&mut rest);
                let Taken { consumed, progress } = self.take_records(bytes, &mut plain);
                let left = bytes.get(consumed..).unwrap_or_default();
                self.partial.borrow_mut().extend_from_slice(left);
                progress
            } else {
                let count = self.missing(rest.len());
                let (first, others) = std::mem::take(&mut rest).split_at_mut(count);
                rest = others;
                let mut partial = self.partial.borrow_mut();
                partial.extend_from_slice(first);
                let Taken { consumed, progress } = self.take_records(&mut partial, &mut plain);
                partial.drain(..consumed);
                match partial.len() {
                    0 => {
                        *partial = Vec::new();
                        progress
                    }
                    MAX_PARTIAL.. => progress.and(Err(TlsError::PeerSentOversizedRecord)),
                    _ => progress,
                }
            };
            let goes_on = match progress {
                Ok(progress) => self.go_on_with(progress, plain),
                Err(error) => {
                    self.fail(&error, plain);
                    false
                }
            };
            if !goes_on || rest.is_empty() {
                return;
            }
        }
    }

    /// How many of `available` bytes make the first record that has not come whole so. A message of
    /// the handshake may take several of them, which are taken as they come.
    fn missing(&self, available: usize) -> usize {
        let partial = self.partial.borrow();
        let wanted = match partial.get(RECORD_HEADER - 2..RECORD_HEADER) {
            Some(&[high, low]) if self.phase.get() >= Phase::Ready => {
                let whole = RECORD_HEADER + usize::from(u16::from_be_bytes([high, low]));
                match whole.checked_sub(partial.len()) {
                    Some(0) | None => available,
                    Some(missing) => missing,
                }
            }
            Some(_) => available,
            None => RECORD_HEADER - partial.len(),
        };
        wanted.min(available)
    }

    /// Takes whole records. Nothing else runs until what is left of `bytes` is in its place.
    fn take_records(&self, bytes: &mut [u8], plain: &mut Vec<u8>) -> Taken {
        let mut outgoing = self.outgoing.borrow_mut();
        let taken = self.session.borrow_mut().take(bytes, plain, &mut outgoing.records);
        if self.phase.get() < Phase::Ready {
            if let Some(name) = self.judge.take_asked() {
                let _ = self.server_name.set(name);
            }
        }
        taken
    }

    /// Writes what the session has to say, and hands on what the peer has sent. Returns false if the
    /// pipe is of no use any more.
    fn go_on_with(&self, progress: Progress, plain: Vec<u8>) -> bool {
        let is_new = self.phase.get() < Phase::Ready && progress != Progress::Handshaking;
        if is_new {
            self.phase.set(Phase::Ready);
        }
        let has_records = !self.outgoing.borrow().records.is_empty();
        if has_records || is_new {
            self.write_more();
        }
        if is_new && self.phase.get() == Phase::Ready {
            if let Some(owner) = self.owner() {
                owner.connected(Ok(()));
            }
        }
        self.hand_on(plain);
        if self.phase.get() >= Phase::Ended {
            return false;
        }
        if progress == Progress::Ended {
            self.phase.set(Phase::Ended);
            self.below.read_stop();
            if let Some(owner) = self.owner() {
                owner.ended(UvError::EOF);
            }
            return false;
        }
        true
    }

    /// Gives plain bytes to the connection: those of a long message to where they belong.
    fn hand_on(&self, mut plain: Vec<u8>) {
        if let (Some(owner), Phase::Ready | Phase::Failed) = (self.owner(), self.phase.get()) {
            let mut rest = plain.as_mut_slice();
            while !rest.is_empty() {
                let mut count = 0;
                let outcome = owner.receive_in_place(&mut |message, most| {
                    count = most.min(rest.len());
                    message.extend_from_slice(rest.get(..count).unwrap_or_default());
                    Ok(count)
                });
                if outcome.is_none() || count == 0 {
                    owner.received(rest);
                    break;
                }
                rest = rest.get_mut(count..).unwrap_or_default();
            }
        }
        self.context.buffers().give_back(plain);
    }

    /// The session has failed; `plain` came before that. It is not used any more: what it refers to of
    /// the records that were read is gone.
    fn fail(&self, error: &TlsError, plain: Vec<u8>) {
        self.phase.set(Phase::Failed);
        let _ = self.fault.set(TlsFault::new(error));
        self.below.read_stop();
        {
            let mut outgoing = self.outgoing.borrow_mut();
            outgoing.queued = None;
            self.session.borrow_mut().take_pending(&mut outgoing.records);
        }
        self.write_more();
        self.hand_on(plain);
        if self.phase.get() == Phase::Failed {
            if let Some(owner) = self.owner() {
                owner.ended(UvError::EPROTO);
            }
        }
    }

    /// Writes what waits, until the system takes no more.
    fn write_more(&self) {
        match self.write_on() {
            Ok(true) => {
                if let Some(owner) = self.owner() {
                    owner.written(Ok(()));
                }
            }
            Ok(false) => {}
            Err(error) => {
                if let Some(owner) = self.owner() {
                    owner.written(Err(error));
                }
            }
        }
    }

    /// As `write_more`. Returns whether the connection's write has ended.
    fn write_on(&self) -> Result<bool, UvError> {
        let mut outgoing = self.outgoing.borrow_mut();
        let mut has_ended = false;
        loop {
            if !self.flush(&mut outgoing)? {
                return Ok(false);
            }
            outgoing.ahead = 0;
            if self.phase.get() < Phase::Ready {
                return Ok(false);
            }
            let Some(mut bytes) = outgoing.queued.take() else { break };
            let rest = bytes.as_slice();
            let count = rest.len().min(CHUNK);
            // A write has ended when its last record has been taken.
            if count == 0 {
                has_ended = true;
                continue;
            }
            self.encrypt(rest.get(..count).unwrap_or_default(), &mut outgoing.records)?;
            bytes.advance(count);
            outgoing.queued = Some(bytes);
        }
        if outgoing.ends {
            outgoing.ends = false;
            self.below.shutdown()?;
        }
        Ok(has_ended)
    }

    /// Writes the records that wait. Returns false if the system does not take all of them now.
    fn flush(&self, outgoing: &mut Outgoing) -> Result<bool, UvError> {
        if outgoing.is_writing {
            return Ok(false);
        }
        if outgoing.records.is_empty() {
            return Ok(true);
        }
        let records = std::mem::take(&mut outgoing.records);
        let taken = self.below.try_write([&records, &[]])?;
        if taken < records.len() {
            outgoing.is_writing = true;
            self.below.write(Bytes::own(records, taken))?;
            return Ok(false);
        }
        self.context.buffers().give_back(records);
        Ok(true)
    }

    fn encrypt(&self, bytes: &[u8], records: &mut Vec<u8>) -> Result<(), UvError> {
        if records.capacity() == 0 {
            *records = self.context.buffers().take();
        }
        let mut partial = self.partial.borrow_mut();
        let mut session = self.session.borrow_mut();
        session.encrypt(&mut partial, bytes, records).map_err(|_| UvError::EPROTO)
    }

    fn end(&self, records: &mut Vec<u8>) {
        self.session.borrow_mut().end(&mut self.partial.borrow_mut(), records);
    }
}

impl Transport for TlsTransport {
    fn read_start(&self) -> Result<(), UvError> {
        let pipe = &self.0;
        if pipe.phase.get() >= Phase::Ended {
            return Ok(());
        }
        pipe.below.read_start()?;
        if pipe.phase.get() == Phase::New {
            pipe.phase.set(Phase::Handshaking);
            // A client speaks first.
            pipe.take_in(&mut []);
        }
        Ok(())
    }

    fn read_stop(&self) {
        self.0.below.read_stop();
    }

    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        let pipe = &self.0;
        if !matches!(pipe.phase.get(), Phase::Ready | Phase::Ended) {
            return Ok(0);
        }
        let mut outgoing = pipe.outgoing.borrow_mut();
        if outgoing.queued.is_some() || !pipe.flush(&mut outgoing)? {
            return Ok(0);
        }
        let [first, second] = parts;
        let joined = join(first, second);
        let rest = second.get(joined.len().saturating_sub(first.len())..).unwrap_or_default();
        let parts = if joined.is_empty() { parts } else { [&*joined, rest] };
        let mut taken = 0;
        let mut ahead = 0;
        for mut part in parts {
            while !part.is_empty() {
                let (chunk, others) = part.split_at(part.len().min(CHUNK - ahead));
                pipe.encrypt(chunk, &mut outgoing.records)?;
                part = others;
                ahead += chunk.len();
                if ahead == CHUNK {
                    if !pipe.flush(&mut outgoing)? {
                        outgoing.ahead = ahead;
                        return Ok(taken);
                    }
                    taken += ahead;
                    ahead = 0;
                }
            }
        }
        if pipe.flush(&mut outgoing)? {
            taken += ahead;
        } else {
            outgoing.ahead = ahead;
        }
        Ok(taken)
    }

    fn write(&self, mut bytes: Bytes) -> Result<(), UvError> {
        let pipe = &self.0;
        if pipe.phase.get() >= Phase::Failed {
            return Err(UvError::EINVAL);
        }
        let mut outgoing = pipe.outgoing.borrow_mut();
        bytes.advance(outgoing.ahead);
        outgoing.ahead = 0;
        outgoing.queued = Some(bytes);
        Ok(())
    }

    fn unwritten(&self) -> usize {
        let outgoing = self.0.outgoing.borrow();
        let queued = outgoing.queued.as_ref().map_or(0, |bytes| bytes.as_slice().len());
        self.0.below.unwritten() + outgoing.records.len() + queued
    }

    fn has_input(&self) -> bool {
        self.0.below.has_input()
    }

    fn undecoded(&self) -> usize {
        self.0.partial.borrow().len()
    }

    fn shutdown(&self) -> Result<(), UvError> {
        let pipe = &self.0;
        if !matches!(pipe.phase.get(), Phase::Ready | Phase::Ended) {
            return pipe.below.shutdown();
        }
        {
            let mut outgoing = pipe.outgoing.borrow_mut();
            pipe.end(&mut outgoing.records);
            outgoing.ends = true;
        }
        pipe.write_on().map(drop)
    }

    fn reset_on_close(&self) {
        self.0.below.reset_on_close();
    }

    // The bytes on the socket are nothing without the session.
    #[cfg(unix)]
    fn release(&self) -> Result<OwnedFd, UvError> {
        Err(UvError::EINVAL)
    }

    fn ends_by_close(&self) -> bool {
        true
    }

    fn close(&self) {
        let pipe = &self.0;
        let phase = pipe.phase.replace(Phase::Closed);
        if phase == Phase::Closed {
            return;
        }
        // Handed over if there is room: nobody waits for it.
        if let (Phase::Ready | Phase::Ended, Ok(mut outgoing)) =
            (phase, pipe.outgoing.try_borrow_mut())
        {
            if !outgoing.is_writing && outgoing.queued.is_none() {
                pipe.end(&mut outgoing.records);
                let _ = pipe.below.try_write([&outgoing.records, &[]]);
            }
            *outgoing = Outgoing::default();
        }
        pipe.partial.take();
        pipe.below.close();
    }

    fn passed_on(&self, _len: usize, _is_full: bool) {}

    fn drained(&self) {}

    fn set_ref(&self, keep_alive: bool) {
        self.0.below.set_ref(keep_alive);
    }

    fn set_nodelay(&self, enable: bool) {
        self.0.below.set_nodelay(enable);
    }

    fn set_keepalive(&self, enable: bool, delay: u32) {
        self.0.below.set_keepalive(enable, delay);
    }

    fn local_address(&self) -> Result<SocketAddr, UvError> {
        self.0.below.local_address()
    }

    fn peer_address(&self) -> Result<SocketAddr, UvError> {
        self.0.below.peer_address()
    }

    fn fault(&self) -> Option<TlsFault> {
        self.0.fault.get().cloned()
    }

    fn is_secure(&self) -> bool {
        true
    }

    fn security(&self) -> Option<Security> {
        let pipe = &self.0;
        let session = pipe.session.borrow();
        let common = session.common();
        let chain = common.peer_certificates().unwrap_or_default();
        let verdict = pipe.judge.judge(chain);
        Some(Security {
            version: common.protocol_version().map(u16::from),
            cipher: common
                .negotiated_cipher_suite()
                .and_then(|suite| suite.suite().as_str().map(str::to_owned)),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            server_name: pipe.server_name.get().map(|name| name.clone().into_string()),
            chain: chain.iter().map(|certificate| certificate.to_vec()).collect(),
            is_authorized: verdict.is_ok(),
            fault: verdict.err().flatten(),
        })
    }
}

impl Owner for Layer {
    fn closed(&self) {
        let owner = self.owner.take();
        if let Some(owner) = owner {
            owner.closed();
        }
    }

    fn panicked(self: Rc<Self>) {
        if let Some(owner) = self.owner() {
            owner.panicked();
        }
    }
}

impl StreamOwner for Layer {
    fn receive_buffer(&self) -> &ReceiveBuffer {
        self.context.receive_buffer()
    }

    fn may_read(&self) -> bool {
        self.owner().is_none_or(|owner| owner.may_read())
    }

    fn received(&self, bytes: &mut [u8]) {
        if self.phase.get() < Phase::Ended {
            self.take_in(bytes);
        }
        // Told only then: records need not have brought a plain byte.
        if let Some(owner) = self.owner() {
            owner.undecoded_changed();
        }
    }

    fn ended(&self, reason: UvError) {
        if self.phase.get() >= Phase::Ended {
            return;
        }
        if self.phase.get() < Phase::Ready && reason == UvError::EOF {
            let _ = self.fault.set(TlsFault::disconnected(matches!(self.judge, Judge::Client(..))));
        }
        self.phase.set(Phase::Ended);
        if let Some(owner) = self.owner() {
            owner.ended(reason);
        }
    }

    fn written(&self, outcome: Result<(), UvError>) {
        self.outgoing.borrow_mut().is_writing = false;
        match (outcome, self.owner()) {
            (Err(error), Some(owner)) => owner.written(Err(error)),
            (Err(_), None) => {}
            (Ok(()), _) => self.write_more(),
        }
    }

    fn shut(&self, outcome: Result<(), UvError>) {
        if let Some(owner) = self.owner() {
            owner.shut(outcome);
        }
    }

    // The stream below is connected, and does not listen.
    fn connected(&self, _outcome: Result<(), UvError>) {}
    fn incoming(&self, _outcome: Result<(), UvError>) {}
}

/// What begins with all of `first`, and is to be one record: the head of a message shares it with the
/// payload. It is as short as leaves full records behind it, because it is a copy. Empty if `first` is
/// to be sent as it is.
fn join(first: &[u8], second: &[u8]) -> Vec<u8> {
    if first.is_empty() || second.is_empty() || first.len() >= RECORD {
        return Vec::new();
    }
    let short = (first.len() + second.len()) % RECORD;
    let shared = second.get(..short.saturating_sub(first.len())).unwrap_or_default();
    [first, shared].concat()
}
