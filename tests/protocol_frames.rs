//! Frame headers and close codes, every one of them.

mod protocol_support;

use std::rc::Rc;

use protocol_support::{apply_key, feed, frame, peer_of, run, Outcome, Seen, KEY, ROLES};
use uvws::protocol::deflate::{Decompressor, InflaterPool};
use uvws::protocol::{
    encode_header, is_valid_close_code, Config, Opcode, ProtocolError, Receiver, Role,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Idle,
    InText,
    InBinary,
    InCompressedText,
    AfterClose,
}

const STATES: [State; 4] = [State::Idle, State::InText, State::InBinary, State::AfterClose];

/// What must follow from two header bytes.
#[derive(Debug, PartialEq)]
enum Verdict {
    Refused(ProtocolError),
    Fragment,
    Text,
    Binary,
    Ping,
    Pong,
    Close,
    Swallowed,
}

/// RFC 6455 section 5 and RFC 7692 section 6, written down a second time, with
/// `ws`'s order of errors.
fn oracle(role: Role, state: State, deflate: bool, first: u8, second: u8) -> Verdict {
    use ProtocolError as Error;
    let (fin, opcode) = (first >= 0x80, first % 16);
    let (masked, length) = (second >= 0x80, second % 128);
    let rsv1 = first & 0b0100_0000 > 0;
    let in_message = !matches!(state, State::Idle | State::AfterClose);
    let refused = match opcode {
        _ if state == State::AfterClose => return Verdict::Swallowed,
        _ if first & 0b0011_0000 > 0 => Some(Error::UnexpectedRsv23),
        _ if rsv1 && !deflate => Some(Error::UnexpectedRsv1),
        0 if rsv1 => Some(Error::UnexpectedRsv1),
        0 if !in_message => Some(Error::InvalidOpcode(0)),
        1 | 2 if in_message => Some(Error::InvalidOpcode(opcode)),
        3..=7 | 11..=15 => Some(Error::InvalidOpcode(opcode)),
        8..=10 if !fin => Some(Error::ExpectedFin),
        8..=10 if rsv1 => Some(Error::UnexpectedRsv1),
        8..=10 if length > 125 => Some(Error::InvalidControlPayloadLength(length.into())),
        8 if length == 1 => Some(Error::InvalidControlPayloadLength(1)),
        _ if role == Role::Server && !masked => Some(Error::ExpectedMask),
        _ if role == Role::Client && masked => Some(Error::UnexpectedMask),
        _ => None,
    };
    match (refused, opcode) {
        (Some(error), _) => Verdict::Refused(error),
        (None, 8) => Verdict::Close,
        (None, 9) => Verdict::Ping,
        (None, 10) => Verdict::Pong,
        (None, _) if !fin => Verdict::Fragment,
        (None, 1) => Verdict::Text,
        (None, 2) => Verdict::Binary,
        (None, _) if state == State::InBinary => Verdict::Binary,
        (None, _) => Verdict::Text,
    }
}

/// Blocks of DEFLATE that hold nothing: each ends its stream, and another begins.
const NOTHING: [u8; 2] = [0x03, 0x00];

fn prepare(role: Role, state: State, deflate: Option<&Rc<InflaterPool>>) -> Receiver {
    let mut receiver = Receiver::new(&Config::new(role));
    if let Some(pool) = deflate {
        receiver.set_decompressor(Decompressor::new(pool, true));
    }
    let prefix = match state {
        State::Idle => vec![],
        State::InText => frame(role, Opcode::Text, false, b"a"),
        State::InBinary => frame(role, Opcode::Binary, false, b"a"),
        State::InCompressedText => {
            let header = encode_header(peer_of(role), Opcode::Text, false, true, 2, Some(KEY));
            let mut bytes = [&header.to_vec()[..], &NOTHING].concat();
            apply_key(role, &mut bytes[header.len()..]);
            bytes
        }
        State::AfterClose => frame(role, Opcode::Close, true, b""),
    };
    feed(&mut receiver, &prefix, &mut Outcome::default());
    receiver
}

