//! UTF-8 against the standard library.

use uvws::protocol::{encode_header, Config, Opcode, ProtocolError, Role};

use crate::input::{cut, Input};
use crate::run::{run, Compression, Outcome, Seen};

/// A text message is valid where the standard library says so, however it is
/// fragmented; and invalid at the byte that it names, not later.
pub fn utf8(data: &[u8]) {
    let mut input = Input(data);
    let seed = input.byte();
    let text = input.0;
    let config = Config { max_fragments: 0, ..Config::new(Role::Client) };

    let mut stream = frame(Opcode::Text, true, text);
    let judge = |stream: &[u8]| {
        let outcome = run(&config, Compression::Off, [stream]);
        assert_eq!(run(&config, Compression::Off, cut(stream, seed)), outcome);
        outcome
    };
    let expected = match core::str::from_utf8(text) {
        Ok(_) => Outcome { events: vec![Seen::Text(text.to_vec())], error: None },
        Err(_) => Outcome { events: Vec::new(), error: Some(ProtocolError::InvalidUtf8) },
    };
    assert_eq!(judge(&stream), expected);

    stream.clear();
    let mut opcode = Opcode::Text;
    for piece in cut(text, seed.wrapping_add(1)) {
        stream.extend(frame(opcode, false, piece));
        opcode = Opcode::Continuation;
    }
    stream.extend(frame(opcode, true, &[]));
    assert_eq!(judge(&stream), expected);

    // One frame that never ends: it fails as soon as no continuation could save it.
    let mut endless =
        encode_header(Role::Server, Opcode::Text, true, false, 1 << 20, None).to_vec();
    let head = endless.len();
    endless.extend_from_slice(text);
    let fails = |length: usize| {
        run(&config, Compression::Off, endless[..head + length].chunks(1)).error.is_some()
    };
    match core::str::from_utf8(text).map_err(|error| (error.valid_up_to(), error.error_len())) {
        Err((valid, Some(length))) => {
            // `length` bytes at most are the beginning of a character.
            assert!(fails((valid + length + 1).min(text.len())));
            assert!(!fails(valid + length - 1));
        }
        // Valid, or within a character.
        _ => assert!(!fails(text.len())),
    }

    // A close reason is text as well.
    let reason = &text[..text.len().min(123)];
    let close = frame(Opcode::Close, true, &[b"\x03\xE8", reason].concat());
    let valid = core::str::from_utf8(reason).is_ok();
    assert_eq!(judge(&close).error.is_none(), valid);
}

fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let header = encode_header(Role::Server, opcode, fin, false, payload.len() as u64, None);
    [&header.to_vec(), payload].concat()
}
