//! The sending half of a connection: frames are corked, and flushed once per turn.

use super::connection::{Connection, Flags, Phase};
use super::offload::{Frame, Item, OFFLOAD};
use super::Failure;
use crate::context::{append, copy, Kind, Record, Span};
use crate::protocol::limits::Limit;
use crate::protocol::{apply_mask, close_payload, encode_header, Header, Opcode, Role};
use crate::transport::{Bytes, Transport, UvError};

/// A payload from this size on is written straight from the sender's memory; smaller ones are
/// cheaper to copy behind their header than to pass as a second piece.
pub(super) const WRITE_THROUGH: usize = 16 * 1024;
/// A cork that has grown to this size is flushed at once: waiting longer saves no system call that
/// would matter, and costs memory.
pub(super) const CORK_LIMIT: usize = 64 * 1024;
/// Unsent bytes above which `send` reports pressure, and a `drain` follows. As in libwebsockets'
/// and browsers' practice, some thousand small messages.
const HIGH_WATER: usize = 1024 * 1024;

/// What a connection that ends without a Close frame is reported with (RFC 6455 section 7.1.5).
pub(super) const ABNORMAL_CLOSURE: u32 = 1006;

/// What a send says about the queue behind it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pressure {
    /// Keep sending.
    Low,
    /// The queue is above the high-water mark: wait for `drain`.
    High,
    /// The queue was longer than it may be, or there was no memory or no masking key for the frame: the
    /// connection has ended, and the frame was not taken.
    Excess,
    /// The context holds more than it may: somebody has to end.
    Scarce,
}

/// What became of a frame.
pub(super) enum Corked {
    /// It is in the cork, or written.
    Now,
    /// It is to be compressed elsewhere.
    TooLarge,
    /// That was not possible, and the connection has ended.
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

impl Connection {
    /// Queues a frame. Returns nothing when the connection is not open. With `notify` a `Sent`
    /// record follows once the frame's last byte has been given to the system. A message whose first
    /// fragment says `compress` is compressed if that was agreed on. The connection ends if more waits
    /// already than may.
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
        let is_behind = self.flags.has(Flags::WRITING | Flags::WAITING);
        if is_behind && self.has_too_much_queued() {
            self.overflows();
            return Some(Pressure::Excess);
        }
        self.queue_frame(opcode, fin, payload, notify, compress, is_behind)
    }

