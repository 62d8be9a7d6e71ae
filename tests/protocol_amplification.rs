//! The law of amplification: what is retained for a peer is at most twice what it
//! sent and 16 KiB; if it compresses, at most `max_payload` and 64 KiB. Each test is
//! an attack of many connections at once, measured by a counting allocator.

#[path = "protocol_support/counting.rs"]
mod counting;
mod protocol_support;

use std::rc::Rc;

use counting::{allowance, held, measure, with_little_memory, Cost};
use protocol_support::{apply_key, frame, peer_of, KEY, ROLES};
use uvws::protocol::deflate::{Compressor, CompressorConfig, Decompressor, InflaterPool};
use uvws::protocol::handshake::client::parse_response;
use uvws::protocol::handshake::server::{parse_request, HandshakeLimits, HeadScanner};
use uvws::protocol::{encode_header, Config, Event, Opcode, ProtocolError, Receiver, Role};

const CONNECTIONS: usize = 1_000;

/// Connections that are attacked together, and what was sent to each of them.
struct Attack {
    receivers: Vec<Receiver>,
    /// Bytes that all of them hold.
    held: usize,
    sent: usize,
    /// The most that was held at any time for one connection, on average.
    most: usize,
}

impl Attack {
    fn new(count: usize, mut make: impl FnMut() -> Receiver) -> Self {
        let mut receivers = Vec::with_capacity(count);
        let before = held();
        receivers.extend((0..count).map(|_| make()));
        Self { receivers, held: held() - before, sent: 0, most: 0 }
    }

    /// Sends the same bytes to each connection, and checks what that leaves held.
    /// Whatever the answer is: an error is one.
    fn send(&mut self, bytes: &[u8], allowed: impl Fn(usize) -> usize) {
        let before = held();
        let mut read = Vec::with_capacity(bytes.len());
        self.sent += bytes.len();
        for receiver in &mut self.receivers {
            read.clear();
            read.extend_from_slice(bytes);
            let mut at = 0;
            while at < read.len() {
                match receiver.receive(&mut read[at..]) {
                    Ok(step) => at += step.consumed,
                    Err(_) => break,
                }
            }
        }
        drop(read);
        self.held = self.held + held() - before;
        let each = self.held.div_ceil(self.receivers.len());
        assert!(each <= allowed(self.sent), "{each} bytes held for {} sent", self.sent);
        self.most = self.most.max(each);
    }
}

fn compressed(receiver: Role, opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let rsv1 = opcode != Opcode::Continuation;
    let header =
        encode_header(peer_of(receiver), opcode, fin, rsv1, payload.len() as u64, Some(KEY));
    let mut bytes = [&header.to_vec(), payload].concat();
    apply_key(receiver, &mut bytes[header.len()..]);
    bytes
}

#[test]
fn small_fragments_on_many_connections() {
    for role in ROLES {
        for payload in [&b""[..], b"x"] {
            let config = Config::new(role);
            let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
            attack.send(&frame(role, Opcode::Binary, false, payload), allowance);
            for _ in 0..300 {
                attack.send(&frame(role, Opcode::Continuation, false, payload), allowance);
            }
            // A byte that is kept came with a header of two.
            assert!(attack.most <= attack.sent.max(64), "{} {}", attack.most, attack.sent);
        }
    }
}

#[test]
fn small_messages_on_many_connections_leave_nothing() {
    for role in ROLES {
        for payload in [&b""[..], b"x"] {
            let config = Config::new(role);
            let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
            for opcode in [Opcode::Text, Opcode::Binary, Opcode::Ping, Opcode::Pong] {
                attack.send(&frame(role, opcode, true, payload).repeat(50), |_| 0);
            }
        }
    }
}

