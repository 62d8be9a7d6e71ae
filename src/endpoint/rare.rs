//! What most connections have nothing of most of the time, apart from them: ten thousand idle
//! connections have none of it.
//!
//! It is made with the first thing that is put there, and freed when the opening handshake is over, if
//! nothing else is in it then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;

use super::dial::Dial;
use super::opening::Opening;
use super::publishing::Backlog;
use super::timings::Timings;
use super::Failure;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Rare {
    pub(super) opening: Cell<Option<Box<Opening>>>,
    pub(super) dial: RefCell<Option<Box<Dial>>>,
    /// Of a client.
    pub(super) timings: Cell<Option<Timings>>,
    /// Bytes that came before they could be parsed; there are some while `HAS_INPUT` is set.
    pub(super) input: RefCell<Vec<u8>>,
    /// Published frames that wait for the system, or for the end of a message.
    pub(super) backlog: RefCell<Option<Box<Backlog>>>,
    /// Bytes of the queued write that is under way while `WRITING` is set.
    pub(super) in_flight: Cell<usize>,
    /// The payload of the last PING that could not be answered yet.
    pub(super) pending_pong: Cell<Option<Box<[u8]>>>,
    /// Sends whose completion was asked for, by the position of their last byte in the stream. There are
    /// some while `NOTIFIES` is set.
    pub(super) sent: RefCell<VecDeque<u64>>,
    pub(super) failure: RefCell<Option<Failure>>,
}

impl Rare {
    /// Whether nothing would be lost without it.
    pub(super) fn is_empty(&self) -> bool {
        let opening = self.opening.take();
        let pending_pong = self.pending_pong.take();
        let is_empty = opening.is_none()
            && pending_pong.is_none()
            && self.dial.borrow().is_none()
            && self.timings.get().is_none()
            && self.input.borrow().is_empty()
            && self.backlog.borrow().is_none()
            && self.in_flight.get() == 0
            && self.sent.borrow().is_empty()
            && self.failure.borrow().is_none();
        self.opening.set(opening);
        self.pending_pong.set(pending_pong);
        is_empty
    }

    /// Drops what a closed connection has no use for.
    pub(super) fn clear(&self) {
        self.opening.take();
        self.input.take();
        self.backlog.take();
    }
}
