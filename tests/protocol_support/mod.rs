//! What the protocol tests share: frames of a peer, a driver that holds the
//! laws of `src/protocol/mod.rs` at every call, and reproducible randomness.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use uvws::protocol::{
    apply_mask, encode_header, Config, Event, Opcode, Payload, ProtocolError, Receiver, Role,
};

pub const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];
pub const ROLES: [Role; 2] = [Role::Server, Role::Client];

/// An event that outlives its input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

impl From<&Event<'_>> for Seen {
    fn from(event: &Event<'_>) -> Self {
        match event {
            Event::Message { binary: false, payload } => Self::Text(payload.to_vec()),
            Event::Message { binary: true, payload } => Self::Binary(payload.to_vec()),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close { code, reason } => Self::Close(*code, reason.to_vec()),
        }
    }
}

/// All that came out of a stream, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Seen>,
    pub error: Option<ProtocolError>,
}

/// What the quick path makes of `input`, which it leaves alone if that is nothing.
fn lend(receiver: &Receiver, input: &[u8]) -> Option<(usize, Seen)> {
    let mut copy = input.to_vec();
    let lent = receiver.lend(&mut copy).map(|lent| {
        let payload = lent.payload.to_vec();
        (lent.consumed, if lent.binary { Seen::Binary(payload) } else { Seen::Text(payload) })
    });
    if lent.is_none() {
        assert_eq!(copy, input, "the quick path has changed what it did not take");
    }
    lent
}

/// Feeds one read, and checks at every call that it makes progress, that the
/// receiver says when it is concluded, and that nothing comes after that.
pub fn feed(receiver: &mut Receiver, read: &[u8], outcome: &mut Outcome) {
    let mut read = read.to_vec();
    let mut position = 0;
    while position < read.len() {
        let was_concluded = receiver.is_concluded();
        let rest = &mut read[position..];
        let length = rest.len();
        let lent = lend(receiver, rest);
        match receiver.receive(rest) {
            Ok(step) => {
                assert!(step.consumed > 0 && step.consumed <= length);
                if let Some((consumed, ref message)) = lent {
                    assert_eq!(step.consumed, consumed);
                    let event = step.event.as_ref().map(Seen::from);
                    assert_eq!(event.as_ref(), Some(message), "the quick path says the same");
                }
                position += step.consumed;
                if was_concluded || step.event.is_none() {
                    assert_eq!(step.consumed, length, "without an event all is consumed");
                }
                if let Some(event) = step.event {
                    assert!(!was_concluded, "an event after the end");
                    let closes = matches!(event, Event::Close { .. });
                    outcome.events.push(Seen::from(&event));
                    assert_eq!(receiver.is_concluded(), closes);
                }
            }
            Err(error) => {
                assert!(lent.is_none(), "the quick path has lent what is an error");
                assert!(!was_concluded, "an error after the end");
                assert!(receiver.is_concluded());
                assert_eq!(receiver.retained(), 0);
                outcome.error = Some(error);
            }
        }
    }
}

/// Feeds one read like `feed`, but whatever belongs to a long message goes straight there.
pub fn feed_in_place(receiver: &mut Receiver, mut read: &[u8], outcome: &mut Outcome) {
    while !read.is_empty() {
        let Some((message, most)) = receiver.room() else {
            // As much as the receiver would have had in its hands at once.
            let (front, rest) = read.split_at(read.len().min(4096));
            feed(receiver, front, outcome);
            read = rest;
            continue;
        };
        let (front, rest) = read.split_at(read.len().min(most));
        assert!(most > 0 && most <= message.capacity() - message.len());
        message.extend_from_slice(front);
        read = rest;
        match receiver.take_room(front.len()) {
            Ok(event) => outcome.events.extend(event.as_ref().map(Seen::from)),
            Err(error) => {
                assert!(receiver.is_concluded());
                assert_eq!(receiver.retained(), 0);
                outcome.error = Some(error);
            }
        }
    }
}

/// Feeds a stream in the given reads to a new receiver.
pub fn run<'a>(config: &Config, reads: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut receiver = Receiver::new(config);
    let mut outcome = Outcome::default();
    for read in reads {
        feed(&mut receiver, read, &mut outcome);
    }
    outcome
}

/// Returns the side that sends what `role` receives.
pub fn peer_of(role: Role) -> Role {
    match role {
        Role::Server => Role::Client,
        Role::Client => Role::Server,
    }
}

/// Encodes a frame that `receiver` accepts.
pub fn frame(receiver: Role, opcode: Opcode, fin: bool, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let header = encode_header(peer_of(receiver), opcode, fin, false, length, Some(KEY));
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(payload);
    apply_key(receiver, &mut bytes[header.len()..]);
    bytes
}

/// Masks a payload if `receiver` expects that.
pub fn apply_key(receiver: Role, payload: &mut [u8]) {
    if receiver == Role::Server {
        apply_mask(KEY, 0, payload);
    }
}

pub fn text(receiver: Role, payload: &[u8]) -> Vec<u8> {
    frame(receiver, Opcode::Text, true, payload)
}

pub fn is_borrowed(payload: &Payload<'_>) -> bool {
    matches!(payload, Payload::Borrowed(_))
}

/// A xorshift generator: the same numbers in every run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11
    }

    /// Returns a number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// Cuts `stream` into reads of 1 to `longest` bytes.
    pub fn cut<'a>(&mut self, mut stream: &'a [u8], longest: usize) -> Vec<&'a [u8]> {
        let mut reads = Vec::new();
        while !stream.is_empty() {
            let (read, rest) = stream.split_at((1 + self.below(longest)).min(stream.len()));
            reads.push(read);
            stream = rest;
        }
        reads
    }
}