#[test]
fn a_flood_of_pings_leaves_nothing_even_if_each_is_cut() {
    for role in ROLES {
        let config = Config::new(role);
        let ping = frame(role, Opcode::Ping, true, &[b'p'; 125]);
        let (front, back) = ping.split_at(60);
        let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
        attack.send(&frame(role, Opcode::Text, false, b"within a message"), |_| 64);
        for _ in 0..100 {
            attack.send(front, |_| 64 + 128);
            attack.send(back, |_| 64);
        }
        // One million on a single connection.
        let mut receiver = Receiver::new(&config);
        let mut whole = ping.clone();
        let cost = measure(|| {
            for _ in 0..1_000_000 {
                whole.copy_from_slice(&ping);
                assert!(receiver.receive(&mut whole).unwrap().event.is_some());
            }
        });
        assert_eq!(cost, Cost::NONE);
    }
}

#[test]
fn an_announced_length_and_then_nothing() {
    for role in ROLES {
        for length in [126, 65_536, 100 * 1024 * 1024, 1 << 53, 1 << 62] {
            for max_payload in [0, Config::new(role).max_payload] {
                let config = Config { max_payload, ..Config::new(role) };
                let header =
                    encode_header(peer_of(role), Opcode::Binary, true, false, length, Some(KEY));
                let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
                attack.send(&header.to_vec(), |_| 0);
                // The first bytes of it, and then nothing.
                attack.send(b"0123456789", |sent| allowance(sent).min(64));
            }
        }
    }
}

#[test]
fn a_header_a_byte_at_a_time() {
    for role in ROLES {
        let config = Config::new(role);
        let header = encode_header(peer_of(role), Opcode::Binary, true, false, 1 << 20, Some(KEY));
        let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
        for byte in header.to_vec() {
            attack.send(&[byte], |_| 0);
        }
    }
}

#[test]
fn a_message_a_byte_at_a_time() {
    for role in ROLES {
        let config = Config::new(role);
        let stream = frame(role, Opcode::Text, true, &[b'x'; 2_000]);
        let mut attack = Attack::new(100, || Receiver::new(&config));
        for byte in &stream[..stream.len() - 1] {
            attack.send(&[*byte], |sent| 2 * sent + 64);
        }
        attack.send(&stream[stream.len() - 1..], |_| 0);
    }
}

#[test]
fn a_breach_gives_back_what_was_held() {
    for role in ROLES {
        let config = Config::new(role);
        let mut attack = Attack::new(CONNECTIONS, || Receiver::new(&config));
        attack.send(&frame(role, Opcode::Text, false, &[b'x'; 5_000]), allowance);
        attack.send(&frame(role, Opcode::Ping, true, b"cut")[..4], allowance);
        attack.send(&[0xFF; 64], allowance);
        attack.send(&frame(role, Opcode::Text, true, b"late"), |_| 64);
        for receiver in &attack.receivers {
            assert!(receiver.is_concluded() || receiver.retained() <= 64);
        }
    }
}

#[test]
fn memory_that_cannot_be_had_ends_the_connection_and_not_the_process() {
    const LONGEST: usize = 100_000;
    for role in ROLES {
        let mut receiver = Receiver::new(&Config::new(role));
        let mut stream = frame(role, Opcode::Binary, true, &vec![7; 200_000]);
        let mut error = None;
        with_little_memory(LONGEST, || {
            error = stream.chunks_mut(1_000).find_map(|read| receiver.receive(read).err());
        });
        assert_eq!(error, Some(ProtocolError::UnsupportedMessageLength));
        assert!(receiver.is_concluded());
        assert_eq!(receiver.retained(), 0);
    }
}

#[test]
fn memory_that_cannot_be_had_for_an_inflated_message_ends_the_connection_too() {
    const LONGEST: usize = 100_000;
    let pool = InflaterPool::new();
    let mut stream = compressed(Role::Client, Opcode::Binary, true, &bomb());
    let mut receiver = Receiver::new(&Config::new(Role::Client));
    receiver.set_decompressor(Decompressor::new(&pool, false));
    let mut error = None;
    with_little_memory(LONGEST, || {
        error = stream.chunks_mut(100).find_map(|read| receiver.receive(read).err());
    });
    assert_eq!(error, Some(ProtocolError::UnsupportedMessageLength));
    assert_eq!((receiver.retained(), receiver.context_size()), (0, 0));
    // The next connection has what the first one had to leave.
    let mut receiver = Receiver::new(&Config::new(Role::Client));
    receiver.set_decompressor(Decompressor::new(&pool, false));
    let mut stream = compressed(Role::Client, Opcode::Binary, true, &bomb());
    assert!(receiver.receive(&mut stream).unwrap().event.is_some());
}

