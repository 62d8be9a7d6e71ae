//! The answers that a server writes, and what must not get into them.

use uvws::protocol::handshake::headers::{are_header_lines, is_token};
use uvws::protocol::handshake::server::{
    parse_request, reason_phrase, write_rejection, write_response, HandshakeLimits,
};

const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

#[test]
fn the_response_is_that_of_the_standard() {
    let mut out = b"earlier".to_vec();
    write_response(&mut out, ACCEPT, Some("chat"), "Set-Cookie: a=b\r\nX-Y: z\r\n");
    let expected = "earlierHTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
        Sec-WebSocket-Protocol: chat\r\nSet-Cookie: a=b\r\nX-Y: z\r\n\r\n";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    let mut out = Vec::new();
    write_response(&mut out, ACCEPT, None, "");
    assert!(out.ends_with(b"xOo=\r\n\r\n"));
}

#[test]
fn refusals_are_whole_responses_that_close() {
    let mut out = Vec::new();
    let head = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 9\r\n\r\n";
    let error = parse_request(head, &HandshakeLimits::default()).unwrap_err();
    assert_eq!(error.to_string(), "Missing or invalid Sec-WebSocket-Version header");
    error.write_response(&mut out);
    let expected = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/html\r\n\
        Content-Length: 47\r\nSec-WebSocket-Version: 13, 8\r\n\r\n\
        Missing or invalid Sec-WebSocket-Version header";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let mut out = Vec::new();
    write_rejection(&mut out, 401, "", "WWW-Authenticate: Basic\r\ncontent-type: text/plain\r\n");
    let expected = "HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 12\r\n\
        WWW-Authenticate: Basic\r\ncontent-type: text/plain\r\n\r\nUnauthorized";
    assert_eq!(String::from_utf8(out).unwrap(), expected);

    let mut out = Vec::new();
    write_rejection(&mut out, 403, "no", "content-length: 2\r\n");
    let expected = "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/html\r\n\
        content-length: 2\r\n\r\nno";
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn every_status_makes_a_whole_response_with_its_phrase_as_the_body() {
    let mut named = 0;
    for status in 0..=u16::MAX {
        let phrase = reason_phrase(status);
        named += usize::from(!phrase.is_empty());
        let mut out = Vec::new();
        write_rejection(&mut out, status, "", "");
        let length = phrase.len();
        let expected = format!(
            "HTTP/1.1 {status} {phrase}\r\nConnection: close\r\nContent-Type: text/html\r\n\
            Content-Length: {length}\r\n\r\n{phrase}"
        );
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
    assert_eq!(named, 39);
    assert_eq!((reason_phrase(418), reason_phrase(504)), ("I'm a Teapot", "Gateway Timeout"));
}

#[test]
fn no_value_can_break_out_of_its_line() {
    let mut out = Vec::new();
    write_response(&mut out, ACCEPT, Some("a\r\nSet-Cookie: b\r\n\r\n\0"), "");
    let response = String::from_utf8(out).unwrap();
    assert_eq!(response.matches("\r\n").count(), 6);
    assert!(!response.contains('\0'));
    for bad in [
        "a",
        "a\r\n",
        "a: b",
        "a: b\n",
        "a: b\r\n\r\n",
        "a: b\r\n\r\nx: y\r\n",
        "a b: c\r\n",
        "a: \0\r\n",
    ] {
        assert!(!are_header_lines(bad), "{bad:?}");
    }
    assert!(are_header_lines("a: b\r\nc: d\u{e9}\u{20AC}\r\n"));
    assert!(is_token(b"chat") && !is_token(b"") && !is_token(b"a b") && !is_token(b"a\r\n"));
}
