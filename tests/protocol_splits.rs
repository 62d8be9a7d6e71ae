//! The second law: however a stream is cut into reads, the same comes out.

mod protocol_support;

use protocol_support::{feed, feed_in_place, frame, run, text, Outcome, Random, ROLES};
use uvws::protocol::{Config, Opcode, Receiver, Role};

/// Short streams that visit every state and every kind of end.
fn short_streams(role: Role) -> Vec<Vec<u8>> {
    let euro = "\u{20AC}\u{1F600}".as_bytes();
    vec![
        [text(role, b"Hello"), text(role, b""), frame(role, Opcode::Binary, true, b"\xFF\x00")]
            .concat(),
        [
            frame(role, Opcode::Text, false, &euro[..2]),
            frame(role, Opcode::Ping, true, b"ping"),
            frame(role, Opcode::Continuation, false, b""),
            frame(role, Opcode::Continuation, false, &euro[2..5]),
            frame(role, Opcode::Pong, true, b""),
            frame(role, Opcode::Continuation, true, &euro[5..]),
        ]
        .concat(),
        [text(role, b"a"), frame(role, Opcode::Close, true, b"\x03\xE8bye"), text(role, b"b")]
            .concat(),
        [frame(role, Opcode::Close, true, b""), vec![0xFF; 9]].concat(),
        [frame(role, Opcode::Close, true, b"\x03\xED"), text(role, b"late")].concat(),
        [frame(role, Opcode::Close, true, b"\x03\xE8a\xFF"), text(role, b"late")].concat(),
        [text(role, b"fine"), text(role, b"caf\xE9 au lait"), text(role, b"late")].concat(),
        [text(role, b"\xF4\x90\x80\x80"), text(role, b"late")].concat(),
        [text(role, &euro[..5]), text(role, b"late")].concat(),
        [
            frame(role, Opcode::Text, false, &euro[..1]),
            frame(role, Opcode::Continuation, true, b""),
        ]
        .concat(),
        [frame(role, Opcode::Text, false, b"a"), text(role, b"b")].concat(),
        [frame(role, Opcode::Ping, true, b"p"), frame(role, Opcode::Continuation, true, b"c")]
            .concat(),
        [text(role, b"a"), vec![0xC1, 0x80, 1, 2, 3, 4]].concat(),
        [text(role, b"a"), vec![0x82, 0xFE, 0, 5, 1, 2, 3, 4]].concat(),
        [text(role, b"a"), vec![0x82, 0x7E, 0, 5, 1, 2, 3, 4]].concat(),
        [vec![0x82, 0xFF], (1_u64 << 62).to_be_bytes().to_vec(), vec![0; 6]].concat(),
        [vec![0x82, 0x7F], (1_u64 << 40).to_be_bytes().to_vec(), vec![0; 6]].concat(),
        text(role, b"cut off")[..9].to_vec(),
    ]
}

#[test]
fn any_two_cuts_of_a_stream_change_nothing() {
    for role in ROLES {
        let config = Config::new(role);
        for stream in short_streams(role) {
            let whole = run(&config, [&stream[..]]);
            let bytewise = run(&config, stream.chunks(1));
            assert_eq!(bytewise, whole, "{stream:02x?}");
            for first in 0..=stream.len() {
                for second in first..=stream.len() {
                    let reads = [&stream[..first], &stream[first..second], &stream[second..]];
                    assert_eq!(run(&config, reads), whole, "{stream:02x?} {first} {second}");
                }
            }
        }
    }
}

#[test]
fn random_cuts_of_long_messages_change_nothing() {
    let mut random = Random::new(1);
    for role in ROLES {
        let config = Config::new(role);
        let long = "Stra\u{DF}e 5 \u{20AC} \u{1F600}; ".repeat(8_000);
        let binary = random.bytes(70_000);
        let stream = [
            text(role, &long.as_bytes()[..66_000]),
            frame(role, Opcode::Binary, false, &binary[..126]),
            frame(role, Opcode::Ping, true, &binary[..125]),
            frame(role, Opcode::Continuation, true, &binary[126..]),
            frame(role, Opcode::Text, false, &long.as_bytes()[..70_001]),
            frame(role, Opcode::Pong, true, &binary[..1]),
            frame(role, Opcode::Continuation, true, &long.as_bytes()[70_001..]),
            frame(role, Opcode::Close, true, b"\x0F\xA0done"),
        ]
        .concat();
        let whole = run(&config, [&stream[..]]);
        assert_eq!((whole.events.len(), whole.error), (6, None));
        for longest in [1, 2, 3, 7, 64, 1000, 4096, 65_536, 100_000] {
            for _ in 0..8 {
                assert_eq!(run(&config, random.cut(&stream, longest)), whole);
            }
        }
    }
}

#[test]
fn a_long_message_is_read_in_place_from_its_second_byte_on() {
    for role in ROLES {
        let stream = text(role, &[b'a'; 20_000]);
        let (head, payload) = stream.split_at(stream.len() - 20_000);
        let mut receiver = Receiver::new(&Config::new(role));
        let mut outcome = Outcome::default();
        feed(&mut receiver, head, &mut outcome);
        assert!(receiver.room().is_none());
        feed(&mut receiver, &payload[..1], &mut outcome);
        assert!(receiver.room().is_some());
    }
}

#[test]
fn long_messages_are_the_same_read_in_place() {
    let mut random = Random::new(2);
    let long = "Stra\u{DF}e 5 \u{20AC} \u{1F600}; ".repeat(16_000);
    let long = long.as_bytes();
    let invalid = [&long[..150_000], b"\xFF", &long[..150_000]].concat();
    for role in ROLES {
        let config = Config::new(role);
        let streams = [
            [
                text(role, long),
                frame(role, Opcode::Binary, false, &long[..90_001]),
                frame(role, Opcode::Ping, true, b"ping"),
                frame(role, Opcode::Continuation, false, b""),
                frame(role, Opcode::Continuation, true, &long[..100_002]),
                frame(role, Opcode::Text, true, b"short"),
                frame(role, Opcode::Close, true, b"\x0F\xA0done"),
            ]
            .concat(),
            [text(role, &invalid), text(role, b"late")].concat(),
            [text(role, &long[..65_551]), text(role, b"late")].concat(),
        ];
        for stream in streams {
            let whole = run(&config, [&stream[..]]);
            for longest in [1000, 16_384, 65_536, 300_000] {
                let mut receiver = Receiver::new(&config);
                let mut outcome = Outcome::default();
                let mut sent = 0;
                for read in random.cut(&stream, longest) {
                    feed_in_place(&mut receiver, read, &mut outcome);
                    sent += read.len();
                    assert!(receiver.retained() <= 2 * sent + 16 * 1024);
                    let lent = receiver.room().map_or(0, |(_, most)| most);
                    assert!(receiver.retained() <= 2 * sent + 16 * 1024, "room for {lent}");
                    if lent > 0 {
                        assert_eq!(receiver.take_room(0), Ok(None));
                    }
                }
                assert_eq!(outcome, whole);
            }
        }
    }
}
