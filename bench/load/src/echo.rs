//! Echo: every connection keeps a number of messages in flight.
//!
//! Each reply that comes is answered by one new message; the replies of one read are answered by one
//! write. Nothing is allocated per message and the only copies are the kernel's.

use std::io;
use std::time::Instant;

use crate::client::PATIENCE;
use crate::connection::{Connection, EVENTS, READ_BUFFER, TICK_MS};
use crate::frames::Exchange;
use crate::options::Options;
use crate::report::{Moment, Window};
use crate::sys::{Event, Poll};

struct Run<'a> {
    exchange: &'a Exchange,
    poll: Poll,
    connections: Vec<Connection>,
    /// When each message in flight was sent, `depth` of them per connection.
    stamps: Vec<u64>,
    /// Index of the oldest message in flight in each connection's part of the stamps.
    oldest: Vec<usize>,
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
    let exchange = Exchange::new(&options.shape, options.depth, options.check_every);
    let mut run = Run {
        exchange: &exchange,
        poll: Poll::new()?,
        connections: Vec::new(),
        stamps: vec![0; options.connections * options.depth],
        oldest: vec![0; options.connections],
        depth: options.depth,
        in_flight: options.connections * options.depth,
        refills: !options.once,
        epoch: Instant::now(),
        buffer: vec![0; READ_BUFFER].into_boxed_slice(),
        window: Window::default(),
    };
    run.connections =
        Connection::open_all(&options.target, &exchange, &run.poll, options.connections)?;
    let mut start = Moment::now(options.pid)?;
    for token in 0..options.connections {
        let now = run.now();
        run.stamps[token * options.depth..][..options.depth].fill(now);
        run.connections[token].queue(&exchange, options.depth);
        run.write(token)?;
    }
    if !options.once {
        run.until(Instant::now() + options.warmup)?;
        run.window = Window::default();
        start = Moment::now(options.pid)?;
    }
    run.until(Instant::now() + if options.once { PATIENCE } else { options.window })?;
    let end = Moment::now(options.pid)?;
    let window = std::mem::take(&mut run.window);
    if window.count == 0 {
        return Err(io::Error::other("no message was echoed in the measured window"));
    }
    // Every message has its reply: the last ones come when no more are sent.
    run.refills = false;
    run.until(Instant::now() + PATIENCE)?;
    if run.in_flight > 0 {
        return Err(io::Error::other(format!("{} messages were never answered", run.in_flight)));
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
        let replies = connection.read(self.exchange, &mut self.buffer)?;
        if replies == 0 {
            return Ok(());
        }
        let now = self.epoch.elapsed().as_nanos() as u64;
        let stamps = &mut self.stamps[token * self.depth..][..self.depth];
        let oldest = &mut self.oldest[token];
        if replies > self.depth {
            return Err(io::Error::other("more replies than messages"));
        }
        for _ in 0..replies {
            self.window.latencies.record(now - stamps[*oldest]);
            stamps[*oldest] = now;
            *oldest = if *oldest + 1 == self.depth { 0 } else { *oldest + 1 };
        }
        self.window.count += replies as u64;
        if self.refills {
            connection.queue(self.exchange, replies);
            return self.write(token);
        }
        self.in_flight = self
            .in_flight
            .checked_sub(replies)
            .ok_or_else(|| io::Error::other("more replies than messages"))?;
        Ok(())
    }

    fn write(&mut self, token: usize) -> io::Result<()> {
        self.connections[token].write(self.exchange, &self.poll, token)
    }
}
