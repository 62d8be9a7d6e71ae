//! permessage-deflate (RFC 7692) through the receiver and the compressor.

#[path = "protocol_support/counting.rs"]
mod counting;
mod protocol_support;

use std::cell::Cell;
use std::rc::Rc;

use counting::{calls, held, measure, with_little_memory};
use protocol_support::{feed, peer_of, Outcome, Random, Seen, KEY, ROLES};
use uvws::protocol::deflate::{
    Compressor, CompressorConfig, Decompressor, DeflateParams, InflaterPool,
};
use uvws::protocol::{
    apply_mask, encode_header, Config, Event, Opcode, Payload, ProtocolError, Receiver, Role,
};
use zlib_rs::{Inflate, InflateFlush};

const INVALID_STORED: ProtocolError =
    ProtocolError::InvalidCompressedData("invalid stored block lengths");

/// A receiver that inflates.
fn receiver(config: &Config, pool: &Rc<InflaterPool>, takes_over: bool) -> Receiver {
    let mut receiver = Receiver::new(config);
    receiver.set_decompressor(Decompressor::new(pool, takes_over));
    receiver
}

/// Encodes a frame that `receiver` accepts.
fn frame(receiver: Role, opcode: Opcode, fin: bool, rsv1: bool, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let header = encode_header(peer_of(receiver), opcode, fin, rsv1, length, Some(KEY));
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(payload);
    if receiver == Role::Server {
        apply_mask(KEY, 0, &mut bytes[header.len()..]);
    }
    bytes
}

fn compressed_text(receiver: Role, payload: &[u8]) -> Vec<u8> {
    frame(receiver, Opcode::Text, true, true, payload)
}

/// Encodes a message in frames of the given payloads.
fn message(receiver: Role, opcode: Opcode, pieces: &[&[u8]]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let opcode = if index == 0 { opcode } else { Opcode::Continuation };
        stream.extend(frame(receiver, opcode, index + 1 == pieces.len(), index == 0, piece));
    }
    stream
}

fn run<'a>(
    config: &Config,
    takes_over: bool,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut receiver = receiver(config, &InflaterPool::new(), takes_over);
    let mut outcome = Outcome::default();
    for read in reads {
        feed(&mut receiver, read, &mut outcome);
    }
    outcome
}

/// Holds that a stream gives the same in one read, byte by byte and cut in two
/// at every place, and returns what it gives.
fn run_in_all_splits(config: &Config, takes_over: bool, stream: &[u8]) -> Outcome {
    let whole = run(config, takes_over, [stream]);
    assert_eq!(run(config, takes_over, stream.chunks(1)), whole);
    for at in 1..stream.len() {
        let (first, second) = stream.split_at(at);
        assert_eq!(run(config, takes_over, [first, second]), whole, "split at {at}");
    }
    whole
}

fn compress(compressor: &mut Compressor, payload: &[u8], fin: bool) -> Vec<u8> {
    let mut output = Vec::new();
    let len = compressor.compress(payload, fin, &mut output).unwrap_or_default();
    output.truncate(len);
    output
}

fn compressor(config: CompressorConfig) -> Compressor {
    Compressor::new(config).expect("there is memory")
}

fn compress_once(payload: &[u8]) -> Vec<u8> {
    compress(&mut compressor(CompressorConfig::default()), payload, true)
}

fn texts(texts: &[&str]) -> Outcome {
    Outcome {
        events: texts.iter().map(|text| Seen::Text(text.as_bytes().to_vec())).collect(),
        error: None,
    }
}

/// Text as programs send it, longer than any window.
fn json(random: &mut Random, length: usize) -> Vec<u8> {
    let words = ["price", "symbol", "user", "volume", "\u{20AC}uro", "side", "depth", "time"];
    let mut text = String::new();
    while text.len() < length {
        let (name, value) = (words[random.below(words.len())], random.below(100_000));
        text.push_str(&format!("{{\"{name}\":{value},\"id\":\"{:x}\"}},", random.next()));
    }
    let mut bytes = text.into_bytes();
    bytes.truncate(length);
    while core::str::from_utf8(&bytes).is_err() {
        bytes.pop();
    }
    bytes
}

// ---- the examples of RFC 7692 section 7.2.3

