//! UTF-8 of text messages: whole, fragmented, and byte by byte, where the first
//! byte that cannot be repaired must fail the connection (Autobahn 6.4, strict).

mod protocol_support;

use protocol_support::{feed, frame, run, text, Outcome, Seen, ROLES};
use uvws::protocol::{Config, Opcode, ProtocolError, Receiver, Role};

/// Returns after how many bytes of `payload` a strict reader fails, by the
/// standard library's account; `None` if only the end can tell.
fn fails_after(payload: &[u8]) -> Option<usize> {
    (1..=payload.len()).find(|&end| {
        core::str::from_utf8(&payload[..end]).is_err_and(|error| error.error_len().is_some())
    })
}

/// Feeds a text frame byte by byte and holds that it fails at the right one.
fn check_bytewise(payload: &[u8]) {
    let stream = frame(Role::Client, Opcode::Text, true, payload);
    let header = stream.len() - payload.len();
    let mut receiver = Receiver::new(&Config::new(Role::Client));
    let mut outcome = Outcome::default();
    feed(&mut receiver, &stream[..header], &mut outcome);
    for (index, byte) in payload.iter().enumerate() {
        feed(&mut receiver, &[*byte], &mut outcome);
        if outcome.error.is_some() {
            let expected = fails_after(payload).unwrap_or(payload.len());
            assert_eq!(index + 1, expected, "{payload:02x?}");
            break;
        }
    }
    let valid = core::str::from_utf8(payload).is_ok();
    assert_eq!(outcome.events.len(), usize::from(valid), "{payload:02x?}");
    assert_eq!(outcome.error, (!valid).then_some(ProtocolError::InvalidUtf8));
}

/// Bytes at the edges of the ranges of continuation bytes.
const EDGES: [u8; 10] = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF];

#[test]
fn every_lead_byte_with_every_second_byte_fails_at_the_right_byte() {
    for lead in 0..=255 {
        check_bytewise(&[lead]);
        for second in 0..=255 {
            check_bytewise(&[lead, second, b'a']);
        }
    }
}

#[test]
fn characters_of_three_and_four_bytes_fail_at_the_right_byte() {
    for lead in 0xDF..=0xFF {
        for second in EDGES {
            for third in EDGES {
                check_bytewise(&[lead, second, third]);
                for fourth in EDGES {
                    check_bytewise(&[b'a', lead, second, third, fourth, b'a']);
                }
            }
        }
    }
}

#[test]
fn whole_frames_are_judged_as_the_standard_library_judges() {
    let config = Config::new(Role::Client);
    for lead in 0x7F..=0xFF {
        for second in EDGES {
            for third in EDGES {
                for padding in [0, 1, 58, 61, 62, 63, 64, 65, 200] {
                    let mut payload = vec![b'a'; padding];
                    payload.extend([lead, second, third]);
                    payload.resize(payload.len() + padding, b'b');
                    let outcome = run(&config, [&text(Role::Client, &payload)[..]]);
                    let valid = core::str::from_utf8(&payload).is_ok();
                    assert_eq!(outcome.error.is_none(), valid, "{payload:02x?}");
                }
            }
        }
    }
}

#[test]
fn every_character_of_unicode_is_accepted_in_any_cut() {
    let all: String = ('\0'..=char::MAX).collect();
    for role in ROLES {
        let stream = text(role, all.as_bytes());
        for reads in [stream.len(), 65_536, 4093, 61] {
            let outcome = run(&Config::new(role), stream.chunks(reads));
            assert_eq!(outcome.error, None);
            assert_eq!(outcome.events, [Seen::Text(all.clone().into_bytes())]);
        }
    }
}

/// Autobahn 6.4.1 to 6.4.4: valid text, then a code point above U+10FFFF.
#[test]
fn a_bad_byte_fails_before_its_frame_or_message_ends() {
    let good = "\u{3BA}\u{1F79}\u{3C3}\u{3BC}\u{3B5}".as_bytes();
    let role = Role::Server;
    let config = Config::new(role);
    let failed = Some(ProtocolError::InvalidUtf8);

    // By fragments: the second one has the bad bytes, the third never comes.
    let first = frame(role, Opcode::Text, false, good);
    let second = frame(role, Opcode::Continuation, false, b"\xF4\x90\x80\x80");
    assert_eq!(run(&config, [&first[..]]).error, None);
    assert_eq!(run(&config, [&first[..], &second]).error, failed);

    // The character itself is cut: F4 may become valid, 90 behind it may not.
    let first = frame(role, Opcode::Text, false, &[good, b"\xF4"].concat());
    let second = frame(role, Opcode::Continuation, false, b"\x90");
    assert_eq!(run(&config, [&first[..]]).error, None);
    assert_eq!(run(&config, [&first[..], &second]).error, failed);

    // By reads within one frame, whose end never comes.
    let stream = text(role, &[good, b"\xF4\x90\x80\x80edited"].concat());
    let bad = 6 + good.len() + 1;
    assert_eq!(run(&config, [&stream[..bad]]).error, None);
    assert_eq!(run(&config, [&stream[..=bad]]).error, failed);
    assert_eq!(run(&config, [&stream[..bad], &stream[bad..=bad]]).error, failed);
}

#[test]
fn a_message_that_ends_within_a_character_fails() {
    for cut in 1..4 {
        let payload = &"\u{1F600}".as_bytes()[..cut];
        for role in ROLES {
            let whole = text(role, payload);
            let fragments = [
                frame(role, Opcode::Text, false, payload),
                frame(role, Opcode::Continuation, true, b""),
            ]
            .concat();
            for stream in [whole, fragments] {
                let outcome = run(&Config::new(role), [&stream[..]]);
                assert_eq!(outcome.error, Some(ProtocolError::InvalidUtf8));
            }
        }
    }
}

#[test]
fn control_frames_and_binary_messages_are_not_text() {
    let config = Config::new(Role::Server);
    for opcode in [Opcode::Ping, Opcode::Pong, Opcode::Binary] {
        let stream = frame(Role::Server, opcode, true, b"\xFF\xC0");
        for reads in [1, 100] {
            assert_eq!(run(&config, stream.chunks(reads)).error, None);
        }
    }
}

#[test]
fn validation_can_be_switched_off() {
    let config = Config { skip_utf8_validation: true, ..Config::new(Role::Server) };
    let stream = text(Role::Server, b"\xFF\xC0");
    for reads in [1, 100] {
        let outcome = run(&config, stream.chunks(reads));
        assert_eq!(outcome.events, [Seen::Text(b"\xFF\xC0".to_vec())]);
    }
}
