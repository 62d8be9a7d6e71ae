//! What is encoded is received: over roles, opcodes, sizes and fragmentations.

mod protocol_support;

use protocol_support::{feed, frame, is_borrowed, peer_of, run, Outcome, Random, Seen, KEY, ROLES};
use uvws::protocol::{
    apply_mask, close_payload, encode_header, Config, Event, Opcode, Payload, Receiver, Role,
};

fn sizes() -> impl Iterator<Item = usize> {
    (0..=300).chain([1000, 65_534, 65_535, 65_536, 65_537, 1 << 20, (1 << 20) + 3])
}

#[test]
fn a_message_of_any_size_comes_back_without_a_copy() {
    let mut random = Random::new(2);
    for role in ROLES {
        for size in sizes() {
            let payload = random.bytes(size);
            let mut stream = frame(role, Opcode::Binary, true, &payload);
            let mut receiver = Receiver::new(&Config::new(role));
            let length = stream.len();
            let step = receiver.receive(&mut stream).unwrap();
            assert_eq!(step.consumed, length);
            let Some(Event::Message { binary: true, payload: found }) = step.event else {
                unreachable!("one message");
            };
            assert!(is_borrowed(&found));
            assert_eq!(*found, payload);
        }
    }
}

#[test]
fn where_the_bytes_of_a_payload_lie_does_not_matter_to_equality() {
    let (borrowed, owned) = (Payload::Borrowed(b"ab"), Payload::Owned(b"ab".to_vec()));
    assert_eq!(borrowed, owned);
    assert_ne!(borrowed, Payload::Borrowed(b"ac"));
    assert_eq!(format!("{owned:?}"), "[97, 98]");
}

#[test]
fn what_is_shown_of_a_receiver_is_no_content() {
    let mut receiver = Receiver::new(&Config::new(Role::Client));
    assert!(receiver.receive(&mut frame(Role::Client, Opcode::Text, false, b"secret")).is_ok());
    let shown = format!("{receiver:?}");
    assert_eq!(shown, "Receiver { role: Client, retained: 64, concluded: false, .. }");
}

#[test]
fn control_payloads_of_any_size_come_back() {
    let mut random = Random::new(3);
    for role in ROLES {
        for size in 0..=125 {
            let payload = random.bytes(size);
            let ping = frame(role, Opcode::Ping, true, &payload);
            let pong = frame(role, Opcode::Pong, true, &payload);
            let outcome = run(&Config::new(role), random.cut(&[ping, pong].concat(), 130));
            assert_eq!(outcome.events, [Seen::Ping(payload.clone()), Seen::Pong(payload)]);
        }
        for size in 0..=123 {
            let reason = vec![b'r'; size];
            let (payload, length) = close_payload(4000, &reason);
            let stream = frame(role, Opcode::Close, true, &payload[..length]);
            let outcome = run(&Config::new(role), random.cut(&stream, 130));
            assert_eq!(outcome.events, [Seen::Close(Some(4000), reason)]);
        }
    }
}

#[test]
fn messages_in_random_fragments_come_back() {
    let mut random = Random::new(4);
    for role in ROLES {
        for _ in 0..300 {
            let size = random.below(2000);
            let payload = vec![b'm'; size];
            let mut stream = Vec::new();
            let mut opcode = Opcode::Text;
            for piece in random.cut(&payload, 1 + size / 3) {
                stream.extend(frame(role, opcode, false, piece));
                opcode = Opcode::Continuation;
                if random.below(3) == 0 {
                    stream.extend(frame(role, Opcode::Pong, true, b""));
                }
            }
            stream.extend(frame(role, opcode, true, b""));
            let mut outcome = run(&Config::new(role), random.cut(&stream, 700));
            outcome.events.retain(|event| !matches!(event, Seen::Pong(_)));
            assert_eq!(outcome.events, [Seen::Text(payload)]);
        }
    }
}