#[test]
fn one_block() {
    let hello = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    for role in ROLES {
        let config = Config::new(role);
        let whole = message(role, Opcode::Text, &[&hello]);
        assert_eq!(run_in_all_splits(&config, true, &whole), texts(&["Hello"]));
        let fragmented = message(role, Opcode::Text, &[&hello[..3], &hello[3..]]);
        assert_eq!(run_in_all_splits(&config, true, &fragmented), texts(&["Hello"]));
    }
    assert_eq!(compress_once(b"Hello"), hello);
}

#[test]
fn a_shared_window() {
    let first = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    let second = [0xF2, 0x00, 0x11, 0x00, 0x00];
    for role in ROLES {
        let config = Config::new(role);
        let stream = [compressed_text(role, &first), compressed_text(role, &first)].concat();
        for takes_over in [false, true] {
            let outcome = run_in_all_splits(&config, takes_over, &stream);
            assert_eq!(outcome, texts(&["Hello", "Hello"]));
        }
        let stream = [compressed_text(role, &first), compressed_text(role, &second)].concat();
        assert_eq!(run_in_all_splits(&config, true, &stream), texts(&["Hello", "Hello"]));
        let error = ProtocolError::InvalidCompressedData("invalid distance too far back");
        let outcome = run_in_all_splits(&config, false, &stream);
        assert_eq!((outcome.events.len(), outcome.error), (1, Some(error)));
    }
}

#[test]
fn a_block_that_is_stored() {
    let stored = [0x00, 0x05, 0x00, 0xFA, 0xFF, 0x48, 0x65, 0x6C, 0x6C, 0x6F, 0x00];
    for role in ROLES {
        let stream = compressed_text(role, &stored);
        assert_eq!(run_in_all_splits(&Config::new(role), true, &stream), texts(&["Hello"]));
    }
}

#[test]
fn a_block_with_the_final_bit() {
    let ended = [0xF3, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00, 0x00];
    let again = [0xF2, 0x48, 0xCD, 0xC9, 0xC9, 0x07, 0x00];
    for role in ROLES {
        for takes_over in [false, true] {
            // As in the standard, and as compressors do that forget the last octet.
            for ended in [&ended[..], &ended[..7]] {
                let stream = [
                    compressed_text(role, ended),
                    compressed_text(role, &again),
                    message(role, Opcode::Text, &[&ended[..2], b"", &ended[2..]]),
                    // Streams within one message: the final one, and one behind it.
                    compressed_text(role, &[&ended[..7], &again[..]].concat()),
                ]
                .concat();
                let outcome = run_in_all_splits(&Config::new(role), takes_over, &stream);
                assert_eq!(outcome, texts(&["Hello", "Hello", "Hello", "HelloHello"]));
            }
        }
    }
}

#[test]
fn two_blocks() {
    let blocks = [0xF2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xCA, 0xC9, 0xC9, 0x07, 0x00];
    for role in ROLES {
        let stream = compressed_text(role, &blocks);
        assert_eq!(run_in_all_splits(&Config::new(role), true, &stream), texts(&["Hello"]));
    }
}

#[test]
fn empty_messages() {
    assert_eq!(compress_once(b""), [0x00]);
    for role in ROLES {
        for takes_over in [false, true] {
            let stream = [
                compressed_text(role, &[0x00]),
                compressed_text(role, b""),
                message(role, Opcode::Text, &[b"", b"", &[0x00]]),
                message(role, Opcode::Text, &[&[0x00, 0x00, 0x00, 0xFF, 0xFF], &[0x00]]),
                compressed_text(role, &compress_once(b"not empty")),
                frame(role, Opcode::Text, true, false, b""),
            ]
            .concat();
            let outcome = run_in_all_splits(&Config::new(role), takes_over, &stream);
            assert_eq!(outcome, texts(&["", "", "", "", "not empty", ""]));
        }
    }
}

// ---- round trips

