//! The opcodes of RFC 6455 section 5.2.
//!
//! The four bits of a frame header that say how to read its payload. Ten of
//! the sixteen values are reserved: they are no `Opcode`, so code that holds
//! one need not think of them.

/// The meaning of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Continues the message that an earlier frame without FIN began.
    Continuation = 0x0,
    /// Begins a message of UTF-8 text.
    Text = 0x1,
    /// Begins a message of arbitrary bytes.
    Binary = 0x2,
    /// Begins the closing handshake (section 5.5.1).
    Close = 0x8,
    /// Asks for a Pong (section 5.5.2).
    Ping = 0x9,
    /// Answers a Ping, or is sent unasked as a heartbeat (section 5.5.3).
    Pong = 0xA,
}

impl Opcode {
    /// Reads the low four bits of a frame's first byte; `None` if they are reserved.
    #[inline]
    pub const fn from_bits(bits: u8) -> Option<Self> {
        match bits & 0x0F {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xA => Some(Self::Pong),
            _ => None,
        }
    }

    /// Returns the four bits as they are sent.
    #[inline]
    pub const fn bits(self) -> u8 {
        self as u8
    }

    /// Tells whether this is a control frame: at most 125 bytes, never
    /// fragmented, allowed between the fragments of a message (section 5.5).
    #[inline]
    pub const fn is_control(self) -> bool {
        self.bits() & 0x8 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::Opcode;

    #[test]
    fn every_opcode_survives_its_bits_and_the_rest_are_reserved() {
        let mut known = Vec::new();
        for bits in 0..16 {
            if let Some(opcode) = Opcode::from_bits(bits) {
                assert_eq!(opcode.bits(), bits);
                assert_eq!(opcode.is_control(), bits >= 8);
                known.push(bits);
            }
        }
        assert_eq!(known, [0x0, 0x1, 0x2, 0x8, 0x9, 0xA]);
    }
}
