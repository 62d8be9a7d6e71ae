//! The opening handshake: heads of a hostile peer, and text of a careless user.

use uvws::protocol::handshake::client::{
    accept_for, parse_response, write_request, ClientHandshakeError, RequestParts,
};
use uvws::protocol::handshake::headers::{are_header_lines, is_token};
use uvws::protocol::handshake::host::{Host, Hostname};
use uvws::protocol::handshake::server::{
    asks_for_websocket, parse_request, write_rejection, write_response, HandshakeLimits,
    HeadScanner,
};

use crate::input::{cut, Input};

/// The key of RFC 6455 section 1.3.
const KEY: [u8; 16] = *b"the sample nonce";

/// A request is read alike in any reads, answered with a whole response, and
/// accepted only if the plainest of readers finds an upgrade in it too.
pub fn request(data: &[u8]) {
    let mut input = Input(data);
    let limits = HandshakeLimits {
        max_header_size: input.pick(&[64, 1024, 16 * 1024]),
        max_headers_count: input.pick(&[3, 32, 2000]),
        ..HandshakeLimits::default()
    };
    let seed = input.byte();
    let stream = input.0;
    let found = scan_in_any_reads(stream, limits.max_header_size, seed);
    // What the scanner has not passed is parsed too: it may be refused, and never panic.
    check_refusal(stream, &limits);
    check_host(stream);
    let Some(end) = found else {
        return;
    };
    let head = &stream[..end];
    check_refusal(head, &limits);
    let Ok(request) = parse_request(head, &limits) else {
        return;
    };
    assert!(asks_for_websocket(head));
    let head = Head::read(head);
    let start: Vec<&[u8]> = head.start.split(|byte| *byte == b' ').collect();
    assert_eq!((start.len(), start[0], start[2]), (3, &b"GET"[..], &b"HTTP/1.1"[..]));
    assert!(start[1].iter().all(u8::is_ascii_graphic));
    assert_eq!(head.all("host").count(), 1);
    assert!(head.only("upgrade").eq_ignore_ascii_case(b"websocket"));
    assert!(head.lists("connection", b"upgrade"));
    assert_eq!(head.all("transfer-encoding").count(), 0);
    assert!(head.all("content-length").all(|value| value == b"0"));
    assert_eq!(head.only("sec-websocket-version"), request.version.to_string().as_bytes());
    let key = head.only("sec-websocket-key");
    assert_eq!((key.len(), &key[22..]), (24, &b"=="[..]));
    assert_eq!(request.accept, accept_for(key));
    assert!(head.lines.len() <= limits.max_headers_count);
    assert_eq!(request.has_protocols, head.all("sec-websocket-protocol").count() > 0);
    assert_eq!(request.has_extensions, head.all("sec-websocket-extensions").count() > 0);

    let mut response = Vec::new();
    write_response(&mut response, &request.accept, None, "");
    assert!(response.ends_with(b"\r\n\r\n"));
}

/// A host is found in anything, and one that is a name is its own name.
fn check_host(head: &[u8]) {
    if let Some(host @ Host::Name(name)) = Host::of_request(head) {
        let text = str::from_utf8(name).expect("a name is ASCII");
        let own = Hostname::parse(text).expect("a name is a host name");
        assert_eq!(own.rank(&host), Some(usize::MAX));
    }
}