#[test]
fn memory_that_cannot_be_had_to_make_an_inflated_message_shorter_leaves_it_longer() {
    const SIZE: usize = 900_000;
    let pool = InflaterPool::new();
    let mut stream = compressed(Role::Client, Opcode::Binary, true, &deflated(&vec![0; SIZE]));
    let mut receiver = Receiver::new(&Config::new(Role::Client));
    receiver.set_decompressor(Decompressor::new(&pool, false));
    let (last, front) = stream.split_last_mut().unwrap();
    assert!(receiver.receive(front).unwrap().event.is_none());
    with_little_memory(SIZE / 2, || {
        let mut last = [*last];
        let step = receiver.receive(&mut last).unwrap();
        let Some(Event::Message { payload, .. }) = step.event else { panic!("no message") };
        assert_eq!(payload.into_vec().len(), SIZE);
    });
}

#[test]
fn memory_that_cannot_be_had_for_a_compressed_message_is_told() {
    // Noise, which becomes no shorter.
    let mut state = 1_u32;
    let noise = Vec::from_iter((0..200_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    }));
    let mut compressor = Compressor::new(CompressorConfig::default()).expect("there is memory");
    for longest in [10_000, 100_000] {
        let mut outcome = Some(0);
        with_little_memory(longest, || {
            outcome = compressor.compress(&noise, true, &mut Vec::new());
        });
        assert_eq!(outcome, None, "{longest}");
        compressor.reset();
    }
    let length = compressor.compress(&noise, true, &mut Vec::new());
    assert!(length.is_some_and(|length| length > noise.len()));
}

// ---- compressed messages

fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    let config = CompressorConfig { level: 9, ..CompressorConfig::default() };
    let mut compressor = Compressor::new(config).expect("there is memory");
    let length = compressor.compress(bytes, true, &mut output).unwrap_or_default();
    output.truncate(length);
    output
}

/// 1 MiB of zeros in a kilobyte: a literal, and then matches of 258 bytes.
fn bomb() -> Vec<u8> {
    let bomb = deflated(&vec![0; 1 << 20]);
    assert!((1..1_100).contains(&bomb.len()));
    bomb
}

/// What an inflater takes, whatever the peer sends: a window of 32 KiB, tables, state.
const INFLATER: usize = 47 * 1024;

/// Connections with permessage-deflate. What they share is allocated beforehand.
fn compressing(count: usize, config: &Config, takes_over: bool, pool: &Rc<InflaterPool>) -> Attack {
    let make = || {
        let mut receiver = Receiver::new(config);
        receiver.set_decompressor(Decompressor::new(pool, takes_over));
        receiver
    };
    let mut first = make();
    assert!(first.receive(&mut compressed(config.role, Opcode::Binary, true, &[0])).is_ok());
    Attack::new(count, make)
}

#[test]
fn compressed_fragments_hold_an_inflater_and_what_is_inflated() {
    let pool = InflaterPool::new();
    for role in ROLES {
        for takes_over in [false, true] {
            let config = Config { max_payload: 10_000, ..Config::new(role) };
            let limit = |_| 10_000 + 64 * 1024;
            // Blocks of nothing, and stored blocks of one byte.
            for piece in [&b""[..], b"\0\0\0\xFF\xFF", b"\0\x01\0\xFE\xFFx"] {
                let mut attack = compressing(100, &config, takes_over, &pool);
                attack.send(&compressed(role, Opcode::Binary, false, piece), limit);
                for _ in 0..300 {
                    attack.send(&compressed(role, Opcode::Continuation, false, piece), limit);
                }
                let inflated = if piece.len() == 6 { 2 * 301 } else { 0 };
                assert!(attack.most <= INFLATER + 256 + inflated, "{}", attack.most);
            }
        }
    }
}

