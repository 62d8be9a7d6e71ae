//! Churn: open, echo one message, close, and again.

use std::io::{self, Read, Write};
use std::time::Instant;

use crate::client::{Head, PATIENCE};
use crate::frames::{Exchange, Inbox, CLOSE, CLOSE_FIRST_BYTE};
use crate::options::Options;
use crate::report::{Moment, Window};
use crate::stream::Stream;
use crate::sys::{Event, Poll, READABLE};

/// Reports taken from the kernel at a time.
const EVENTS: usize = 256;
/// One message, or a Close frame, at a time.
const READ_BUFFER: usize = 64 * 1024;
/// How long to wait for the kernel before looking at the clock all the same.
const TICK_MS: i32 = 100;

/// How far a connection has come.
enum Stage {
    Handshake(Box<Head>),
    Echo(Inbox),
    Closing { answered: bool },
}

struct Connection {
    stream: Stream,
    stage: Stage,
    opened: Instant,
}

struct Run<'a> {
    options: &'a Options,
    exchange: Exchange,
    request: Vec<u8>,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    ordinal: usize,
    window: Window,
}

/// Runs the warm-up and the measured window and returns what was measured.
pub fn run(options: &Options) -> io::Result<(Moment, Moment, Window)> {
    let mut run = Run {
        options,
        buffer: vec![0; READ_BUFFER],
        exchange: Exchange::new(&options.shape, 1, 1),
        request: options.target.request(),
        poll: Poll::new()?,
        connections: Vec::with_capacity(options.connections),
        ordinal: 0,
        window: Window::default(),
    };
    for token in 0..options.connections {
        let connection = run.open(token)?;
        run.connections.push(connection);
    }
    run.until(Instant::now() + options.warmup)?;
    run.window = Window::default();
    let start = Moment::now(options.pid)?;
    run.until(Instant::now() + options.window)?;
    let end = Moment::now(options.pid)?;
    if run.window.count == 0 {
        return Err(io::Error::other("no connection was closed in the measured window"));
    }
    Ok((start, end, run.window))
}

impl Run<'_> {
    fn open(&mut self, token: usize) -> io::Result<Connection> {
        let opened = Instant::now();
        let mut stream = self.options.target.connect(self.ordinal)?;
        self.ordinal += 1;
        stream.socket().set_nonblocking(true)?;
        self.poll.add(&stream, READABLE, token)?;
        stream.write_all(&self.request)?;
        Ok(Connection { stream, stage: Stage::Handshake(Box::default()), opened })
    }

    fn until(&mut self, deadline: Instant) -> io::Result<()> {
        let mut events = [Event::NONE; EVENTS];
        let mut last_heard = Instant::now();
        loop {
            let now = Instant::now();
            if now >= deadline {
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
                self.serve(event.token())?;
            }
        }
    }

    fn serve(&mut self, token: usize) -> io::Result<()> {
        loop {
            match self.advance(token) {
                // What has come was for TLS itself.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                outcome => outcome?,
            }
            if !self.connections[token].stream.holds_some() {
                return Ok(());
            }
        }
    }

    fn advance(&mut self, token: usize) -> io::Result<()> {
        let Connection { stream, stage, .. } = &mut self.connections[token];
        match stage {
            Stage::Handshake(head) => {
                head.read_from(stream)?;
                if head.is_complete()? {
                    stream.write_all(self.exchange.first_request())?;
                    *stage = Stage::Echo(Inbox::new(&self.exchange));
                }
                Ok(())
            }
            Stage::Echo(inbox) => {
                let count = stream.read(&mut self.buffer)?;
                match inbox.accept(&self.exchange, &self.buffer[..count]) {
                    Some(0) if count > 0 => {}
                    Some(1) => {
                        stream.write_all(&CLOSE)?;
                        *stage = Stage::Closing { answered: false };
                    }
                    _ => return Err(io::Error::other("a reply is not what was sent")),
                }
                Ok(())
            }
            Stage::Closing { answered } => {
                match stream.read(&mut self.buffer)? {
                    0 if *answered => {}
                    0 => return Err(io::Error::other("the server has not answered a Close frame")),
                    _ if *answered || self.buffer[0] == CLOSE_FIRST_BYTE => {
                        *answered = true;
                        return Ok(());
                    }
                    _ => {
                        return Err(io::Error::other(
                            "a Close frame was answered by something else",
                        ))
                    }
                }
                let Connection { stream, opened, .. } = &self.connections[token];
                self.window.latencies.record(opened.elapsed().as_nanos() as u64);
                self.window.count += 1;
                self.window.resumed += u64::from(stream.is_resumed());
                self.connections[token] = self.open(token)?;
                Ok(())
            }
        }
    }
}
