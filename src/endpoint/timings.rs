//! How long the steps of a client's opening handshake took.

use std::time::Instant;

use super::Connection;

/// Milliseconds from the start to the end of each step; none for a step that was not reached, or
/// that there is not.
#[derive(Clone, Copy)]
pub(crate) struct Timings {
    start: Instant,
    dns: Option<f64>,
    connect: Option<f64>,
    tls: Option<f64>,
    upgrade: Option<f64>,
}

impl Timings {
    /// Begins.
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), dns: None, connect: None, tls: None, upgrade: None }
    }

    /// The name has been looked up.
    pub(super) fn resolved(&mut self) {
        self.dns = self.now();
    }

    /// The stream is connected.
    pub(super) fn connected(&mut self) {
        self.connect = self.now();
    }

    /// The handshake of TLS is done.
    pub(super) fn secured(&mut self) {
        self.tls = self.now();
    }

    /// The response has come.
    pub(super) fn upgraded(&mut self) {
        self.upgrade = self.now();
    }

    /// The ends of the name lookup, of connecting, of the handshake of TLS, and of the opening one.
    pub(crate) fn steps(&self) -> [Option<f64>; 4] {
        [self.dns, self.connect, self.tls, self.upgrade]
    }

    fn now(&self) -> Option<f64> {
        Some(self.start.elapsed().as_secs_f64() * 1e3)
    }
}

impl Connection {
    /// Notes that a step has been reached.
    pub(super) fn note_time(&self, reached: fn(&mut Timings)) {
        self.if_rare(|rare| {
            if let Some(mut timings) = rare.timings.get() {
                reached(&mut timings);
                rare.timings.set(Some(timings));
            }
        });
    }
}
