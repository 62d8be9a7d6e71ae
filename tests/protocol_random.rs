//! Random and damaged input: nothing panics, and the laws hold at every call
//! (they are checked by the driver in `protocol_support`).

mod protocol_support;

use protocol_support::{feed, frame, run, Outcome, Random, ROLES};
use uvws::protocol::handshake::client::parse_response;
use uvws::protocol::handshake::server::{parse_request, HandshakeLimits, HeadScanner};
use uvws::protocol::{Config, Opcode, Receiver, Role};

fn random_config(random: &mut Random) -> Config {
    Config {
        role: ROLES[random.below(2)],
        max_payload: [0, 10, 1000, 1 << 20][random.below(4)],
        max_fragments: [0, 1, 3][random.below(3)],
        skip_utf8_validation: random.below(4) == 0,
    }
}

#[test]
fn random_bytes_in_random_reads_keep_the_laws() {
    let mut random = Random::new(10);
    for _ in 0..200_000 {
        let mut receiver = Receiver::new(&random_config(&mut random));
        let mut outcome = Outcome::default();
        for _ in 0..1 + random.below(4) {
            let length = random.below(24);
            feed(&mut receiver, &random.bytes(length), &mut outcome);
        }
    }
}

/// Returns frames that are valid one by one and in any order otherwise.
fn random_frames(random: &mut Random, role: Role) -> Vec<u8> {
    const OPCODES: [Opcode; 7] = [
        Opcode::Text,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Continuation,
        Opcode::Continuation,
        Opcode::Ping,
        Opcode::Close,
    ];
    let mut stream = Vec::new();
    for _ in 0..1 + random.below(6) {
        let opcode = OPCODES[random.below(OPCODES.len())];
        let fin = opcode.is_control() || random.below(2) == 0;
        let length = random.below(if opcode.is_control() { 126 } else { 200 });
        stream.extend(frame(role, opcode, fin, &vec![b'a'; length]));
    }
    stream
}

#[test]
fn damaged_streams_come_out_the_same_however_they_are_cut() {
    let mut random = Random::new(11);
    for _ in 0..40_000 {
        let config = random_config(&mut random);
        let mut stream = random_frames(&mut random, config.role);
        for _ in 0..random.below(3) {
            let position = random.below(stream.len());
            stream[position] ^= 1 << random.below(8);
        }
        let whole = run(&config, [&stream[..]]);
        let longest = 1 + random.below(stream.len());
        assert_eq!(run(&config, random.cut(&stream, longest)), whole, "{stream:02x?}");
    }
}

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: localhost:80\r\nConnection: keep-alive, Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: a, b\r\nSec-WebSocket-Extensions: x; y=\"z\"\r\n\r\n";

const RESPONSE: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: a\r\n\r\n";

#[test]
fn damaged_handshakes_are_answered_and_never_panic() {
    let mut random = Random::new(12);
    let limits = HandshakeLimits::default();
    let mut refused = 0;
    for _ in 0..100_000 {
        let mut request = REQUEST.to_vec();
        let mut response = RESPONSE.to_vec();
        for head in [&mut request, &mut response] {
            for _ in 0..1 + random.below(3) {
                let position = random.below(head.len());
                match random.below(3) {
                    0 => head[position] = random.next() as u8,
                    1 => drop(head.remove(position)),
                    _ => head.insert(position, random.next() as u8),
                }
            }
        }
        let mut scanner = HeadScanner::new(limits.max_header_size);
        if let Ok(Some(end)) = scanner.scan(&request) {
            assert!(end <= request.len() && request[..end].ends_with(b"\r\n\r\n"));
        }
        if let Err(error) = parse_request(&request, &limits) {
            refused += 1;
            let mut out = Vec::new();
            error.write_response(&mut out);
            let status = format!("HTTP/1.1 {} ", error.status);
            assert!(out.starts_with(status.as_bytes()));
        }
        let _ = parse_response(&response, *b"the sample nonce", Some("a,b"), true);
    }
    assert!(refused > 50_000);
    for _ in 0..100_000 {
        let length = random.below(40);
        let bytes = random.bytes(length);
        assert!(parse_request(&bytes, &limits).is_err());
        assert!(parse_response(&bytes, [0; 16], None, false).is_err());
    }
}

#[test]
fn a_host_or_origin_of_any_bytes_is_accepted_or_refused_by_its_characters_alone() {
    const HOST: &[u8] = b"!$&'()*+,-.:;=[]_~%";
    let mut random = Random::new(13);
    let limits = HandshakeLimits::default();
    let (before, after) = {
        let text = core::str::from_utf8(REQUEST).unwrap();
        let (before, after) = text.split_once("localhost:80").unwrap();
        (before.as_bytes(), after.as_bytes())
    };
    let accepts = |head: &[u8]| {
        let end = HeadScanner::new(limits.max_header_size).scan(head);
        end == Ok(Some(head.len())) && parse_request(head, &limits).is_ok()
    };
    for round in 0..100_000 {
        // Some of any bytes, some of those that stand in such values.
        let mut value = random.bytes(1 + round % 20);
        if round % 2 == 0 {
            value.iter_mut().for_each(|byte| *byte = b"a0.:-[]@/ \t%#?\\"[usize::from(*byte) % 15]);
        }
        let plain = !value.iter().any(|byte| matches!(byte, 0..=8 | 10..=31 | 127));
        let trimmed = value.trim_ascii();
        let is_host = !trimmed.is_empty()
            && trimmed.iter().all(|byte| byte.is_ascii_alphanumeric() || HOST.contains(byte));
        let as_host = [before, &value, after].concat();
        assert_eq!(accepts(&as_host), plain && is_host, "{value:02x?}");
        let origin = [before, b"a\r\nOrigin: ", &value, after].concat();
        assert_eq!(accepts(&origin), plain, "{value:02x?}");
    }
}
