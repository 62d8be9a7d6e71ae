//! The WebSocket protocol of RFC 6455 without any input or output.
//!
//! Bytes that arrived go in, events come out; what is to be sent is encoded
//! into memory the caller owns. The module reads no clock, draws no random
//! numbers and knows no socket, so every test of it is exact and every input
//! can be replayed. Masking keys and handshake keys are handed in.
//!
//! # Laws
//!
//! 1. **Progress.** A call of [`Receiver::receive`] with a non-empty input
//!    consumes at least one byte or fails. Whoever calls it in a loop ends.
//! 2. **Splits do not matter.** However a stream is cut into reads, the same
//!    events and the same error come out, in the same order.
//! 3. **Nothing is allocated on credit.** Memory grows with the bytes that
//!    arrived, never with a length that a peer announced. A receiver between
//!    messages holds no heap, unless it inflates with context takeover. What is
//!    inflated is bounded while it is: no more than `max_payload` is held.
//! 4. **Whole frames are not copied.** A message that lies in the input in one
//!    piece is unmasked where it lies and lent to the caller.
//! 5. **Nothing follows a Close.** After a Close frame or an error every
//!    further byte is swallowed unseen (RFC 6455 sections 5.5.1 and 7.1.7).
//! 6. **No input panics**, and no input is worth more than linear time.
//!
//! # Elsewhere
//!
//! Answering a Ping or a Close, timers and queues belong to `src/endpoint`: they
//! need a clock or a socket. A rate ([`ControlBudget`]) is handed the time. So does the negotiation of
//! permessage-deflate ([`deflate`]), the one extension there is: `lib/` does it.

#![forbid(unsafe_code)]
// Tests index what they built.
#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::arithmetic_side_effects))]

mod close;
mod control;
mod control_budget;
pub mod deflate;
mod error;
mod event;
mod frame;
pub mod handshake;
pub mod limits;
mod mask;
mod opcode;
mod receiver;
mod utf8;

pub use close::{close_payload, is_valid_close_code, NO_STATUS_RECEIVED};
pub use control_budget::ControlBudget;
pub use error::ProtocolError;
pub use event::{Event, Payload, Step};
pub use frame::{encode_header, Header};
pub use mask::apply_mask;
pub use opcode::Opcode;
pub use receiver::{Config, Lent, Receiver};

/// The side of a connection that this endpoint plays.
///
/// It decides who masks: a client masks every frame, a server none
/// (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Accepts connections: receives masked frames and sends plain ones.
    Server,
    /// Opens connections: receives plain frames and sends masked ones.
    Client,
}
