//! Echoes messages through the protocol core a given number of times, or reads a
//! request of the opening handshake, for `scripts/instructions.js`, which counts
//! the instructions.
//!
//! ```text
//! echo --list
//! echo CASE COUNT
//! ```

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for a script")]

use std::hint::black_box;

use uvws::protocol::handshake::server::{parse_request, HandshakeLimits, HeadScanner};
use uvws::protocol::{apply_mask, encode_header, Config, Event, Opcode, Receiver, Role};

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// A case: whose side we are, and the frames that make one message.
struct Case {
    name: &'static str,
    role: Role,
    frames: Vec<(Opcode, bool, Vec<u8>)>,
}

fn cases() -> Vec<Case> {
    let text = |length: usize| {
        "The quick brown fox ".repeat(length / 20 + 1).into_bytes()[..length].to_vec()
    };
    let mixed = "Größe: 20 µm, Preis 5 € ".repeat(50).into_bytes()[..1008].to_vec();
    let whole = |opcode, payload| vec![(opcode, true, payload)];
    vec![
        Case { name: "binary-20", role: Role::Server, frames: whole(Opcode::Binary, text(20)) },
        Case { name: "text-20", role: Role::Server, frames: whole(Opcode::Text, text(20)) },
        Case { name: "text-1k", role: Role::Server, frames: whole(Opcode::Text, text(1024)) },
        Case { name: "mixed-1k", role: Role::Server, frames: whole(Opcode::Text, mixed) },
        Case { name: "client-20", role: Role::Client, frames: whole(Opcode::Binary, text(20)) },
        Case { name: "ping-20", role: Role::Server, frames: whole(Opcode::Ping, text(20)) },
        Case {
            name: "fragments-3x20",
            role: Role::Server,
            frames: vec![
                (Opcode::Text, false, text(20)),
                (Opcode::Continuation, false, text(20)),
                (Opcode::Continuation, true, text(20)),
            ],
        },
    ]
}

/// The frames as a peer of `role` sends them.
fn encode(case: &Case) -> Vec<u8> {
    let peer = match case.role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    };
    let mut stream = Vec::new();
    for (opcode, fin, payload) in &case.frames {
        encode_header(peer, *opcode, *fin, false, payload.len() as u64, Some(KEY))
            .append_to(&mut stream);
        let start = stream.len();
        stream.extend_from_slice(payload);
        if peer == Role::Client {
            apply_mask(KEY, 0, &mut stream[start..]);
        }
    }
    stream
}

fn reply(role: Role, opcode: Opcode, payload: &[u8], out: &mut Vec<u8>) {
    encode_header(role, opcode, true, false, payload.len() as u64, Some(KEY)).append_to(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if role == Role::Client {
        apply_mask(KEY, 0, &mut out[start..]);
    }
}

/// Receives a read and appends the replies to `out`, as an endpoint does.
fn echo(role: Role, receiver: &mut Receiver, read: &mut [u8], out: &mut Vec<u8>) {
    let mut position = 0;
    while position < read.len() {
        if let Some(lent) = receiver.lend(&mut read[position..]) {
            position += lent.consumed;
            let opcode = if lent.binary { Opcode::Binary } else { Opcode::Text };
            reply(role, opcode, lent.payload, out);
            continue;
        }
        let step = receiver.receive(&mut read[position..]).unwrap();
        position += step.consumed;
        match step.event {
            Some(Event::Message { binary, payload }) => {
                let opcode = if binary { Opcode::Binary } else { Opcode::Text };
                reply(role, opcode, &payload, out);
            }
            Some(Event::Ping(payload)) => reply(role, Opcode::Pong, &payload, out),
            _ => {}
        }
    }
}

/// Sizes of requests: a head that is twice as long takes twice the instructions.
const HEADS: [(&str, usize); 3] = [("head-500", 500), ("head-1k", 1_000), ("head-2k", 2_000)];

/// A request of this size, of as many header lines as fit.
fn request(size: usize) -> Vec<u8> {
    let mut head = "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        .to_owned();
    while head.len() + 8 < size {
        head.push_str("a: b\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

/// Finds the end of a request that comes in four reads, and parses it.
fn read_request(head: &[u8]) {
    let limits = HandshakeLimits::default();
    let mut scanner = HeadScanner::new(limits.max_header_size);
    for quarter in 1..=4 {
        black_box(scanner.scan(&head[..head.len() * quarter / 4]).unwrap());
    }
    black_box(parse_request(black_box(head), &limits).unwrap());
}

fn main() {
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let (name, count) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => {
            for case in cases() {
                println!("{}", case.name);
            }
            for (name, _) in HEADS {
                println!("{name}");
            }
            return;
        }
        [name, count] => (name, count.parse::<usize>().unwrap()),
        // What `cargo bench` gives.
        _ => return println!("echo --list, or echo CASE COUNT; see scripts/instructions.js"),
    };
    if let Some((_, size)) = HEADS.into_iter().find(|head| head.0 == name) {
        let head = request(size);
        return (0..count).for_each(|_| read_request(black_box(&head)));
    }
    let case = cases().into_iter().find(|case| case.name == name).unwrap();
    let stream = encode(&case);
    let mut receiver = Receiver::new(&Config::new(case.role));
    let mut read = stream.clone();
    let mut out = Vec::with_capacity(2 * stream.len() + 64);
    for _ in 0..count {
        read.copy_from_slice(&stream);
        out.clear();
        echo(case.role, &mut receiver, black_box(&mut read), &mut out);
        black_box(&out);
    }
}
