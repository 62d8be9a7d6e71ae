//! Header values: the lists and tokens of RFC 9110 section 5.6, the two
//! headers of RFC 6455 section 11.3 that have a grammar, and text on its way out.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "counters of list elements are bounded by the length of the head"
)]

use core::mem::MaybeUninit;

use httparse::Header;

use super::super::limits::INLINE_HEADERS;

/// Header names are ASCII without regard to case; values are bytes.
#[derive(Clone, Copy)]
pub(super) struct HeaderMap<'h, 'b>(pub(super) &'h [Header<'b>]);

impl<'h, 'b> HeaderMap<'h, 'b> {
    /// Returns the values of all lines called `name`, in order.
    pub(super) fn all(self, name: &'static str) -> impl Iterator<Item = &'b [u8]> + use<'h, 'b> {
        let same = move |header: &&Header<'b>| header.name.eq_ignore_ascii_case(name);
        self.0.iter().filter(same).map(|header| trim(header.value))
    }

    /// Tells whether there is a line called `name`.
    pub(super) fn has(self, name: &'static str) -> bool {
        self.all(name).next().is_some()
    }

    /// Returns the value of the only line called `name`; `None` if there are
    /// none or several, since a repeated single-valued header has no meaning.
    pub(super) fn only(self, name: &'static str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }

    /// Tells whether `token` is an element of the list that the lines called
    /// `name` make up, compared without regard to case.
    pub(super) fn lists(self, name: &'static str, token: &[u8]) -> bool {
        self.all(name).flat_map(elements).any(|element| element.eq_ignore_ascii_case(token))
    }
}

/// Runs `parse` with room for the head's header lines: on the stack first, on
/// the heap if that was too small, and never for more lines than `max` or than
/// fit into the head.
pub(super) fn with_header_room<'b, T>(
    head: &'b [u8],
    max: usize,
    mut parse: impl FnMut(&'b [u8], &mut [MaybeUninit<Header<'b>>]) -> Result<T, httparse::Error>,
) -> Result<T, httparse::Error> {
    let mut inline = [const { MaybeUninit::uninit() }; INLINE_HEADERS];
    let room = inline.get_mut(..max.min(INLINE_HEADERS)).unwrap_or_default();
    match parse(head, room) {
        Err(httparse::Error::TooManyHeaders) if max > INLINE_HEADERS => {}
        result => return result,
    }
    // The shortest line is a name of one byte, a colon and CR LF.
    let count = max.min(head.len() / 4);
    parse(head, &mut vec![MaybeUninit::uninit(); count])
}

/// Tells whether `byte` may be in a token (RFC 9110 section 5.6.2).
pub(super) const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'0'..=b'9'
        | b'A'..=b'Z' | b'^'..=b'z' | b'|' | b'~')
}

/// Tells whether `text` is a token, such as a subprotocol or a header name.
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| is_token_byte(*byte))
}

/// Tells whether `lines` is a sequence of `Name: value` CR LF, and nothing else.
///
/// Names are tokens; values have no control characters but tabs. Text that
/// passes cannot end a head or begin another header than it shows.
pub fn are_header_lines(lines: &str) -> bool {
    let mut rest = lines.as_bytes();
    while !rest.is_empty() {
        let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") else {
            return false;
        };
        let (line, behind) = rest.split_at(end);
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return false;
        };
        let (name, value) = line.split_at(colon);
        if !is_token(name) || value.iter().any(|byte| is_control(*byte)) {
            return false;
        }
        rest = behind.get(2..).unwrap_or_default();
    }
    true
}

/// Tells whether a value with this byte is unfit for a header line.
const fn is_control(byte: u8) -> bool {
    matches!(byte, 0..=8 | 10..=31 | 127)
}

/// Appends a value that must stay within its line.
///
/// Callers refuse control characters, with an error that names the culprit; a
/// caller that forgets still cannot be made to write a second line, because
/// they are left out here.
pub(super) fn push_value(out: &mut Vec<u8>, value: &str) {
    out.extend(value.bytes().filter(|byte| !is_control(*byte)));
}

/// Appends whole header lines, or nothing if they are not such.
pub(super) fn push_lines(out: &mut Vec<u8>, lines: &str) {
    let valid = are_header_lines(lines);
    debug_assert!(valid, "header lines are validated by the caller");
    if valid {
        out.extend_from_slice(lines.as_bytes());
    }
}

/// Appends whole header lines in the encoding of Node's HTTP client, Latin-1:
/// one byte per character, of which none is above U+00FF.
pub(super) fn push_lines_latin1(out: &mut Vec<u8>, lines: &str) {
    let valid = are_header_lines(lines);
    debug_assert!(valid, "header lines are validated by the caller");
    if valid {
        out.extend(lines.chars().map(|char| u8::try_from(char).unwrap_or(b'?')));
    }
}