#[test]
fn headers_have_their_shortest_form() {
    let header =
        |role, len| encode_header(role, Opcode::Text, true, false, len, Some(KEY)).to_vec();
    let client = |bytes: &[u8]| [bytes, &KEY].concat();
    assert_eq!(header(Role::Server, 0), [0x81, 0]);
    assert_eq!(header(Role::Server, 125), [0x81, 125]);
    assert_eq!(header(Role::Server, 126), [0x81, 126, 0, 126]);
    assert_eq!(header(Role::Server, 0xFFFF), [0x81, 126, 0xFF, 0xFF]);
    assert_eq!(header(Role::Server, 0x1_0000), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    assert_eq!(header(Role::Client, 5), client(&[0x81, 0x85]));
    assert_eq!(header(Role::Client, 300), client(&[0x81, 0xFE, 1, 44]));
    let huge = header(Role::Client, 0x0102_0304_0506_0708);
    assert_eq!(huge, client(&[0x81, 0xFF, 1, 2, 3, 4, 5, 6, 7, 8]));
    assert_eq!(huge.len(), 14);
}

#[test]
fn the_role_decides_about_the_mask_whatever_is_passed() {
    for (role, mask) in [(Role::Client, None), (Role::Server, Some(KEY))] {
        let mut stream = encode_header(role, Opcode::Text, true, false, 1, mask).to_vec();
        stream.push(b'a');
        let outcome = run(&Config::new(peer_of(role)), [&stream[..]]);
        assert_eq!(outcome.events, [Seen::Text(b"a".to_vec())]);
    }
    let marked = encode_header(Role::Server, Opcode::Binary, false, true, 0, None);
    assert_eq!(marked.to_vec(), [0x42, 0]);
}

#[test]
fn the_examples_of_rfc_6455_section_5_7_are_read_and_written() {
    let hello = [Seen::Text(b"Hello".to_vec())];
    let plain: &[u8] = b"\x81\x05Hello";
    let masked: &[u8] = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let fragments: &[u8] = b"\x01\x03Hel\x80\x02lo";
    assert_eq!(run(&Config::new(Role::Client), [plain]).events, hello);
    assert_eq!(run(&Config::new(Role::Client), [fragments]).events, hello);
    assert_eq!(run(&Config::new(Role::Server), [masked]).events, hello);
    assert_eq!(frame(Role::Server, Opcode::Text, true, b"Hello"), masked);
    assert_eq!(frame(Role::Client, Opcode::Text, true, b"Hello"), plain);
}

#[test]
fn a_payload_that_arrives_whole_behind_its_header_is_not_copied() {
    for opcode in [Opcode::Text, Opcode::Ping, Opcode::Close] {
        let mut payload = b"\x03\xE8 reason".to_vec();
        if opcode == Opcode::Text {
            payload = b"a message".to_vec();
        }
        let stream = frame(Role::Server, opcode, true, &payload);
        let mut receiver = Receiver::new(&Config::new(Role::Server));
        feed(&mut receiver, &stream[..6], &mut Outcome::default());
        assert_eq!(receiver.retained(), 0);
        let step = receiver.receive(&mut stream[6..].to_vec()).map(|step| {
            step.event.is_some_and(|event| match event {
                Event::Message { payload, .. } | Event::Ping(payload) => is_borrowed(&payload),
                Event::Close { reason, .. } => is_borrowed(&reason),
                Event::Pong(_) => false,
            })
        });
        assert_eq!(step, Ok(true));
    }
}

#[test]
fn masking_in_pieces_equals_masking_at_once() {
    let mut random = Random::new(5);
    for _ in 0..500 {
        let size = random.below(300);
        let plain = random.bytes(size);
        let mut whole = plain.clone();
        apply_mask(KEY, 0, &mut whole);
        let mut pieces = Vec::new();
        for piece in random.cut(&plain, 40) {
            let offset = pieces.len();
            pieces.extend_from_slice(piece);
            apply_mask(KEY, offset, &mut pieces[offset..]);
        }
        assert_eq!(pieces, whole);
    }
}
