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
