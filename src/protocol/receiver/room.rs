//! Reading a long message to where it belongs.
//!
//! Once the head of a long frame has been seen, what follows is payload: a
//! caller can read it into the message itself, and save the copy from a buffer
//! of its own. The message grows as it does otherwise.

use super::{Phase, Receiver};
use crate::protocol::{mask, Event, Payload, ProtocolError, Role};

/// What is left of a frame is read to its place if it is this long: less is cheaper to copy than to
/// read by a call of its own, while other frames wait behind it.
const MIN_ROOM: usize = 16 * 1024;
/// With less room than this the message gets more, before it is full.
const MIN_SPARE: usize = 4 * 1024;
/// The most that is lent at once: what other connections may wait for.
const MAX_ROOM: usize = 256 * 1024;

impl Receiver {
    /// Lends the message so far, and says how many bytes may be appended to it, if much of an
    /// uncompressed data frame comes next. How many were is then told to `take_room`; nothing else may
    /// be called before.
    pub fn room(&mut self) -> Option<(&mut Vec<u8>, usize)> {
        let Phase::Payload { remaining, fin, .. } = self.phase else { return None };
        let due = usize::try_from(remaining).ok()?;
        let start = self.buffer.len();
        // A control frame is always shorter.
        if due < MIN_ROOM || start == 0 || self.is_inflating() {
            return None;
        }
        // Without memory the bytes come the other way, which fails the message.
        self.reserve(MIN_SPARE, fin, remaining.saturating_sub(MIN_SPARE as u64)).ok()?;
        let spare = self.buffer.capacity().saturating_sub(start);
        Some((&mut self.buffer, spare.min(due).min(MAX_ROOM)))
    }

    /// Takes `count` bytes that were appended to what `room` has lent.
    pub fn take_room(&mut self, count: usize) -> Result<Option<Event<'static>>, ProtocolError> {
        let start = self.buffer.len().saturating_sub(count);
        let Phase::Payload { key, fin, .. } = self.phase else { return Ok(None) };
        let piece = self.buffer.get_mut(start..).unwrap_or_default();
        if self.role == Role::Server {
            mask::apply_aligned(key, piece);
        }
        let remaining = self.advance_payload(count);
        let outcome = self.end_appended(count, fin && remaining == 0);
        if outcome.is_err() {
            self.conclude();
        }
        Ok(outcome?.map(|message| self.end_message(Payload::Owned(message))))
    }
}
