//! A connection's bytes: plain, or through TLS.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use crate::secure::Secure;

/// An open connection. Whether it blocks is up to the socket.
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over it.
    Secure(Box<Secure>),
}

impl Stream {
    /// The socket.
    pub fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Secure(secure) => secure.socket(),
        }
    }

    /// Tells whether there may be bytes to read that are on the socket no longer.
    pub fn holds_some(&self) -> bool {
        matches!(self, Stream::Secure(secure) if secure.holds_some())
    }

    /// Tells whether the server has resumed a session of TLS.
    pub fn is_resumed(&self) -> bool {
        matches!(self, Stream::Secure(secure) if secure.is_resumed())
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Secure(secure) => secure.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Plain(socket) => socket.write(bytes),
            Stream::Secure(secure) => secure.write(bytes),
        }
    }

    /// What is not sent by then is sent by the next call.
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => socket.flush(),
            Stream::Secure(secure) => secure.flush(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket().as_raw_fd()
    }
}
