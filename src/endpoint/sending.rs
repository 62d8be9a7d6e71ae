//! The sending half of a connection: frames are corked, and flushed once per turn.

use std::collections::VecDeque;

use super::connection::{Connection, Flags, Phase};
use super::offload::{Frame, Item, OFFLOAD};
use super::Failure;
use crate::context::{Kind, Record};
use crate::protocol::{apply_mask, close_payload, encode_header, Opcode, Role};
use crate::transport::{Bytes, UvError};

/// A payload from this size on is written straight from the sender's memory; smaller ones are
/// cheaper to copy behind their header than to pass as a second piece.
pub(super) const WRITE_THROUGH: usize = 16 * 1024;
/// A cork that has grown to this size is flushed at once: waiting longer saves no system call that
/// would matter, and costs memory.
pub(super) const CORK_LIMIT: usize = 64 * 1024;
/// Unsent bytes above which `send` reports pressure, and a `drain` follows. As in libwebsockets'
/// and browsers' practice, some thousand small messages.
const HIGH_WATER: usize = 1024 * 1024;

/// What a send says about the queue behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pressure {
    /// Keep sending.
    Low,
    /// The queue is above the high-water mark: wait for `drain`.
    High,
}

/// What became of a frame.
pub(super) enum Corked {
    /// It is in the cork, or written.
    Now,
    /// It is to be compressed elsewhere.
    TooLarge,
    /// The connection is of no use any more.
    Failed,
}

impl From<bool> for Corked {
    fn from(is_corked: bool) -> Self {
        if is_corked {
            Self::Now
        } else {
            Self::Failed
        }
    }
}

/// Sends whose completion was asked for, by the position of their last byte in the stream.
#[derive(Default)]
pub(super) struct Sent {
    ends: VecDeque<u64>,
}

impl Connection {
    /// Queues a frame. Returns nothing when the connection is not open. With `notify` a `Sent`
    /// record follows once the frame's last byte has been given to the system. A message whose first
    /// fragment says `compress` is compressed if that was agreed on.
    pub(crate) fn send(
        &self,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        notify: bool,
        compress: bool,
    ) -> Option<Pressure> {
        if !self.is_open() {
            return None;
        }
        let frame = || Frame { opcode, fin, compress, notify, payload: payload.into() };
        if self.flags.has(Flags::WAITING) {
            self.defer(Item::Frame(frame()));
        } else {
            let corked = if opcode.is_control() {
                self.cork_frame(opcode, fin, false, payload).into()
            } else {
                self.cork_data(opcode, fin, payload, compress, &mut { OFFLOAD })
            };
            match corked {
                // Unless the write that this frame caused found the stream broken.
                Corked::Now if self.phase.get() == Phase::Open => {
                    self.frame_queued(opcode, fin, notify);
                }
                Corked::Now => return None,
                Corked::TooLarge => self.offload(frame()),
                Corked::Failed => {
                    self.close_handles();
                    return None;
                }
            }
        }
        if !opcode.is_control() {
            if !fin {
                self.flags.set(Flags::FRAGMENTING);
            } else if self.flags.has(Flags::FRAGMENTING) {
                self.message_is_whole();
            }
        }
        Some(self.pressure())
    }

    /// Counts a frame that is in the queue, and notes the wish to hear of its end.
    pub(super) fn frame_queued(&self, opcode: Opcode, fin: bool, notify: bool) {
        if !opcode.is_control() && fin {
            self.context.counters().message_sent();
        }
        if notify {
            self.notify_when_sent();
        }
    }

    /// Says how full the queue is.
    pub(super) fn pressure(&self) -> Pressure {
        // While nothing is in flight, no more is corked than CORK_LIMIT.
        let may_be_full = self.in_flight.get() > 0 || self.flags.has(Flags::WAITING);
        if may_be_full && self.unsent() > HIGH_WATER {
            self.flags.set(Flags::ABOVE);
            return Pressure::High;
        }
        Pressure::Low
    }

    /// Sends bytes as they are, between frames. For those who speak through `_socket`.
    pub(crate) fn write_raw(&self, bytes: &[u8], notify: bool) -> Option<Pressure> {
        // An upgrade request, too, may be answered by hand.
        let is_writable =
            matches!(self.phase.get(), Phase::Open | Phase::AwaitingRequest | Phase::Deciding);
        if !is_writable || self.flags.has(Flags::FIN_WANTED) {
            return None;
        }
        if self.flags.has(Flags::WAITING) {
            self.defer(Item::Raw { bytes: bytes.into(), notify });
        } else {
            self.cork_bytes(bytes);
            if notify {
                self.notify_when_sent();
            }
        }
        Some(self.pressure())
    }

