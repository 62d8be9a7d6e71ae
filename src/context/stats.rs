//! Figures of a context.

use std::cell::Cell;

/// What has happened since the context was made.
#[derive(Default)]
pub(crate) struct Counters {
    bytes_received: Cell<u64>,
    bytes_sent: Cell<u64>,
    messages_received: Cell<u64>,
    messages_sent: Cell<u64>,
    messages_dropped: Cell<u64>,
}

fn add(cell: &Cell<u64>, count: u64) {
    cell.set(cell.get().wrapping_add(count));
}

impl Counters {
    /// Counts bytes read from sockets.
    pub(crate) fn received(&self, bytes: usize) {
        add(&self.bytes_received, bytes as u64);
    }

    /// Counts bytes written to sockets.
    pub(crate) fn sent(&self, bytes: usize) {
        add(&self.bytes_sent, bytes as u64);
    }

    /// Counts a message received.
    pub(crate) fn message_received(&self) {
        add(&self.messages_received, 1);
    }

    /// Counts a message sent.
    pub(crate) fn message_sent(&self) {
        self.messages_sent(1);
    }

    /// Counts messages sent.
    pub(crate) fn messages_sent(&self, count: u32) {
        add(&self.messages_sent, u64::from(count));
    }

    /// Counts messages that were not sent because their receivers were too slow.
    pub(crate) fn messages_dropped(&self, count: u32) {
        add(&self.messages_dropped, u64::from(count));
    }
}

/// A snapshot. Bytes are octets on the wire.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct Stats {
    /// Handles whose close callback has not run.
    pub handles: u32,
    /// Of these, how many are being closed.
    pub closing: u32,
    /// Connections past their opening handshake.
    pub connections: u32,
    /// Listening servers.
    pub listeners: u32,
    /// Clients that are not open yet.
    pub pending_connects: u32,
    /// Accepted peers that have not finished their opening handshake.
    pub pending_handshakes: u32,
    /// Bytes held for peers: unsent output and partial input.
    pub bytes_buffered: u64,
    /// Bytes read from sockets.
    pub bytes_received: u64,
    /// Bytes written to sockets.
    pub bytes_sent: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Published messages that were not sent because their receivers were too slow.
    pub messages_dropped: u64,
    /// What may be held for peers; 0 for no limit. Without one the next two are not kept.
    pub memory_budget: u64,
    /// How much of that is used.
    pub memory_used: u64,
    /// The most that was used.
    pub memory_peak: u64,
}

impl Stats {
    pub(super) fn from_counters(counters: &Counters) -> Self {
        Self {
            bytes_received: counters.bytes_received.get(),
            bytes_sent: counters.bytes_sent.get(),
            messages_received: counters.messages_received.get(),
            messages_sent: counters.messages_sent.get(),
            messages_dropped: counters.messages_dropped.get(),
            ..Self::default()
        }
    }
}
