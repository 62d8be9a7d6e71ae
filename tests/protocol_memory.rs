//! The third law, by a counting allocator: memory follows the bytes that arrived.

#[path = "protocol_support/counting.rs"]
mod counting;
mod protocol_support;

use counting::{allowance, calls, held, measure, Cost};
use protocol_support::{feed_in_place, frame, Outcome, KEY, ROLES};
use uvws::protocol::handshake::server::{parse_request, HandshakeLimits};
use uvws::protocol::{Config, Event, Opcode, ProtocolError, Receiver, Role};

#[test]
fn whole_frames_are_received_without_an_allocation() {
    let mut stream = Vec::new();
    for size in (0..2000).step_by(7) {
        stream.extend(frame(Role::Server, Opcode::Text, true, &vec![b'a'; size]));
        stream.extend(frame(Role::Server, Opcode::Ping, true, &vec![b'a'; size % 126]));
    }
    let mut events = 0;
    let mut receiver = Receiver::new(&Config::new(Role::Server));
    let measured = measure(|| {
        let mut position = 0;
        while position < stream.len() {
            let step = receiver.receive(&mut stream[position..]).unwrap();
            position += step.consumed;
            events += usize::from(step.event.is_some());
        }
    });
    assert_eq!(measured, Cost::NONE);
    assert_eq!(events, 2 * 286);
}

#[test]
fn an_announced_length_allocates_nothing() {
    for role in ROLES {
        let mask_bit = if role == Role::Server { 0x80 } else { 0 };
        for length in [1 << 31, (1 << 53) - 1, 1 << 53, 1 << 62, 1 << 63, u64::MAX] {
            let mut receiver = Receiver::new(&Config { max_payload: 0, ..Config::new(role) });
            let mut stream = vec![0x82, 127 | mask_bit];
            stream.extend(u64::to_be_bytes(length));
            if role == Role::Server {
                stream.extend(KEY);
            }
            let mut failed = false;
            let measured = measure(|| failed = receiver.receive(&mut stream).is_err());
            assert_eq!(failed, length > (1 << 53) - 1);
            assert_eq!(measured, Cost::NONE, "{length}");

            // What then arrives is kept, and no more.
            let mut body = vec![0; 10_000];
            let mut sent = 0;
            for chunk in [1, 100, 9_000] {
                let cost = measure(|| {
                    let _ = receiver.receive(&mut body[..chunk]);
                });
                sent += chunk;
                assert!(cost.held <= allowance(sent) && receiver.retained() <= allowance(sent));
            }
        }
    }
}

/// Sends `count` fragments of one message; returns the outcome of the last call.
fn send_fragments(config: &Config, payload: &[u8], count: usize) -> Result<(), ProtocolError> {
    let mut receiver = Receiver::new(config);
    let mut fragment = frame(config.role, Opcode::Binary, false, payload);
    let (mut sent, before) = (0, held());
    let mut allocations = 0;
    for _ in 0..count {
        let mut read = [0; 16];
        let read = &mut read[..fragment.len()];
        read.copy_from_slice(&fragment);
        fragment[0] = 0;
        let so_far = calls();
        let result = receiver.receive(read);
        allocations += calls() - so_far;
        sent += fragment.len();
        let held = held().wrapping_sub(before);
        assert_eq!(held, receiver.retained());
        assert!(held <= allowance(sent));
        assert_eq!(result?.event, None);
    }
    // The buffer doubles: the joining is linear in what arrived.
    assert!(allocations <= 32, "{allocations} allocations");
    Ok(())
}

#[test]
fn a_million_fragments_hold_what_was_sent_and_end_at_the_limit() {
    for role in ROLES {
        for payload in [&b""[..], b"x"] {
            let limited = Config::new(role);
            assert_eq!(send_fragments(&limited, payload, 16_384), Ok(()));
            let error = Err(ProtocolError::TooManyFragments);
            assert_eq!(send_fragments(&limited, payload, 1_000_000), error);
            let endless = Config { max_fragments: 0, ..limited };
            assert_eq!(send_fragments(&endless, payload, 1_000_000), Ok(()));
        }
    }
}

#[test]
fn a_long_message_ends_in_an_allocation_of_its_size() {
    const SIZE: usize = 5 * 1024 * 1024 + 17;
    for role in ROLES {
        let mut stream = frame(role, Opcode::Binary, true, &vec![7; SIZE]);
        let mut receiver = Receiver::new(&Config::new(role));
        let mut message = Vec::new();
        let cost = measure(|| {
            let mut sent = 0;
            for read in stream.chunks_mut(65_536) {
                sent += read.len();
                let step = receiver.receive(read).unwrap();
                if let Some(Event::Message { payload, .. }) = step.event {
                    message = payload.into_vec();
                }
                assert!(receiver.retained() <= allowance(sent));
            }
        });
        assert_eq!(message, vec![7; SIZE]);
        assert_eq!((cost.held, message.capacity()), (SIZE, SIZE));
        assert!(cost.calls <= 10, "{cost:?}");
        assert_eq!(receiver.retained(), 0);
    }
}

#[test]
fn a_long_message_that_is_read_to_its_place_is_seldom_moved() {
    const SIZE: usize = 40 * 1024 * 1024 + 17;
    for role in ROLES {
        let stream = frame(role, Opcode::Binary, true, &vec![7; SIZE]);
        let mut receiver = Receiver::new(&Config::new(role));
        let mut outcome = Outcome::default();
        let cost = measure(|| feed_in_place(&mut receiver, &stream, &mut outcome));
        assert_eq!(outcome.events.len(), 1);
        assert!(cost.calls <= 24, "{cost:?}");
    }
}

#[test]
fn fragments_that_are_read_to_their_place_do_not_move_the_message_each() {
    for role in ROLES {
        let mut receiver = Receiver::new(&Config { max_fragments: 0, ..Config::new(role) });
        let fragment = frame(role, Opcode::Continuation, false, &vec![7; 20_000]);
        let mut outcome = Outcome::default();
        drop(receiver.receive(&mut frame(role, Opcode::Binary, false, b"begins")).unwrap());
        let cost = measure(|| {
            for _ in 0..1000 {
                // The header arrives by itself.
                let (head, payload) = fragment.split_at(fragment.len() - 20_000);
                drop(receiver.receive(&mut head.to_vec()).unwrap());
                feed_in_place(&mut receiver, payload, &mut outcome);
            }
        });
        assert_eq!(receiver.retained(), (20_000_usize * 1000).next_power_of_two());
        assert!(cost.calls <= 1000 + 100, "{cost:?}");
    }
}

#[test]
fn between_messages_a_receiver_holds_no_heap() {
    for role in ROLES {
        let mut receiver = Receiver::new(&Config::new(role));
        let stream = [
            frame(role, Opcode::Text, false, b"Hello, "),
            frame(role, Opcode::Ping, true, &[b'p'; 125]),
            frame(role, Opcode::Continuation, true, b"world"),
        ]
        .concat();
        for _ in 0..3 {
            let cost = measure(|| {
                for byte in &stream {
                    drop(receiver.receive(&mut [*byte]).unwrap());
                    assert!(receiver.retained() < 512);
                }
            });
            assert_eq!((cost.held, receiver.retained()), (0, 0));
        }
    }
}

#[test]
fn an_ordinary_request_is_parsed_on_the_stack() {
    let head =
        b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let limits = HandshakeLimits::default();
    let mut accepted = false;
    let measured = measure(|| accepted = parse_request(head, &limits).is_ok());
    assert!(accepted);
    assert_eq!(measured, Cost::NONE);
}
