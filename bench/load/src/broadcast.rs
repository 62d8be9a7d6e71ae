//! Broadcast: the first connection sends a message, and the server sends it to all of them.
//!
//! The next message goes out when the last copy of the one before has come, so the server is never
//! asked for more than it delivers.

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
    /// Copies that each connection has had of the message under way.
    received: Vec<usize>,
    /// Copies of each message per connection.
    repeat: usize,
    /// Copies of the message under way that have not come.
    owed: usize,
    sent_at: Instant,
    buffer: Box<[u8]>,
    window: Window,
}

/// Runs the warm-up and the measured window and returns what was measured.
pub fn run(options: &Options) -> io::Result<(Moment, Moment, Window)> {
    let exchange = Exchange::new(&options.shape, 1, options.check_every);
    let mut run = Run {
        exchange: &exchange,
        poll: Poll::new()?,
        connections: Vec::new(),
        received: vec![0; options.connections],
        repeat: options.shape.repeat,
        owed: 0,
        sent_at: Instant::now(),
        buffer: vec![0; READ_BUFFER].into_boxed_slice(),
        window: Window::default(),
    };
    run.connections =
        Connection::open_all(&options.target, &exchange, &run.poll, options.connections)?;
    run.until(Instant::now() + options.warmup)?;
    run.window = Window::default();
    let start = Moment::now(options.pid)?;
    run.until(Instant::now() + options.window)?;
    let end = Moment::now(options.pid)?;
    Ok((start, end, run.window))
}

impl Run<'_> {
    /// Sends message after message until `deadline` has passed and the last one is delivered.
    fn until(&mut self, deadline: Instant) -> io::Result<()> {
        let mut events = [Event::NONE; EVENTS];
        let mut last_heard = Instant::now();
        self.send()?;
        while self.owed > 0 {
            let ready = self.poll.wait(&mut events, TICK_MS)?;
            if !ready.is_empty() {
                last_heard = Instant::now();
            } else if last_heard.elapsed() > PATIENCE {
                let owed = self.owed;
                return Err(io::Error::other(format!("{owed} copies never came")));
            }
            for event in ready {
                if event.is_readable() {
                    self.read(event.token())?;
                }
                if event.is_writable() {
                    self.write(event.token())?;
                }
            }
            if self.owed == 0 && Instant::now() < deadline {
                self.send()?;
            }
        }
        Ok(())
    }

    fn send(&mut self) -> io::Result<()> {
        self.received.fill(0);
        self.owed = self.connections.len() * self.repeat;
        self.sent_at = Instant::now();
        self.connections[0].queue(self.exchange, 1);
        self.write(0)
    }

    fn read(&mut self, token: usize) -> io::Result<()> {
        let copies = self.connections[token].read(self.exchange, &mut self.buffer)?;
        self.received[token] += copies;
        if self.received[token] > self.repeat {
            return Err(io::Error::other("more copies than were asked for"));
        }
        self.owed -= copies;
        self.window.count += copies as u64;
        if copies > 0 {
            let latency = self.sent_at.elapsed().as_nanos() as u64;
            self.window.latencies.record(latency);
        }
        Ok(())
    }

    fn write(&mut self, token: usize) -> io::Result<()> {
        self.connections[token].write(self.exchange, &self.poll, token)
    }
}
