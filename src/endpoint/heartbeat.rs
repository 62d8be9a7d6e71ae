//! Finding out that a peer is gone without having said so: libwebsockets' validity checks.
//!
//! What a peer sends is counted anyway. The connection's one deadline, which is not used otherwise
//! while it is open, looks at the count: a message costs nothing more, and neither does a connection
//! without a heartbeat.

use super::connection::{Connection, Flags, Phase};
use super::Failure;
use crate::protocol::limits::Limit;
use crate::transport::Transport;

/// What was seen when the deadline was set.
pub(super) struct Heartbeat {
    bytes_received: u64,
    /// What was to be written, if the system would take no more of it.
    blocked_at: Option<Backlog>,
    /// A PING has been sent: how much longer than until the deadline may nothing come?
    awaits_pong: Option<u64>,
}

/// Octets that the system had taken, and those of the queued write that it had not.
type Backlog = (u64, usize);

impl Connection {
    /// Begins, on a connection that has just opened, if it is to have a heartbeat.
    pub(super) fn start_heartbeat(&self) {
        let interval = self.group.borrow().settings.heartbeat_interval;
        if interval != 0 && self.phase.get() == Phase::Open {
            self.look_after(interval, None);
        }
    }

    /// The deadline has passed. Returns false if it was not that of a heartbeat.
    pub(super) fn heartbeat_due(&self) -> bool {
        let Some(seen) = self.heartbeat.take() else { return false };
        let (interval, timeout) = {
            let settings = &self.group.borrow().settings;
            (settings.heartbeat_interval, settings.heartbeat_timeout)
        };
        if self.has_shown_life(&seen) {
            // What is queued in front of a PING may take longer than the peer to answer it.
            let is_silent = seen.bytes_received == self.bytes_received.get();
            let is_queued = seen.awaits_pong.is_some() && is_silent;
            self.look_after(interval, is_queued.then_some(timeout));
        } else if seen.awaits_pong == Some(0) {
            self.breaches(Limit::Heartbeat);
            self.break_off(Failure::heartbeat());
        } else if seen.awaits_pong.is_some() {
            self.look_after(interval, seen.awaits_pong);
        } else if self.probe() {
            self.look_after(interval, Some(timeout));
        } else if self.phase.get() == Phase::Open {
            // Our side has ended; the peer's end is waited for.
            self.look_after(interval, None);
        }
        true
    }

    fn has_shown_life(&self, seen: &Heartbeat) -> bool {
        seen.bytes_received != self.bytes_received.get()
            // The peer's system has made room, or there would be none in ours.
            || seen.blocked_at.is_some_and(|backlog| Some(backlog) != self.output_backlog())
            // Who is not read from cannot show it, and what has come is still to be looked at.
            || self.flags.has(Flags::STOPPED | Flags::RECEIVED_CLOSE | Flags::FAILED | Flags::EOF)
            // Many may have answered while the loop stood still, and not each has had its turn.
            || seen.awaits_pong == Some(0) && self.transport().is_some_and(Transport::has_input)
    }

    /// Looks again after an interval, or when a PONG is overdue.
    fn look_after(&self, interval: u64, timeout: Option<u64>) {
        let time = timeout.map_or(interval, |timeout| timeout.min(interval));
        self.heartbeat.set(Some(Box::new(Heartbeat {
            bytes_received: self.bytes_received.get(),
            blocked_at: self.output_backlog(),
            awaits_pong: timeout.map(|timeout| timeout - time),
        })));
        self.arm(time);
    }

    fn output_backlog(&self) -> Option<Backlog> {
        let transport = self.transport().filter(|_| self.flags.has(Flags::WRITING))?;
        Some((self.bytes_sent.get(), transport.unwritten()))
    }
}
