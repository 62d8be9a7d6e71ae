//! Compressed messages: permessage-deflate (RFC 7692).
//!
//! A message is one piece of an endless DEFLATE stream (RFC 1951), cut where an empty stored block
//! aligns it to a byte, with that block's last four octets left out (section 7.2.1). Each direction
//! has a stream of its own. With *context takeover* a message may refer back to earlier ones, up to
//! the window; without it each message begins anew, and then nothing needs to be kept between
//! messages: [`Compressor`]s and the memory of [`Decompressor`]s are shared.
//!
//! # Windows
//! DEFLATE knows windows of 2^8 to 2^15 octets, zlib's raw format compresses with 2^9 or more. Its
//! matches stay 262 octets short of the window, so a stream made with 2^9 reaches back 250 octets at
//! most, and is one of 2^8 as well: that is how 8 is honoured. To inflate, the largest window serves
//! every stream.
//!
//! # The final bit
//! A peer may end the DEFLATE stream within or at the end of a message (section 7.2.3.4). What
//! follows is another stream, with an empty window.

mod compressor;
mod decompressor;

pub use compressor::{
    Compressor, CompressorConfig, DEFAULT_CONTEXT_BITS, DEFAULT_LEVEL, DEFAULT_MEM_LEVEL,
};
pub use decompressor::{Decompressor, Inflated, InflaterPool};

use super::Role;

/// Bytes below which a message is not compressed if each is compressed by itself, unless the user
/// says otherwise: as in `ws`. A small message compressed alone gains nothing.
pub const DEFAULT_THRESHOLD: usize = 1024;

/// What ends a flushed piece of a stream, and is not sent (section 7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xFF, 0xFF];

/// What both sides agreed on, by the names of section 7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeflateParams {
    /// The server compresses each message by itself.
    pub server_no_context_takeover: bool,
    /// The client compresses each message by itself.
    pub client_no_context_takeover: bool,
    /// The server's window has 2 to this power octets.
    pub server_max_window_bits: u8,
    /// The client's window has 2 to this power octets.
    pub client_max_window_bits: u8,
}

impl Default for DeflateParams {
    fn default() -> Self {
        Self {
            server_no_context_takeover: false,
            client_no_context_takeover: false,
            server_max_window_bits: 15,
            client_max_window_bits: 15,
        }
    }
}

impl DeflateParams {
    /// Whether both windows are ones that exist.
    pub fn is_valid(&self) -> bool {
        [self.server_max_window_bits, self.client_max_window_bits]
            .iter()
            .all(|bits| (8..=15).contains(bits))
    }

    /// Whether what `role` sends may refer to its earlier messages.
    pub fn takes_over(&self, role: Role) -> bool {
        match role {
            Role::Server => !self.server_no_context_takeover,
            Role::Client => !self.client_no_context_takeover,
        }
    }

    /// The window of what `role` sends.
    pub fn window_bits(&self, role: Role) -> u8 {
        match role {
            Role::Server => self.server_max_window_bits,
            Role::Client => self.client_max_window_bits,
        }
    }
}