#[test]
fn whatever_is_compressed_is_inflated_again() {
    let mut random = Random::new(7692);
    let payloads = [
        json(&mut random, 1),
        json(&mut random, 700),
        json(&mut random, 40_000),
        random.bytes(3_000),
        Vec::new(),
        vec![b'a'; 100_000],
        json(&mut random, 700),
    ];
    let mut output = Vec::new();
    for level in 0..=9 {
        for window_bits in 8..=15 {
            for mem_level in [1, 6, 9] {
                for takes_over in [false, true] {
                    let config = CompressorConfig { level, window_bits, mem_level };
                    assert!(config.is_valid());
                    let mut compressor = compressor(config);
                    let pool = InflaterPool::new();
                    let mut receiver = receiver(&Config::new(Role::Client), &pool, takes_over);
                    for payload in &payloads {
                        let len = compressor.compress(payload, true, &mut output).unwrap();
                        if !takes_over {
                            compressor.reset();
                        }
                        let frame = frame(Role::Client, Opcode::Binary, true, true, &output[..len]);
                        let mut outcome = Outcome::default();
                        feed(&mut receiver, &frame, &mut outcome);
                        assert!(
                            outcome
                                == Outcome {
                                    events: vec![Seen::Binary(payload.clone())],
                                    error: None
                                }
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn fragments_are_compressed_one_by_one() {
    let mut random = Random::new(1);
    let text = json(&mut random, 30_000);
    for takes_over in [false, true] {
        let mut compressor = compressor(CompressorConfig::default());
        let pool = InflaterPool::new();
        let mut receiver = receiver(&Config::new(Role::Server), &pool, takes_over);
        let mut outcome = Outcome::default();
        let count = 20;
        for _ in 0..count {
            let pieces = random.cut(&text, 5_000);
            let frames: Vec<_> = pieces
                .iter()
                .enumerate()
                .map(|(index, piece)| {
                    let compressed = compress(&mut compressor, piece, index + 1 == pieces.len());
                    // As a compressor must that others use in between.
                    if !takes_over {
                        compressor.reset();
                    }
                    compressed
                })
                .collect();
            let frames: Vec<_> = frames.iter().map(Vec::as_slice).collect();
            let stream = message(Role::Server, Opcode::Text, &frames);
            for read in random.cut(&stream, 3_000) {
                feed(&mut receiver, read, &mut outcome);
            }
        }
        assert_eq!(outcome.error, None);
        assert!(outcome.events == vec![Seen::Text(text.clone()); count]);
    }
}

#[test]
fn a_compressor_stays_within_its_window() {
    let mut random = Random::new(8);
    let mut sources = vec![json(&mut random, 200_000)];
    // Repetitions at every distance about the smallest windows.
    for period in [200, 249, 250, 251, 255, 256, 257, 300, 511, 512, 513, 1_023, 1_025] {
        let unit = random.bytes(period);
        sources.push(unit.repeat(6_000 / period));
    }
    for window_bits in 8..=15 {
        for level in 1..=9 {
            let config = CompressorConfig { level, window_bits, mem_level: 8 };
            let mut compressor = compressor(config);
            let mut inflate = Inflate::new(false, window_bits);
            for source in &sources {
                let mut compressed = compress(&mut compressor, source, false);
                assert!(compressed.ends_with(&[0x00, 0x00, 0xFF, 0xFF]));
                let mut inflated = Vec::new();
                // A few bytes at a time, so that matches come from the window alone.
                let mut piece = [0; 31];
                let mut rest = compressed.as_mut_slice();
                loop {
                    let (from, before) = (inflate.total_in(), inflate.total_out());
                    let status = inflate.decompress(rest, &mut piece, InflateFlush::SyncFlush);
                    assert!(status.is_ok(), "{config:?}: {status:?} {:?}", inflate.error_message());
                    rest = &mut rest[(inflate.total_in() - from) as usize..];
                    let written = (inflate.total_out() - before) as usize;
                    inflated.extend_from_slice(&piece[..written]);
                    if written < piece.len() {
                        break;
                    }
                }
                assert!(inflated == *source, "{config:?}");
            }
        }
    }
}

#[test]
fn numbers_are_checked() {
    let params = DeflateParams::default();
    assert!(params.is_valid() && params.takes_over(Role::Server));
    assert_eq!((params.window_bits(Role::Client), params.window_bits(Role::Server)), (15, 15));
    let params = DeflateParams {
        server_no_context_takeover: true,
        client_max_window_bits: 9,
        ..DeflateParams::default()
    };
    assert_eq!((params.takes_over(Role::Server), params.takes_over(Role::Client)), (false, true));
    assert_eq!((params.window_bits(Role::Server), params.window_bits(Role::Client)), (15, 9));
    for bits in [0, 7, 16, 255] {
        assert!(!DeflateParams { server_max_window_bits: bits, ..params }.is_valid());
        assert!(!DeflateParams { client_max_window_bits: bits, ..params }.is_valid());
        let config = CompressorConfig { window_bits: bits, ..CompressorConfig::default() };
        assert!(!config.is_valid());
        // Even so it works.
        assert!(!compress(&mut compressor(config), b"text", true).is_empty());
    }
    assert!(!CompressorConfig { level: 10, ..CompressorConfig::default() }.is_valid());
    for mem_level in [0, 10] {
        assert!(!CompressorConfig { mem_level, ..CompressorConfig::default() }.is_valid());
    }
}

// ---- the rules of RSV1

#[test]
fn rsv1_is_for_the_first_frame_of_a_message() {
    let hello = compress_once(b"Hello");
    for role in ROLES {
        let config = Config::new(role);
        let refused = |stream: &[u8], events: usize| {
            let outcome = run_in_all_splits(&config, true, stream);
            assert_eq!(outcome.error, Some(ProtocolError::UnexpectedRsv1));
            assert_eq!(outcome.events.len(), events);
        };
        for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Close, Opcode::Continuation] {
            refused(&frame(role, opcode, true, true, b""), 0);
        }
        let first = frame(role, Opcode::Text, false, true, &hello[..3]);
        let again = frame(role, Opcode::Continuation, true, true, &[0x00]);
        refused(&[first.clone(), again].concat(), 0);
        let plain = frame(role, Opcode::Text, true, false, b"plain");
        refused(&[plain.clone(), frame(role, Opcode::Ping, true, true, b"")].concat(), 1);

        // A message that is not compressed among those that are, and within its
        // context; a control frame between fragments.
        let stream = [
            compressed_text(role, &hello),
            plain,
            frame(role, Opcode::Text, false, false, b"pl"),
            frame(role, Opcode::Continuation, true, false, b"ain"),
            first,
            frame(role, Opcode::Ping, true, false, b"p"),
            frame(role, Opcode::Continuation, true, false, &hello[3..]),
        ]
        .concat();
        let mut expected = texts(&["Hello", "plain", "plain", "Hello"]);
        expected.events.insert(3, Seen::Ping(b"p".to_vec()));
        assert_eq!(run_in_all_splits(&config, true, &stream), expected);

        // Without the extension.
        let mut receiver = Receiver::new(&config);
        let mut outcome = Outcome::default();
        feed(&mut receiver, &compressed_text(role, &hello), &mut outcome);
        assert_eq!(outcome.error, Some(ProtocolError::UnexpectedRsv1));
    }
}

// ---- limits

#[test]
fn a_message_may_be_as_long_as_max_payload_and_no_longer() {
    let mut output = Vec::new();
    for max_payload in [1, 100, 65_535, 65_536, 65_537, 131_072, 200_000] {
        for length in max_payload - 1..=max_payload + 2 {
            for fragments in [1, 3] {
                for byte in [b'a', 0] {
                    let mut compressor = compressor(CompressorConfig::default());
                    let content = vec![byte; length];
                    let len = compressor.compress(&content, true, &mut output).unwrap();
                    let compressed = &output[..len];
                    let pieces: Vec<_> = compressed.chunks(len.div_ceil(fragments)).collect();
                    let stream = message(Role::Client, Opcode::Binary, &pieces);
                    let config =
                        Config { max_payload: max_payload as u64, ..Config::new(Role::Client) };
                    let expected = if length > max_payload {
                        let error = Some(ProtocolError::UnsupportedMessageLength);
                        Outcome { events: Vec::new(), error }
                    } else {
                        Outcome { events: vec![Seen::Binary(content)], error: None }
                    };
                    assert!(run(&config, true, [stream.as_slice()]) == expected);
                    assert!(run(&config, true, stream.chunks(1)) == expected);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_compressed_is_no_longer_than_it_is() {
    let mut random = Random::new(3);
    let mut output = Vec::new();
    for size in [1_usize, 10, 125, 1_000, 70_000, 300_000] {
        for level in 0..=9 {
            let content = random.bytes(size);
            let config = CompressorConfig { level, ..CompressorConfig::default() };
            let len = compressor(config).compress(&content, true, &mut output).unwrap();
            let stream = frame(Role::Client, Opcode::Binary, true, true, &output[..len]);
            let config = Config { max_payload: size as u64, ..Config::new(Role::Client) };
            let outcome = run(&config, true, [stream.as_slice()]);
            assert!(outcome.events == vec![Seen::Binary(content)], "{:?}", outcome.error);
        }
    }
    // A frame that is longer than any of them fails by its header.
    let header = encode_header(Role::Server, Opcode::Binary, true, true, 1_000, None);
    let config = Config { max_payload: 100, ..Config::new(Role::Client) };
    let outcome = run(&config, true, [&header.to_vec()[..]]);
    assert_eq!(outcome.error, Some(ProtocolError::UnsupportedMessageLength));
}

#[test]
fn a_bomb_holds_no_more_than_the_limit() {
    const LIMIT: usize = 1024 * 1024;
    let bomb = compress_once(&vec![0; 64 * LIMIT]);
    assert!(bomb.len() < LIMIT);
    for (max_payload, pieces) in [(LIMIT, 1), (LIMIT, 7), (LIMIT + 1, 1_000), (100, 2), (1, 1)] {
        let pieces: Vec<_> = bomb.chunks(bomb.len().div_ceil(pieces)).collect();
        let mut stream = message(Role::Client, Opcode::Binary, &pieces);
        let config = Config { max_payload: max_payload as u64, ..Config::new(Role::Client) };
        // Warm: what is shared is there already.
        let pool = InflaterPool::new();
        let mut warm = receiver(&config, &pool, false);
        let mut first = frame(Role::Client, Opcode::Binary, true, true, &compress_once(b"x"));
        drop(warm.receive(&mut first).unwrap());
        let mut receiver = receiver(&config, &pool, false);
        let mut result = Ok(());
        let cost = measure(|| {
            for read in stream.chunks_mut(65_536) {
                let mut at = 0;
                while result.is_ok() && at < read.len() {
                    match receiver.receive(&mut read[at..]) {
                        Ok(step) => at += step.consumed,
                        Err(error) => result = Err(error),
                    }
                }
            }
        });
        if max_payload < LIMIT {
            // The frame itself is too long already, or what is in it.
            assert_eq!(result, Err(ProtocolError::UnsupportedMessageLength));
        }
        assert_eq!(result, Err(ProtocolError::UnsupportedMessageLength));
        assert!(cost.peak <= max_payload + 64 * 1024, "{cost:?} for {max_payload}");
        assert_eq!(receiver.retained(), 0);
    }
}

/// Feeds a read to a receiver that may inflate `allowed` bytes in each of its turns, and returns how
/// many turns that took.
fn feed_in_turns(
    receiver: &mut Receiver,
    allowance: &Cell<isize>,
    allowed: usize,
    read: &[u8],
    outcome: &mut Outcome,
) -> usize {
    let mut rest = read.to_vec();
    let mut turns = 0;
    while !rest.is_empty() && outcome.error.is_none() {
        allowance.set(isize::try_from(allowed).expect("small"));
        turns += 1;
        let mut at = 0;
        while at < rest.len() {
            let (held, left) = (receiver.retained(), rest.len() - at);
            match receiver.receive(&mut rest[at..]) {
                Ok(step) => {
                    assert!(step.consumed > 0);
                    let is_enough = step.event.is_none() && step.consumed < left;
                    at += step.consumed;
                    if let Some(event) = step.event {
                        outcome.events.push(Seen::from(&event));
                    }
                    assert!(receiver.retained() <= 2 * (held + allowed + 2 * 64 * 1024));
                    if is_enough {
                        assert!((-64 * 1024..=0).contains(&allowance.get()));
                        break;
                    }
                }
                Err(error) => {
                    outcome.error = Some(error);
                    break;
                }
            }
        }
        rest.drain(..at);
    }
    turns
}

#[test]
fn a_long_message_is_inflated_in_turns() {
    let mut random = Random::new(11);
    let text = json(&mut random, 900_000);
    let zeros = vec![0; 4 * 1024 * 1024];
    let mut cut_text = text.clone();
    cut_text.push(0xE2);
    for role in ROLES {
        for (opcode, payload) in
            [(Opcode::Text, &text), (Opcode::Binary, &zeros), (Opcode::Text, &cut_text)]
        {
            let compressed = compress_once(payload);
            for (max_payload, pieces) in [(0, 1), (0, 300), (payload.len() as u64 - 1, 1)] {
                let pieces: Vec<_> = compressed.chunks(compressed.len().div_ceil(pieces)).collect();
                let mut stream = frame(role, Opcode::Ping, true, false, b"before");
                stream.extend(message(role, opcode, &pieces));
                stream.extend(compressed_text(role, &compress_once(b"behind")));
                let config = Config { max_payload, ..Config::new(role) };
                let whole = run(&config, false, [stream.as_slice()]);
                for allowed in [0, 1, 100_000, 1024 * 1024] {
                    let allowance = Rc::new(Cell::new(0));
                    let mut receiver = Receiver::new(&config);
                    let pool = InflaterPool::new();
                    receiver.set_decompressor(
                        Decompressor::new(&pool, false).with_allowance(&allowance),
                    );
                    let mut outcome = Outcome::default();
                    let mut turns = 0;
                    for read in stream.chunks(65_536) {
                        turns +=
                            feed_in_turns(&mut receiver, &allowance, allowed, read, &mut outcome);
                    }
                    assert_eq!(outcome, whole);
                    // A turn may go over by what is left of the buffer.
                    assert!(turns >= payload.len() / (allowed + 2 * 64 * 1024), "{turns}");
                }
            }
        }
    }
}

#[test]
fn a_compressed_message_is_not_read_in_place_and_holds_its_inflater() {
    let compressed = compress_once(&json(&mut Random::new(7), 400_000));
    for role in ROLES {
        let stream = compressed_text(role, &compressed);
        let (front, rest) = stream.split_at(stream.len() / 2);
        let mut receiver = receiver(&Config::new(role), &InflaterPool::new(), false);
        let mut outcome = Outcome::default();
        feed(&mut receiver, front, &mut outcome);
        assert!(rest.len() > 32 * 1024 && receiver.room().is_none());
        assert!(receiver.context_size() > 32 * 1024);
        assert_eq!(receiver.held(), receiver.retained() + receiver.context_size());
        feed(&mut receiver, rest, &mut outcome);
        assert_eq!((outcome.events.len(), outcome.error), (1, None));
        assert_eq!(receiver.held(), receiver.retained());
    }
}

#[test]
fn fragments_that_are_inflated_by_themselves_count_together() {
    let compressed = compress_once(&[0; 60_000]);
    let mut stream = Vec::new();
    for index in 0..200 {
        let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
        let tail: &[u8] = if index < 199 { &[0x00, 0x00, 0xFF, 0xFF] } else { &[] };
        let payload = [&compressed, tail].concat();
        stream.extend(frame(Role::Server, opcode, index == 199, index == 0, &payload));
    }
    let config = Config::new(Role::Server);
    let allowance = Rc::new(Cell::new(0));
    let mut receiver = Receiver::new(&config);
    receiver
        .set_decompressor(Decompressor::new(&InflaterPool::new(), true).with_allowance(&allowance));
    let mut outcome = Outcome::default();
    let turns = feed_in_turns(&mut receiver, &allowance, 600_000, &stream, &mut outcome);
    assert_eq!(outcome, run(&config, true, [stream.as_slice()]));
    assert!(matches!(&outcome.events[..], [Seen::Binary(bytes)] if bytes.len() == 200 * 60_000));
    assert_eq!(turns, 20);
}

#[test]
fn more_than_is_allowed_is_owed() {
    let compressed = compress_once(&[0; 60_000]);
    let stream = compressed_text(Role::Server, &compressed).repeat(10);
    let allowance = Rc::new(Cell::new(1));
    let mut receiver = Receiver::new(&Config::new(Role::Server));
    let decompressor = Decompressor::new(&InflaterPool::new(), false).with_allowance(&allowance);
    receiver.set_decompressor(decompressor);
    let mut outcome = Outcome::default();
    feed(&mut receiver, &stream, &mut outcome);
    assert_eq!((outcome.events.len(), allowance.get()), (10, 1 - 600_000));
}

#[test]
fn a_stream_of_nothing_takes_no_memory() {
    let empty_blocks = [0x00, 0x00, 0x00, 0xFF, 0xFF].repeat(10_000);
    let final_blocks = [0x03, 0x00].repeat(30_000);
    for blocks in [&empty_blocks, &final_blocks] {
        let pool = InflaterPool::new();
        let config = Config { max_fragments: 0, ..Config::new(Role::Client) };
        let mut receiver = receiver(&config, &pool, true);
        for index in 0..100 {
            let opcode = if index == 0 { Opcode::Binary } else { Opcode::Continuation };
            let mut frame = frame(Role::Client, opcode, false, index == 0, blocks);
            let length = frame.len();
            let step = receiver.receive(&mut frame).unwrap();
            assert_eq!((step.event, step.consumed), (None, length));
            assert_eq!(receiver.retained(), 0);
        }
    }
}

// ---- faults

#[test]
fn bad_data_fails_with_the_words_of_zlib() {
    let cases: [(&[u8], &str); 5] = [
        (b"\x06", "invalid block type"),
        (b"\x00\x01\x02\x03\x04", "invalid stored block lengths"),
        (b"\x04\x00\xfe\x1f", "invalid code lengths set"),
        (b"\xfc\xff\xff", "too many length or distance symbols"),
        (b"\x02\x01\x00\x00", "invalid distance too far back"),
    ];
    for role in ROLES {
        for (payload, message) in cases {
            let stream = compressed_text(role, payload);
            let outcome = run_in_all_splits(&Config::new(role), true, &stream);
            let error = outcome.error.unwrap_or_else(|| panic!("{message} is not found"));
            assert_eq!(error, ProtocolError::InvalidCompressedData(message));
            assert_eq!(error.to_string(), message);
            assert_eq!((error.code(), error.errno()), ("Z_DATA_ERROR", Some(-3)));
            assert_eq!((error.close_code(), error.is_range_error()), (1007, false));
        }
    }
}

#[test]
fn text_is_checked_as_it_is_inflated() {
    let euro = "\u{20AC}".repeat(30_000);
    let mut broken = euro.clone().into_bytes();
    broken[3 * 20_000] = b'a';
    let cut = &euro.as_bytes()[..euro.len() - 1];
    for role in ROLES {
        let config = Config::new(role);
        let run = |content: &[u8], config: &Config| {
            let compressed = compress_once(content);
            let stream = compressed_text(role, &compressed);
            let whole = run_in_all_splits(config, true, &stream);
            // Without its end.
            let outcome = run(config, true, [&stream[..stream.len() - 3]]);
            (whole, outcome.error)
        };
        let fine = Outcome { events: vec![Seen::Text(euro.clone().into_bytes())], error: None };
        assert!(run(euro.as_bytes(), &config) == (fine, None));
        let error = Some(ProtocolError::InvalidUtf8);
        // A character that is wrong fails at once; one that is cut at the end only.
        let (outcome, early) = run(&broken, &config);
        assert_eq!((outcome.error, early), (error, error));
        assert_eq!(run(cut, &config).0.error, error);
        let skip = Config { skip_utf8_validation: true, ..config };
        assert_eq!(run(&broken, &skip).0.error, None);
        // Of two faults the first by position counts.
        let short = Config { max_payload: 3 * 20_000 - 1, ..config };
        let too_long = Some(ProtocolError::UnsupportedMessageLength);
        assert_eq!(run(&broken, &short).0.error, too_long);
        let longer = Config { max_payload: 3 * 20_000 + 2, ..config };
        assert_eq!(run(&broken, &longer).0.error, error);
    }
    let mut bytes = compress_once(b"\xFF\xFF");
    bytes.extend_from_slice(&[0x00, 0x00, 0xFF, 0xFF, 0x06]);
    let stream = compressed_text(Role::Client, &bytes);
    let outcome = run_in_all_splits(&Config::new(Role::Client), true, &stream);
    assert_eq!(outcome.error, Some(ProtocolError::InvalidUtf8));
}

#[test]
fn garbage_gives_the_same_in_every_split_and_ends_in_an_error_or_a_message() {
    let mut random = Random::new(99);
    let mut faults = 0;
    for round in 0..3_000 {
        let mut payload = match round % 3 {
            0 => {
                let length = 1 + random.below(60);
                random.bytes(length)
            }
            _ => {
                let length = 1 + random.below(400);
                compress_once(&json(&mut random, length))
            }
        };
        if round % 3 == 1 {
            let at = random.below(payload.len());
            payload[at] ^= 1 << random.below(8);
        }
        if round % 3 == 2 {
            payload.truncate(random.below(payload.len()));
        }
        let opcode = if round % 2 == 0 { Opcode::Text } else { Opcode::Binary };
        let stream = [
            frame(Role::Client, opcode, true, true, &payload),
            frame(Role::Client, opcode, true, true, &compress_once(b"behind")),
        ]
        .concat();
        let config = Config { max_payload: 2_000, ..Config::new(Role::Client) };
        for takes_over in [false, true] {
            let whole = run(&config, takes_over, [stream.as_slice()]);
            assert_eq!(run(&config, takes_over, stream.chunks(1)), whole, "{payload:02x?}");
            let cut = random.cut(&stream, 20);
            assert_eq!(run(&config, takes_over, cut), whole, "{payload:02x?}");
            faults += usize::from(whole.error.is_some());
        }
    }
    assert!(faults > 1_000, "{faults} faults");
}

#[test]
fn nothing_follows_a_fault() {
    let pool = InflaterPool::new();
    let mut receiver = receiver(&Config::new(Role::Client), &pool, true);
    let mut bad = compressed_text(Role::Client, b"\x00\x01\x02\x03\x04");
    assert_eq!(receiver.receive(&mut bad), Err(INVALID_STORED));
    for _ in 0..100 {
        let mut more = compressed_text(Role::Client, &compress_once(b"more"));
        let length = more.len();
        let step = receiver.receive(&mut more).unwrap();
        assert_eq!((step.consumed, step.event), (length, None));
    }
    receiver.set_decompressor(Decompressor::new(&pool, true));
    assert_eq!((receiver.retained(), receiver.context_size()), (0, 0));
}

// ---- memory

#[test]
fn a_warm_connection_allocates_nothing_per_message() {
    let mut random = Random::new(5);
    let text = json(&mut random, 16 * 1024);
    let mut output = Vec::new();
    for takes_over in [false, true] {
        let mut compressor = compressor(CompressorConfig::default());
        let pool = InflaterPool::new();
        let mut receiver = receiver(&Config::new(Role::Client), &pool, takes_over);
        let mut stream = Vec::with_capacity(64 * 1024);
        let mut warm = 0;
        for round in 0..10 {
            if round == 1 {
                warm = calls();
            }
            let len = compressor.compress(&text, true, &mut output).unwrap();
            if !takes_over {
                compressor.reset();
            }
            let header = encode_header(Role::Server, Opcode::Text, true, true, len as u64, None);
            stream.clear();
            header.append_to(&mut stream);
            stream.extend_from_slice(&output[..len]);
            let step = receiver.receive(&mut stream).unwrap();
            let Some(Event::Message { payload: Payload::Inflated(inflated), .. }) = step.event
            else {
                panic!("not lent");
            };
            assert!(*inflated == *text);
        }
        assert_eq!(calls() - warm, 0);
    }
}

#[test]
fn without_context_takeover_an_idle_connection_holds_next_to_nothing() {
    let pool = InflaterPool::new();
    let config = Config::new(Role::Client);
    let hello = compressed_text(Role::Client, &compress_once(b"Hello"));
    let mut receivers = Vec::with_capacity(1_000);
    let receive = |receiver: &mut Receiver| {
        let mut outcome = Outcome::default();
        feed(receiver, &hello, &mut outcome);
        assert_eq!(outcome, texts(&["Hello"]));
    };
    for takes_over in [false, true] {
        receivers.push(receiver(&config, &pool, takes_over));
        receive(receivers.last_mut().unwrap());
        receivers.clear();
        let before = held();
        for _ in 0..1_000 {
            receivers.push(receiver(&config, &pool, takes_over));
            receive(receivers.last_mut().unwrap());
        }
        let held = (held() - before) / 1_000;
        let retained = receivers[0].context_size();
        if takes_over {
            assert!((45 * 1024..=48 * 1024).contains(&held), "{held}");
        } else {
            assert!(held <= 256, "{held}");
        }
        assert!(retained >= held && retained <= held + 2 * 1024, "{retained} for {held}");
        receivers.clear();
    }
}

#[test]
fn without_memory_nothing_is_compressed_or_inflated() {
    let compressed = compress_once(b"Hello");
    for role in ROLES {
        let (config, pool) = (Config::new(role), InflaterPool::new());
        // Warm: the buffer that all share is there already.
        let mut warm = receiver(&config, &pool, true);
        drop(warm.receive(&mut compressed_text(role, &compressed)).expect("a message"));
        let mut stream = compressed_text(role, &compressed);
        let mut receiver = receiver(&config, &pool, true);
        with_little_memory(40 * 1024, || {
            assert!(Compressor::new(CompressorConfig::default()).is_none());
            let error = ProtocolError::UnsupportedMessageLength;
            assert_eq!(receiver.receive(&mut stream), Err(error));
        });
        assert_eq!((receiver.retained(), receiver.context_size()), (0, 0));
    }
}
