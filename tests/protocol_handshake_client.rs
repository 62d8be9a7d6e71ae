//! Requests that a client writes, and the answers that it accepts or refuses.

use uvws::protocol::handshake::client::{
    accept_for, parse_response, write_request, ClientHandshakeError, HeadScanner, RequestParts,
    UpgradeResponse,
};
use uvws::protocol::handshake::server::{parse_request, HandshakeLimits};
use ClientHandshakeError as Error;

/// The key of RFC 6455 section 1.3.
const KEY: [u8; 16] = *b"the sample nonce";
const START: &str = "HTTP/1.1 101 Switching Protocols";
const LINES: [&str; 3] = [
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
];

fn head(start: &str, lines: &[&str]) -> Vec<u8> {
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    format!("{start}\r\n{lines}\r\n").into_bytes()
}

/// Reads the good answer with further lines.
fn read(
    more: &[&str],
    protocols: Option<&str>,
    extensions: bool,
) -> Result<UpgradeResponse, Error> {
    let lines = [&LINES[..], more].concat();
    parse_response(&head(START, &lines), KEY, protocols, extensions)
}

/// Reads an answer to which nothing was offered.
fn read_plain(start: &str, lines: &[&str]) -> Result<UpgradeResponse, Error> {
    parse_response(&head(start, lines), KEY, None, false)
}

const PLAIN: UpgradeResponse =
    UpgradeResponse { status: 101, protocol: None, has_extension: false };
const WITH_EXTENSION: UpgradeResponse = UpgradeResponse { has_extension: true, ..PLAIN };

