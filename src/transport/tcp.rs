//! TCP on the host's loop: by a handle of libuv's for each socket, or by sockets of our own in the
//! context's set, which costs less where there is such a set (Linux).

use std::net::{IpAddr, SocketAddr};
#[cfg(unix)]
use std::os::fd::OwnedFd;
use std::rc::Rc;
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

use super::{Bytes, StreamOwner, Transport, UvError};
use crate::context::Context;
#[cfg(target_os = "linux")]
use crate::uv::Socket;
use crate::uv::Tcp;

/// A TCP stream that is counted by its context. Clones refer to the same stream.
#[derive(Clone)]
pub(crate) struct TcpTransport(Stream);

/// What carries it.
#[derive(Clone)]
enum Stream {
    /// A handle of its own on the loop.
    Handle(Tcp),
    /// A socket in the context's set.
    #[cfg(target_os = "linux")]
    Socket(Rc<Socket>),
}

macro_rules! either {
    ($self:expr, $stream:ident => $call:expr) => {
        match &$self.0 {
            Stream::Handle($stream) => $call,
            #[cfg(target_os = "linux")]
            Stream::Socket($stream) => $call,
        }
    };
}

impl TcpTransport {
    /// Makes an unconnected stream.
    pub(crate) fn new(context: &Rc<Context>, owner: Rc<dyn StreamOwner>) -> Result<Self, UvError> {
        #[cfg(target_os = "linux")]
        if uses_set() {
            let stream = Self(Stream::Socket(Socket::new(context.sockets()?, owner)));
            return Ok(stream.counted(context));
        }
        Ok(Self(Stream::Handle(Tcp::new(context.event_loop(), owner)?)).counted(context))
    }

    fn counted(self, context: &Context) -> Self {
        context.handle_opened();
        if !context.keeps_alive() {
            self.set_ref(false);
        }
        self
    }

    /// Starts to connect; `connected` follows.
    pub(crate) fn connect(&self, address: &SocketAddr) -> Result<(), UvError> {
        either!(self, stream => stream.connect(address))?;
        self.set_nodelay(true);
        Ok(())
    }

    /// Takes over an open socket.
    #[cfg(unix)]
    pub(crate) fn open(&self, socket: OwnedFd) -> Result<(), UvError> {
        either!(self, stream => stream.open(socket))?;
        self.set_nodelay(true);
        Ok(())
    }

    /// Gives the stream to another owner.
    pub(crate) fn set_owner(&self, owner: Rc<dyn StreamOwner>) {
        either!(self, stream => stream.set_owner(owner));
    }
}

impl Transport for TcpTransport {
    fn read_start(&self) -> Result<(), UvError> {
        either!(self, stream => stream.read_start())
    }

    fn read_stop(&self) {
        either!(self, stream => stream.read_stop());
    }

    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        either!(self, stream => stream.try_write(parts))
    }

    fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        either!(self, stream => stream.write(bytes))
    }

    fn unwritten(&self) -> usize {
        either!(self, stream => stream.unwritten())
    }

    fn has_input(&self) -> bool {
        either!(self, stream => stream.has_input())
    }

    fn shutdown(&self) -> Result<(), UvError> {
        either!(self, stream => stream.shutdown())
    }

    fn reset_on_close(&self) {
        either!(self, stream => stream.linger_zero());
    }

    #[cfg(unix)]
    fn release(&self) -> Result<OwnedFd, UvError> {
        either!(self, stream => stream.release())
    }

    fn ends_by_close(&self) -> bool {
        true
    }

    fn close(&self) {
        either!(self, stream => stream.close());
    }

    // The system says itself when a socket is full.
    fn passed_on(&self, _len: usize, _is_full: bool) {}

    fn drained(&self) {}

    fn set_ref(&self, keep_alive: bool) {
        either!(self, stream => stream.set_ref(keep_alive));
    }

    fn set_nodelay(&self, enable: bool) {
        either!(self, stream => stream.set_nodelay(enable));
    }

    fn set_keepalive(&self, enable: bool, delay: u32) {
        either!(self, stream => stream.set_keepalive(enable, delay));
    }

    fn local_address(&self) -> Result<SocketAddr, UvError> {
        either!(self, stream => stream.local_address())
    }

    fn peer_address(&self) -> Result<SocketAddr, UvError> {
        either!(self, stream => stream.peer_address())
    }
}

/// A listening TCP socket that is counted by its context.
pub(crate) struct TcpListener(TcpTransport);

impl TcpListener {
    /// Makes a socket that does not listen yet.
    pub(crate) fn new(context: &Rc<Context>, owner: Rc<dyn StreamOwner>) -> Result<Self, UvError> {
        TcpTransport::new(context, owner).map(Self)
    }

    /// Binds and listens.
    pub(crate) fn listen(&self, address: &SocketAddr, backlog: i32) -> Result<(), UvError> {
        either!(self.0, socket => socket.listen(address, backlog))
    }

    /// Accepts the announced connection into `stream`.
    pub(crate) fn accept(&self, stream: &TcpTransport) -> Result<(), UvError> {
        match (&self.0 .0, &stream.0) {
            (Stream::Handle(listener), Stream::Handle(stream)) => {
                listener.accept(stream)?;
                stream.set_nodelay(true);
                Ok(())
            }
            #[cfg(target_os = "linux")]
            (Stream::Socket(_), Stream::Socket(stream)) => stream.accept(),
            #[cfg(target_os = "linux")]
            _ => Err(UvError::EINVAL),
        }
    }

    /// Announces connections again, or none for now. A handle goes on: libuv sheds what it cannot
    /// accept, and announces no other connection before one is taken.
    pub(crate) fn set_accepting(&self, is_accepting: bool) -> Result<(), UvError> {
        match &self.0 .0 {
            Stream::Handle(_) => Ok(()),
            #[cfg(target_os = "linux")]
            Stream::Socket(socket) => socket.set_accepting(is_accepting),
        }
    }

    /// The address it listens on.
    pub(crate) fn local_address(&self) -> Result<SocketAddr, UvError> {
        self.0.local_address()
    }

    /// Keeps the loop alive, or not.
    pub(crate) fn set_ref(&self, keep_alive: bool) {
        self.0.set_ref(keep_alive);
    }

    /// Stops listening; the owner hears `closed`.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}

/// Parses an IP address, without brackets. One with a zone is left to the system's resolver, which knows
/// the zones.
pub(crate) fn parse_ip(text: &str) -> Option<IpAddr> {
    text.parse().ok()
}

/// Whether sockets go into the context's set: they do, unless `UVWS_TRANSPORT` says `uv`.
#[cfg(target_os = "linux")]
fn uses_set() -> bool {
    static CHOICE: OnceLock<bool> = OnceLock::new();
    *CHOICE.get_or_init(|| std::env::var_os("UVWS_TRANSPORT").is_none_or(|value| value != "uv"))
}
