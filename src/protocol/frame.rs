//! Frame headers (RFC 6455 section 5.2): reading, with every rule that needs
//! no payload, and writing.
//!
//! ```text
//!  byte 0                 byte 1            then
//! +-+-+-+-+-------+      +-+-------------+ +----------------+ +-------------+
//! |F|R|R|R| opcode|      |M| length      | | 16 or 64 bits  | | masking key |
//! |I|S|S|S| (4)   |      |A| (7)         | | if 126 or 127  | | if MASK     |
//! |N|V|V|V|       |      |S|             | |                | |             |
//! | |1|2|3|       |      |K|             | |                | |             |
//! +-+-+-+-+-------+      +-+-------------+ +----------------+ +-------------+
//! ```
//!
//! The rules are checked in the order in which `ws` checks them, so that a
//! frame with several faults gives the same error there and here.

use super::limits::{MAX_CONTROL_PAYLOAD, MAX_FRAME_PAYLOAD};
use super::{Opcode, ProtocolError, Role};

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RSV2_3: u8 = 0x30;
const MASK: u8 = 0x80;
const LENGTH: u8 = 0x7F;
/// Value of the seven length bits that announces 16 bits of length.
const LENGTH_16: u8 = 126;
/// Value of the seven length bits that announces 64 bits of length.
const LENGTH_64: u8 = 127;

/// What the receiver's state lets the next frame be.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    /// Our side; a server expects masks, a client none.
    pub(super) role: Role,
    /// A message has begun: its continuation is due, a new one is not.
    pub(super) in_message: bool,
    /// Bytes that the message may still grow by.
    pub(super) room: u64,
    /// Longest frame of a compressed message; `None` if there is no compression.
    pub(super) compressed_room: Option<u64>,
}

/// A frame header that keeps every rule.
#[derive(Clone, Copy)]
pub(super) struct FrameHead {
    pub(super) fin: bool,
    /// RSV1: a compressed message begins.
    pub(super) compressed: bool,
    pub(super) opcode: Opcode,
    pub(super) length: u64,
    /// The masking key; zeros, which change nothing, on an unmasked frame.
    pub(super) key: [u8; 4],
    /// Bytes of the header itself.
    pub(super) size: usize,
}

impl FrameHead {
    /// Reads the header at the front of `input`; `None` if more bytes are due.
    ///
    /// A fault is reported as soon as the bytes that show it are there, without
    /// waiting for the rest of the header.
    #[inline]
    pub(super) fn parse(input: &[u8], expected: Expected) -> Result<Option<Self>, ProtocolError> {
        let Some((&[first, second], rest)) = input.split_first_chunk::<2>() else {
            return Ok(None);
        };
        let opcode = check_first_two(first, second, expected)?;

        let (length, rest, mut size) = match second & LENGTH {
            LENGTH_16 => match rest.split_first_chunk::<2>() {
                Some((bytes, rest)) => (long_length(u16::from_be_bytes(*bytes))?, rest, 4),
                None => return Ok(None),
            },
            LENGTH_64 => match rest.split_first_chunk::<8>() {
                Some((bytes, rest)) => (huge_length(u64::from_be_bytes(*bytes))?, rest, 10),
                None => return Ok(None),
            },
            short => (u64::from(short), rest, 2_usize),
        };
        let compressed = first & RSV1 != 0;
        let room = match expected.compressed_room {
            Some(room) if compressed => room,
            _ => expected.room,
        };
        if length > room && !opcode.is_control() {
            return Err(ProtocolError::UnsupportedMessageLength);
        }

        let mut key = [0; 4];
        if second & MASK != 0 {
            match rest.first_chunk::<4>() {
                Some(bytes) => key = *bytes,
                None => return Ok(None),
            }
            size = size.saturating_add(4);
        }
        Ok(Some(Self { fin: first & FIN != 0, compressed, opcode, length, key, size }))
    }
}

