//! Requests of the opening handshake, good and bad.

use uvws::protocol::handshake::server::{
    asks_for_websocket, parse_request, target_of, HandshakeError, HandshakeLimits, HeadScanner,
    UpgradeRequest,
};

const START: &str = "GET /chat HTTP/1.1";
/// The lines of RFC 6455 section 1.3, without its offers.
const LINES: [&str; 5] = [
    "Host: server.example.com",
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version: 13",
];
const ACCEPT: &[u8; 28] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

fn head(start: &str, lines: &[&str]) -> Vec<u8> {
    let mut head = format!("{start}\r\n").into_bytes();
    for line in lines {
        head.extend_from_slice(line.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Reads a head as an endpoint does: scanner first.
fn read(head: &[u8]) -> Result<UpgradeRequest, HandshakeError> {
    let limits = HandshakeLimits::default();
    match HeadScanner::new(limits.max_header_size).scan(head)? {
        Some(end) => parse_request(&head[..end], &limits),
        None => unreachable!("the head is whole"),
    }
}

fn status(head: &[u8]) -> u16 {
    read(head).map_or_else(|error| error.status, |_| 101)
}

#[test]
fn a_target_is_told_of_what_has_one() {
    assert_eq!(target_of(&head(START, &LINES)), "/chat");
    assert_eq!(target_of(b"POST http://a/b?c HTTP/1.0\n"), "http://a/b?c");
    assert_eq!(target_of(b"GET /chat"), "/chat");
    for head in ["", "JUNK", "PASS secret\r\n", "GET \x1b/ HTTP/1.1", "GET * HTTP/1.1", "\n /a"] {
        assert_eq!(target_of(head.as_bytes()), "", "{head:?}");
    }
}

#[test]
fn what_is_refused_is_told_from_what_is_no_request() {
    let is_request = |head: &[u8]| read(head).expect_err("it is refused").is_request;
    assert!(is_request(&remove("Host")));
    assert!(is_request(&remove("Upgrade")));
    assert!(is_request(&head("POST / HTTP/1.1", &LINES)));
    assert!(!is_request(b"JUNK\r\n\r\n"));
    assert!(!is_request(&head("GET / HTTP/1.0", &LINES)));
    assert!(!is_request(&head("GET x HTTP/1.1", &LINES)));
    assert!(!is_request(&add("no colon")));
    assert!(!is_request(&head(START, &["X: y"; 2001])));
}

/// The good request with the line called like `line` replaced.
fn replace(line: &str) -> Vec<u8> {
    let name = line.split(':').next().unwrap_or(line);
    let lines = LINES.map(|old| if old.starts_with(&format!("{name}:")) { line } else { old });
    assert_ne!(lines, LINES, "{line}");
    head(START, &lines)
}

/// The good request with one line more.
fn add(line: &str) -> Vec<u8> {
    head(START, &[&LINES[..], &[line]].concat())
}

/// The good request without the line that begins so.
fn remove(name: &str) -> Vec<u8> {
    let lines: Vec<&str> = LINES.into_iter().filter(|line| !line.starts_with(name)).collect();
    assert_eq!(lines.len(), LINES.len() - 1);
    head(START, &lines)
}

#[test]
fn the_sample_of_the_standard_is_accepted() {
    let mut lines = LINES.to_vec();
    lines.push("Origin: http://example.com");
    lines.push("Sec-WebSocket-Protocol: chat, superchat");
    let request = read(&head(START, &lines)).unwrap();
    let expected =
        UpgradeRequest { accept: *ACCEPT, version: 13, has_protocols: true, has_extensions: false };
    assert_eq!(request, expected);
}

#[test]
fn names_and_keywords_are_compared_without_case_and_lists_by_element() {
    let lines = [
        "hOST: [::1]:8080",
        "UPGRADE:\t WebSocket \t",
        "connection: keep-alive,\t uPGRADE ,x",
        "SEC-WEBSOCKET-KEY:dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-version:8",
        "Content-Length: 0",
    ];
    let request = read(&head("GET http://a/b?c=d HTTP/1.1", &lines)).unwrap();
    assert_eq!((request.accept, request.version), (*ACCEPT, 8));
    let two_lines = [&LINES[..2], &["Connection: close", "Connection: Upgrade"], &LINES[3..]];
    assert_eq!(status(&head(START, &two_lines.concat())), 101);
}

#[test]
fn start_lines_that_are_no_get_of_a_target_are_refused() {
    let cases = [
        ("GET / HTTP/1.1", 101),
        ("GET /%20?a=b&c HTTP/1.1", 101),
        ("GET ws://host/path HTTP/1.1", 101),
        ("POST / HTTP/1.1", 405),
        ("get / HTTP/1.1", 405),
        ("HEAD / HTTP/1.1", 405),
        ("GET / HTTP/1.0", 400),
        ("GET / HTTP/1.2", 400),
        ("GET / HTTP/2.0", 400),
        ("GET / http/1.1", 400),
        ("GET /", 400),
        ("GET", 400),
        ("GET  / HTTP/1.1", 400),
        ("GET /  HTTP/1.1", 400),
        ("GET / HTTP/1.1 ", 400),
        ("GET /a b HTTP/1.1", 400),
        ("GET /#fragment HTTP/1.1", 400),
        ("GET * HTTP/1.1", 400),
        ("GET chat HTTP/1.1", 400),
        ("GET http:///path HTTP/1.1", 400),
        ("GET ://host/ HTTP/1.1", 400),
        ("GET chat?to=ws://host/ HTTP/1.1", 400),
        ("CONNECT host:80 HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("GET /\0 HTTP/1.1", 400),
        ("GET /\t HTTP/1.1", 400),
        ("G\u{e9}T / HTTP/1.1", 400),
        ("PRI * HTTP/2.0", 400),
    ];
    for (start, expected) in cases {
        assert_eq!(status(&head(start, &LINES)), expected, "{start}");
    }
}

#[test]
fn what_is_no_upgrade_is_told_that_one_is_required() {
    for request in [
        remove("Upgrade"),
        remove("Connection"),
        replace("Connection: close"),
        replace("Connection: Upgraded"),
        replace("Connection: \"Upgrade\""),
        replace("Connection:"),
        head("POST /form HTTP/1.1", &["Host: a", "Content-Length: 5"]),
        head("GET / HTTP/1.1", &["Host: a"]),
    ] {
        let error = read(&request).unwrap_err();
        assert_eq!((error.status, error.message), (426, "Upgrade Required"));
        assert!(error.headers.contains("Upgrade: websocket\r\n"));
    }
}

#[test]
fn every_required_line_is_required_once_and_exactly() {
    let cases = [
        (remove("Host"), 400, "Bad Request"),
        (add("Host: server.example.com"), 400, "Bad Request"),
        (replace("Host:"), 400, "Bad Request"),
        (replace("Host: a b"), 400, "Bad Request"),
        (replace("Host: a/b"), 400, "Bad Request"),
        (replace("Host: user@a"), 400, "Bad Request"),
        (replace("Upgrade: websocket, h2c"), 400, "Invalid Upgrade header"),
        (replace("Upgrade: websockets"), 400, "Invalid Upgrade header"),
        (replace("Upgrade:"), 400, "Invalid Upgrade header"),
        (add("Upgrade: websocket"), 400, "Invalid Upgrade header"),
        (remove("Sec-WebSocket-Key"), 400, "Missing or invalid Sec-WebSocket-Key header"),
        (
            add("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
            400,
            "Missing or invalid Sec-WebSocket-Key header",
        ),
        (remove("Sec-WebSocket-Version"), 400, "Missing or invalid Sec-WebSocket-Version header"),
        (add("Sec-WebSocket-Version: 13"), 400, "Missing or invalid Sec-WebSocket-Version header"),
        (add("Content-Length: 1"), 400, "Bad Request"),
        (add("Content-Length: 00"), 400, "Bad Request"),
        (add("Content-Length: -0"), 400, "Bad Request"),
        (add("Content-Length:"), 400, "Bad Request"),
        (add("Transfer-Encoding: chunked"), 400, "Bad Request"),
        (add("Transfer-Encoding: identity"), 400, "Bad Request"),
    ];
    for (request, status, message) in cases {
        let error = read(&request).unwrap_err();
        assert_eq!((error.status, error.message), (status, message));
    }
}

#[test]
fn keys_are_24_characters_of_base64_that_are_16_bytes() {
    for good in ["AAAAAAAAAAAAAAAAAAAAAA==", "/+/+/+/+/+/+/+/+/+/+/w==", "AAAAAAAAAAAAAAAAAAAAAB=="]
    {
        assert_eq!(status(&replace(&format!("Sec-WebSocket-Key: {good}"))), 101, "{good}");
    }
    for bad in [
        "",
        "AAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAA=",
        "AAAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAA===",
        "AAAAAAAAAAAAAAAAAAAAAA==AAAA",
        "-_AAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAA AAAAAAAAAA==",
        "AAAAAAAAAAAAAAAAAAAAA=A=",
        "====AAAAAAAAAAAAAAAAAAAA",
        "A\u{e9}AAAAAAAAAAAAAAAAAAA==",
    ] {
        let error = read(&replace(&format!("Sec-WebSocket-Key: {bad}"))).unwrap_err();
        assert_eq!(error.message, "Missing or invalid Sec-WebSocket-Key header", "{bad}");
    }
}

#[test]
fn versions_other_than_13_and_8_are_told_which_would_do() {
    for version in
        ["", "7", "12", "14", "013", "13.0", "+13", "13, 8", "0x0d", "9".repeat(99).as_str()]
    {
        let error = read(&replace(&format!("Sec-WebSocket-Version: {version}"))).unwrap_err();
        assert_eq!(error.status, 400);
        assert_eq!(error.headers, "Sec-WebSocket-Version: 13, 8\r\n");
    }
}

#[test]
fn subprotocols_are_tokens_and_none_is_offered_twice() {
    let offer = |value: &str| read(&add(&format!("Sec-WebSocket-Protocol: {value}")));
    for good in
        ["a", "a,b", "a , b\t,c", "constructor, __proto__,toString", "A,a", "!#$%&'*+-.^_`|~"]
    {
        assert!(offer(good).unwrap().has_protocols, "{good}");
    }
    for bad in
        ["", ",", "a,", ",a", "a,,b", "a b", "a,a", "a, b, a", "a;b", "a\"", "a=b", "\u{e9}", "(a)"]
    {
        let error = offer(bad).unwrap_err();
        assert_eq!((error.status, error.message), (400, "Invalid Sec-WebSocket-Protocol header"));
    }
    // Several lines are one list.
    let lines = |second: &str| {
        let both = ["Sec-WebSocket-Protocol: a, b", second];
        status(&head(START, &[&LINES[..], &both].concat()))
    };
    assert_eq!(lines("Sec-WebSocket-Protocol: c"), 101);
    assert_eq!(lines("sec-websocket-protocol: b"), 400);
    assert_eq!(lines("Sec-WebSocket-Protocol:"), 400);

    let many = |count: usize| {
        let names: Vec<String> = (0..count).map(|index| format!("p{index}")).collect();
        offer(&names.join(",")).map_or_else(|error| error.status, |_| 101)
    };
    assert_eq!((many(128), many(129), many(2000)), (101, 400, 400));
}

#[test]
fn extensions_are_looked_at_by_their_grammar() {
    let offer = |value: &str| read(&add(&format!("Sec-WebSocket-Extensions: {value}")));
    for good in [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits, foo;a=1;b=\"2\"",
        "constructor; __proto__=toString",
    ] {
        assert!(offer(good).unwrap().has_extensions, "{good}");
    }
    for bad in ["", "a,", "a;", "a;b=", "a b", "a;b=\"c", "a;b=\"c d\"", "\u{e9}"] {
        let error = offer(bad).unwrap_err();
        let message = "Invalid or unacceptable Sec-WebSocket-Extensions header";
        assert_eq!((error.status, error.message), (400, message), "{bad}");
    }
    let many = |count: usize| {
        offer(&vec!["x"; count].join(",")).map_or_else(|error| error.status, |_| 101)
    };
    assert_eq!((many(32), many(33)), (101, 400));
}

#[test]
fn header_lines_that_two_readers_could_read_differently_are_refused() {
    let raw = |line: &[u8]| {
        let mut request = head(START, &LINES);
        request.truncate(request.len() - 2);
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n\r\n");
        status(&request)
    };
    assert_eq!(raw(b"A: b"), 101);
    assert_eq!(raw(b"A:"), 101);
    let cases: [&[u8]; 15] = [
        b"A : b",
        b" A: b",
        b"A: b\r\n c",
        b"A: b\r\n\tc",
        b"A: b\nC: d",
        b"A: b\rC: d",
        b"A: b\0",
        b"A: \x01",
        b"A: \x7F",
        b"A\0: b",
        b"A",
        b": b",
        b"A\xE9: b",
        b"A(: b",
        b"\"A\": b",
    ];
    for line in cases {
        assert_eq!(raw(line), 400, "{line:?}");
    }
}

#[test]
fn bytes_above_ascii_are_values_and_never_names_or_targets() {
    for byte in 0x80..=0xFF_u8 {
        let with = |before: &str, after: &str| {
            let mut request = before.as_bytes().to_vec();
            request.push(byte);
            request.extend_from_slice(after.as_bytes());
            for line in LINES {
                request.extend_from_slice(line.as_bytes());
                request.extend_from_slice(b"\r\n");
            }
            request.extend_from_slice(b"\r\n");
            status(&request)
        };
        assert_eq!(with("GET / HTTP/1.1\r\nCookie: a=", "\r\n"), 101);
        assert_eq!(with("GET / HTTP/1.1\r\nCoo", "kie: a\r\n"), 400);
        assert_eq!(with("GET /", " HTTP/1.1\r\n"), 400);
        assert_eq!(with("G", "ET / HTTP/1.1\r\n"), 400);
        assert_eq!(with("GET / HTTP/1.", "\r\n"), 400);
    }
}

#[test]
fn names_of_object_prototypes_are_names_like_others() {
    for name in ["constructor", "__proto__", "toString", "hasOwnProperty"] {
        assert_eq!(status(&add(&format!("{name}: {name}"))), 101);
        assert_eq!(status(&replace(&format!("Host: {name}"))), 101);
    }
}

#[test]
fn headers_are_counted_up_to_the_limit_wherever_the_required_ones_are() {
    let limits = HandshakeLimits { max_header_size: 1 << 20, ..HandshakeLimits::default() };
    let filler: Vec<String> = (0..10_000).map(|index| format!("X-{index}: y")).collect();
    for count in [0, 1, 26, 27, 28, 31, 32, 33, 500, 1994, 1995, 1996, 2000, 5000, 10_000] {
        let filler: Vec<&str> = filler[..count].iter().map(String::as_str).collect();
        for lines in [[&LINES[..], &filler].concat(), [&filler[..], &LINES].concat()] {
            let request = head(START, &lines);
            let result = parse_request(&request, &limits).map_err(|error| error.status);
            assert_eq!(result.is_ok(), count + LINES.len() <= 2000, "{count}");
            assert_eq!(result.err(), (count + LINES.len() > 2000).then_some(431));
        }
    }
    let few = HandshakeLimits { max_headers_count: 5, ..limits };
    assert!(parse_request(&head(START, &LINES), &few).is_ok());
    assert_eq!(parse_request(&add("A: b"), &few).map_err(|error| error.status), Err(431));
}

#[test]
fn the_shortest_lines_all_fit_into_the_room_that_the_head_allows() {
    let mut lines = LINES.to_vec();
    lines.extend(["a:"; 1500]);
    assert_eq!(status(&head(START, &lines)), 101);
}

#[test]
fn a_head_above_the_limit_is_refused_whole_or_in_parts() {
    let limits = HandshakeLimits::default();
    let fill = |size: usize| {
        let request = add("X: ");
        let padding = size - request.len();
        add(&format!("X: {}", "x".repeat(padding)))
    };
    assert_eq!(status(&fill(16 * 1024)), 101);
    assert_eq!(status(&fill(16 * 1024 + 1)), 431);
    assert_eq!(parse_request(&fill(16 * 1024 + 1), &limits).map_err(|e| e.status), Err(431));

    let endless = vec![b'a'; 20_000];
    let mut scanner = HeadScanner::new(limits.max_header_size);
    for end in 1..16 * 1024 {
        assert_eq!(scanner.scan(&endless[..end]), Ok(None));
    }
    assert_eq!(scanner.scan(&endless[..16 * 1024]).map_err(|e| e.status), Err(431));
}

#[test]
fn a_head_in_one_byte_reads_is_found_at_the_same_place_with_frames_behind_it() {
    let request = add("Cookie: a=b");
    let mut stream = request.clone();
    stream.extend_from_slice(b"\x81\x80\r\n\r\n");
    let mut scanner = HeadScanner::new(16 * 1024);
    for end in 0..request.len() {
        assert_eq!(scanner.scan(&stream[..end]), Ok(None));
    }
    assert_eq!(scanner.scan(&stream), Ok(Some(request.len())));
}

#[test]
fn a_part_of_a_head_or_more_than_one_is_no_request() {
    let limits = HandshakeLimits::default();
    let request = head(START, &LINES);
    for end in 0..request.len() {
        assert_eq!(parse_request(&request[..end], &limits).map_err(|e| e.status), Err(400));
    }
    let more = [&request[..], b"x"].concat();
    assert_eq!(parse_request(&more, &limits).map_err(|e| e.status), Err(400));
    let led = [b"\r\n", &request[..]].concat();
    assert_eq!(status(&led), 400);
}

#[test]
fn what_asks_for_a_websocket_is_told_from_other_requests_whether_it_is_valid_or_not() {
    for line in ["Upgrade: websocket", "upgrade:WebSocket", "UPGRADE: h2c, \twebsocket ,x"] {
        assert!(asks_for_websocket(&head("POST / HTTP/1.0", &["Host: a", line])), "{line}");
        assert!(asks_for_websocket(&head("no request", &["no header", line])), "{line}");
    }
    for line in
        ["Upgrade: h2c", "Upgrade: websockets", "X-Upgrade: websocket", "Upgrade", "upgrade:"]
    {
        assert!(!asks_for_websocket(&head(START, &["Connection: upgrade", line])), "{line}");
    }
    assert!(!asks_for_websocket(b""));
}

#[test]
fn bytes_that_were_scanned_are_not_looked_at_again() {
    // So the work for a head is linear, in whatever reads it comes.
    let request = add(&format!("X: {}", "x".repeat(10_000)));
    let mut scanner = HeadScanner::new(16 * 1024);
    assert_eq!(scanner.scan(&request[..request.len() - 10]), Ok(None));
    // Earlier bytes may change afterwards: they are not looked at again.
    let mut changed = request.clone();
    changed[0] = b'\n';
    changed[100] = b'\n';
    changed[request.len() - 5000] = b'\n';
    assert_eq!(scanner.scan(&changed), Ok(Some(request.len())));
}
