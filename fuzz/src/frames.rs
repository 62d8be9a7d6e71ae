//! Frames: any bytes in any reads, and what is encoded is decoded.

use uvws::protocol::deflate::{Compressor, CompressorConfig};
use uvws::protocol::{apply_mask, encode_header, Config, Opcode, Role};

use crate::input::{cut, Input};
use crate::run::{run, Compression, Outcome, Seen};

const ROLES: [Role; 2] = [Role::Server, Role::Client];
const COMPRESSIONS: [Compression; 3] =
    [Compression::Off, Compression::Alone, Compression::TakingOver];

/// Any bytes give the same events and the same error in whatever reads they come.
pub fn frames(data: &[u8]) {
    let mut input = Input(data);
    let config = Config {
        role: input.pick(&ROLES),
        max_payload: input.pick(&[0, 1, 200, 1 << 16, 1 << 20]),
        max_fragments: input.pick(&[0, 1, 4]),
        skip_utf8_validation: input.flag(),
    };
    let compression = input.pick(&COMPRESSIONS);
    let seed = input.byte();
    let stream = input.0;
    let whole = run(&config, compression, [stream]);
    assert_eq!(run(&config, compression, stream.chunks(1)), whole);
    assert_eq!(run(&config, compression, cut(stream, seed)), whole);
}

/// Messages and control frames that one side encodes are what the other decodes.
pub fn round_trip(data: &[u8]) {
    let mut input = Input(data);
    let receiver = input.pick(&ROLES);
    let mut sender = Sender {
        role: if receiver == Role::Server { Role::Client } else { Role::Server },
        key: [input.byte(), input.byte(), input.byte(), input.byte()],
        stream: Vec::new(),
    };
    let compression = input.pick(&COMPRESSIONS);
    let mut compressor = Compressor::new(CompressorConfig {
        level: input.byte() % 10,
        window_bits: 8 + input.byte() % 8,
        mem_level: 1 + input.byte() % 9,
    })
    .expect("there is memory");
    let seed = input.byte();
    let mut expected = Vec::new();
    let mut output = Vec::new();
    while !input.is_empty() && expected.len() < 64 {
        let kind = input.byte();
        match kind % 8 {
            0 => {
                let payload = input.take(usize::from(kind >> 1).min(125));
                sender.frame(Opcode::Ping, true, false, payload);
                expected.push(Seen::Ping(payload.to_vec()));
                continue;
            }
            1 => {
                let payload = input.take(usize::from(kind >> 1).min(125));
                sender.frame(Opcode::Pong, true, false, payload);
                expected.push(Seen::Pong(payload.to_vec()));
                continue;
            }
            _ => {}
        }
        let binary = kind & 0x08 != 0;
        let compressed = compression != Compression::Off && kind & 0x10 != 0;
        let message = if binary {
            input.piece().repeat(input.byte().into())
        } else {
            String::from_utf8_lossy(input.piece()).repeat(input.byte().into()).into_bytes()
        };
        let mut rest = &message[..];
        let mut opcode = if binary { Opcode::Binary } else { Opcode::Text };
        loop {
            let fragment = if kind & 0x20 != 0 { usize::from(input.byte()) } else { usize::MAX };
            let (fragment, behind) = rest.split_at(fragment.min(rest.len()));
            rest = behind;
            let fin = rest.is_empty();
            if compressed {
                let length = compressor.compress(fragment, fin, &mut output).unwrap();
                sender.frame(opcode, fin, opcode != Opcode::Continuation, &output[..length]);
            } else {
                sender.frame(opcode, fin, false, fragment);
            }
            opcode = Opcode::Continuation;
            if fin {
                break;
            }
            if input.is_empty() {
                // The stream ends within the message.
                break;
            }
        }
        if !rest.is_empty() {
            break;
        }
        if compressed && compression == Compression::Alone {
            compressor.reset();
        }
        expected.push(if binary { Seen::Binary(message) } else { Seen::Text(message) });
    }
    let config = Config { max_fragments: 0, ..Config::new(receiver) };
    let expected = Outcome { events: expected, error: None };
    assert_eq!(run(&config, compression, [&sender.stream[..]]), expected);
    assert_eq!(run(&config, compression, cut(&sender.stream, seed)), expected);
}

struct Sender {
    role: Role,
    key: [u8; 4],
    stream: Vec<u8>,
}

impl Sender {
    fn frame(&mut self, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) {
        let length = payload.len() as u64;
        let header = encode_header(self.role, opcode, fin, rsv1, length, Some(self.key));
        header.append_to(&mut self.stream);
        let start = self.stream.len();
        self.stream.extend_from_slice(payload);
        if self.role == Role::Client {
            apply_mask(self.key, 0, &mut self.stream[start..]);
        }
    }
}