    /// Queues our Close frame, once, behind everything that was sent before it. `code` 0 sends an
    /// empty one. Ends our side too when the peer's Close frame has come, or it broke the protocol.
    pub(crate) fn close(&self, code: u16, reason: &[u8]) {
        if self.phase.get() != Phase::Open {
            return;
        }
        if !self.flags.set(Flags::SENT_CLOSE) {
            let (payload, len) = close_payload(code, reason);
            let payload = payload.get(..len).unwrap_or_default();
            if self.flags.has(Flags::WAITING) {
                self.defer(Item::Frame(Frame {
                    opcode: Opcode::Close,
                    fin: true,
                    compress: false,
                    notify: false,
                    payload: payload.into(),
                }));
            } else if !self.cork_frame(Opcode::Close, true, false, payload) {
                return self.close_handles();
            }
            self.arm(self.close_timeout());
        }
        self.end_if_concluded();
    }

    /// Ends our side once both Close frames are exchanged, or the peer is not to be trusted.
    pub(super) fn end_if_concluded(&self) {
        let concluded = self.flags.has(Flags::RECEIVED_CLOSE) || self.flags.has(Flags::FAILED);
        if concluded && self.flags.has(Flags::SENT_CLOSE) {
            self.end_after_flush();
        }
    }

    /// Ends our side once everything corked is written.
    pub(super) fn end_after_flush(&self) {
        if !self.flags.set(Flags::FIN_WANTED) {
            self.mark_dirty();
        }
    }

    /// Bytes that the system has not taken yet. Writes what is corked first, so that 0 means what
    /// it means for an unbuffered socket.
    pub(crate) fn buffered_amount(&self) -> usize {
        self.write_corked();
        self.unsent()
    }

    /// Bytes that were sent and that the system has not taken yet, and payloads that wait to be framed.
    pub(super) fn unsent(&self) -> usize {
        self.queued() + self.waiting()
    }

    /// Bytes of frames that the system has not taken yet.
    pub(super) fn queued(&self) -> usize {
        let trail = if self.flags.has(Flags::TRAILED) { self.trail() } else { 0 };
        self.cork.borrow().len() + self.in_flight.get() + trail
    }

