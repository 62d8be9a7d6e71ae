//! Paced: messages are sent at a fixed rate, however slowly the replies come.
//!
//! Each message is due at a time that was known before the run, and its latency counts from then. So
//! a server that stalls is charged for all the messages that came due meanwhile, and so is a message
//! that this program itself sends too late; how late it was is reported beside. It never sleeps: a
//! timer would be later than the latencies it is to measure.
//!
//! With a flood, one connection more keeps many messages in flight all the time. Its own latencies
//! are not recorded: it is there to be in the others' way.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use crate::client::PATIENCE;
use crate::connection::{Connection, EVENTS};
use crate::frames::Exchange;
use crate::histogram::Histogram;
use crate::options::Options;
use crate::report::{Moment, Window};
use crate::sys::{Event, Poll};

/// More messages than this waiting on one connection: the server does not sustain the rate.
const BACKLOG: usize = 1024;
/// What is read at a time. Less than elsewhere: while it is compared, messages come due.
const READ_BUFFER: usize = 16 * 1024;
/// Messages sent before the replies get their turn.
const BURST: usize = 32;

struct Run<'a> {
    exchange: &'a Exchange,
    poll: Poll,
    connections: Vec<Connection>,
    /// When the messages in flight were due.
    due: Vec<VecDeque<u64>>,
    /// The connection that floods, with what it sends.
    flood: Option<(Connection, Exchange)>,
    /// Nanoseconds between two messages.
    interval: f64,
    sent: u64,
    answered: u64,
    /// Messages due before are not recorded.
    recorded_from: u64,
    epoch: Instant,
    buffer: Box<[u8]>,
    window: Window,
}

/// Runs the warm-up and the measured window and returns what was measured.
pub fn run(options: &Options) -> io::Result<(Moment, Moment, Window)> {
    let exchange = Exchange::new(&options.shape, BACKLOG, options.check_every);
    let mut run = Run {
        exchange: &exchange,
        poll: Poll::new()?,
        connections: Vec::new(),
        due: vec![VecDeque::with_capacity(BACKLOG); options.connections],
        flood: None,
        interval: 1e9 / options.rate,
        sent: 0,
        answered: 0,
        recorded_from: 0,
        epoch: Instant::now(),
        buffer: vec![0; READ_BUFFER].into_boxed_slice(),
        window: Window::default(),
    };
    run.connections =
        Connection::open_all(&options.target, &exchange, &run.poll, options.connections)?;
    if options.flood > 0 {
        let exchange = Exchange::new(&options.shape, options.flood, options.check_every);
        let token = options.connections;
        let stream = options.target.open_all(1)?.remove(0);
        let mut connection = Connection::new(stream, &exchange, &run.poll, token)?;
        connection.queue(&exchange, options.flood);
        connection.write(&exchange, &run.poll, token)?;
        run.flood = Some((connection, exchange));
    }
    run.epoch = Instant::now();
    run.until(options.warmup)?;
    run.recorded_from = run.now();
    run.window = Window { lateness: Some(Histogram::new()), ..Window::default() };
    let start = Moment::now(options.pid)?;
    let answered = run.answered;
    run.until(options.warmup + options.window)?;
    let end = Moment::now(options.pid)?;
    run.window.count = run.answered - answered;
    let flood = run.window.flood;
    // The latency of what was due in the window counts, whenever its reply comes.
    run.finish()?;
    run.window.flood = flood;
    Ok((start, end, run.window))
}

impl Run<'_> {
    fn now(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }

    /// Sends what comes due until `end`, counted from the beginning of the run.
    fn until(&mut self, end: Duration) -> io::Result<()> {
        let end = end.as_nanos() as u64;
        let mut last_answer = (self.answered, Instant::now());
        while self.now() < end {
            for _ in 0..BURST {
                if !self.send_if_due(end)? {
                    break;
                }
            }
            self.receive(0)?;
            if self.answered != last_answer.0 {
                last_answer = (self.answered, Instant::now());
            } else if last_answer.1.elapsed() > PATIENCE {
                return Err(io::Error::other("the server has stopped replying"));
            }
        }
        Ok(())
    }

    /// Waits for the replies of all that was sent.
    fn finish(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while self.answered < self.sent {
            if Instant::now() > deadline {
                let missing = self.sent - self.answered;
                return Err(io::Error::other(format!("{missing} messages were never answered")));
            }
            self.receive(1)?;
        }
        Ok(())
    }

    /// Sends the next message if its time has come, and it comes before `end`.
    fn send_if_due(&mut self, end: u64) -> io::Result<bool> {
        let due = (self.sent as f64 * self.interval) as u64;
        let now = self.now();
        if due > now || due >= end {
            return Ok(false);
        }
        let token = (self.sent % self.connections.len() as u64) as usize;
        if self.due[token].len() == BACKLOG {
            return Err(io::Error::other("the server does not sustain this rate"));
        }
        if let Some(lateness) = &mut self.window.lateness {
            lateness.record(now - due);
        }
        self.due[token].push_back(due);
        self.sent += 1;
        let connection = &mut self.connections[token];
        connection.queue(self.exchange, 1);
        connection.write(self.exchange, &self.poll, token)?;
        Ok(true)
    }

    fn receive(&mut self, timeout_ms: i32) -> io::Result<()> {
        let mut events = [Event::NONE; EVENTS];
        for event in self.poll.wait(&mut events, timeout_ms)? {
            let token = event.token();
            let Some(connection) = self.connections.get_mut(token) else {
                self.serve_flood(*event)?;
                continue;
            };
            if event.is_writable() {
                connection.write(self.exchange, &self.poll, token)?;
            }
            if !event.is_readable() {
                continue;
            }
            let replies = connection.read(self.exchange, &mut self.buffer)?;
            let now = self.epoch.elapsed().as_nanos() as u64;
            for _ in 0..replies {
                let due = self.due[token]
                    .pop_front()
                    .ok_or_else(|| io::Error::other("more replies than messages"))?;
                if due >= self.recorded_from {
                    self.window.latencies.record(now - due);
                }
            }
            self.answered += replies as u64;
        }
        Ok(())
    }

    fn serve_flood(&mut self, event: Event) -> io::Result<()> {
        let Some((connection, exchange)) = &mut self.flood else {
            return Ok(());
        };
        if event.is_readable() {
            let replies = connection.read(exchange, &mut self.buffer)?;
            self.window.flood += replies as u64;
            connection.queue(exchange, replies);
        }
        connection.write(exchange, &self.poll, event.token())
    }
}
