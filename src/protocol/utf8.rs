//! UTF-8 of text messages and close reasons (RFC 6455 section 8.1).
//!
//! A message in one piece is checked in one call. A message in pieces is
//! checked as it arrives: the first byte that no continuation could repair
//! fails the connection at once, and a character cut by the end of a piece is
//! looked at again with the next one. The state between pieces is therefore
//! one number, how many bytes of the unfinished character there are.

use super::ProtocolError;

/// Below this many bytes a plain ASCII test beats the start-up of the
/// vectorised validator (which itself falls back to the standard library's
/// below 64 bytes).
const SHORT: usize = 64;

/// Checks a complete text.
#[inline]
pub(super) fn check(text: &[u8]) -> Result<(), ProtocolError> {
    if text.len() < SHORT && text.is_ascii() {
        return Ok(());
    }
    match simdutf8::basic::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(ProtocolError::InvalidUtf8),
    }
}

/// Checks a text whose end has not arrived; `text` begins at a character.
///
/// Returns how many bytes at the end, 0 to 3, belong to an unfinished
/// character. Bytes that cannot begin a valid character are refused even when
/// the character is unfinished, for example `F4 90` or `ED A0`.
pub(super) fn check_prefix(text: &[u8]) -> Result<u8, ProtocolError> {
    let Err(error) = simdutf8::compat::from_utf8(text) else {
        return Ok(0);
    };
    if error.error_len().is_some() {
        return Err(ProtocolError::InvalidUtf8);
    }
    // Without an error length the input ends within a character: 1 to 3 bytes.
    let tail = text.len().saturating_sub(error.valid_up_to());
    u8::try_from(tail).map_err(|_| ProtocolError::InvalidUtf8)
}
