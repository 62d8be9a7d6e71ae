//! TCP on the host's loop.

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use super::{Bytes, StreamOwner, Transport, UvError};
use crate::context::Context;
use crate::uv::Tcp;

/// A TCP stream that is counted by its context. Clones refer to the same stream.
#[derive(Clone)]
pub(crate) struct TcpTransport(Tcp);

impl TcpTransport {
    /// Makes an unconnected stream.
    pub(crate) fn new(context: &Context, owner: Rc<dyn StreamOwner>) -> Result<Self, UvError> {
        let tcp = Tcp::new(context.event_loop(), owner)?;
        context.handle_opened();
        if !context.keeps_alive() {
            tcp.set_ref(false);
        }
        Ok(Self(tcp))
    }

    /// Starts to connect; `connected` follows.
    pub(crate) fn connect(&self, address: &SocketAddr) -> Result<(), UvError> {
        self.0.connect(address)
    }

    /// Takes over an open socket.
    pub(crate) fn open(&self, socket: i32) -> Result<(), UvError> {
        self.0.open(socket)
    }

    /// Gives the stream to another owner.
    pub(crate) fn set_owner(&self, owner: Rc<dyn StreamOwner>) {
        self.0.set_owner(owner);
    }
}

impl Transport for TcpTransport {
    fn read_start(&self) -> Result<(), UvError> {
        self.0.read_start()
    }

    fn read_stop(&self) {
        self.0.read_stop();
    }

    fn try_write(&self, parts: [&[u8]; 2]) -> Result<usize, UvError> {
        self.0.try_write(parts)
    }

    fn write(&self, bytes: Bytes) -> Result<(), UvError> {
        self.0.write(bytes)
    }

    fn shutdown(&self) -> Result<(), UvError> {
        self.0.shutdown()
    }

    fn reset_on_close(&self) {
        self.0.linger_zero();
    }

    fn close(&self) {
        self.0.close();
    }

    // The system says itself when a socket is full.
    fn set_blocked(&self, _is_blocked: bool) {}

    fn set_ref(&self, keep_alive: bool) {
        self.0.set_ref(keep_alive);
    }

    fn set_nodelay(&self, enable: bool) {
        self.0.set_nodelay(enable);
    }

    fn set_keepalive(&self, enable: bool, delay: u32) {
        self.0.set_keepalive(enable, delay);
    }

    fn local_address(&self) -> Result<SocketAddr, UvError> {
        self.0.local_address()
    }

    fn peer_address(&self) -> Result<SocketAddr, UvError> {
        self.0.peer_address()
    }
}

/// A listening TCP socket that is counted by its context.
pub(crate) struct TcpListener(Tcp);

impl TcpListener {
    /// Makes a socket that does not listen yet.
    pub(crate) fn new(context: &Context, owner: Rc<dyn StreamOwner>) -> Result<Self, UvError> {
        TcpTransport::new(context, owner).map(|TcpTransport(tcp)| Self(tcp))
    }

    /// Binds and listens.
    pub(crate) fn listen(&self, address: &SocketAddr, backlog: i32) -> Result<(), UvError> {
        self.0.bind(address, false)?;
        self.0.listen(backlog)
    }

    /// Accepts the announced connection into `stream`.
    pub(crate) fn accept(&self, stream: &TcpTransport) -> Result<(), UvError> {
        self.0.accept(&stream.0)
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