/// A header that keeps no rule of its grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads an offer of subprotocols: tokens, none twice, `max` at most (section
/// 4.1). Returns their number.
pub(super) fn count_protocols<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    max: usize,
) -> Result<usize, Malformed> {
    let mut seen: Vec<&[u8]> = Vec::new();
    for protocol in lines.flat_map(elements) {
        // The comparison with all earlier ones is bounded by `max`.
        if seen.len() >= max || !is_token(protocol) || seen.contains(&protocol) {
            return Err(Malformed);
        }
        seen.push(protocol);
    }
    Ok(seen.len())
}

/// Reads a `Sec-WebSocket-Extensions` header (section 9.1) and calls `found`
/// with the name of each extension, `max` at most.
///
/// ```text
/// extension-list  = 1#extension
/// extension       = token *( ";" token [ "=" ( token | quoted-string ) ] )
/// ```
/// where a quoted string holds a token.
pub(super) fn read_extensions<'a>(
    lines: impl Iterator<Item = &'a [u8]>,
    max: usize,
    mut found: impl FnMut(&'a [u8]),
) -> Result<(), Malformed> {
    let mut count = 0;
    // A comma or semicolon can be in no token and so in no quoted string that
    // is valid: plain splitting finds the same elements as a full parser, or
    // fails where that would.
    for extension in lines.flat_map(elements) {
        let mut parts = extension.split(|byte| *byte == b';').map(trim);
        let name = parts.next().unwrap_or_default();
        if count == max || !is_token(name) || !parts.all(is_parameter) {
            return Err(Malformed);
        }
        count += 1;
        found(name);
    }
    match count {
        0 => Err(Malformed),
        _ => Ok(()),
    }
}

/// Tells whether `text` is `token`, `token=token` or `token="token"`.
fn is_parameter(text: &[u8]) -> bool {
    let mut sides = text.splitn(2, |byte| *byte == b'=').map(trim);
    let name = sides.next().unwrap_or_default();
    is_token(name)
        && sides.next().is_none_or(|value| match value {
            [b'"', quoted @ .., b'"'] => is_quoted_token(quoted),
            bare => is_token(bare),
        })
}

/// Tells whether the inside of a quoted string, without its escapes, is a token.
fn is_quoted_token(quoted: &[u8]) -> bool {
    let mut bytes = quoted.iter();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let plain = if *byte == b'\\' { bytes.next() } else { Some(byte) };
        if !plain.is_some_and(|byte| is_token_byte(*byte)) {
            return false;
        }
        length += 1;
    }
    length > 0
}

/// Splits a value at its commas. Empty elements stay: RFC 9110 lets a reader
/// skip them, but the two headers of RFC 6455 have none.
fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Removes spaces and tabs from both ends.
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_exactly_the_characters_of_the_standard() {
        let allowed =
            b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        for byte in 0..=255 {
            assert_eq!(is_token_byte(byte), allowed.contains(&byte), "{byte}");
        }
    }

    #[test]
    fn header_lines_that_smuggle_are_refused() {
        assert!(are_header_lines(""));
        assert!(are_header_lines("A: b\r\nC:\r\nd: \u{e9}\t\r\n"));
        for bad in [
            "A: b",
            "A b\r\n",
            "A: b\r\n\r\n",
            ": b\r\n",
            "A: b\nC: d\r\n",
            "A : b\r\n",
            "A: \0\r\n",
            "A: b\rC: d\r\n",
            " A: b\r\n",
            "A: b\r\n C: d\r\n",
        ] {
            assert!(!are_header_lines(bad), "{bad:?}");
        }
        let mut out = Vec::new();
        push_value(&mut out, "chat\r\nSet-Cookie: a\0");
        assert_eq!(out, b"chatSet-Cookie: a");
    }

    #[test]
    fn extensions_are_read_by_their_grammar() {
        let read = |value: &'static str| {
            let mut names = Vec::new();
            read_extensions([value.as_bytes()].into_iter(), 3, |name| {
                names.push(core::str::from_utf8(name).unwrap());
            })
            .map(|()| names)
        };
        assert_eq!(read("foo"), Ok(vec!["foo"]));
        assert_eq!(read("foo, foo;a ; b=1;c=\"x\\y\" ,bar"), Ok(vec!["foo", "foo", "bar"]));
        assert_eq!(read("__proto__;constructor=toString"), Ok(vec!["__proto__"]));
        for bad in [
            "",
            ",",
            "a,",
            ",a",
            "a b",
            "a;",
            ";a",
            "a;b=",
            "a;=b",
            "a;b=c=d",
            "a;b=\"",
            "a;b=\"\"",
            "a;b=\"c",
            "a;b=\"c\\\"",
            "a;b=\"c,d\"",
            "a;b=\"c d\"",
            "a;b c",
            "a,b,c,d",
            "\"a\"",
        ] {
            assert_eq!(read(bad), Err(Malformed), "{bad:?}");
        }
    }
}
