//! What comes out of a [`Receiver`](super::Receiver).

use core::fmt;
use core::ops::Deref;

use super::deflate::Inflated;

/// The outcome of one call of [`Receiver::receive`](super::Receiver::receive).
#[derive(Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// Bytes of the input that are done with.
    pub consumed: usize,
    /// What they completed; `None` if all were consumed and more are due.
    pub event: Option<Event<'a>>,
}

/// Something that a peer completed.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole message, valid UTF-8 unless it is binary or validation is off.
    Message {
        /// Sent as binary; otherwise as text.
        binary: bool,
        /// The message.
        payload: Payload<'a>,
    },
    /// A Ping, to be answered with its payload (section 5.5.2).
    Ping(Payload<'a>),
    /// A Pong (section 5.5.3).
    Pong(Payload<'a>),
    /// A Close frame, after which nothing follows (section 5.5.1).
    Close {
        /// A code that may be sent back; `None` if the frame was empty.
        code: Option<u16>,
        /// The reason, without the code.
        reason: Payload<'a>,
    },
}

/// Bytes of an event: lent from the input, or owned if they came in pieces.
pub enum Payload<'a> {
    /// The frame lay in the input in one piece.
    Borrowed(&'a [u8]),
    /// The frame or message was put together.
    Owned(Vec<u8>),
    /// The message was inflated into a buffer that is used again afterwards.
    Inflated(Inflated),
}

impl Payload<'_> {
    /// Returns the bytes as a vector, copied only if they are lent.
    pub fn into_vec(self) -> Vec<u8> {
        match self {
            Self::Borrowed(bytes) => bytes.to_vec(),
            Self::Owned(bytes) => bytes,
            Self::Inflated(bytes) => bytes.to_vec(),
        }
    }
}

impl Deref for Payload<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes) => bytes,
            Self::Inflated(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// Where the bytes are does not matter to equality.
impl PartialEq for Payload<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Payload<'_> {}
