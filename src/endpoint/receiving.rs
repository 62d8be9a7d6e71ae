//! The receiving half of a connection: bytes in, records out.

use super::connection::{Connection, Flags, Phase};
use super::Failure;
use crate::context::{append, Kind, MessagePayload, Record};
use crate::protocol::{ControlBudget, Event, Opcode, Payload, ProtocolError, Receiver};
use crate::transport::{ReadInto, Transport, UvError};

/// Bytes put aside after which reading stops: as much as one read brings.
const ENOUGH_WAITING: usize = 64 * 1024;
/// What a Close frame without a code is reported as (RFC 6455 section 7.1.5).
const NO_STATUS_RECEIVED: u16 = 1005;

impl Connection {
    /// Takes bytes from the transport.
    pub(super) fn take_in(&self, bytes: &mut [u8]) {
        self.count_received(bytes.len());
        match self.phase.get() {
            Phase::Open => {
                if self.flags.has(Flags::TAPPED) && !self.context.record_input(self.id, bytes) {
                    return self.lacks_memory_for_input();
                }
                if self.flags.has(Flags::PAUSED | Flags::THROTTLED | Flags::HELD | Flags::HAS_INPUT)
                {
                    self.put_aside(bytes);
                } else {
                    let parsed = self.parse(bytes);
                    if let Some(rest @ [_, ..]) = bytes.get(parsed..) {
                        self.put_aside(rest);
                        self.resume_later();
                    }
                }
            }
            Phase::AwaitingRequest => self.request_bytes(bytes),
            Phase::AwaitingResponse => self.response_bytes(bytes),
            // Read on while the user decides, so that a peer that goes away is noticed.
            Phase::Deciding | Phase::Leaving => self.put_aside(bytes),
            // Read on, so that the peer's FIN is seen and our last words are not reset.
            Phase::Dialing | Phase::Refusing | Phase::Closing | Phase::Closed => {}
        }
    }

    /// Takes what belongs to a long message straight to its place, by `read`. Returns nothing if there
    /// is no such message, or the bytes are to be seen by others, too.
    pub(super) fn take_in_place(&self, read: ReadInto<'_>) -> Option<Result<usize, UvError>> {
        let is_plain = self.phase.get() == Phase::Open
            && !self.flags.has(Flags::TAPPED | Flags::PAUSED | Flags::HELD | Flags::HAS_INPUT);
        if !is_plain {
            return None;
        }
        let mut receiver = self.receiver.borrow_mut();
        let (message, most) = receiver.room()?;
        let outcome = read(message, most);
        let count = outcome.unwrap_or(0);
        self.count_received(count);
        match receiver.take_room(count) {
            Ok(None) => {}
            Ok(Some(event)) => {
                // A message: there is room for no other.
                let _ = self.report(event);
            }
            Err(error) => self.peer_misbehaved(&error),
        }
        Some(outcome)
    }

    fn count_received(&self, count: usize) {
        self.context.counters().received(count);
        self.bytes_received.set(self.bytes_received.get() + count as u64);
        self.tally.heard(self.context.event_loop().now());
    }

    fn deliver_message(
        &self,
        binary: bool,
        payload: MessagePayload<'_>,
    ) -> Result<(), ProtocolError> {
        if !self.context.record_message(self.id, binary, payload) {
            // As where a message is put together: memory that cannot be had is a limit like another.
            return Err(ProtocolError::UnsupportedMessageLength);
        }
        self.tally.message_received();
        Ok(())
    }

    /// Keeps bytes that cannot be parsed yet, and reads no more once enough of them wait.
    pub(super) fn put_aside(&self, bytes: &[u8]) {
        self.flags.set(Flags::HAS_INPUT);
        let rare = self.rare();
        let mut input = rare.input.borrow_mut();
        let is_kept = append(&mut input, bytes);
        let is_enough = input.len() >= ENOUGH_WAITING;
        drop(input);
        if !is_kept {
            self.lacks_memory_for_input();
        } else if is_enough {
            self.stop_reading();
        }
    }

    /// Fails because there is no memory for what the peer has sent.
    #[cold]
    pub(crate) fn lacks_memory_for_input(&self) {
        if self.phase.get() != Phase::Open {
            return self.breaks(Failure::stream(UvError::ENOMEM, "read"));
        }
        self.if_rare(|rare| rare.input.take());
        self.receiver.borrow_mut().conclude();
        self.peer_misbehaved(&ProtocolError::UnsupportedMessageLength);
    }

    /// Takes what was put aside, and then the end of the stream if that came meanwhile.
    pub(super) fn take_in_waiting(&self) {
        self.flags.clear(Flags::HELD);
        if self.phase.get() == Phase::Deciding && self.flags.has(Flags::EOF) {
            // Nobody waits for a decision that takes longer than a turn.
            return self.close_handles();
        }
        if self.phase.get() != Phase::Open || self.flags.has(Flags::PAUSED | Flags::THROTTLED) {
            return;
        }
        if self.flags.has(Flags::HAS_INPUT) {
            let rare = self.rare();
            let mut input = rare.input.take();
            let parsed = self.parse(&mut input);
            if parsed < input.len() {
                input.drain(..parsed);
                rare.input.replace(input);
                return self.resume_later();
            }
            self.flags.clear(Flags::HAS_INPUT);
            drop((rare, input));
            self.forget_rare();
        }
        self.restart_reading();
        if self.flags.has(Flags::EOF) {
            if self.context.outbox().is_empty() {
                self.stream_is_over();
            } else {
                // Replies to what was just parsed go out first.
                self.resume_later();
            }
        }
    }

