//! How long a context goes on before it is the others' turn.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Time after which whatever could go on is left to the next turn of the loop. What comes in one turn
/// is bounded by nothing else: a thousand sockets may bring a mebibyte each, of frames of six bytes. It
/// is time and not a count, because what an event costs is up to its handler.
pub(super) const SLICE: Duration = Duration::from_millis(1);

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
