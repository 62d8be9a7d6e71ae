//! Finds the end of a request's or response's head while it arrives.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "positions lie within the buffer, whose length is a usize"
)]

use super::headers::is_token_byte;
use super::HandshakeError;

/// An incremental search for the empty line that ends a head.
///
/// It looks at each byte once, whether the head comes in one read or in
/// thousands: a peer that sends single bytes costs no more than their number.
/// Bytes that cannot be a head are refused early, not at the time limit: a
/// first byte that is no token (TLS sent to a plain port), a line feed without
/// its carriage return, an empty line at the start.
#[derive(Clone, Debug)]
pub struct HeadScanner {
    /// Bytes that were looked at.
    scanned: usize,
    /// Where the current line begins.
    line_start: usize,
    max_header_size: usize,
}

impl HeadScanner {
    /// Makes a scanner for a head of at most `max_header_size` bytes.
    pub const fn new(max_header_size: usize) -> Self {
        Self { scanned: 0, line_start: 0, max_header_size }
    }

    /// Looks at what is new in `buffered`, which holds every byte so far.
    ///
    /// Returns the length of the head once it is whole; what lies behind it are
    /// frames already. Fails with status 431 as soon as the head must exceed the
    /// limit, with 400 as soon as it cannot be HTTP.
    pub fn scan(&mut self, buffered: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let window = &buffered.get(..self.max_header_size).unwrap_or(buffered);
        if self.scanned == 0 && window.first().is_some_and(|byte| !is_token_byte(*byte)) {
            return Err(HandshakeError::BAD_REQUEST);
        }
        while let Some(fresh) = window.get(self.scanned..) {
            let Some(distance) = fresh.iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let line_end = self.scanned + distance;
            let line = window.get(self.line_start..line_end).unwrap_or_default();
            self.scanned = line_end + 1;
            self.line_start = self.scanned;
            match line {
                [b'\r'] => return Ok(Some(self.scanned)),
                [.., b'\r'] => {}
                _ => return Err(HandshakeError::BAD_REQUEST),
            }
        }
        self.scanned = window.len();
        if window.len() >= self.max_header_size {
            return Err(HandshakeError::TOO_LARGE);
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::HeadScanner;

    fn scan(head: &[u8]) -> Result<Option<usize>, u16> {
        let scan = |parts: &mut dyn Iterator<Item = &[u8]>| {
            let mut scanner = HeadScanner::new(64);
            let mut result = Ok(None);
            for part in parts {
                result = scanner.scan(part).map_err(|error| error.status);
                if result != Ok(None) {
                    break;
                }
            }
            result
        };
        let whole = scan(&mut [head].into_iter());
        let bytewise = scan(&mut (1..=head.len()).map(|end| &head[..end]));
        assert_eq!(whole, bytewise);
        whole
    }

    #[test]
    fn the_head_ends_behind_the_first_empty_line() {
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\r\n"), Ok(Some(18)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na: b\r\n\r\nframes\r\n\r\n"), Ok(Some(24)));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na: b\r\n\r"), Ok(None));
        assert_eq!(scan(b"a"), Ok(None));
    }

    #[test]
    fn bare_line_feeds_and_empty_first_lines_are_refused() {
        assert_eq!(scan(b"GET / HTTP/1.1\n\n"), Err(400));
        assert_eq!(scan(b"GET / HTTP/1.1\r\na: b\n\r\n"), Err(400));
        assert_eq!(scan(b"GET / HTTP/1.1\r\n\n"), Err(400));
        assert_eq!(scan(b"\r\n\r\n"), Err(400));
        assert_eq!(scan(b"\n"), Err(400));
        assert_eq!(scan(b"\x16\x03\x01"), Err(400));
    }

    #[test]
    fn a_head_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
        let head = |length: usize| {
            let mut head = b"GET / HTTP/1.1\r\na:".to_vec();
            head.resize(length - 4, b'b');
            head.extend_from_slice(b"\r\n\r\n");
            head
        };
        assert_eq!(scan(&head(63)), Ok(Some(63)));
        assert_eq!(scan(&head(64)), Ok(Some(64)));
        assert_eq!(scan(&head(65)), Err(431));
        assert_eq!(scan(&[b'a'; 1000]), Err(431));
    }
}
