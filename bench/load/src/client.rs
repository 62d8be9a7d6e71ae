//! Opening connections: TCP, then the opening handshake of RFC 6455 section 4.1.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::deflate::Takeover;
use crate::secure::Security;
use crate::stream::Stream;
use crate::sys;

/// No step of a healthy server takes this long on a loopback.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The key of RFC 6455 section 1.3 and its answer: one key serves all, nobody caches here.
const REQUEST: &str =
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
const END: &str = "\r\n";
const ACCEPT: &[u8] = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Source addresses that connections take turns with, each with all its ports to itself.
pub const SOURCES: usize = 64;

/// What is under way with a server at the same time: fewer than any server keeps waiting.
pub const AT_A_TIME: usize = 64;

/// Where the server listens.
#[derive(Clone, Debug)]
pub struct Target {
    /// A loopback address.
    pub host: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The compression to ask for, and to insist on.
    pub deflate: Option<Takeover>,
    /// Present if it speaks TLS.
    pub security: Option<Security>,
}

impl Target {
    /// Connects, without a handshake. `ordinal` spreads connections over the source addresses.
    pub fn connect(&self, ordinal: usize) -> io::Result<Stream> {
        let client = ordinal % SOURCES;
        let source = Ipv4Addr::new(127, 0, 1, 1 + client as u8);
        let socket = sys::connect_from(source, SocketAddrV4::new(self.host, self.port))?;
        socket.set_nodelay(true)?;
        Ok(match &self.security {
            Some(security) => Stream::Secure(Box::new(security.wrap(socket, client)?)),
            None => Stream::Plain(socket),
        })
    }

    /// Opens connections with the ordinals up to `count`, some at a time.
    pub fn open_all(&self, count: usize) -> io::Result<Vec<Stream>> {
        let request = self.request();
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let opened = streams.len();
            for ordinal in opened..count.min(opened + AT_A_TIME) {
                let mut stream = self.connect(ordinal)?;
                stream.socket().set_read_timeout(Some(PATIENCE))?;
                stream.write_all(&request)?;
                streams.push(stream);
            }
            for stream in &mut streams[opened..] {
                self.await_upgrade(stream)?;
            }
        }
        Ok(streams)
    }

    fn await_upgrade(&self, stream: &mut Stream) -> io::Result<()> {
        let mut head = Head::default();
        while !head.is_complete()? {
            head.read_from(stream)?;
        }
        if self.deflate.is_none_or(|takeover| takeover.is_agreed(head.bytes())) {
            Ok(())
        } else {
            Err(head.error("not the compression asked for"))
        }
    }

    /// Returns the upgrade request.
    pub fn request(&self) -> Vec<u8> {
        let offer = self.deflate.map_or("", Takeover::offer);
        [REQUEST, offer, END].concat().into_bytes()
    }
}

/// The response to the upgrade request, as far as it has come.
pub struct Head {
    bytes: [u8; 1024],
    length: usize,
}

impl Default for Head {
    fn default() -> Self {
        Head { bytes: [0; 1024], length: 0 }
    }
}

impl Head {
    /// Reads once.
    pub fn read_from(&mut self, stream: &mut Stream) -> io::Result<()> {
        match stream.read(&mut self.bytes[self.length..])? {
            0 => Err(io::Error::other("the server refused the upgrade or its answer is too long")),
            count => {
                self.length += count;
                Ok(())
            }
        }
    }

    /// Tells whether all of it is here; fails unless it accepts the upgrade and nothing follows it.
    pub fn is_complete(&self) -> io::Result<bool> {
        let bytes = self.bytes();
        let Some(end) = find(bytes, b"\r\n\r\n") else {
            return Ok(false);
        };
        if !bytes.starts_with(b"HTTP/1.1 101 ")
            || find(bytes, ACCEPT).is_none()
            || end + 4 != bytes.len()
        {
            return Err(self.error("not an upgrade"));
        }
        Ok(true)
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    fn error(&self, what: &str) -> io::Error {
        io::Error::other(format!("{what}: {}", String::from_utf8_lossy(self.bytes())))
    }
}

/// Returns where `needle` begins in `bytes`.
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
