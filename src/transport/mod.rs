//! Byte pipes under a connection.
//!
//! A transport moves bytes and reports through [`StreamOwner`]; it knows nothing of WebSockets.
//! The trait is small on purpose: another transport (a TLS session over a pipe, a
//! Unix socket) is one more implementation and no change above.

mod bridge;
mod tcp;

use std::net::SocketAddr;

pub(crate) use crate::uv::{
    resolve, Bytes, Owner, ReadInto, ReceiveBuffer, Resolution, ResolveOwner, StreamOwner, UvError,
};
pub(crate) use bridge::Bridge;
pub(crate) use tcp::{parse_ip, TcpListener, TcpTransport};

/// One byte pipe. Every method is safe to call after `close`, and then does nothing.
pub(crate) trait Transport {
    /// Starts or resumes reading.
    fn read_start(&self) -> Result<(), UvError>;
    /// Stops reading.
    fn read_stop(&self);
    /// Writes what can be written at once and returns how many bytes that was. 0 while a queued
    /// write is under way.
    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError>;
    /// Queues `bytes`; `written` follows, unless the pipe is closed first.
    fn write(&self, bytes: Bytes) -> Result<(), UvError>;
    /// Ends our side. Nothing is queued. `shut` follows where that takes time.
    fn shutdown(&self) -> Result<(), UvError>;
    /// Makes `close` reset the connection instead of ending it, where there is such a difference.
    fn reset_on_close(&self);
    /// Closes both sides at once; `closed` follows.
    fn close(&self);
    /// Whether `close` hands over what was written, and then ends our side, as `shutdown` does. (The
    /// peer gets a reset if it goes on sending.)
    fn ends_by_close(&self) -> bool;
    /// Tells a pipe whose writing end is elsewhere that it is full, or has drained.
    fn set_blocked(&self, is_blocked: bool);
    /// Keeps the loop alive, or not.
    fn set_ref(&self, keep_alive: bool);
    /// Turns Nagle's algorithm off or on.
    fn set_nodelay(&self, enable: bool);
    /// Turns keep-alive probes on, the first after `delay` seconds, or off.
    fn set_keepalive(&self, enable: bool, delay: u32);
    /// Our address.
    fn local_address(&self) -> Result<SocketAddr, UvError>;
    /// The peer's address.
    fn peer_address(&self) -> Result<SocketAddr, UvError>;
}
