//! Echo: every connection keeps a number of messages in flight.
//!
//! Each reply that comes is answered by one new message; the replies of one read are answered by one
//! write. Nothing is allocated per message and the only copies are the kernel's.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::client::PATIENCE;
use crate::frames::{Exchange, Inbox, Outbox};
use crate::options::Options;
use crate::report::{Moment, Window};
use crate::sys::{Event, Poll, READABLE, WRITABLE};

/// One read takes at most so much: it fits the second-level cache beside what is compared.
const READ_BUFFER: usize = 256 * 1024;
/// Reports taken from the kernel at a time.
const EVENTS: usize = 1024;
/// How long to wait for the kernel before looking at the clock all the same.
const TICK_MS: i32 = 100;

struct Connection {
    stream: TcpStream,
    inbox: Inbox,
    outbox: Outbox,
    /// Index of the oldest message in flight in this connection's part of the stamps.
    oldest: usize,
    awaits_writable: bool,
}

struct Run<'a> {
    exchange: &'a Exchange,
    poll: Poll,
    connections: Vec<Connection>,
    /// When each message in flight was sent, `depth` of them per connection.
    stamps: Vec<u64>,
    depth: usize,
    /// Messages sent, or about to be, whose replies have not come.
    in_flight: usize,
    /// Whether a reply is answered by a new message.
    refills: bool,
    epoch: Instant,
    buffer: Box<[u8]>,
    window: Window,
}

/// Runs the warm-up and the measured window and returns what was measured.
pub fn run(options: &Options) -> io::Result<(Moment, Moment, Window)> {
    let exchange = Exchange::new(
        options.kind,
        options.size,
        options.depth,
        options.check_every,
    );
    let mut run = Run {
        exchange: &exchange,
        poll: Poll::new()?,
        connections: Vec::with_capacity(options.connections),
        stamps: vec![0; options.connections * options.depth],
        depth: options.depth,
        in_flight: options.connections * options.depth,
        refills: true,
        epoch: Instant::now(),
        buffer: vec![0; READ_BUFFER].into_boxed_slice(),
        window: Window::new(),
    };
    for token in 0..options.connections {
        let stream = options.target.open(token)?;
        stream.set_nonblocking(true)?;
        run.poll.add(&stream, READABLE, token)?;
        let connection = Connection {
            stream,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            oldest: 0,
            awaits_writable: false,
        };
        run.connections.push(connection);
    }
    for token in 0..options.connections {
        let now = run.now();
        run.stamps[token * options.depth..][..options.depth].fill(now);
        run.connections[token]
            .outbox
            .queue(&exchange, options.depth);
        run.write(token)?;
    }
    run.until(Instant::now() + options.warmup)?;
    run.window = Window::new();
    let start = Moment::now(options.pid)?;
    run.until(Instant::now() + options.window)?;
    let end = Moment::now(options.pid)?;
    let window = std::mem::take(&mut run.window);
    if window.count == 0 {
        return Err(io::Error::other(
            "no message was echoed in the measured window",
        ));
    }
    // Every message has its reply: the last ones come when no more are sent.
    run.refills = false;
    run.until(Instant::now() + PATIENCE)?;
    if run.in_flight > 0 {
        return Err(io::Error::other(format!(
            "{} messages were never answered",
            run.in_flight
        )));
    }
    Ok((start, end, window))
}

impl Run<'_> {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    fn until(&mut self, deadline: Instant) -> io::Result<()> {
        let mut events = [Event::NONE; EVENTS];
        let mut last_heard = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline || self.in_flight == 0 {
                return Ok(());
            }
            let timeout = TICK_MS.min((deadline - now).as_millis() as i32 + 1);
            let ready = self.poll.wait(&mut events, timeout)?;
            if !ready.is_empty() {
                last_heard = now;
            } else if now - last_heard > PATIENCE {
                return Err(io::Error::other("the server has stopped replying"));
            }
            for event in ready {
                if event.is_readable() {
                    self.read(event.token())?;
                }
                if event.is_writable() {
                    self.write(event.token())?;
                }
            }
        }
    }

    fn read(&mut self, token: usize) -> io::Result<()> {
        let connection = &mut self.connections[token];
        let count = match (&connection.stream).read(&mut self.buffer) {
            Ok(0) => return Err(io::Error::other("the server has closed a connection")),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let replies = connection
            .inbox
            .accept(self.exchange, &self.buffer[..count])
            .ok_or_else(|| io::Error::other("a reply is not what was sent"))?;
        if replies == 0 {
            return Ok(());
        }
        let now = self.epoch.elapsed().as_nanos() as u64;
        let stamps = &mut self.stamps[token * self.depth..][..self.depth];
        for _ in 0..replies {
            let stamp = stamps
                .get_mut(connection.oldest)
                .ok_or_else(|| io::Error::other("more replies than messages"))?;
            self.window.latencies.record(now - *stamp);
            *stamp = now;
            connection.oldest = if connection.oldest + 1 == self.depth {
                0
            } else {
                connection.oldest + 1
            };
        }
        self.window.count += replies as u64;
        if !self.refills {
            self.in_flight -= replies;
            return Ok(());
        }
        connection.outbox.queue(self.exchange, replies);
        self.write(token)
    }

    fn write(&mut self, token: usize) -> io::Result<()> {
        let connection = &mut self.connections[token];
        while !connection.outbox.is_empty() {
            match (&connection.stream).write(connection.outbox.bytes(self.exchange)) {
                Ok(count) => connection.outbox.advance(self.exchange, count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        let awaits_writable = !connection.outbox.is_empty();
        if awaits_writable != connection.awaits_writable {
            connection.awaits_writable = awaits_writable;
            let interest = if awaits_writable {
                READABLE | WRITABLE
            } else {
                READABLE
            };
            self.poll.modify(&connection.stream, interest, token)?;
        }
        Ok(())
    }
}
