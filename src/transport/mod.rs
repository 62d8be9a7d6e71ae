//! Byte pipes under a connection.
//!
//! A transport moves bytes and reports through [`StreamOwner`]; it knows nothing of WebSockets.
//! The trait is small on purpose: another transport is one more implementation and little change
//! above. TLS is one, over TCP.

mod bridge;
mod tcp;
mod tls;

use std::net::SocketAddr;
use std::ops::Deref;
#[cfg(unix)]
use std::os::fd::OwnedFd;

pub(crate) use crate::uv::{
    resolve, Bytes, Owner, ReadInto, ReceiveBuffer, Resolution, ResolveOwner, StreamOwner, UvError,
};
pub(crate) use bridge::Bridge;
pub(crate) use tcp::{parse_ip, TcpListener, TcpTransport};
pub(crate) use tls::{
    ClientOptions, ClientSecurity, ClientTrust, Identity, Judge, Security, ServerOptions,
    ServerSecurity, Session, TlsError, TlsFault, TlsTransport, Versions,
};

/// Whatever a connection runs over.
pub(crate) enum Pipe {
    /// A TCP stream.
    Tcp(TcpTransport),
    /// A session of TLS over one.
    Tls(TlsTransport),
    /// A JavaScript stream.
    Bridge(Box<Bridge>),
}

impl Deref for Pipe {
    type Target = dyn Transport;

    fn deref(&self) -> &(dyn Transport + 'static) {
        match self {
            Self::Tcp(tcp) => tcp,
            Self::Tls(tls) => tls,
            Self::Bridge(bridge) => &**bridge,
        }
    }
}

/// One byte pipe. Every method is safe to call after `close`, and then does nothing.
pub(crate) trait Transport {
    /// Starts or resumes reading.
    fn read_start(&self) -> Result<(), UvError>;
    /// Stops reading.
    fn read_stop(&self);
    /// Writes what can be written at once and returns how many bytes that was. 0 while a queued
    /// write is under way. If that is not all, what is left of the same bytes is given to `write` next.
    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError>;
    /// Queues `bytes`; `written` follows, unless the pipe is closed first.
    fn write(&self, bytes: Bytes) -> Result<(), UvError>;
    /// Bytes of the queued write that the system has not taken.
    fn unwritten(&self) -> usize;
    /// Bytes that were taken, and wait elsewhere in this process.
    fn held(&self) -> usize {
        0
    }
    /// Whether something has come that was not read, as far as that can be told.
    fn has_input(&self) -> bool {
        false
    }
    /// Bytes that were read and are not yet to be handed on.
    fn undecoded(&self) -> usize {
        0
    }
    /// Ends our side. Nothing is queued. `shut` follows where that takes time.
    fn shutdown(&self) -> Result<(), UvError>;
    /// Makes `close` reset the connection instead of ending it, where there is such a difference.
    fn reset_on_close(&self);
    /// Closes both sides at once; `closed` follows.
    fn close(&self);
    /// Closes, but for the socket itself, which goes on to live elsewhere. `closed` follows.
    #[cfg(unix)]
    fn release(&self) -> Result<OwnedFd, UvError>;
    /// Whether `close` hands over what was written, and then ends our side, as `shutdown` does. (The
    /// peer gets a reset if it goes on sending.)
    fn ends_by_close(&self) -> bool;
    /// Tells a pipe whose writing end is elsewhere that `len` bytes have got there, and whether it is full
    /// now.
    fn passed_on(&self, len: usize, is_full: bool);
    /// Tells it that its writing end has drained.
    fn drained(&self);
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
    /// Why the stream has ended by `EPROTO`, or too early.
    fn fault(&self) -> Option<TlsFault> {
        None
    }
    /// Whether it is a secure stream.
    fn is_secure(&self) -> bool {
        false
    }
    /// What was agreed on, of a secure stream.
    fn security(&self) -> Option<Security> {
        None
    }
}