#[test]
fn the_sample_of_the_standard_is_accepted() {
    assert_eq!(&accept_for(b"dGhlIHNhbXBsZSBub25jZQ=="), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(read_plain(START, &LINES), Ok(PLAIN));
    let found = read(&["Sec-WebSocket-Protocol: chat"], Some("chat, superchat"), false).unwrap();
    assert_eq!(found.protocol.as_deref(), Some("chat"));
    let lines = ["upgrade: WebSocket", "CONNECTION: x, upgrade", LINES[2]];
    assert_eq!(read_plain("HTTP/1.1 101", &lines), Ok(PLAIN));
    assert_eq!(read_plain("HTTP/1.1 101 ", &lines), Ok(PLAIN));
}

#[test]
fn every_fault_of_an_answer_has_the_words_of_ws() {
    let only = |lines: &[&str]| read_plain(START, lines).unwrap_err();
    let extensions = |value: &str| {
        read(&[&format!("Sec-WebSocket-Extensions: {value}")], None, true).unwrap_err()
    };
    let protocol = ["Sec-WebSocket-Protocol: other"];
    let cases = [
        (
            read_plain("HTTP/1.1 401 Unauthorized", &[]).unwrap_err(),
            "Unexpected server response: 401",
        ),
        (read_plain("HTTP/1.0 200 OK", &LINES).unwrap_err(), "Unexpected server response: 200"),
        (read_plain("HTTP/1.1 100 Continue", &[]).unwrap_err(), "Unexpected server response: 100"),
        (only(&LINES[1..]), "Invalid Upgrade header"),
        (only(&["Upgrade: foo", LINES[1], LINES[2]]), "Invalid Upgrade header"),
        (only(&[LINES[0], LINES[0], LINES[1], LINES[2]]), "Invalid Upgrade header"),
        (only(&[LINES[0], LINES[2]]), "Invalid Connection header"),
        (only(&[LINES[0], "Connection: close", LINES[2]]), "Invalid Connection header"),
        (only(&LINES[..2]), "Invalid Sec-WebSocket-Accept header"),
        (
            only(&[LINES[0], LINES[1], "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo="]),
            "Invalid Sec-WebSocket-Accept header",
        ),
        (only(&[LINES[0], LINES[1], LINES[2], LINES[2]]), "Invalid Sec-WebSocket-Accept header"),
        (
            read(&protocol, None, false).unwrap_err(),
            "Server sent a subprotocol but none was requested",
        ),
        (
            read(&["Sec-WebSocket-Protocol:"], None, false).unwrap_err(),
            "Server sent a subprotocol but none was requested",
        ),
        (
            read(&protocol, Some("chat,superchat"), false).unwrap_err(),
            "Server sent an invalid subprotocol",
        ),
        (
            read(&["Sec-WebSocket-Protocol:"], Some("chat"), false).unwrap_err(),
            "Server sent an invalid subprotocol",
        ),
        (
            read(&["Sec-WebSocket-Protocol: a, b"], Some("a,b"), false).unwrap_err(),
            "Server sent an invalid subprotocol",
        ),
        (
            read(&["Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"], Some("a,b"), false)
                .unwrap_err(),
            "Server sent an invalid subprotocol",
        ),
        (
            read(&["Sec-WebSocket-Protocol: Chat"], Some("chat"), false).unwrap_err(),
            "Server sent an invalid subprotocol",
        ),
        (read(&[], Some("chat"), false).unwrap_err(), "Server sent no subprotocol"),
        (
            read(&["Sec-WebSocket-Extensions: permessage-deflate"], None, false).unwrap_err(),
            "Server sent a Sec-WebSocket-Extensions header but no extension was requested",
        ),
        (extensions("permessage-deflate; a=\""), "Invalid Sec-WebSocket-Extensions header"),
        (extensions(""), "Invalid Sec-WebSocket-Extensions header"),
        (
            extensions("permessage-deflate, permessage-deflate"),
            "Invalid Sec-WebSocket-Extensions header",
        ),
        (extensions("foo"), "Server indicated an extension that was not requested"),
        (extensions("constructor"), "Server indicated an extension that was not requested"),
        (
            extensions("permessage-deflate, __proto__"),
            "Server indicated an extension that was not requested",
        ),
    ];
    for (error, message) in cases {
        assert_eq!(error.to_string(), message);
        assert_eq!(error.code(), None);
    }
    assert_eq!(
        read(&["Sec-WebSocket-Extensions: permessage-deflate;a=1"], None, true),
        Ok(WITH_EXTENSION)
    );
}

#[test]
fn bytes_that_are_no_response_are_malformed() {
    for head in [
        &b"SSH-2.0-OpenSSH_9.6\r\n\r\n"[..],
        b"HTTP/2.0 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 1O1 Switching Protocols\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 101 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 101 OK\r\n",
        b"",
    ] {
        assert_eq!(parse_response(head, KEY, None, false), Err(Error::Malformed), "{head:?}");
    }
    assert_eq!(read_plain("HTTP/1.0 101 Switching Protocols", &LINES), Err(Error::Malformed));
    assert_eq!(Error::Malformed.code(), Some("HPE_INVALID_CONSTANT"));
    assert_eq!(Error::Malformed.to_string(), "Parse Error: Expected HTTP/");

    let many = vec!["a:"; 2001];
    assert_eq!(read_plain(START, &many), Err(Error::TooLarge));
    assert_eq!(read_plain(START, &[&LINES[..], &many[..1990]].concat()), Ok(PLAIN));
    assert_eq!(Error::TooLarge.code(), Some("HPE_HEADER_OVERFLOW"));
    assert_eq!(Error::TooLarge.to_string(), "Parse Error: Header overflow");

    let scan = |bytes: &[u8]| HeadScanner::new(100).scan(bytes).map_err(Error::from);
    assert_eq!(scan(b"HTTP/1.1 101 OK\n\n"), Err(Error::Malformed));
    assert_eq!(scan(&[b'H'; 200]), Err(Error::TooLarge));
}

#[test]
fn a_request_has_what_the_standard_asks_for() {
    let mut out = Vec::new();
    let parts = RequestParts {
        path: "/chat?room=1",
        host: "server.example.com:8080",
        key: KEY,
        protocols: Some("chat,superchat"),
        extensions: Some("permessage-deflate; client_max_window_bits"),
        headers: "Origin: http://example.com\r\nX-Name: caf\u{e9}\r\n",
    };
    write_request(&mut out, &parts);
    let expected = b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com:8080\r\n\
        Origin: http://example.com\r\nX-Name: caf\xE9\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\
        Sec-WebSocket-Protocol: chat,superchat\r\n\r\n";
    assert_eq!(out, expected);

    let request = parse_request(&out, &HandshakeLimits::default()).unwrap();
    assert_eq!(&request.accept, b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert!(request.has_protocols && request.has_extensions);

    let mut out = Vec::new();
    write_request(&mut out, &RequestParts { protocols: None, extensions: None, ..parts });
    let request = parse_request(&out, &HandshakeLimits::default()).unwrap();
    assert!(!request.has_protocols && !request.has_extensions);
}

#[test]
fn no_part_of_a_request_can_break_out_of_its_line() {
    let mut out = Vec::new();
    let smuggle = "x\r\nEvil: 1\r\n\r\nGET / HTTP/1.1\0";
    let parts = RequestParts {
        path: smuggle,
        host: smuggle,
        key: [0; 16],
        protocols: Some(smuggle),
        extensions: Some(smuggle),
        headers: "",
    };
    write_request(&mut out, &parts);
    let request = String::from_utf8(out).unwrap();
    assert_eq!(request.lines().count(), 9);
    assert!(!request.contains('\0') && !request.contains("\nEvil"));
}
