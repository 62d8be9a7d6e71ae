//! How long a context goes on before it is the others' turn.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time after which whatever could go on is left to the next turn of the loop. What comes in one turn
/// is bounded by nothing else: a thousand sockets may bring a mebibyte each, of frames of six bytes. It
/// is time and not a count, because what an event costs is up to its handler.
pub(super) const SLICE: Duration = Duration::from_millis(1);

/// What takes longer than this has held up the others, whatever it was: a handler, a large block of memory
/// that was copied or given back. They have the next turn of the loop to themselves then.
const LONG: Duration = Duration::from_millis(3);

/// Keeps a context out of a turn of the loop after it has held up the others.
#[derive(Default)]
pub(super) struct Rest {
    /// Whether this turn of the loop is one to stay out of, and the next one.
    now: Cell<bool>,
    next: Cell<bool>,
}

impl Rest {
    /// Whether it is the others' turn. No two turns in a row are: in between everything has its place.
    pub(super) fn is_on(&self) -> bool {
        self.now.get()
    }

    /// Whether something has taken long in this turn, and the next one is the others'.
    pub(super) fn is_next(&self) -> bool {
        self.next.get()
    }

    /// Does `work`. The next turn is the others' if that has taken long.
    pub(super) fn after(&self, work: impl FnOnce()) {
        let begun = Instant::now();
        work();
        if begun.elapsed() > LONG {
            self.next.set(true);
        }
    }

    /// A turn of the loop is over.
    pub(super) fn turn_is_over(&self) {
        self.now.set(self.next.take());
    }
}

/// Gives all who have something to read a turn before anybody has two: a loop may name handles in the same
/// order each time, and who is first would have all the time that there is.
#[derive(Default)]
pub(super) struct Round {
    number: Cell<u32>,
    /// It has begun with this turn of the loop.
    is_new: Cell<bool>,
    /// Somebody is still to have a turn in it.
    leaves_out: Cell<bool>,
}

impl Round {
    pub(super) fn number(&self) -> u32 {
        self.number.get()
    }

    /// Whether somebody may read now who has last read in the round `last`, which is updated.
    pub(super) fn admits(&self, last: &Cell<u32>, may_go_on: impl FnOnce() -> bool) -> bool {
        if last.get() == self.number.get() {
            return self.is_new.get() && may_go_on();
        }
        if !may_go_on() {
            self.leaves_out.set(true);
            return false;
        }
        last.set(self.number.get());
        true
    }

    /// A turn of the loop is over.
    pub(super) fn turn_is_over(&self) {
        let is_over = !self.leaves_out.take();
        self.is_new.set(is_over);
        if is_over {
            self.number.set(self.number.get().wrapping_add(1));
        }
    }
}

/// A span of work. It begins when it is first asked about, so that something is always done in it.
#[derive(Default)]
pub(super) struct Slice {
    end: Cell<Option<Instant>>,
}

impl Slice {
    /// Whether it is the others' turn.
    pub(super) fn is_over(&self) -> bool {
        let now = Instant::now();
        match self.end.get() {
            Some(end) => now >= end,
            None => {
                self.end.set(Some(now + SLICE));
                false
            }
        }
    }

    /// Ends it; the next question begins another.
    pub(super) fn finish(&self) {
        self.end.set(None);
    }
}