/// A response is read alike in any reads, and accepted only if it answers the key.
pub fn response(data: &[u8]) {
    let mut input = Input(data);
    let protocols = input.pick(&[None, Some("chat"), Some("chat, superchat,v1.b")]);
    let offers_extensions = input.flag();
    let max_header_size = input.pick(&[64, 1024, 16 * 1024]);
    let seed = input.byte();
    let stream = input.0;
    let found = scan_in_any_reads(stream, max_header_size, seed);
    let _ = parse_response(stream, KEY, protocols, offers_extensions);
    let Some(end) = found else {
        return;
    };
    match parse_response(&stream[..end], KEY, protocols, offers_extensions) {
        Err(ClientHandshakeError::UnexpectedStatus(status)) => assert_ne!(status, 101),
        Err(_) => {}
        Ok(response) => {
            let head = Head::read(&stream[..end]);
            assert!(head.start.starts_with(b"HTTP/1.1 101"));
            assert!(head.only("upgrade").eq_ignore_ascii_case(b"websocket"));
            assert!(head.lists("connection", b"upgrade"));
            assert_eq!(head.only("sec-websocket-accept"), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
            assert_eq!(response.protocol.is_some(), protocols.is_some());
            if let Some(chosen) = response.protocol {
                assert_eq!(head.only("sec-websocket-protocol"), chosen.as_bytes());
                assert!(protocols.unwrap().split(',').any(|name| name.trim() == chosen));
            }
            assert!(!response.has_extension || offers_extensions);
            assert_eq!(response.has_extension, head.all("sec-websocket-extensions").count() > 0);
        }
    }
}

/// The two headers that are lists are accepted by their grammar, which is written
/// down here a second time.
pub fn lists(data: &[u8]) {
    // What cannot be in a header line is no matter of the list.
    if data.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127)) {
        return;
    }
    let limits = HandshakeLimits::default();
    let accepts = |name: &str| {
        let mut head =
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                .to_vec();
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(data);
        head.extend_from_slice(b"\r\n\r\n");
        if head.len() > limits.max_header_size {
            return None;
        }
        Some(parse_request(&head, &limits).is_ok())
    };
    if let Some(accepted) = accepts("Sec-WebSocket-Extensions") {
        assert_eq!(accepted, Grammar(data).are_extensions(limits.max_extensions));
    }
    if let Some(accepted) = accepts("Sec-WebSocket-Protocol") {
        let mut names: Vec<&[u8]> = data.split(|byte| *byte == b',').map(trim).collect();
        let offered = names.len();
        let tokens = names.iter().all(|name| is_token(name));
        names.sort_unstable();
        names.dedup();
        let valid = tokens && names.len() == offered && offered <= limits.max_protocols;
        assert_eq!(accepted, valid);
    }
    let response = [
        b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
            Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: ",
        data,
        b"\r\n\r\n",
    ]
    .concat();
    if parse_response(&response, KEY, None, true).is_ok() {
        assert!(Grammar(data).are_extensions(1));
        assert!(trim(data).starts_with(b"permessage-deflate"));
    }
}

/// Whatever text a user gives, what is written is one head, and says what was meant.
pub fn writing(data: &[u8]) {
    let mut input = Input(data);
    let mut texts = Vec::new();
    for _ in 0..6 {
        texts.push(String::from_utf8_lossy(input.piece()).into_owned());
    }
    let headers = if are_header_lines(&texts[0]) { texts[0].as_str() } else { "" };
    let count = headers.matches("\r\n").count();

    let mut head = Vec::new();
    write_request(
        &mut head,
        &RequestParts {
            path: &texts[1],
            host: &texts[2],
            key: KEY,
            protocols: Some(&texts[3]),
            extensions: Some(&texts[4]),
            headers,
        },
    );
    let written = Head::read(&head);
    assert_eq!(written.lines.len(), 7 + count);
    assert!(written.start.starts_with(b"GET ") && written.start.ends_with(b" HTTP/1.1"));

    head.clear();
    let accept = accept_for(b"dGhlIHNhbXBsZSBub25jZQ==");
    write_response(&mut head, &accept, Some(&texts[3]), headers);
    let written = Head::read(&head);
    assert_eq!(written.lines.len(), 4 + count);
    assert_eq!(written.start, b"HTTP/1.1 101 Switching Protocols");

    head.clear();
    let status = u16::from(input.byte()) << 2;
    write_rejection(&mut head, status, &texts[5], headers);
    let end = HeadScanner::new(head.len() + 1).scan(&head).unwrap().unwrap();
    let written = Head::read(&head[..end]);
    assert!(written.start.starts_with(format!("HTTP/1.1 {status} ").as_bytes()));
    assert!(written.lines.len() > count && written.lines.len() <= 3 + count);
    assert!(texts[5].is_empty() || &head[end..] == texts[5].as_bytes());
}

