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

use core::ops::Deref;

use super::limits::{MAX_CONTROL_PAYLOAD, MAX_FRAME_HEADER, MAX_FRAME_PAYLOAD};
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

/// An encoded frame header on the stack; dereferences to its 2 to 14 bytes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    bytes: [u8; MAX_FRAME_HEADER],
    size: u8,
}

impl Deref for Header {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.size.into()).unwrap_or(&self.bytes)
    }
}

impl AsRef<[u8]> for Header {
    fn as_ref(&self) -> &[u8] {
        self
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

    let mut bytes = [0; MAX_FRAME_HEADER];
    // The arms name their slots one by one: constant places in an array of
    // constant size, so nothing is checked when this runs.
    let unmasked_size: u8 = match len {
        0..=125 => {
            [bytes[0], bytes[1]] = [first, mask_bit | len as u8];
            2
        }
        126..=0xFFFF => {
            let [a, b] = (len as u16).to_be_bytes();
            [bytes[0], bytes[1]] = [first, mask_bit | LENGTH_16];
            [bytes[2], bytes[3]] = [a, b];
            4
        }
        _ => {
            [bytes[0], bytes[1]] = [first, mask_bit | LENGTH_64];
            if let Some(slots) = bytes.get_mut(2..10) {
                slots.copy_from_slice(&len.to_be_bytes());
            }
            10
        }
    };
    let mut size = unmasked_size;
    if let Some(key) = key {
        let start = usize::from(unmasked_size);
        if let Some(slots) = bytes.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
            *slots = key;
        }
        size = size.saturating_add(4);
    }
    Header { bytes, size }
}