    /// The transport will bring no more.
    pub(super) fn input_ended(&self, reason: UvError) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        let fault = self.transport().and_then(Transport::fault);
        if reason != UvError::EOF || fault.is_some() {
            let failure = match fault {
                Some(fault) => Failure::tls(&fault),
                None => Failure::stream(reason, "read"),
            };
            return self.breaks(failure);
        }
        self.flags.set(Flags::EOF);
        match self.phase.get() {
            Phase::AwaitingResponse => self.fail(Failure::hang_up()),
            // Replies to messages that were read in this turn are still to be written, and a request is
            // still to be decided on.
            Phase::Open | Phase::Deciding => self.resume_later(),
            // The next reader will see it, too.
            Phase::Leaving => {}
            // The refusal may still be corked; writing it out ends the connection.
            Phase::Refusing if !self.flags.has(Flags::FIN_SENT) => {}
            _ => self.close_handles(),
        }
    }

    fn stream_is_over(&self) {
        if self.flags.has(Flags::FIN_SENT) {
            self.close_handles();
        } else {
            self.end_after_flush();
            // A peer that has ended its side may still never read.
            if self.heartbeat.take().is_some() || self.deadline.get() == 0 {
                self.arm(self.close_timeout());
            }
        }
    }

    /// Parses frames until the batch is full or enough is inflated, and returns how many bytes that
    /// took: what is inflated may be a thousand times what was read. Pausing takes effect between
    /// batches.
    fn parse(&self, bytes: &mut [u8]) -> usize {
        self.flags.set(Flags::PARSING);
        let mut receiver = self.receiver.borrow_mut();
        let mut at = 0;
        while let Some(rest) = bytes.get_mut(at..).filter(|rest| !rest.is_empty()) {
            match receiver.lend(rest) {
                Some(lent) => {
                    let payload = MessagePayload::Borrowed(lent.payload);
                    let delivered = self.deliver_message(lent.binary, payload);
                    at += lent.consumed;
                    if let Err(error) = delivered {
                        receiver.conclude();
                        self.peer_misbehaved(&error);
                    }
                }
                None => {
                    let (taken, is_over) = self.parse_step(&mut receiver, rest);
                    at += taken;
                    if is_over {
                        break;
                    }
                }
            }
            if self.context.outbox().is_full() {
                break;
            }
        }
        at
    }

    /// Parses up to the next event, whatever it is, and returns how many bytes that took, and whether
    /// no more is to be parsed for now.
    #[inline(never)]
    fn parse_step(&self, receiver: &mut Receiver, bytes: &mut [u8]) -> (usize, bool) {
        let len = bytes.len();
        let step = match receiver.receive(bytes) {
            Ok(step) => step,
            Err(error) => {
                self.peer_misbehaved(&error);
                return (len, true);
            }
        };
        let Some(event) = step.event else { return (step.consumed, true) };
        if let Err(error) = self.report(event) {
            receiver.conclude();
            self.peer_misbehaved(&error);
            return (len, true);
        }
        if self.phase.get() != Phase::Open {
            // There was no masking key for the answer to a PING.
            return (len, true);
        }
        (step.consumed, false)
    }

    fn report(&self, event: Event<'_>) -> Result<(), ProtocolError> {
        match event {
            Event::Message { binary, payload } => {
                let payload = match payload {
                    Payload::Borrowed(bytes) => MessagePayload::Borrowed(bytes),
                    Payload::Owned(bytes) => MessagePayload::Owned(bytes),
                    Payload::Inflated(ref bytes) => MessagePayload::Borrowed(bytes),
                };
                self.deliver_message(binary, payload)?;
            }
            Event::Ping(payload) => {
                self.tally.control_received(Opcode::Ping);
                self.spend_control(ControlBudget::ping)?;
                self.context.record_with(Kind::Ping, 0, self.id, &payload);
                if self.group.borrow().settings.auto_pong {
                    self.answer_ping(&payload);
                }
            }
            Event::Pong(payload) => {
                self.tally.control_received(Opcode::Pong);
                self.spend_control(ControlBudget::pong)?;
                self.context.record_with(Kind::Pong, 0, self.id, &payload);
            }
            Event::Close { code, reason } => {
                self.flags.set(Flags::RECEIVED_CLOSE);
                let code = u32::from(code.unwrap_or(NO_STATUS_RECEIVED));
                self.context.record_with(Kind::PeerClose, code, self.id, &reason);
                self.end_if_concluded();
            }
        }
        Ok(())
    }

    fn spend_control(
        &self,
        spend: impl FnOnce(&mut ControlBudget, u32, u32) -> Result<(), ProtocolError>,
    ) -> Result<(), ProtocolError> {
        let rate = self.group.borrow().settings.max_control_frames;
        let mut budget = self.control.get();
        // The clock of the budget may wrap around.
        let spent = spend(&mut budget, self.context.event_loop().now() as u32, rate);
        self.control.set(budget);
        spent
    }

    /// The peer broke the protocol. The Close frame is left to the delivery, so that replies to the
    /// messages before it go out first.
    fn peer_misbehaved(&self, error: &ProtocolError) {
        if self.flags.set(Flags::FAILED) {
            return;
        }
        if let Some(limit) = error.limit() {
            self.breaches(limit);
        }
        self.rare().failure.replace(Some(Failure::protocol(error)));
        let code = u32::from(error.close_code());
        self.context.record(Record::new(Kind::Error, code, self.id, 0, 0));
    }
}
