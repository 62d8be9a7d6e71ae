//! How long the steps of a client's opening handshake took.

use std::cell::Cell;
use std::time::Instant;

/// Milliseconds from the start to the end of each step; none for a step that was not reached, or
/// that there is not.
pub(crate) struct Timings {
    start: Instant,
    dns: Cell<Option<f64>>,
    connect: Cell<Option<f64>>,
    upgrade: Cell<Option<f64>>,
}

impl Timings {
    /// Begins.
    pub(super) fn start() -> Box<Self> {
        Box::new(Self {
            start: Instant::now(),
            dns: Cell::default(),
            connect: Cell::default(),
            upgrade: Cell::default(),
        })
    }

    /// The name has been looked up.
    pub(super) fn resolved(&self) {
        self.dns.set(self.now());
    }

    /// The stream is connected.
    pub(super) fn connected(&self) {
        self.connect.set(self.now());
    }

    /// The response has come.
    pub(super) fn upgraded(&self) {
        self.upgrade.set(self.now());
    }

    /// The ends of the name lookup, of connecting, and of the handshake.
    pub(crate) fn steps(&self) -> [Option<f64>; 3] {
        [self.dns.get(), self.connect.get(), self.upgrade.get()]
    }

    fn now(&self) -> Option<f64> {
        Some(self.start.elapsed().as_secs_f64() * 1e3)
    }
}
