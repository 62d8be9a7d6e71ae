//! What a connection holds for its peer, and its part in keeping the context's budget.

use super::connection::{Connection, Flags, Phase};
use super::sending::ABNORMAL_CLOSURE;
use super::Failure;
use crate::context::{Kind, Record};
use crate::protocol::limits::Limit;
use crate::transport::Transport;

/// What tells a peer to try again later (the IANA registry of WebSocket close codes).
const TRY_AGAIN_LATER: u32 = 1013;

impl Connection {
    /// Bytes that are held for the peer: of a message that has not come whole, of what cannot be parsed
    /// yet, and of what was sent and that nobody takes.
    fn retained(&self) -> usize {
        // What the system has not been asked to take yet is not held for long.
        let queued = match self.flags.has(Flags::WRITING | Flags::WAITING) {
            true => self.unsent(),
            false => self.held_back(),
        };
        match self.phase.get() {
            Phase::Closing | Phase::Closed => 0,
            _ => self.received() + queued + self.held_by_stream(),
        }
    }

    /// Bytes that `stats()` shows: those that are held, and those that are about to be written.
    pub(super) fn bytes_buffered(&self) -> usize {
        match self.phase.get() {
            Phase::Closing | Phase::Closed => 0,
            _ => self.received() + self.unsent() + self.held_by_stream(),
        }
    }

    /// Bytes that have come and are not delivered.
    fn received(&self) -> usize {
        let input = self.if_rare(|rare| rare.input.borrow().len()).unwrap_or(0);
        let undecoded = self.transport().map_or(0, Transport::undecoded);
        input + undecoded + self.receiver.borrow().held()
    }

    /// Brings the account up to date, wherever it may have changed.
    #[inline]
    pub(super) fn settle_account(&self) {
        if self.context.budget().is_set() || self.account.get() != 0 {
            self.settle_now();
        }
    }

    #[inline(never)]
    fn settle_now(&self) {
        let now = match self.context.budget().is_set() {
            true => self.retained(),
            false => 0,
        };
        let before = self.account.replace(now);
        if before != now {
            self.context.account(before, now);
        }
    }

    /// Brings the account up to date after a read, when nothing is borrowed. If memory is short, who holds
    /// something is read from no more.
    #[inline]
    pub(super) fn settle_input(&self) {
        self.settle_account();
        if self.account.get() == 0 {
            return;
        }
        if self.context.budget().is_over() {
            self.context.balance();
        }
        if self.context.budget().is_tight() {
            self.throttle();
        }
    }

    fn throttle(&self) {
        if self.phase.get() == Phase::Open
            && !self.flags.has(Flags::FAILED | Flags::RECEIVED_CLOSE)
            && !self.flags.set(Flags::THROTTLED)
        {
            self.stop_reading();
            self.context.note_throttled(self.place.get());
        }
    }

    /// There is room again.
    pub(super) fn release_throttled(&self) {
        if self.flags.has(Flags::THROTTLED) {
            self.flags.clear(Flags::THROTTLED);
            if self.phase.get() == Phase::Open {
                self.resume_later();
            }
        }
    }

    /// Ends the connection because it holds too much, and frees that. The peer is told so unless that
    /// would have to wait, too.
    pub(super) fn evict_holder(&self) {
        if self.phase.get() >= Phase::Closing {
            return;
        }
        // Who has failed is told that already.
        if self.flags.has(Flags::FAILED) {
            return self.close_handles();
        }
        self.breaches(Limit::MemoryBudget);
        match self.phase.get() {
            Phase::Open => {}
            Phase::Dialing | Phase::AwaitingResponse => return self.fail(Failure::memory_budget()),
            _ => return self.close_handles(),
        }
        self.rare().failure.borrow_mut().get_or_insert_with(Failure::memory_budget);
        let is_told = self.is_open()
            && !self.flags.has(Flags::PAUSED | Flags::EOF)
            && self.buffered_amount() + self.held_by_stream() == 0;
        if self.phase.get() >= Phase::Closing {
            return;
        }
        let code = if is_told { TRY_AGAIN_LATER } else { ABNORMAL_CLOSURE };
        self.context.record(Record::new(Kind::Error, code, self.id, 0, 0));
        if !is_told {
            return self.close_handles();
        }
        self.flags.set(Flags::FAILED);
        self.receiver.borrow_mut().conclude();
        self.if_rare(|rare| rare.input.take());
        self.flags.clear(Flags::HAS_INPUT | Flags::THROTTLED);
        // The end of the peer's side is still to be seen.
        self.restart_reading();
        self.settle_account();
    }
}
