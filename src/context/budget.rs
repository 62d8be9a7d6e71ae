//! How much memory a context may hold for its peers.
//!
//! Each member says how many bytes it holds whenever that has changed: part of a message, output that the
//! peer does not take, what waits to be compressed. The sum is compared with the budget.
//!
//! - From nine tenths on, a member that holds something after a read is not read from. Whoever sends
//!   messages that come whole goes on.
//! - Beyond the budget the largest holder ends, and the next one, until it is kept.
//! - Members that are not read from may all be waiting for the rest of a message, and then nothing would
//!   ever get better. So if it has not after [`GRACE`], the largest holders end, until a quarter is free.
//!
//! Holders are looked for only when one has to end, which costs a peer more than looking costs us.

use std::cell::{Cell, RefCell};

use super::{Context, Stats};

/// Milliseconds for which members may be kept from reading, before somebody has to end.
const GRACE: u64 = 1_000;

/// See the module's documentation. All figures are bytes.
#[derive(Default)]
pub(crate) struct Budget {
    /// 0 for none; accounts are kept only with one.
    limit: Cell<usize>,
    used: Cell<usize>,
    peak: Cell<usize>,
    /// Nine tenths are used: who holds something is not read from.
    is_tight: Cell<bool>,
    /// When somebody has to end; 0 for never.
    deadline: Cell<u64>,
    /// Places of members that are not read from.
    throttled: RefCell<Vec<u32>>,
}

impl Budget {
    /// Whether accounts are kept.
    pub(crate) fn is_set(&self) -> bool {
        self.limit.get() != 0
    }

    /// Whether those who hold something are not to be read from.
    pub(crate) fn is_tight(&self) -> bool {
        self.is_tight.get()
    }

    /// Whether more is used than there is.
    pub(crate) fn is_over(&self) -> bool {
        self.is_set() && self.used.get() > self.limit.get()
    }

    /// When [`Context::end_grace`] is due; 0 for never.
    pub(super) fn deadline(&self) -> u64 {
        self.deadline.get()
    }

    pub(super) fn count(&self, stats: &mut Stats) {
        stats.memory_budget = self.limit.get() as u64;
        stats.memory_used = self.used.get() as u64;
        stats.memory_peak = self.peak.get() as u64;
    }

    fn is_nearly_used(&self) -> bool {
        self.is_set() && self.used.get() >= self.limit.get() - self.limit.get() / 10
    }
}

impl Context {
    /// What may be held for peers.
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Sets the budget; 0 is none.
    pub(crate) fn set_memory_budget(&self, limit: usize) {
        if !self.is_ending() {
            self.budget.limit.set(limit);
            self.for_each(|member| member.settle());
            self.budget.peak.set(self.budget.used.get());
            self.balance();
        }
    }

    /// A member that held `before` bytes holds `now`.
    pub(crate) fn account(&self, before: usize, now: usize) {
        let budget = &self.budget;
        debug_assert!(budget.used.get() >= before, "an account is not part of the sum");
        let used = budget.used.get().saturating_sub(before) + now;
        budget.used.set(used);
        budget.peak.set(budget.peak.get().max(used));
        if budget.is_over() || budget.is_nearly_used() != budget.is_tight() {
            self.want_turn();
        }
    }

    /// Notes a member that is not read from, to be released when there is room again.
    pub(crate) fn note_throttled(&self, place: u32) {
        self.budget.throttled.borrow_mut().push(place);
    }

    /// Keeps the budget. Called by whoever holds no borrow: after reads and sends that exceed it, and in
    /// each turn.
    pub(crate) fn balance(&self) {
        let budget = &self.budget;
        if budget.is_over() {
            self.end_holders(budget.limit.get());
        }
        let is_tight = budget.is_nearly_used();
        if is_tight == budget.is_tight.replace(is_tight) {
            return;
        }
        self.hold();
        if is_tight {
            self.grant_grace();
        } else {
            budget.deadline.set(0);
            for place in budget.throttled.take() {
                if let Some(member) = self.member(place) {
                    member.release();
                }
            }
        }
    }

    /// Nothing has got better.
    pub(super) fn end_grace(&self) {
        self.budget.deadline.set(0);
        self.end_holders(self.budget.limit.get() / 4 * 3);
        self.balance();
        if self.budget.is_tight() {
            self.grant_grace();
        }
    }

    fn grant_grace(&self) {
        self.on.update_time();
        self.budget.deadline.set(self.on.now().saturating_add(GRACE));
        self.rearm();
    }

    /// Ends the members that hold most, until no more than `enough` is used. Who still holds something
    /// then may be the next again.
    fn end_holders(&self, enough: usize) {
        // Looked for once: many may have to end, of many more.
        let mut holders = self.members.borrow().holders();
        while self.budget.used.get() > enough {
            let Some((_, place)) = holders.pop() else { return };
            if let Some(member) = self.member(place).filter(|member| member.account() > 0) {
                member.evict();
                holders.push((member.account(), place));
            }
        }
    }
}
