//! The opening handshake (RFC 6455 section 4): the HTTP of it, nothing more.
//!
//! A peer is unknown until the handshake is done, so this is the part that
//! meets the whole internet. Where HTTP grammars leave room, the strict reading
//! is taken, because a proxy before us may take another one:
//!
//! - lines end with CR LF; a bare LF, a folded line, a space before the colon
//!   and an empty line before the start line are refused;
//! - `Host`, `Upgrade`, `Sec-WebSocket-Key`, `-Version` and `-Accept` occur once;
//! - an upgrade has no body, neither announced nor chunked.
//!
//! The head is searched for its end as it arrives ([`HeadScanner`]), each byte
//! once, and parsed once when it is whole. What is written here can carry no
//! line break out of a value.
//!
//! Elsewhere: time limits, the request object that JavaScript sees, the choice
//! of a subprotocol.

use core::fmt;

use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::DecodePaddingMode;
use base64::{alphabet, Engine};
use sha1::{Digest, Sha1};

use super::limits::{self, Limit};

pub mod client;
pub mod headers;
pub mod host;
mod scanner;
pub mod server;

pub use scanner::HeadScanner;

/// What the key is joined with before it is hashed (section 1.3). It shows
/// that the server understood the request as a WebSocket one.
const ACCEPT_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Base64 as `ws` reads it: padded, and without regard to the four bits that
/// the last character of a 16-byte key has to spare.
const KEY_BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Bounds on what an unknown peer may make us read.
#[derive(Clone, Copy, Debug)]
pub struct HandshakeLimits {
    /// Longest head in bytes, start line and final empty line included.
    pub max_header_size: usize,
    /// Most header lines.
    pub max_headers_count: usize,
    /// Most subprotocols in one offer.
    pub max_protocols: usize,
    /// Most extensions in one offer.
    pub max_extensions: usize,
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self {
            max_header_size: limits::DEFAULT_MAX_HEADER_SIZE,
            max_headers_count: limits::DEFAULT_MAX_HEADERS_COUNT,
            max_protocols: limits::MAX_OFFERED_PROTOCOLS,
            max_extensions: limits::MAX_OFFERED_EXTENSIONS,
        }
    }
}

/// A request that is refused, with the response that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeError {
    /// HTTP status of the response.
    pub status: u16,
    /// Body of the response: `ws`'s text where `ws` has one.
    pub message: &'static str,
    /// Header lines of the response beyond the usual, each with its CR LF.
    pub headers: &'static str,
    /// The limit that was breached, if that is why.
    pub limit: Option<Limit>,
    /// Whether it is a request by the grammar of HTTP/1.1, which others can read too.
    pub is_request: bool,
}

impl HandshakeError {
    /// Bytes that are no HTTP/1.1 request.
    pub(crate) const BAD_REQUEST: Self = Self::new(400, "Bad Request");
    /// A head above the limit of size.
    pub(crate) const TOO_LARGE: Self = Self::too_large(Limit::MaxHeaderSize);
    /// A head above the limit of lines.
    pub(crate) const TOO_MANY_LINES: Self = Self::too_large(Limit::MaxHeadersCount);

    const fn new(status: u16, message: &'static str) -> Self {
        Self { status, message, headers: "", limit: None, is_request: false }
    }

    const fn too_large(limit: Limit) -> Self {
        Self { limit: Some(limit), ..Self::new(431, "Request Header Fields Too Large") }
    }

    /// Appends the whole response. The connection is to be closed behind it.
    pub fn write_response(&self, out: &mut Vec<u8>) {
        server::write_rejection(out, self.status, self.message, self.headers);
    }
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message)
    }
}

impl std::error::Error for HandshakeError {}

/// Computes the `Sec-WebSocket-Accept` that belongs to a `Sec-WebSocket-Key`,
/// both as they stand in the headers (section 4.2.2, step 5.4).
fn accept(key_base64: &[u8]) -> [u8; 28] {
    let mut hash = Sha1::new();
    hash.update(key_base64);
    hash.update(ACCEPT_SUFFIX);
    let mut encoded = [0; 28];
    // 20 bytes of SHA-1 are 28 characters: the slice is never too short.
    let written = STANDARD.encode_slice(hash.finalize(), &mut encoded);
    debug_assert_eq!(written.ok(), Some(encoded.len()));
    encoded
}

/// Tells whether `value` is a key: 24 characters of base64 that are 16 bytes
/// (section 4.1, step 7 of the requirements on the request).
fn is_key(value: &[u8]) -> bool {
    let mut decoded = [0; 18];
    value.len() == 24 && KEY_BASE64.decode_slice(value, &mut decoded).is_ok_and(|n| n == 16)
}
