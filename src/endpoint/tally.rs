//! What a connection counts for `stats()`, apart from its bytes, which others look at as well.

use std::cell::{Cell, OnceCell};

use super::connection::Connection;
use crate::protocol::Opcode;
use crate::transport::Pipe;

/// Counts of one connection. Times are those of the loop, in milliseconds.
#[derive(Default)]
pub(super) struct Tally {
    messages_received: Cell<u64>,
    messages_sent: Cell<u64>,
    /// 0 before.
    opened_at: Cell<u64>,
    heard_at: Cell<u64>,
    rarities: OnceCell<Box<Rarities>>,
}

/// What most connections never count.
#[derive(Default)]
struct Rarities {
    messages_dropped: Cell<u32>,
    pings_received: Cell<u32>,
    pings_sent: Cell<u32>,
    pongs_received: Cell<u32>,
    pongs_sent: Cell<u32>,
}

/// A snapshot. Times are milliseconds.
#[derive(Default, Debug, Clone, Copy)]
pub(crate) struct ConnectionStats {
    /// Octets received, the opening handshake included.
    pub bytes_received: u64,
    /// Octets that the transport has taken, the opening handshake included.
    pub bytes_sent: u64,
    /// Octets of partial messages and of the send queue.
    pub bytes_buffered: u64,
    /// Messages received.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Published messages that were not sent because the peer was too slow.
    pub messages_dropped: u32,
    /// PING frames received.
    pub pings_received: u32,
    /// PING frames sent, those of a heartbeat included.
    pub pings_sent: u32,
    /// PONG frames received.
    pub pongs_received: u32,
    /// PONG frames sent, answers included.
    pub pongs_sent: u32,
    /// Since the connection was opened; 0 before.
    pub duration: u64,
    /// Since something was received, or the connection was opened; 0 before.
    pub idle_time: u64,
    /// 1 TCP, 2 TLS, 3 a JavaScript stream; 0 for none.
    pub transport: u32,
}

impl Tally {
    fn count_rarity(&self, counter: impl FnOnce(&Rarities) -> &Cell<u32>) {
        let cell = counter(self.rarities.get_or_init(Box::default));
        cell.set(cell.get().wrapping_add(1));
    }

    /// The connection is open.
    pub(super) fn opened(&self, now: u64) {
        self.opened_at.set(now);
        self.heard_at.set(now);
    }

    /// Something was received.
    pub(super) fn heard(&self, now: u64) {
        self.heard_at.set(now);
    }

    /// A message was received.
    pub(super) fn message_received(&self) {
        self.messages_received.set(self.messages_received.get().wrapping_add(1));
    }

    /// A message was sent.
    pub(super) fn message_sent(&self) {
        self.messages_sent.set(self.messages_sent.get().wrapping_add(1));
    }

    /// A message was not sent, because the peer is too slow.
    pub(super) fn message_dropped(&self) {
        self.count_rarity(|of| &of.messages_dropped);
    }

    /// A PING or a PONG was received.
    pub(super) fn control_received(&self, opcode: Opcode) {
        match opcode {
            Opcode::Ping => self.count_rarity(|of| &of.pings_received),
            Opcode::Pong => self.count_rarity(|of| &of.pongs_received),
            _ => {}
        }
    }

    /// A control frame was sent.
    pub(super) fn control_sent(&self, opcode: Opcode) {
        match opcode {
            Opcode::Ping => self.count_rarity(|of| &of.pings_sent),
            Opcode::Pong => self.count_rarity(|of| &of.pongs_sent),
            _ => {}
        }
    }
}

impl Connection {
    /// The connection is open from now on.
    pub(super) fn opens(&self) {
        self.tally.opened(self.context.event_loop().now());
        self.start_heartbeat();
    }

    /// Collects the figures that `stats()` shows.
    pub(crate) fn stats(&self) -> ConnectionStats {
        let tally = &self.tally;
        let now = self.context.event_loop().now();
        let is_open = tally.opened_at.get() != 0;
        let since = |then: u64| if is_open { now.saturating_sub(then) } else { 0 };
        let rarity = |counter: fn(&Rarities) -> &Cell<u32>| {
            tally.rarities.get().map_or(0, |rarities| counter(rarities).get())
        };
        ConnectionStats {
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            bytes_buffered: self.bytes_buffered() as u64,
            messages_received: tally.messages_received.get(),
            messages_sent: tally.messages_sent.get(),
            messages_dropped: rarity(|of| &of.messages_dropped),
            pings_received: rarity(|of| &of.pings_received),
            pings_sent: rarity(|of| &of.pings_sent),
            pongs_received: rarity(|of| &of.pongs_received),
            pongs_sent: rarity(|of| &of.pongs_sent),
            duration: since(tally.opened_at.get()),
            idle_time: since(tally.heard_at.get()),
            transport: self.transport.get().map_or(0, |pipe| match pipe {
                Pipe::Tcp(_) => 1,
                Pipe::Tls(_) => 2,
                Pipe::Bridge(_) => 3,
            }),
        }
    }
}