#[test]
fn a_bomb_on_many_connections_stops_at_the_limit() {
    let bomb = bomb();
    let pool = InflaterPool::new();
    for role in ROLES {
        for max_payload in [1_000, 65_536, 300_000] {
            let config = Config { max_payload: max_payload as u64, ..Config::new(role) };
            let limit = |_| max_payload + 64 * 1024;
            let mut attack = compressing(50, &config, true, &pool);
            let half = bomb.len() / 2;
            attack.send(&compressed(role, Opcode::Binary, false, &bomb[..20]), limit);
            attack.send(&compressed(role, Opcode::Continuation, false, &bomb[20..half]), limit);
            attack.send(&compressed(role, Opcode::Continuation, true, &bomb[half..]), limit);
            assert!(attack.receivers.iter().all(Receiver::is_concluded));
            attack.send(b"late", |_| 0);
        }
    }
}

#[test]
fn between_compressed_messages_the_window_is_all_that_is_held() {
    let pool = InflaterPool::new();
    for role in ROLES {
        for (takes_over, allowed) in [(false, 256), (true, INFLATER + 256)] {
            let mut attack = compressing(100, &Config::new(role), takes_over, &pool);
            // An empty message in two forms, then "Hello" (RFC 7692 section 7.2.3.1).
            attack.send(&compressed(role, Opcode::Text, true, b"\0"), |_| allowed);
            attack.send(&compressed(role, Opcode::Text, true, b""), |_| allowed);
            let hello = b"\xF2\x48\xCD\xC9\xC9\x07\x00";
            attack.send(&compressed(role, Opcode::Text, true, hello).repeat(20), |_| allowed);
        }
    }
}

// ---- handshakes

#[test]
fn a_handshake_that_dribbles_costs_no_memory_of_its_own() {
    // What has arrived is kept by whoever reads it, once; the core adds nothing.
    let limits = HandshakeLimits::default();
    let endless = [&b"GET / HTTP/1.1\r\n"[..], &b"a: b\r\n".repeat(3_000)].concat();
    let cost = measure(|| {
        let mut scanner = HeadScanner::new(limits.max_header_size);
        let refused = (1..endless.len()).find(|end| scanner.scan(&endless[..*end]).is_err());
        assert_eq!(refused, Some(limits.max_header_size));
    });
    assert_eq!(cost, Cost::NONE);
}

#[test]
fn a_head_of_many_lines_takes_a_small_multiple_while_it_is_parsed_and_nothing_after() {
    let limits = HandshakeLimits::default();
    for line in ["a:\r\n", "Sec-WebSocket-Protocol: a,b\r\n", "Host: a\r\n"] {
        let count = (limits.max_header_size - 100) / line.len();
        let request = format!("GET / HTTP/1.1\r\n{}\r\n", line.repeat(count)).into_bytes();
        let response = format!("HTTP/1.1 101 \r\n{}\r\n", line.repeat(count)).into_bytes();
        for head in [&request, &response] {
            let cost = measure(|| {
                assert!(parse_request(head, &limits).is_err());
                assert!(parse_response(head, [0; 16], None, false).is_err());
            });
            // The table of header lines: 32 bytes for each, of four bytes at least.
            assert_eq!(cost.held, 0);
            assert!(cost.peak <= 8 * head.len() + 16 * 1024, "{cost:?} for {}", head.len());
        }
    }
}

#[test]
fn a_long_offer_of_subprotocols_ends_at_the_limit() {
    let names: Vec<String> = (0..3_000).map(|index| format!("p{index}")).collect();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {}\r\n\r\n",
        names.join(",")
    );
    let limits = HandshakeLimits { max_header_size: 1 << 20, ..HandshakeLimits::default() };
    let cost = measure(|| {
        let error = parse_request(head.as_bytes(), &limits).unwrap_err();
        assert_eq!(error.message, "Invalid Sec-WebSocket-Protocol header");
    });
    assert_eq!(cost.held, 0);
    assert!(cost.peak <= 16 * limits.max_protocols, "{cost:?}");
}
