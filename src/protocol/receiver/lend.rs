//! The quick path of a busy connection: messages that lie whole in the input.
//!
//! It accepts a part of what [`Receiver::receive`] accepts, and gives the same
//! message for it; everything else it leaves alone. What it returns are a few
//! plain values that stay in registers: moving an event or an error through
//! memory costs more than all the rest of a small message.

use super::{Phase, Receiver};
use crate::protocol::{utf8, Role};

/// FIN and nothing else, with the opcode of a text or a binary message.
const WHOLE_TEXT: u8 = 0x81;
const WHOLE_BINARY: u8 = 0x82;
const MASK: u8 = 0x80;
/// Value of the seven length bits that announces 16 bits of length; below it they are the length.
const LENGTH_16: u8 = 126;
/// The shortest length that has to be written in 16 bits.
const MIN_LENGTH_16: usize = 126;

/// A message that was lent out of the input.
pub struct Lent<'a> {
    /// Whether it is binary; text is valid UTF-8, if that is checked.
    pub binary: bool,
    /// The message, unmasked where it lies.
    pub payload: &'a [u8],
    /// Bytes of the input that it took, its header included; at least 2.
    pub consumed: usize,
}

impl Receiver {
    /// Lends out the message at the front of `input` if it came in one frame of
    /// less than 64 KiB that lies there whole. With `None` nothing has happened,
    /// and `receive` says what there is.
    #[inline(always)]
    pub fn lend<'a>(&self, input: &'a mut [u8]) -> Option<Lent<'a>> {
        if self.message.is_some() || !matches!(self.phase, Phase::Head { len: 0, .. }) {
            return None;
        }
        let (&mut [first, second], rest) = input.split_first_chunk_mut::<2>()?;
        if first != WHOLE_TEXT && first != WHOLE_BINARY {
            return None;
        }
        let (length, rest, size) = match second & !MASK {
            short @ 0..LENGTH_16 => (usize::from(short), rest, 2_usize),
            LENGTH_16 => {
                let (bytes, rest) = rest.split_first_chunk_mut::<2>()?;
                let length = usize::from(u16::from_be_bytes(*bytes));
                (Some(length).filter(|length| *length >= MIN_LENGTH_16)?, rest, 4)
            }
            _ => return None,
        };
        if length as u64 > self.max_payload {
            return None;
        }
        let (key, rest, size) = match (self.role, second & MASK) {
            (Role::Client, 0) => ([0; 4], rest, size),
            (Role::Server, MASK) => {
                let (key, rest) = rest.split_first_chunk_mut::<4>()?;
                (*key, rest, size.saturating_add(4))
            }
            _ => return None,
        };
        let payload = rest.get_mut(..length)?;
        self.unmask(key, payload);
        let binary = first == WHOLE_BINARY;
        if !binary && !self.skip_utf8_validation && utf8::check(payload).is_err() {
            // Masking is its own inverse: `receive` finds the input as it was.
            self.unmask(key, payload);
            return None;
        }
        Some(Lent { binary, payload, consumed: size.saturating_add(length) })
    }
}