    /// Answers a PING. While the socket takes nothing, only the last PING is remembered: a peer
    /// cannot make us queue more than one answer (RFC 6455 section 5.5.3).
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        if !self.is_open() {
            return;
        }
        if self.in_flight.get() > 0 {
            self.pending_pong.replace(Some(payload.into()));
        } else {
            self.cork_frame(Opcode::Pong, true, false, payload);
        }
    }

    /// Corks bytes that are not a frame: a handshake.
    pub(super) fn cork_bytes(&self, bytes: &[u8]) {
        self.cork_with(|cork| cork.extend_from_slice(bytes));
    }

    /// Lets `fill` append to the cork.
    pub(super) fn cork_with(&self, fill: impl FnOnce(&mut Vec<u8>)) {
        if self.flags.has(Flags::TRAILED) {
            self.cork_behind(fill);
        } else {
            let mut cork = self.cork.borrow_mut();
            if cork.capacity() == 0 {
                *cork = self.context.buffers().take();
            }
            fill(&mut cork);
        }
        self.mark_dirty();
    }

    /// Corks one frame. Returns false when no masking key could be had.
    pub(super) fn cork_frame(&self, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) -> bool {
        let mask = match self.role {
            Role::Server => None,
            Role::Client => match self.context.buffers().random::<4>() {
                Some(key) => Some(key),
                None => return false,
            },
        };
        let header = encode_header(self.role, opcode, fin, rsv1, payload.len() as u64, mask);
        if mask.is_none() && payload.len() >= WRITE_THROUGH && self.in_flight.get() == 0 {
            self.cork_with(|cork| header.append_to(cork));
            self.write_through(payload);
            return true;
        }
        if mask.is_none() && self.log_frame(&header, payload) {
            return true;
        }
        let mut len = 0;
        self.cork_with(|cork| {
            header.append_to(cork);
            let from = cork.len();
            cork.extend_from_slice(payload);
            if let (Some(key), Some(masked)) = (mask, cork.get_mut(from..)) {
                apply_mask(key, 0, masked);
            }
            len = cork.len();
        });
        if len >= CORK_LIMIT {
            self.write_corked();
        }
        true
    }

    pub(super) fn mark_dirty(&self) {
        if !self.flags.set(Flags::DIRTY) {
            match self.this() {
                Some(this) => self.context.mark_dirty(this),
                None => self.flags.clear(Flags::DIRTY),
            }
        }
    }

    pub(super) fn notify_when_sent(&self) {
        let ahead = self.queued() - self.held_back();
        let end = self.bytes_sent.get() + ahead as u64;
        if ahead == 0 {
            // A large payload may be gone already.
            self.context.record(Record::new(Kind::Sent, 0, self.id, 1, 0));
            return;
        }
        self.sent.borrow_mut().get_or_insert_default().ends.push_back(end);
    }

    /// Writes the cork and then `payload`, copying only what the system does not take.
    fn write_through(&self, payload: &[u8]) {
        let Some(transport) = self.transport.get() else {
            return;
        };
        let mut cork = self.cork.take();
        let outcome = transport.try_write([&cork, payload]);
        let taken = match outcome {
            Ok(taken) => taken,
            Err(error) => return self.break_off(Failure::stream(error, "write")),
        };
        self.progress(taken);
        let total = cork.len() + payload.len();
        if taken < cork.len() {
            cork.drain(..taken);
            cork.extend_from_slice(payload);
        } else {
            let from = taken - cork.len();
            cork.clear();
            cork.extend_from_slice(payload.get(from..).unwrap_or_default());
        }
        if taken < total {
            self.queue_write(Bytes::own(cork, 0));
        } else {
            self.context.buffers().give_back(cork);
        }
    }

    /// Writes what is corked; what the system does not take is queued.
    pub(super) fn write_corked(&self) {
        if self.in_flight.get() > 0 || self.phase.get() >= Phase::Closing {
            return;
        }
        self.write_corked_once();
        if self.in_flight.get() == 0 && self.phase.get() < Phase::Closing {
            self.everything_is_written();
        }
    }

    pub(super) fn write_corked_once(&self) {
        let Some(transport) = self.transport.get() else {
            return;
        };
        let cork = self.cork.take();
        if self.flags.has(Flags::TRAILED) {
            return self.write_trail(&**transport, cork);
        }
        if cork.is_empty() {
            return self.context.buffers().give_back(cork);
        }
        match transport.try_write([&cork, &[]]) {
            Ok(taken) => {
                self.progress(taken);
                if taken < cork.len() {
                    self.queue_write(Bytes::own(cork, taken));
                } else {
                    self.context.buffers().give_back(cork);
                }
            }
            // The stream is broken: the peer is gone (1006).
            Err(error) => self.break_off(Failure::stream(error, "write")),
        }
    }

    pub(super) fn queue_write(&self, bytes: Bytes) {
        let Some(transport) = self.transport.get() else {
            return;
        };
        self.in_flight.set(bytes.as_slice().len());
        if transport.write(bytes).is_err() {
            self.in_flight.set(0);
            self.close_handles();
        }
    }

    /// A queued write has ended.
    pub(super) fn write_finished(&self, outcome: Result<(), UvError>) {
        let len = self.in_flight.replace(0);
        if self.phase.get() >= Phase::Closing {
            return;
        }
        if let Err(error) = outcome {
            return self.break_off(Failure::stream(error, "write"));
        }
        self.progress(len);
        if let Some(payload) = self.pending_pong.take() {
            self.answer_ping(&payload);
        }
        self.write_corked();
    }

    /// Counts bytes that the system has taken, and completes the sends that they end.
    pub(super) fn progress(&self, taken: usize) {
        let sent = self.bytes_sent.get() + taken as u64;
        self.bytes_sent.set(sent);
        self.context.counters().sent(taken);
        let mut completed = 0;
        if let Some(waiting) = self.sent.borrow_mut().as_deref_mut() {
            while waiting.ends.front().is_some_and(|end| *end <= sent) {
                waiting.ends.pop_front();
                completed += 1;
            }
        }
        if completed > 0 {
            self.context.record(Record::new(Kind::Sent, 0, self.id, completed, 0));
        }
    }

    /// Whether the connection need not wait for the peer's FIN: after the closing handshake it is the
    /// server that closes first, and the peer sends nothing any more (RFC 6455 section 7.1.1).
    fn may_close_first(&self) -> bool {
        self.role == Role::Server
            && self.flags.has(Flags::RECEIVED_CLOSE)
            && !self.flags.has(Flags::FAILED)
    }

    fn everything_is_written(&self) {
        if self.flags.has(Flags::WAITING) {
            return;
        }
        if self.flags.has(Flags::ABOVE) {
            self.flags.clear(Flags::ABOVE);
            self.context.record(Record::new(Kind::Drain, 0, self.id, 0, 0));
        }
        if self.flags.has(Flags::FIN_WANTED) && !self.flags.set(Flags::FIN_SENT) {
            let shut = match self.transport.get() {
                // Both sides are done: closing sends the FIN, and no unread byte turns it into a
                // reset.
                _ if self.flags.has(Flags::EOF) => Err(UvError::EOF),
                Some(transport) if self.may_close_first() && transport.ends_by_close() => {
                    Err(UvError::EOF)
                }
                Some(transport) => transport.shutdown(),
                None => Err(UvError::EINVAL),
            };
            if shut.is_err() {
                self.close_handles();
            }
        }
    }
}
