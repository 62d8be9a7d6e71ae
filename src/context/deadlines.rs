//! Deadlines of all members on one timer.
//!
//! A member has at most one deadline at a time and says itself what it is; the heap holds hints.
//! A hint that no longer matches its member is stale and skipped, so disarming costs nothing.
//! Stale hints are swept when there are twice as many hints as deadlines were left by the last sweep,
//! which bounds the heap and costs each hint little.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;

use super::members::{Member, Members};

/// Hints below this count are never swept: sweeping costs more than they do.
const SWEEP_FROM: usize = 64;

pub(super) struct Deadlines {
    /// (when, place), earliest first.
    heap: RefCell<BinaryHeap<Reverse<(u64, u32)>>>,
    /// How many hints there are at the next sweep.
    sweep_at: Cell<usize>,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { heap: RefCell::default(), sweep_at: Cell::new(SWEEP_FROM) }
    }
}

impl Deadlines {
    /// Adds a hint. Returns whether it is now the earliest.
    pub(super) fn arm(&self, place: u32, when: u64, members: &Members) -> bool {
        let mut heap = self.heap.borrow_mut();
        if heap.len() >= self.sweep_at.get() {
            heap.retain(|Reverse((when, place))| is_current(*when, *place, members));
            heap.shrink_to(SWEEP_FROM);
            self.sweep_at.set(2 * heap.len().max(SWEEP_FROM));
        }
        let earliest = heap.peek().is_none_or(|Reverse((first, _))| when < *first);
        heap.push(Reverse((when, place)));
        earliest
    }

    /// Removes and returns a member whose deadline has passed.
    pub(super) fn pop_due(&self, now: u64, members: &Members) -> Option<Rc<dyn Member>> {
        let mut heap = self.heap.borrow_mut();
        while let Some(Reverse((when, place))) = heap.peek().copied() {
            if is_current(when, place, members) {
                if when > now {
                    return None;
                }
                heap.pop();
                return members.get(place).map(Rc::clone);
            }
            heap.pop();
        }
        None
    }

    /// The earliest hint.
    pub(super) fn next(&self) -> Option<u64> {
        self.heap.borrow().peek().map(|Reverse((when, _))| *when)
    }
}

fn is_current(when: u64, place: u32, members: &Members) -> bool {
    members.get(place).is_some_and(|member| member.deadline() == when)
}
