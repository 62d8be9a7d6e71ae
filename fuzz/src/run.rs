//! A receiver that is fed reads, with the laws checked at every call.

use std::rc::Rc;

use uvws::protocol::deflate::{Decompressor, InflaterPool};
use uvws::protocol::{Config, Event, Payload, ProtocolError, Receiver};

/// An event that outlives its input.
#[derive(Debug, PartialEq, Eq)]
pub enum Seen {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, Vec<u8>),
}

impl From<Event<'_>> for Seen {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Message { binary: false, payload } => Self::Text(payload.into_vec()),
            Event::Message { binary: true, payload } => Self::Binary(payload.into_vec()),
            Event::Ping(payload) => Self::Ping(payload.into_vec()),
            Event::Pong(payload) => Self::Pong(payload.into_vec()),
            Event::Close { code, reason } => Self::Close(code, reason.into_vec()),
        }
    }
}

/// All that came out of a stream, and how it ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    pub events: Vec<Seen>,
    pub error: Option<ProtocolError>,
}

/// How the peer compresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    Off,
    Alone,
    TakingOver,
}

thread_local! {
    /// One for all connections, as in an environment: nothing of one may show in another.
    static POOL: Rc<InflaterPool> = InflaterPool::new();
}

/// Feeds `reads` to a new receiver.
pub fn run<'a>(
    config: &Config,
    compression: Compression,
    reads: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let mut receiver = Receiver::new(config);
    if compression != Compression::Off {
        let takes_over = compression == Compression::TakingOver;
        let decompressor = POOL.with(|pool| Decompressor::new(pool, takes_over));
        receiver.set_decompressor(decompressor);
    }
    let mut outcome = Outcome::default();
    let mut received = 0;
    for read in reads {
        feed(&mut receiver, read, &mut outcome);
        received += read.len();
        let mut allowance = 2 * received + 16 * 1024;
        if compression != Compression::Off {
            allowance = allowance.max(match config.max_payload {
                0 => usize::MAX,
                limit => limit as usize + 64 * 1024,
            });
        }
        assert!(receiver.retained() <= allowance);
        assert!(receiver.context_size() <= 64 * 1024);
    }
    outcome
}

/// Feeds one read as an endpoint does: what can be lent is, and it is what
/// `receive` gives for the same bytes. Where nothing is lent nothing is changed.
fn feed(receiver: &mut Receiver, read: &[u8], outcome: &mut Outcome) {
    let mut read = read.to_vec();
    let mut position = 0;
    while position < read.len() {
        let was_concluded = receiver.is_concluded();
        let mut copy = read[position..].to_vec();
        let rest = &mut read[position..];
        let length = rest.len();
        let lent = receiver.lend(rest).map(|lent| {
            (
                Event::Message { binary: lent.binary, payload: Payload::Borrowed(lent.payload) }
                    .into(),
                lent.consumed,
            )
        });
        if lent.is_none() {
            assert!(copy == rest, "nothing is lent, and yet the input has changed");
        }
        match receiver.receive(&mut copy) {
            Ok(step) => {
                assert!(step.consumed > 0 && step.consumed <= length, "no progress");
                position += step.consumed;
                if let Some(event) = step.event {
                    assert!(!was_concluded, "an event after the end");
                    let closes = matches!(event, Event::Close { .. });
                    let seen = event.into();
                    if let Some(lent) = lent {
                        assert_eq!(lent, (seen, step.consumed));
                        outcome.events.push(lent.0);
                    } else {
                        outcome.events.push(seen);
                    }
                    assert_eq!(receiver.is_concluded(), closes);
                } else {
                    assert!(lent.is_none(), "lent though it is no message");
                    assert_eq!(position, read.len(), "bytes are left though nothing came of them");
                }
            }
            Err(error) => {
                assert!(lent.is_none(), "lent though it is a fault");
                assert!(!was_concluded, "an error after the end");
                assert!(receiver.is_concluded());
                assert_eq!((receiver.retained(), receiver.context_size()), (0, 0));
                assert!(outcome.error.replace(error).is_none());
            }
        }
    }
}