/// Returns what belongs behind the two bytes: length, key and a payload that is
/// valid whatever the frame is, as text, as a close code, and as DEFLATE.
fn rest_of_frame(first: u8, second: u8) -> Vec<u8> {
    let (mut rest, length): (Vec<u8>, usize) = match second & 0x7F {
        126 => (vec![0, 126], 126),
        127 => (vec![0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        short => (vec![], short.into()),
    };
    if second & 0x80 != 0 {
        rest.extend([0; 4]);
    }
    let payload = rest.len();
    rest.extend(NOTHING.repeat(length / 2));
    rest.resize(payload + length, 0);
    if first & 0x0F == 8 && length >= 2 {
        rest[payload..payload + 2].copy_from_slice(&1000_u16.to_be_bytes());
    }
    rest
}

#[test]
fn every_two_byte_header_in_every_state_does_what_the_standard_says() {
    for role in ROLES {
        for state in STATES {
            every_header(role, state, None);
        }
    }
}

#[test]
fn every_two_byte_header_in_every_state_with_compression_too() {
    let pool = InflaterPool::new();
    for role in ROLES {
        for state in [State::InCompressedText].into_iter().chain(STATES) {
            every_header(role, state, Some(&pool));
        }
    }
}

fn every_header(role: Role, state: State, deflate: Option<&Rc<InflaterPool>>) {
    for header in 0..=u16::MAX {
        let [first, second] = header.to_be_bytes();
        let expected = oracle(role, state, deflate.is_some(), first, second);
        let mut receiver = prepare(role, state, deflate);
        let mut outcome = Outcome::default();

        feed(&mut receiver, &[first, second], &mut outcome);
        // A fault shows with the header, before any more bytes come.
        let refused = matches!(expected, Verdict::Refused(_));
        assert_eq!(outcome.error.is_some(), refused, "{first:02x} {second:02x}");
        feed(&mut receiver, &rest_of_frame(first, second), &mut outcome);

        let found = match (outcome.error, outcome.events.as_slice()) {
            (Some(error), []) => Verdict::Refused(error),
            (None, []) if state == State::AfterClose => Verdict::Swallowed,
            (None, []) => Verdict::Fragment,
            (None, [Seen::Text(_)]) => Verdict::Text,
            (None, [Seen::Binary(_)]) => Verdict::Binary,
            (None, [Seen::Ping(_)]) => Verdict::Ping,
            (None, [Seen::Pong(_)]) => Verdict::Pong,
            (None, [Seen::Close(..)]) => Verdict::Close,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(found, expected, "{role:?} {state:?} {first:02x} {second:02x}");
    }
}

#[test]
fn every_close_code_is_accepted_or_refused_as_ws_does() {
    for role in ROLES {
        for code in 0..=u16::MAX {
            let expected = (1000..=1014).contains(&code) && ![1004, 1005, 1006].contains(&code)
                || (3000..=4999).contains(&code);
            assert_eq!(is_valid_close_code(code), expected, "{code}");

            let stream = frame(role, Opcode::Close, true, &code.to_be_bytes());
            let outcome = run(&Config::new(role), [&stream[..]]);
            if expected {
                assert_eq!(outcome.events, [Seen::Close(Some(code), vec![])]);
            } else {
                assert_eq!(outcome.error, Some(ProtocolError::InvalidCloseCode(code)));
            }
        }
    }
}

#[test]
fn a_close_frame_without_payload_has_no_code_and_one_byte_is_too_few() {
    for role in ROLES {
        let outcome = run(&Config::new(role), [&frame(role, Opcode::Close, true, b"")[..]]);
        assert_eq!(outcome.events, [Seen::Close(None, vec![])]);
        let outcome = run(&Config::new(role), [&frame(role, Opcode::Close, true, b"\x03")[..]]);
        assert_eq!(outcome.error, Some(ProtocolError::InvalidControlPayloadLength(1)));
    }
}

#[test]
fn a_close_reason_is_utf8_unless_validation_is_off() {
    let stream = frame(Role::Server, Opcode::Close, true, b"\x03\xE8\xF0\x9F\x98");
    let mut config = Config::new(Role::Server);
    assert_eq!(run(&config, [&stream[..]]).error, Some(ProtocolError::InvalidUtf8));
    config.skip_utf8_validation = true;
    let seen = [Seen::Close(Some(1000), b"\xF0\x9F\x98".to_vec())];
    assert_eq!(run(&config, [&stream[..]]).events, seen);
}

#[test]
fn lengths_are_accepted_in_their_shortest_form_only() {
    use ProtocolError::{LengthNotMinimal, UnsupportedDataPayloadLength, UnsupportedMessageLength};
    for role in ROLES {
        let (mask, key) = if role == Role::Server { (0x80, &KEY[..]) } else { (0, &b""[..]) };
        let with_64_bits =
            |length: u64| [&[0x82, 127 | mask][..], &length.to_be_bytes(), key].concat();
        let with_16_bits =
            |length: u16| [&[0x82, 126 | mask][..], &length.to_be_bytes(), key].concat();
        let config = Config { max_payload: 0, ..Config::new(role) };
        let limited = Config { max_payload: 1 << 31, ..config };

        for length in [0, 1, 124, 125] {
            let error = Some(LengthNotMinimal(length.into()));
            assert_eq!(run(&config, [&with_16_bits(length)[..]]).error, error);
        }
        for length in [126, 127, 0xFFFE, 0xFFFF] {
            assert_eq!(run(&config, [&with_16_bits(length)[..]]).error, None);
        }
        for length in [0, 125, 126, 127, 0xFFFE, 0xFFFF] {
            let error = Some(LengthNotMinimal(length));
            assert_eq!(run(&config, [&with_64_bits(length)[..]]).error, error);
        }
        let passable = [
            0x1_0000,
            0x1_0001,
            (1 << 31) - 1,
            1 << 31,
            (1 << 31) + 1,
            (1 << 32) - 1,
            1 << 32,
            (1 << 32) + 1,
            (1 << 53) - 1,
        ];
        for length in passable {
            assert_eq!(run(&config, [&with_64_bits(length)[..]]).error, None);
            let error = (length > 1 << 31).then_some(UnsupportedMessageLength);
            assert_eq!(run(&limited, [&with_64_bits(length)[..]]).error, error);
        }
        for length in [1 << 53, (1 << 53) + 1, 1 << 62, (1 << 63) - 1, 1 << 63, u64::MAX] {
            let error = Some(UnsupportedDataPayloadLength);
            assert_eq!(run(&config, [&with_64_bits(length)[..]]).error, error);
            assert_eq!(run(&limited, [&with_64_bits(length)[..]]).error, error);
        }
    }
}

#[test]
fn a_message_above_the_limit_fails_with_its_length_and_not_with_its_payload() {
    for role in ROLES {
        let config = Config { max_payload: 100, ..Config::new(role) };
        let first = frame(role, Opcode::Binary, false, &[0; 60]);
        // Control frames are no part of the message.
        let ping = frame(role, Opcode::Ping, true, &[0; 125]);
        let fits = frame(role, Opcode::Continuation, true, &[0; 40]);
        let breaks = frame(role, Opcode::Continuation, true, &[0; 41]);

        let outcome = run(&config, [&first[..], &ping, &fits, &first, &fits]);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.events.len(), 3);
        // The length is enough; neither key nor payload is waited for.
        let outcome = run(&config, [&first[..], &ping, &breaks[..2]]);
        assert_eq!(outcome.error, Some(ProtocolError::UnsupportedMessageLength));
    }
}

#[test]
fn fragments_are_counted_per_message_and_empty_ones_count() {
    for role in ROLES {
        let config = Config { max_fragments: 3, ..Config::new(role) };
        let begin = frame(role, Opcode::Text, false, b"");
        let middle = frame(role, Opcode::Continuation, false, b"");
        let ping = frame(role, Opcode::Ping, true, b"");
        let end = frame(role, Opcode::Continuation, true, b"x");

        let good = [begin.clone(), ping.clone(), middle.clone(), ping, end.clone()].concat();
        let outcome = run(&config, [&good.repeat(3)[..]]);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.events.len(), 9);

        let bad = [begin, middle.clone(), middle, end].concat();
        let outcome = run(&config, [&bad[..]]);
        assert_eq!(outcome.error, Some(ProtocolError::TooManyFragments));
        assert_eq!(outcome.error.map(ProtocolError::close_code), Some(1008));
    }
}

#[test]
fn control_frames_come_through_between_the_fragments_of_a_message() {
    for role in ROLES {
        let stream = [
            frame(role, Opcode::Text, false, b"Hel"),
            frame(role, Opcode::Ping, true, b"1"),
            frame(role, Opcode::Continuation, false, b""),
            frame(role, Opcode::Pong, true, b"2"),
            frame(role, Opcode::Continuation, true, b"lo"),
            frame(role, Opcode::Binary, true, b"\xFF"),
            frame(role, Opcode::Close, true, b"\x03\xE8bye"),
            frame(role, Opcode::Text, true, b"late"),
        ]
        .concat();
        let expected = [
            Seen::Ping(b"1".to_vec()),
            Seen::Pong(b"2".to_vec()),
            Seen::Text(b"Hello".to_vec()),
            Seen::Binary(b"\xFF".to_vec()),
            Seen::Close(Some(1000), b"bye".to_vec()),
        ];
        let outcome = run(&Config::new(role), [&stream[..]]);
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.events, expected);
    }
}