/// Checks all that the first two bytes of a frame can do wrong.
#[inline]
fn check_first_two(first: u8, second: u8, expected: Expected) -> Result<Opcode, ProtocolError> {
    if first & RSV2_3 != 0 {
        return Err(ProtocolError::UnexpectedRsv23);
    }
    // With compression RSV1 is valid on the first frame of a data message, and
    // nowhere else (RFC 7692 section 6).
    let compressed = first & RSV1 != 0;
    if compressed && expected.compressed_room.is_none() {
        return Err(ProtocolError::UnexpectedRsv1);
    }
    let bits = first & 0x0F;
    let Some(opcode) = Opcode::from_bits(bits) else {
        return Err(ProtocolError::InvalidOpcode(bits));
    };
    if opcode.is_control() {
        let length = second & LENGTH;
        if first & FIN == 0 {
            return Err(ProtocolError::ExpectedFin);
        }
        if compressed {
            return Err(ProtocolError::UnexpectedRsv1);
        }
        if usize::from(length) > MAX_CONTROL_PAYLOAD || (opcode == Opcode::Close && length == 1) {
            return Err(ProtocolError::InvalidControlPayloadLength(length.into()));
        }
    } else if compressed && opcode == Opcode::Continuation {
        return Err(ProtocolError::UnexpectedRsv1);
    } else if (opcode == Opcode::Continuation) != expected.in_message {
        return Err(ProtocolError::InvalidOpcode(bits));
    }
    match (second & MASK != 0, expected.role) {
        (false, Role::Server) => Err(ProtocolError::ExpectedMask),
        (true, Role::Client) => Err(ProtocolError::UnexpectedMask),
        _ => Ok(opcode),
    }
}

/// Accepts a length in 16 bits if seven would not have done.
#[inline]
fn long_length(length: u16) -> Result<u64, ProtocolError> {
    match length {
        0..=125 => Err(ProtocolError::LengthNotMinimal(length.into())),
        _ => Ok(length.into()),
    }
}

/// Accepts a length in 64 bits if 16 would not have done and JavaScript can
/// count it, which excludes the reserved most significant bit as well.
#[inline]
fn huge_length(length: u64) -> Result<u64, ProtocolError> {
    match length {
        0..=0xFFFF => Err(ProtocolError::LengthNotMinimal(length)),
        0x1_0000..=MAX_FRAME_PAYLOAD => Ok(length),
        _ => Err(ProtocolError::UnsupportedDataPayloadLength),
    }
}

/// An encoded frame header of 2 to 14 bytes.
///
/// It is made and moved as one word: bytes that are stored one by one and then
/// loaded together stall the processor for as long as the rest of a small frame.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// The header's first byte is the lowest one.
    word: u128,
    size: u8,
}

#[allow(clippy::len_without_is_empty, reason = "a header is never empty")]
impl Header {
    /// Room that `append_to` takes: it writes so many bytes before it cuts them.
    pub const ROOM: usize = size_of::<u128>();

    /// Returns how many bytes it has.
    #[inline]
    pub fn len(&self) -> usize {
        self.size.into()
    }

    /// Appends its bytes to `out`, for which that takes `ROOM`, however short it is.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len().saturating_add(self.len());
        out.extend_from_slice(&self.word.to_le_bytes());
        out.truncate(end);
    }

    /// Returns its bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.append_to(&mut bytes);
        bytes
    }
}

/// Encodes the header of a frame to be sent.
///
/// The role alone decides about the mask: a client's frame carries one, with
/// the key zero if `mask` is `None`; a server's frame never does. The payload
/// of a client is to be passed through [`apply_mask`](super::apply_mask) with
/// the same key. `rsv1` marks the first frame of a compressed message.
#[inline]
pub fn encode_header(
    role: Role,
    opcode: Opcode,
    fin: bool,
    rsv1: bool,
    len: u64,
    mask: Option<[u8; 4]>,
) -> Header {
    let fin_bit = if fin { FIN } else { 0 };
    let rsv1_bit = if rsv1 { RSV1 } else { 0 };
    let first = fin_bit | rsv1_bit | opcode.bits();
    let (mask_bit, key) = match role {
        Role::Server => (0, None),
        Role::Client => (MASK, Some(mask.unwrap_or_default())),
    };

    let (mut word, unmasked_size): (u128, u8) = match len {
        0..=125 => (u128::from(first) | u128::from(mask_bit | len as u8) << 8, 2),
        126..=0xFFFF => {
            let length = u128::from((len as u16).swap_bytes()) << 16;
            (u128::from(first) | u128::from(mask_bit | LENGTH_16) << 8 | length, 4)
        }
        _ => {
            let length = u128::from(len.swap_bytes()) << 16;
            (u128::from(first) | u128::from(mask_bit | LENGTH_64) << 8 | length, 10)
        }
    };
    let mut size = unmasked_size;
    if let Some(key) = key {
        word |= u128::from(u32::from_le_bytes(key)) << (u32::from(unmasked_size) * 8);
        size = size.saturating_add(4);
    }
    Header { word, size }
}
