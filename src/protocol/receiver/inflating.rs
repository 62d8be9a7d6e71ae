//! Compressed messages (RFC 7692).
//!
//! What arrives of one is inflated at once, into a buffer that all connections
//! share, and appended to the message whenever that is full or the input used
//! up. A message that came in one frame and fits the shared buffer is lent out
//! of it. So that splits do not matter here either, the first fault by position
//! counts: text inflated before a fault is checked before the fault is reported.
//!
//! A few bytes may stand for a thousand times as many. When what may be inflated
//! for now is used up (see [`Decompressor::with_allowance`]), the rest of the
//! input is left to the next call.
//!
//! [`Decompressor::with_allowance`]: crate::protocol::deflate::Decompressor::with_allowance

use core::mem;

use super::{room_for, take, Phase, Receiver};
use crate::protocol::deflate::TAIL;
use crate::protocol::frame::FrameHead;
use crate::protocol::{mask, utf8, Event, Payload, ProtocolError};

/// Where blocks begin to have their memory from somewhere else (src/allocator.rs): one that shrinks below it has
/// to move, for which there may be no memory.
const LONG: usize = 1024 * 1024;

impl Receiver {
    /// Whether the message in progress is compressed.
    #[inline]
    pub(super) fn is_inflating(&self) -> bool {
        self.decompressor.as_ref().is_some_and(|decompressor| decompressor.is_active())
    }

    /// Whether a message is being inflated, and that is to go on later.
    pub(super) fn has_inflated_enough(&self) -> bool {
        self.decompressor.as_ref().is_some_and(|decompressor| decompressor.has_done_enough())
    }

    /// Enters a frame of a compressed message. Where little may stand for much, it is taken piece by
    /// piece.
    pub(super) fn begin_compressed<'a>(
        &mut self,
        head: FrameHead,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if head.length == 0 {
            return self.take_compressed(&[], head.fin).map(|(event, _)| event);
        }
        self.phase = Phase::payload_of(head);
        Ok(None)
    }

    /// The same for a frame of a compressed message. What is not inflated yet
    /// stays in the input as it came.
    pub(super) fn resume_compressed<'a>(
        &mut self,
        input: &mut &mut [u8],
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let Phase::Payload { remaining, key, fin, .. } = self.phase else {
            return Ok(None);
        };
        let size = input.len().min(usize::try_from(remaining).unwrap_or(usize::MAX));
        let piece = input.get_mut(..size).unwrap_or_default();
        self.unmask(key, piece);
        let ends = fin && remaining == size as u64;
        let (event, taken) = self.take_compressed(piece, ends)?;
        let rest = piece.get_mut(taken..).unwrap_or_default();
        self.unmask(mask::rotate_key(key, taken), rest);
        self.advance_payload(taken);
        take(input, taken);
        Ok(event)
    }

    /// Takes unmasked bytes of a compressed message, its last if it `ends`, and
    /// returns how many it took: not all if enough is inflated for now.
    fn take_compressed<'a>(
        &mut self,
        piece: &[u8],
        ends: bool,
    ) -> Result<(Option<Event<'a>>, usize), ProtocolError> {
        // Back in its place below; an error concludes the receiver and needs it no more.
        let Some(mut decompressor) = self.decompressor.take() else {
            return Ok((None, piece.len()));
        };
        let mut scratch = decompressor.scratch();
        let text = self.is_checked_text();
        let mut input = piece;
        let mut tail_is_due = ends;
        let mut filled = 0_usize;
        loop {
            // One byte above the limit tells that there is one, and more is never inflated.
            let held = self.buffer.len().saturating_add(filled) as u64;
            let room = usize::try_from(self.max_payload.saturating_sub(held)).unwrap_or(usize::MAX);
            let free = scratch.bytes.get_mut(filled..).unwrap_or_default();
            let end = free.len().min(room.saturating_add(1));
            let output = free.get_mut(..end).unwrap_or_default();
            let (written, fault) = decompressor.inflate(&mut input, output);
            let fault = match written > room {
                true => Some(ProtocolError::UnsupportedMessageLength),
                false => fault,
            };
            filled = filled.saturating_add(written.min(room));
            let bytes = scratch.bytes.get(..filled).unwrap_or_default();
            if let Some(fault) = fault {
                if text {
                    self.append_inflated(bytes)?;
                    self.check_appended(filled, false)?;
                }
                return Err(fault);
            }
            if written == end {
                // The shared buffer is full.
                self.append_inflated(bytes)?;
                if text {
                    self.check_appended(filled, false)?;
                }
                // Input that is used up is gone; what it still stands for is little.
                decompressor.spend(filled);
                if decompressor.has_done_enough() && !input.is_empty() {
                    self.decompressor = Some(decompressor);
                    return Ok((None, piece.len().saturating_sub(input.len())));
                }
                filled = 0;
                continue;
            }
            if mem::take(&mut tail_is_due) && decompressor.wants_tail() {
                input = &TAIL;
                continue;
            }
            break;
        }
        decompressor.spend(filled);
        let bytes = scratch.bytes.get(..filled).unwrap_or_default();
        if ends && self.buffer.is_empty() {
            if text {
                utf8::check(bytes)?;
            }
            self.decompressor = Some(decompressor);
            let payload = Payload::Inflated(scratch.into_inflated(filled));
            return Ok((Some(self.end_message(payload)), piece.len()));
        }
        self.append_inflated(bytes)?;
        if text {
            self.check_appended(filled, ends)?;
        }
        self.decompressor = Some(decompressor);
        if !ends {
            return Ok((None, piece.len()));
        }
        let message = shrink(mem::take(&mut self.buffer));
        Ok((Some(self.end_message(Payload::Owned(message))), piece.len()))
    }

    /// Appends to a message whose length nobody has announced. The buffer grows to
    /// powers of two until it is as long as a message may be.
    fn append_inflated(&mut self, bytes: &[u8]) -> Result<(), ProtocolError> {
        let needed = self.buffer.len().saturating_add(bytes.len());
        if needed > self.buffer.capacity() {
            let limit = usize::try_from(self.max_payload).unwrap_or(usize::MAX);
            let room = room_for(needed).min(limit).max(needed);
            if self.buffer.try_reserve_exact(room.saturating_sub(self.buffer.len())).is_err() {
                return Err(ProtocolError::UnsupportedMessageLength);
            }
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }
}

/// Gives back what a message does not need, if that can be done.
fn shrink(message: Vec<u8>) -> Vec<u8> {
    let mut exact = Vec::new();
    if message.capacity() < LONG || message.len() >= LONG {
        exact = message;
        exact.shrink_to_fit();
    } else if exact.try_reserve_exact(message.len()).is_ok() {
        exact.extend_from_slice(&message);
    } else {
        exact = message;
    }
    exact
}

/// Returns how long a frame of a compressed message may be: what cannot be
/// compressed becomes longer, by an eighth at most where a compressor only has
/// fixed codes, and a few bytes.
pub(super) fn longest_compressed(max_payload: u64) -> u64 {
    max_payload.saturating_add(max_payload >> 3).saturating_add(64)
}
