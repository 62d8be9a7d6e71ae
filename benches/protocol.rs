//! What the protocol core costs, without sockets: `cargo bench --no-default-features`.
//!
//! Each line is the best of several rounds, which is the least disturbed one.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a report, from known input")]

use std::hint::black_box;
use std::time::Instant;

use uvws::protocol::handshake::server::{parse_request, HandshakeLimits, HeadScanner};
use uvws::protocol::{apply_mask, encode_header, Config, Event, Opcode, Receiver, Role};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
/// What an endpoint reads at once.
const READ: usize = 64 * 1024;

/// Returns the least nanoseconds that one of `count` units in `work` took.
/// `prepare` runs before each round and is not measured.
fn best<T>(count: usize, mut prepare: impl FnMut() -> T, mut work: impl FnMut(&mut T)) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..400 {
        let mut input = prepare();
        let start = Instant::now();
        work(&mut input);
        let elapsed = start.elapsed().as_nanos() as f64 / count as f64;
        black_box(&input);
        least = least.min(elapsed);
    }
    least
}

fn mask() {
    for size in [20, 125, 1024, 16 * 1024, 1024 * 1024] {
        let rounds = (1024 * 1024 / size).max(1);
        let nanos = best(
            rounds,
            || vec![0x5A; size],
            |bytes| {
                for _ in 0..rounds {
                    apply_mask(black_box(KEY), 0, black_box(bytes));
                }
            },
        );
        println!("mask {size:>9} B            {nanos:>12.1} ns {:>7.1} GB/s", size as f64 / nanos);
    }
}

/// Returns whole masked frames with this payload, about `READ` bytes of them.
fn frames(payload: &[u8], opcode: Opcode) -> (Vec<u8>, usize) {
    let header = encode_header(Role::Client, opcode, true, false, payload.len() as u64, Some(KEY));
    let count = (READ / (header.len() + payload.len())).max(1);
    let mut masked = payload.to_vec();
    apply_mask(KEY, 0, &mut masked);
    let frame = [header.to_vec(), masked].concat();
    (frame.repeat(count), count)
}

/// Receives `stream` in reads of `READ` bytes; returns the bytes of its messages.
fn receive(receiver: &mut Receiver, stream: &mut [u8]) -> usize {
    let mut total = 0;
    for read in stream.chunks_mut(READ) {
        let mut position = 0;
        while position < read.len() {
            if let Some(lent) = receiver.lend(&mut read[position..]) {
                position += lent.consumed;
                total += black_box(lent.payload).len();
                continue;
            }
            let step = receiver.receive(&mut read[position..]).unwrap();
            position += step.consumed;
            if let Some(Event::Message { payload, .. }) = step.event {
                total += black_box(&payload).len();
            }
        }
    }
    total
}

fn receive_all() {
    let ascii = "The quick brown fox ".repeat(52_430);
    let mixed = "Größe: 20 µm, Preis 5 € ".repeat(40_000);
    let cases: [(&str, &[u8], Opcode); 10] = [
        ("binary       0 B", b"", Opcode::Binary),
        ("binary      20 B", &ascii.as_bytes()[..20], Opcode::Binary),
        ("text        20 B", &ascii.as_bytes()[..20], Opcode::Text),
        ("text mixed  20 B", &mixed.as_bytes()[..20], Opcode::Text),
        ("text       125 B", &ascii.as_bytes()[..125], Opcode::Text),
        ("text     1,024 B", &ascii.as_bytes()[..1024], Opcode::Text),
        ("mixed    1,024 B", mixed.get(..1024).unwrap_or(&mixed[..1025]).as_bytes(), Opcode::Text),
        ("text    16,384 B", &ascii.as_bytes()[..16384], Opcode::Text),
        ("text       1 MiB", &ascii.as_bytes()[..1024 * 1024], Opcode::Text),
        ("binary     1 MiB", &ascii.as_bytes()[..1024 * 1024], Opcode::Binary),
    ];
    for (name, payload, opcode) in cases {
        let (stream, count) = frames(payload, opcode);
        let mut receiver = Receiver::new(&Config::new(Role::Server));
        let nanos = best(
            count,
            || stream.clone(),
            |stream| assert_eq!(receive(&mut receiver, stream), count * payload.len()),
        );
        let speed = payload.len() as f64 / nanos;
        println!("receive {name}      {nanos:>12.1} ns {speed:>7.2} GB/s");
    }
}

fn encode() {
    for size in [20_u64, 1024, 1024 * 1024] {
        let nanos = best(
            10_000,
            || 0_u64,
            |sum| {
                for _ in 0..10_000 {
                    let size = black_box(size);
                    let header = encode_header(Role::Server, Opcode::Text, true, false, size, None);
                    *sum += black_box(header).len() as u64;
                }
            },
        );
        println!("encode header of {size:>9} B {nanos:>9.1} ns");
    }
}

fn handshake() {
    let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nConnection: Upgrade\r\n\
        Pragma: no-cache\r\nCache-Control: no-cache\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
        AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36\r\nUpgrade: websocket\r\n\
        Origin: http://example.com\r\nSec-WebSocket-Version: 13\r\nAccept-Encoding: gzip, deflate, br\r\n\
        Accept-Language: en-US,en;q=0.9\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n";
    let limits = HandshakeLimits::default();
    let work = |_: &mut ()| {
        for _ in 0..100 {
            let head = black_box(&head[..]);
            let mut scanner = HeadScanner::new(limits.max_header_size);
            let end = scanner.scan(head).unwrap().unwrap();
            black_box(parse_request(&head[..end], &limits).unwrap());
        }
    };
    println!("handshake of {} B          {:>12.1} ns", head.len(), best(100, || (), work));
    let bytewise = |_: &mut ()| {
        let mut scanner = HeadScanner::new(limits.max_header_size);
        for end in 1..=head.len() {
            black_box(scanner.scan(&head[..end]).unwrap());
        }
    };
    println!("scan in 1-byte reads        {:>12.1} ns", best(1, || (), bytewise));
}

fn main() {
    mask();
    receive_all();
    encode();
    handshake();
    println!("a receiver is {} B", size_of::<Receiver>());
}