#[test]
fn a_close_within_a_fragmented_message_drops_the_message() {
    let role = Role::Server;
    let mut receiver = prepare(role, State::InText, None);
    let mut outcome = Outcome::default();
    assert!(receiver.retained() > 0);
    feed(&mut receiver, &frame(role, Opcode::Close, true, b""), &mut outcome);
    assert_eq!(outcome.events, [Seen::Close(None, vec![])]);
    assert_eq!(receiver.retained(), 0);
}

#[test]
fn errors_read_as_those_of_ws() {
    use ProtocolError::*;
    let expected = [
        (UnexpectedRsv23, "WS_ERR_UNEXPECTED_RSV_2_3", 1002, "RSV2 and RSV3 must be clear"),
        (UnexpectedRsv1, "WS_ERR_UNEXPECTED_RSV_1", 1002, "RSV1 must be clear"),
        (InvalidOpcode(7), "WS_ERR_INVALID_OPCODE", 1002, "invalid opcode 7"),
        (ExpectedFin, "WS_ERR_EXPECTED_FIN", 1002, "FIN must be set"),
        (ExpectedMask, "WS_ERR_EXPECTED_MASK", 1002, "MASK must be set"),
        (UnexpectedMask, "WS_ERR_UNEXPECTED_MASK", 1002, "MASK must be clear"),
        (
            InvalidControlPayloadLength(126),
            "WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH",
            1002,
            "invalid payload length 126",
        ),
        (InvalidCloseCode(1005), "WS_ERR_INVALID_CLOSE_CODE", 1002, "invalid status code 1005"),
        (InvalidUtf8, "WS_ERR_INVALID_UTF8", 1007, "invalid UTF-8 sequence"),
        (
            LengthNotMinimal(5),
            "ERR_UVWS_LENGTH_NOT_MINIMAL",
            1002,
            "payload length 5 is not minimally encoded",
        ),
    ];
    for (error, code, close_code, message) in expected {
        assert_eq!(error.code(), code);
        assert_eq!(error.close_code(), close_code);
        assert_eq!(error.to_string(), format!("Invalid WebSocket frame: {message}"));
        assert_eq!(error.is_range_error(), error != InvalidUtf8);
        assert_eq!(error.errno(), None);
    }
    let unprefixed = [
        (
            UnsupportedDataPayloadLength,
            "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH",
            1009,
            "Unsupported WebSocket frame: payload length > 2^53 - 1",
        ),
        (
            UnsupportedMessageLength,
            "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH",
            1009,
            "Max payload size exceeded",
        ),
        (TooManyFragments, "WS_ERR_TOO_MANY_BUFFERED_PARTS", 1008, "Too many message fragments"),
    ];
    for (error, code, close_code, message) in unprefixed {
        assert_eq!((error.code(), error.close_code()), (code, close_code));
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn whole_messages_and_nothing_else_take_the_quick_path() {
    for role in ROLES {
        let receiver = Receiver::new(&Config { max_payload: 70_000, ..Config::new(role) });
        for length in [0, 1, 125, 126, 127, 65_535] {
            for (opcode, binary) in [(Opcode::Text, false), (Opcode::Binary, true)] {
                let payload = vec![b'a'; length];
                let mut stream = frame(role, opcode, true, &payload);
                let whole = stream.len();
                stream.extend_from_slice(b"\x81");
                let lent = receiver.lend(&mut stream).expect("a whole message");
                assert_eq!((lent.binary, lent.consumed, lent.payload), (binary, whole, &*payload));
            }
        }
        let left_alone = [
            frame(role, Opcode::Text, false, b"a"),
            frame(role, Opcode::Text, true, b"caf\xE9"),
            frame(role, Opcode::Continuation, true, b"a"),
            frame(role, Opcode::Ping, true, b"a"),
            frame(role, Opcode::Binary, true, &vec![0; 65_536]),
            frame(role, Opcode::Binary, true, b"abc")[..4].to_vec(),
        ];
        for mut stream in left_alone {
            assert!(receiver.lend(&mut stream).is_none(), "{stream:02x?}");
        }
        let narrow = Receiver::new(&Config { max_payload: 2, ..Config::new(role) });
        assert!(narrow.lend(&mut frame(role, Opcode::Text, true, b"ab")).is_some());
        assert!(narrow.lend(&mut frame(role, Opcode::Text, true, b"abc")).is_none());
    }
}
