//! An open connection: what it still has to send, and what it is owed.

use std::io::{self, Read, Write};

use crate::client::Target;
use crate::frames::{Exchange, Inbox, Outbox};
use crate::stream::Stream;
use crate::sys::{Poll, READABLE, WRITABLE};

/// One read takes at most so much: it fits the second-level cache beside what is compared.
pub const READ_BUFFER: usize = 256 * 1024;
/// Reports taken from the kernel at a time.
pub const EVENTS: usize = 1024;
/// How long to wait for the kernel before looking at the clock all the same.
pub const TICK_MS: i32 = 100;

/// A connection that does not block.
pub struct Connection {
    stream: Stream,
    inbox: Inbox,
    outbox: Outbox,
    awaits_writable: bool,
}

impl Connection {
    /// Opens `count` connections, which `poll` reports as the tokens below that.
    pub fn open_all(
        target: &Target,
        exchange: &Exchange,
        poll: &Poll,
        count: usize,
    ) -> io::Result<Vec<Self>> {
        let streams = target.open_all(count)?.into_iter().enumerate();
        streams.map(|(token, stream)| Connection::new(stream, exchange, poll, token)).collect()
    }

    /// Wraps an open connection, and has `poll` report it as `token`.
    pub fn new(stream: Stream, exchange: &Exchange, poll: &Poll, token: usize) -> io::Result<Self> {
        stream.socket().set_nonblocking(true)?;
        poll.add(&stream, READABLE, token)?;
        let inbox = Inbox::new(exchange);
        Ok(Connection { stream, inbox, outbox: Outbox::default(), awaits_writable: false })
    }

    /// Adds the next `count` messages to what is to be sent.
    pub fn queue(&mut self, exchange: &Exchange, count: usize) {
        self.outbox.queue(exchange, count);
    }

    /// Reads once and returns how many replies that completed.
    pub fn read(&mut self, exchange: &Exchange, buffer: &mut [u8]) -> io::Result<usize> {
        let mut replies = 0;
        loop {
            let count = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::other("the server has closed a connection")),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(replies),
                Err(error) => return Err(error),
            };
            replies += self
                .inbox
                .accept(exchange, &buffer[..count])
                .ok_or_else(|| io::Error::other("a reply is not what was sent"))?;
            if count < buffer.len() && !self.stream.holds_some() {
                return Ok(replies);
            }
        }
    }

    /// Sends as much as the kernel takes of what is queued.
    pub fn write(&mut self, exchange: &Exchange, poll: &Poll, token: usize) -> io::Result<()> {
        let awaits_writable = match self.send(exchange) {
            Ok(()) => false,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => true,
            Err(error) => return Err(error),
        };
        if awaits_writable != self.awaits_writable {
            self.awaits_writable = awaits_writable;
            let interest = if awaits_writable { READABLE | WRITABLE } else { READABLE };
            poll.modify(&self.stream, interest, token)?;
        }
        Ok(())
    }

    fn send(&mut self, exchange: &Exchange) -> io::Result<()> {
        while !self.outbox.is_empty() {
            let count = self.stream.write(self.outbox.bytes(exchange))?;
            self.outbox.advance(exchange, count);
        }
        self.stream.flush()
    }
}