    /// As `send`, without its conditions.
    #[inline]
    fn queue_frame(
        &self,
        opcode: Opcode,
        fin: bool,
        payload: &[u8],
        notify: bool,
        compress: bool,
        is_behind: bool,
    ) -> Option<Pressure> {
        let frame = || {
            let payload = self.keep(payload)?;
            Some(Frame { opcode, fin, compress, notify, payload })
        };
        if is_behind && self.flags.has(Flags::WAITING) {
            let Some(frame) = frame() else { return Some(Pressure::Excess) };
            self.defer(Item::Frame(frame));
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
                Corked::TooLarge => {
                    let Some(frame) = frame() else { return Some(Pressure::Excess) };
                    self.offload(frame);
                }
                Corked::Failed => return Some(Pressure::Excess),
            }
        }
        if opcode.is_control() {
            self.control_sent(opcode);
        } else {
            if !fin {
                self.flags.set(Flags::FRAGMENTING);
            } else if self.flags.has(Flags::FRAGMENTING) {
                self.message_is_whole();
            }
        }
        Some(self.pressure())
    }

    /// Sends a PING by ourselves, however much waits for the system. It does not wait for what is being
    /// compressed: the peer has nothing to do with how long that takes. Returns false if the connection is
    /// not open.
    pub(super) fn probe(&self) -> bool {
        self.is_open() && self.queue_frame(Opcode::Ping, true, &[], false, false, false).is_some()
    }

    fn control_sent(&self, opcode: Opcode) {
        self.tally.control_sent(opcode);
        if opcode == Opcode::Ping {
            let mut budget = self.control.get();
            budget.asks();
            self.control.set(budget);
        }
    }

    /// Counts a frame that is in the queue, and notes the wish to hear of its end.
    pub(super) fn frame_queued(&self, opcode: Opcode, fin: bool, notify: bool) {
        if !opcode.is_control() && fin {
            self.context.counters().message_sent();
            self.tally.message_sent();
        }
        if notify {
            self.notify_when_sent();
        }
    }

    /// Says how full the queue is.
    pub(super) fn pressure(&self) -> Pressure {
        // While nothing is in flight, no more is corked than CORK_LIMIT.
        let may_be_full = self.flags.has(Flags::WRITING | Flags::WAITING);
        if !may_be_full {
            return Pressure::Low;
        }
        self.settle_account();
        let is_above = self.unsent() > HIGH_WATER;
        if is_above {
            self.flags.set(Flags::ABOVE);
        }
        match self.context.budget().is_over() {
            true => Pressure::Scarce,
            false if is_above => Pressure::High,
            false => Pressure::Low,
        }
    }

    /// Whether more than `maxBackpressure` waits for the peer.
    pub(super) fn has_too_much_queued(&self) -> bool {
        match self.group.borrow().settings.max_backpressure {
            0 => false,
            max => (self.unsent() + self.held_by_stream()) as u64 > max,
        }
    }

    /// Bytes that the stream under a bridged connection has not taken in.
    pub(super) fn held_by_stream(&self) -> usize {
        self.transport().map_or(0, Transport::held)
    }

    /// Drops the connection because too much waits for the peer.
    pub(super) fn overflows(&self) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        self.breaches(Limit::MaxBackpressure);
        self.gives_up(Failure::backpressure());
    }

    /// Drops the connection because there is no memory for what is to be sent.
    #[cold]
    pub(crate) fn lacks_memory(&self) {
        self.gives_up(Failure::stream(UvError::ENOMEM, "write"));
    }

    /// Reports why nothing more can be sent, and closes.
    fn gives_up(&self, failure: Failure) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        if self.phase.get() != Phase::Open {
            return self.breaks(failure);
        }
        self.rare().failure.borrow_mut().get_or_insert(failure);
        self.context.record(Record::new(Kind::Error, ABNORMAL_CLOSURE, self.id, 0, 0));
        self.close_handles();
    }

    /// The stream is broken: the peer is gone (1006), or there is no memory for what it is to get.
    pub(super) fn write_failed(&self, error: UvError) {
        match error {
            UvError::ENOMEM => self.lacks_memory(),
            error => self.breaks(Failure::stream(error, "write")),
        }
    }

    /// Copies bytes that are to be sent later. Without memory for them the connection ends.
    fn keep(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let kept = copy([bytes]);
        if kept.is_none() {
            self.lacks_memory();
        }
        kept
    }

    /// Sends bytes as they are, between frames. For those who speak through `_socket`.
    pub(crate) fn write_raw(&self, bytes: &[u8], notify: bool) -> Option<Pressure> {
        // An upgrade request, too, may be answered by hand.
        let is_writable =
            matches!(self.phase.get(), Phase::Open | Phase::AwaitingRequest | Phase::Deciding);
        if !is_writable || self.flags.has(Flags::FIN_WANTED) {
            return None;
        }
        if self.phase.get() == Phase::Open && self.has_too_much_queued() {
            self.overflows();
            return Some(Pressure::Excess);
        }
        if self.flags.has(Flags::WAITING) {
            let Some(bytes) = self.keep(bytes) else { return Some(Pressure::Excess) };
            self.defer(Item::Raw { bytes, notify });
        } else {
            if !self.cork_bytes(bytes) {
                return Some(Pressure::Excess);
            }
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
                return;
            }
            self.heartbeat.take();
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
        self.cork.borrow().len() + self.in_flight() + trail
    }

    /// Answers a PING. While the socket takes nothing, only the last PING is remembered: a peer
    /// cannot make us queue more than one answer (RFC 6455 section 5.5.3).
    pub(super) fn answer_ping(&self, payload: &[u8]) {
        if !self.is_open() {
            return;
        }
        if self.flags.has(Flags::WRITING) {
            self.rare().pending_pong.set(Some(payload.into()));
        } else {
            self.cork_frame(Opcode::Pong, true, false, payload);
            self.tally.control_sent(Opcode::Pong);
        }
    }

    /// Corks bytes as they are. Returns false if the connection has ended for want of memory.
    pub(super) fn cork_bytes(&self, bytes: &[u8]) -> bool {
        self.cork_with(bytes.len(), |cork| cork.extend_from_slice(bytes))
    }

    /// Corks a part of the log.
    pub(super) fn cork_span(&self, span: Span) {
        let is_corked = self.context.log().with(span, |bytes| {
            self.cork_if_room(bytes.len(), |cork| cork.extend_from_slice(bytes))
        });
        // Not while the log is lent: this end may be that of the context, which empties the log.
        if !is_corked {
            self.lacks_memory();
        }
    }

    /// Lets `fill` append `len` bytes to the cork. Returns false if the connection has ended for want of
    /// memory for them.
    #[inline]
    pub(super) fn cork_with(&self, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let is_corked = self.cork_if_room(len, fill);
        if !is_corked {
            self.lacks_memory();
        }
        is_corked
    }

    /// As `cork_with`, but the connection does not end.
    #[inline]
    fn cork_if_room(&self, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> bool {
        let has_room = if self.flags.has(Flags::TRAILED) {
            self.cork_behind(len, fill)
        } else {
            let mut cork = self.cork.borrow_mut();
            if cork.capacity() == 0 {
                *cork = self.context.buffers().take();
            }
            let has_room = cork.try_reserve(len).is_ok();
            if has_room {
                fill(&mut cork);
            }
            has_room
        };
        if has_room {
            self.mark_dirty();
        }
        has_room
    }

    /// Corks one frame. Returns false if the connection has ended, for want of memory or of a masking
    /// key.
    pub(super) fn cork_frame(&self, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) -> bool {
        let mask = match self.role {
            Role::Server => None,
            Role::Client => match self.context.buffers().random::<4>() {
                Some(key) => Some(key),
                None => {
                    self.gives_up(Failure::random());
                    return false;
                }
            },
        };
        let header = encode_header(self.role, opcode, fin, rsv1, payload.len() as u64, mask);
        if mask.is_none() && payload.len() >= WRITE_THROUGH && !self.flags.has(Flags::WRITING) {
            return self.cork_with(Header::ROOM, |cork| header.append_to(cork))
                && self.write_through(payload);
        }
        if mask.is_none() && self.log_frame(&header, payload) {
            return true;
        }
        let mut len = 0;
        let is_corked = self.cork_with(Header::ROOM + payload.len(), |cork| {
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
        is_corked
    }

    pub(super) fn mark_dirty(&self) {
        if !self.flags.set(Flags::DIRTY) {
            self.context.mark_dirty(self.place.get());
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
        self.rare().sent.borrow_mut().push_back(end);
        self.flags.set(Flags::NOTIFIES);
    }

    /// Writes the cork and then `payload`, copying only what the system does not take. Returns false if
    /// the connection has ended for want of memory for that.
    fn write_through(&self, payload: &[u8]) -> bool {
        let Some(transport) = self.transport.get() else {
            return true;
        };
        let mut cork = self.cork.take();
        let taken = match transport.try_write([&cork, payload]) {
            Ok(taken) => taken,
            Err(error) => {
                self.write_failed(error);
                return error != UvError::ENOMEM;
            }
        };
        self.progress(taken);
        let from = taken.saturating_sub(cork.len());
        cork.drain(..taken.min(cork.len()));
        if !append(&mut cork, payload.get(from..).unwrap_or_default()) {
            self.lacks_memory();
            return false;
        }
        if cork.is_empty() {
            self.context.buffers().give_back(cork);
        } else {
            self.queue_write(Bytes::own(cork, 0));
        }
        true
    }

    /// Writes what is corked; what the system does not take is queued.
    pub(super) fn write_corked(&self) {
        if self.flags.has(Flags::WRITING) || self.phase.get() >= Phase::Closing {
            return;
        }
        self.write_corked_once();
        if !self.flags.has(Flags::WRITING) && self.phase.get() < Phase::Closing {
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
            Err(error) => self.write_failed(error),
        }
    }

    pub(super) fn queue_write(&self, bytes: Bytes) {
        let Some(transport) = self.transport.get() else {
            return;
        };
        self.rare().in_flight.set(bytes.as_slice().len());
        self.flags.set(Flags::WRITING);
        if let Err(error) = transport.write(bytes) {
            self.forget_write();
            self.write_failed(error);
        }
    }

    /// Bytes of the queued write that is under way.
    fn in_flight(&self) -> usize {
        if !self.flags.has(Flags::WRITING) {
            return 0;
        }
        self.if_rare(|rare| rare.in_flight.get()).unwrap_or(0)
    }

    /// No write is under way any more. Returns how many bytes it had.
    fn forget_write(&self) -> usize {
        self.flags.clear(Flags::WRITING);
        self.if_rare(|rare| rare.in_flight.take()).unwrap_or(0)
    }

    /// A queued write has ended.
    pub(super) fn write_finished(&self, outcome: Result<(), UvError>) {
        let len = self.forget_write();
        if self.phase.get() >= Phase::Closing {
            return;
        }
        if let Err(error) = outcome {
            return self.write_failed(error);
        }
        self.progress(len);
        if let Some(payload) = self.if_rare(|rare| rare.pending_pong.take()).flatten() {
            self.answer_ping(&payload);
        }
        self.write_corked();
    }

    /// Counts bytes that the system has taken, and completes the sends that they end.
    pub(super) fn progress(&self, taken: usize) {
        let sent = self.bytes_sent.get() + taken as u64;
        self.bytes_sent.set(sent);
        self.context.counters().sent(taken);
        if self.flags.has(Flags::NOTIFIES) {
            self.notify_sent(sent);
        }
    }

    /// Completes the sends that end at the position `sent` or before.
    fn notify_sent(&self, sent: u64) {
        let rare = self.rare();
        let mut ends = rare.sent.borrow_mut();
        let completed = ends.iter().take_while(|end| **end <= sent).count();
        ends.drain(..completed);
        if ends.is_empty() {
            self.flags.clear(Flags::NOTIFIES);
        }
        if completed > 0 {
            self.context.record(Record::new(Kind::Sent, 0, self.id, completed as u32, 0));
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
