//! A control frame that arrives in pieces (RFC 6455 section 5.5).
//!
//! It may come between the fragments of a message, so it cannot share the
//! message's buffer; and it is rare and at most 125 bytes, so it is boxed: a
//! receiver that has none pays one pointer.

use super::limits::MAX_CONTROL_PAYLOAD;

/// The payload of a cut control frame.
pub(super) struct ControlBuffer {
    bytes: [u8; MAX_CONTROL_PAYLOAD],
    len: u8,
}

impl ControlBuffer {
    /// Makes an empty buffer.
    pub(super) fn new() -> Box<Self> {
        Box::new(Self { bytes: [0; MAX_CONTROL_PAYLOAD], len: 0 })
    }

    /// Appends; the frame's checked length bounds the total.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let free = self.bytes.get_mut(self.len.into()..).unwrap_or_default();
        for (slot, byte) in free.iter_mut().zip(piece) {
            *slot = *byte;
            self.len = self.len.saturating_add(1);
        }
    }

    /// Returns a copy of what came.
    pub(super) fn to_vec(&self) -> Vec<u8> {
        self.bytes.iter().take(self.len.into()).copied().collect()
    }
}
