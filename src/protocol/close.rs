//! Close codes, and the payload of a Close frame (RFC 6455 sections 5.5.1 and 7.4).

use super::limits::{MAX_CLOSE_REASON, MAX_CONTROL_PAYLOAD};
use super::{utf8, ProtocolError};

/// Stands for a Close frame without a code; never sent (section 7.4.1).
pub const NO_STATUS_RECEIVED: u16 = 1005;

/// Tells whether a Close frame may carry `code`.
///
/// The codes of section 7.4.1 with those registered since (1012 to 1014), less
/// the reserved 1004 and the two that only describe an end without a code (1005,
/// 1006); and the ranges for libraries and applications, 3000 to 4999.
#[inline]
pub const fn is_valid_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Builds the payload of a Close frame; the second value is its length.
///
/// Code 0 and code 1005 make an empty payload, as the absence of a code cannot
/// be written otherwise. A reason above 123 bytes is cut before the character that does not fit:
/// the API refuses such a reason, and an echo of the peer's is never longer.
pub fn close_payload(code: u16, reason: &[u8]) -> ([u8; MAX_CONTROL_PAYLOAD], usize) {
    let mut payload = [0; MAX_CONTROL_PAYLOAD];
    if code == 0 || code == NO_STATUS_RECEIVED {
        return (payload, 0);
    }
    let reason = cut_at_character(reason, MAX_CLOSE_REASON);
    let [first, second] = code.to_be_bytes();
    let bytes = [first, second].into_iter().chain(reason.iter().copied());
    let mut length = 0_usize;
    for (slot, byte) in payload.iter_mut().zip(bytes) {
        *slot = byte;
        length = length.saturating_add(1);
    }
    (payload, length)
}

/// Reads the payload of a received Close frame: its code, and its reason.
///
/// An empty payload has no code. The length 1 is refused with the frame header
/// already, and here again.
pub(super) fn parse(
    payload: &[u8],
    skip_utf8_validation: bool,
) -> Result<(Option<u16>, &[u8]), ProtocolError> {
    let Some((code, reason)) = payload.split_first_chunk::<2>() else {
        return match payload.len() {
            0 => Ok((None, payload)),
            _ => Err(ProtocolError::InvalidControlPayloadLength(1)),
        };
    };
    let code = u16::from_be_bytes(*code);
    if !is_valid_close_code(code) {
        return Err(ProtocolError::InvalidCloseCode(code));
    }
    if !skip_utf8_validation {
        utf8::check(reason)?;
    }
    Ok((Some(code), reason))
}

/// Returns at most `limit` bytes of `text`, not ending within a UTF-8 character.
fn cut_at_character(text: &[u8], limit: usize) -> &[u8] {
    let mut end = limit;
    // A continuation byte (10xxxxxx) behind the cut means that the cut is
    // within a character; the cut moves back to that character's first byte.
    while text.get(end).is_some_and(|byte| byte & 0xC0 == 0x80) && end > 0 {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::{close_payload, cut_at_character};

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = "\u{20AC}".repeat(60);
        let (payload, length) = close_payload(1000, reason.as_bytes());
        assert_eq!(length, 2 + 123);
        assert_eq!(payload[..2], [0x03, 0xE8]);
        assert!(core::str::from_utf8(&payload[2..length]).is_ok());

        let shifted = format!("a{reason}");
        let (payload, length) = close_payload(1000, shifted.as_bytes());
        assert_eq!(length, 2 + 121);
        assert!(core::str::from_utf8(&payload[2..length]).is_ok());
    }

    #[test]
    fn a_reason_of_continuation_bytes_alone_is_cut_to_nothing() {
        assert_eq!(cut_at_character(&[0x80; 200], 123), b"");
        assert_eq!(cut_at_character(&[0x80; 100], 123), [0x80; 100]);
    }

    #[test]
    fn no_code_makes_an_empty_payload() {
        assert_eq!(close_payload(0, b"ignored").1, 0);
        assert_eq!(close_payload(1005, b"ignored").1, 0);
        assert_eq!(close_payload(1000, b"").1, 2);
    }
}
