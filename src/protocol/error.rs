//! What a peer can do wrong once the connection is open.
//!
//! Every variant is the peer's fault and ends the connection: the endpoint
//! sends a Close frame with [`ProtocolError::close_code`], then drops it. The
//! texts and codes are those of the `ws` package wherever it has one, because
//! programs compare them.

use core::fmt;

use super::limits::Limit;

/// A breach of RFC 6455, or of a limit, by the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolError {
    /// RSV2 or RSV3 is set though no extension gives it a meaning (section 5.2).
    UnexpectedRsv23,
    /// RSV1 is set though no compression was negotiated, or elsewhere than on the
    /// first frame of a message (RFC 7692 section 6).
    UnexpectedRsv1,
    /// A reserved opcode, a continuation of nothing, or a new message within a
    /// fragmented one (sections 5.2 and 5.4).
    InvalidOpcode(u8),
    /// A fragmented control frame (section 5.5).
    ExpectedFin,
    /// A client sent a frame without a mask (section 5.1).
    ExpectedMask,
    /// A server sent a frame with a mask (section 5.1).
    UnexpectedMask,
    /// A control frame above 125 bytes, or a Close frame of one byte
    /// (sections 5.5 and 5.5.1). Carries the seven length bits as received.
    InvalidControlPayloadLength(u64),
    /// A length in more bytes than it needs (section 5.2). `ws` lets it pass.
    LengthNotMinimal(u64),
    /// A close code that must not be sent (section 7.4).
    InvalidCloseCode(u16),
    /// Text, or the reason of a Close frame, is not UTF-8 (section 8.1).
    InvalidUtf8,
    /// A compressed message is not what DEFLATE (RFC 1951) makes; carries what zlib says of it.
    InvalidCompressedData(&'static str),
    /// A frame of 2^53 bytes or more, which JavaScript cannot count.
    UnsupportedDataPayloadLength,
    /// The message is longer than `max_payload`, or than memory could be had for.
    UnsupportedMessageLength,
    /// The message has more frames than `max_fragments`.
    TooManyFragments,
    /// More PING and PONG frames than a peer may send in a while.
    TooManyControlFrames,
}

impl ProtocolError {
    /// Returns the code of the Close frame that answers this error (section 7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::UnexpectedRsv23
            | Self::UnexpectedRsv1
            | Self::InvalidOpcode(_)
            | Self::ExpectedFin
            | Self::ExpectedMask
            | Self::UnexpectedMask
            | Self::InvalidControlPayloadLength(_)
            | Self::LengthNotMinimal(_)
            | Self::InvalidCloseCode(_) => 1002,
            Self::InvalidUtf8 | Self::InvalidCompressedData(_) => 1007,
            Self::TooManyFragments | Self::TooManyControlFrames => 1008,
            Self::UnsupportedDataPayloadLength | Self::UnsupportedMessageLength => 1009,
        }
    }

    /// Returns the stable name that JavaScript sees as `error.code`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::UnexpectedRsv23 => "WS_ERR_UNEXPECTED_RSV_2_3",
            Self::UnexpectedRsv1 => "WS_ERR_UNEXPECTED_RSV_1",
            Self::InvalidOpcode(_) => "WS_ERR_INVALID_OPCODE",
            Self::ExpectedFin => "WS_ERR_EXPECTED_FIN",
            Self::ExpectedMask => "WS_ERR_EXPECTED_MASK",
            Self::UnexpectedMask => "WS_ERR_UNEXPECTED_MASK",
            Self::InvalidControlPayloadLength(_) => "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
            Self::LengthNotMinimal(_) => "ERR_UVWS_LENGTH_NOT_MINIMAL",
            Self::InvalidCloseCode(_) => "WS_ERR_INVALID_CLOSE_CODE",
            Self::InvalidUtf8 => "WS_ERR_INVALID_UTF8",
            Self::InvalidCompressedData(_) => "Z_DATA_ERROR",
            Self::UnsupportedDataPayloadLength => "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
            Self::UnsupportedMessageLength => "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
            Self::TooManyFragments => "WS_ERR_TOO_MANY_BUFFERED_PARTS",
            Self::TooManyControlFrames => "ERR_UVWS_TOO_MANY_CONTROL_FRAMES",
        }
    }

    /// Returns the limit that was breached, if it is one.
    pub const fn limit(self) -> Option<Limit> {
        match self {
            Self::UnsupportedDataPayloadLength | Self::UnsupportedMessageLength => {
                Some(Limit::MaxPayload)
            }
            Self::TooManyFragments => Some(Limit::MaxFragments),
            Self::TooManyControlFrames => Some(Limit::ControlFrames),
            _ => None,
        }
    }

    /// Tells whether JavaScript gets a `RangeError`; otherwise a plain `Error`, as in `ws`.
    pub const fn is_range_error(self) -> bool {
        !matches!(self, Self::InvalidUtf8 | Self::InvalidCompressedData(_))
    }

    /// Returns what JavaScript sees as `error.errno`: zlib's number of its error.
    pub const fn errno(self) -> Option<i32> {
        match self {
            Self::InvalidCompressedData(_) => Some(-3),
            _ => None,
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Breaches of a limit carry no prefix: the frame itself is valid.
        match self {
            Self::UnsupportedDataPayloadLength => {
                return f.write_str("Unsupported WebSocket frame: payload length > 2^53 - 1")
            }
            Self::UnsupportedMessageLength => return f.write_str("Max payload size exceeded"),
            Self::TooManyFragments => return f.write_str("Too many message fragments"),
            Self::TooManyControlFrames => return f.write_str("Too many control frames"),
            // zlib's own words, as in `ws`.
            Self::InvalidCompressedData(message) => return f.write_str(message),
            _ => f.write_str("Invalid WebSocket frame: ")?,
        }
        match self {
            Self::UnexpectedRsv23 => f.write_str("RSV2 and RSV3 must be clear"),
            Self::UnexpectedRsv1 => f.write_str("RSV1 must be clear"),
            Self::InvalidOpcode(opcode) => write!(f, "invalid opcode {opcode}"),
            Self::ExpectedFin => f.write_str("FIN must be set"),
            Self::ExpectedMask => f.write_str("MASK must be set"),
            Self::UnexpectedMask => f.write_str("MASK must be clear"),
            Self::InvalidControlPayloadLength(length) => {
                write!(f, "invalid payload length {length}")
            }
            Self::LengthNotMinimal(length) => {
                write!(f, "payload length {length} is not minimally encoded")
            }
            Self::InvalidCloseCode(code) => write!(f, "invalid status code {code}"),
            _ => f.write_str("invalid UTF-8 sequence"),
        }
    }
}

impl std::error::Error for ProtocolError {}