/// Scans the stream whole, bytewise and in other reads; returns where its head ends.
fn scan_in_any_reads(stream: &[u8], max_header_size: usize, seed: u8) -> Option<usize> {
    let scan = |reads: &mut dyn Iterator<Item = usize>| {
        let mut scanner = HeadScanner::new(max_header_size);
        let mut end = 0;
        for length in reads {
            end += length;
            match scanner.scan(&stream[..end]) {
                Ok(None) => {}
                result => return result.map_err(|error| error.status),
            }
        }
        Ok(None)
    };
    let whole = scan(&mut [stream.len()].into_iter());
    assert_eq!(scan(&mut stream.iter().map(|_| 1)), whole);
    assert_eq!(scan(&mut cut(stream, seed).into_iter().map(<[u8]>::len)), whole);
    let end = whole.ok().flatten()?;
    assert!(end <= max_header_size && stream[..end].ends_with(b"\r\n\r\n"));
    Some(end)
}

fn check_refusal(head: &[u8], limits: &HandshakeLimits) {
    if let Err(error) = parse_request(head, limits) {
        let mut response = Vec::new();
        error.write_response(&mut response);
        assert!(response.starts_with(format!("HTTP/1.1 {} ", error.status).as_bytes()));
        let end = HeadScanner::new(1024).scan(&response).unwrap().unwrap();
        assert_eq!(&response[end..], error.message.as_bytes());
    }
}

/// A head as somebody reads it who knows no exceptions: lines between CR LF, and
/// nothing in them that anybody could take for an end of a line or a folded one.
struct Head<'a> {
    start: &'a [u8],
    lines: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Head<'a> {
    fn read(head: &'a [u8]) -> Self {
        let mut rest = head;
        let mut lines = Vec::new();
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("an end of line");
            let line = &rest[..end];
            assert!(!line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
            rest = &rest[end + 2..];
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        assert!(rest.is_empty(), "something is behind the head");
        let fields = lines[1..].iter().map(|line| {
            let colon = line.iter().position(|byte| *byte == b':').expect("a colon");
            assert!(is_token(&line[..colon]));
            (&line[..colon], trim(&line[colon + 1..]))
        });
        Self { start: lines[0], lines: fields.collect() }
    }

    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'a [u8]> + 's {
        let same = move |line: &&(&[u8], &[u8])| line.0.eq_ignore_ascii_case(name.as_bytes());
        self.lines.iter().filter(same).map(|line| line.1)
    }

    fn only(&self, name: &str) -> &'a [u8] {
        assert_eq!(self.all(name).count(), 1, "{name}");
        self.all(name).next().unwrap()
    }

    fn lists(&self, name: &str, token: &[u8]) -> bool {
        let mut elements = self.all(name).flat_map(|value| value.split(|byte| *byte == b','));
        elements.any(|element| trim(element).eq_ignore_ascii_case(token))
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

/// The grammar of RFC 6455 section 9.1 by recursive descent: what is left to read.
struct Grammar<'a>(&'a [u8]);

impl Grammar<'_> {
    fn are_extensions(mut self, max: usize) -> bool {
        let mut count = 0;
        loop {
            count += 1;
            if !self.token() {
                return false;
            }
            while self.next_is(b';') {
                if !self.token() || self.next_is(b'=') && !self.value() {
                    return false;
                }
            }
            if !self.next_is(b',') {
                return self.0.is_empty() && count <= max;
            }
        }
    }

    fn skip_blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_blanks();
        let found = self.0.first() == Some(&byte);
        self.0 = &self.0[usize::from(found)..];
        found
    }

    /// Reads what must be a token, and the blanks around it.
    fn token(&mut self) -> bool {
        self.skip_blanks();
        let length = self.0.iter().take_while(|byte| is_token(&[**byte])).count();
        self.0 = &self.0[length..];
        self.skip_blanks();
        length > 0
    }

    /// Reads a token, or a quoted string that is one.
    fn value(&mut self) -> bool {
        if !self.next_is(b'"') {
            return self.token();
        }
        let mut length = 0;
        loop {
            let escaped = self.0.first() == Some(&b'\\');
            let Some((byte, rest)) = self.0[usize::from(escaped)..].split_first() else {
                return false;
            };
            self.0 = rest;
            if *byte == b'"' && !escaped {
                self.skip_blanks();
                return length > 0;
            }
            if !is_token(&[*byte]) {
                return false;
            }
            length += 1;
        }
    }
}
