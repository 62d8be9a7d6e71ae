//! What a server or a client decides for its connections.

use std::rc::Rc;

use super::Table;
use crate::protocol;

/// Options that stay the same for the life of a connection. Times are milliseconds, sizes bytes;
/// 0 means no limit.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Time for the opening handshake.
    pub handshake_timeout: u64,
    /// Time from our Close frame to the end of the connection.
    pub close_timeout: u64,
    /// Silence after which the peer is sent a PING; 0 for no heartbeat.
    pub heartbeat_interval: u64,
    /// Time from that PING until something has to come.
    pub heartbeat_timeout: u64,
    /// Largest message.
    pub max_payload: u64,
    /// Most fragments of one message.
    pub max_fragments: u32,
    /// Bytes that may wait for the peer when something is sent.
    pub max_backpressure: u64,
    /// PING and PONG frames of the peer a second, in the long run.
    pub max_control_frames: u32,
    /// Whether text is delivered without checking that it is UTF-8.
    pub skip_utf8_validation: bool,
    /// Whether a PING is answered by itself.
    pub auto_pong: bool,
}

/// Connections of one origin share their settings and the table they are found by.
pub(crate) struct Group {
    /// The options.
    pub settings: Settings,
    /// Where the numbers come from.
    pub table: Rc<Table>,
}

impl Settings {
    pub(super) fn receiver(&self, role: protocol::Role) -> protocol::Receiver {
        protocol::Receiver::new(&protocol::Config {
            role,
            // Records carry lengths of 32 bits, and no Buffer of Node 20 is longer.
            max_payload: match self.max_payload {
                0 => u64::from(u32::MAX),
                limit => limit.min(u64::from(u32::MAX)),
            },
            max_fragments: self.max_fragments,
            skip_utf8_validation: self.skip_utf8_validation,
        })
    }
}
