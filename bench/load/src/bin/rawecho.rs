//! The floor: a server that reads, unmasks and writes, and does nothing else that could be left out.
//!
//! It trusts its clients: nothing is validated, messages are echoed as they come in, no timers run.
//! What it costs is what the kernel costs; what another server costs above it is that server's own.
//! With `--broadcast TIMES` it writes what it reads so many times, to every connection; its clients
//! then send one message at a time. Prints `{"port":P,"pid":PID}` and serves until it is killed.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use bench_load::client::find;
use bench_load::frames::CLOSE_FIRST_BYTE;
use bench_load::sha1::accept_for;
use bench_load::sys::{self, Event, Poll, READABLE, WRITABLE};

/// Bytes taken from the kernel at a time.
const READ_BUFFER: usize = 256 * 1024;
/// Reports taken from the kernel at a time.
const EVENTS: usize = 1024;
/// Connections accepted before the others get their turn.
const ACCEPTS: usize = 64;
/// The listener's token; connections have those below.
const LISTENER: usize = usize::MAX;
/// The longest header of a masked frame (RFC 6455 section 5.2).
const HEADER: usize = 14;

struct Connection {
    stream: TcpStream,
    upgraded: bool,
    closing: bool,
    /// The frame under way: its masking key and how much of its payload is yet to come.
    key: [u8; 4],
    remaining: u64,
    /// A header, or the request's head, that has not come as a whole.
    partial: Vec<u8>,
    /// What the kernel did not take; reading stops until it has.
    unsent: VecDeque<u8>,
}

/// What a read was about.
enum Read {
    Handshake,
    Frames,
}

/// Reads the command line; `None` is an echo.
fn copies_wanted(mut arguments: impl Iterator<Item = String>) -> Option<usize> {
    arguments.find(|argument| argument == "--broadcast")?;
    Some(arguments.next()?.parse().expect("--broadcast wants a number"))
}

fn main() -> io::Result<()> {
    sys::die_with_parent()?;
    sys::ignore_collection_requests();
    sys::raise_descriptor_limit()?;
    let copies = copies_wanted(std::env::args().skip(1));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let poll = Poll::new()?;
    poll.add(&listener, READABLE, LISTENER)?;
    println!("{{\"port\":{},\"pid\":{}}}", listener.local_addr()?.port(), std::process::id());

    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let mut input = vec![0; READ_BUFFER];
    let mut output = Vec::with_capacity(READ_BUFFER + HEADER);
    let mut events = [Event::NONE; EVENTS];
    loop {
        for event in poll.wait(&mut events, -1)? {
            let token = event.token();
            if token == LISTENER {
                for _ in 0..ACCEPTS {
                    let Ok((stream, _)) = listener.accept() else {
                        break;
                    };
                    let token = free.pop().unwrap_or_else(|| {
                        connections.push(None);
                        connections.len() - 1
                    });
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    poll.add(&stream, READABLE, token)?;
                    connections[token] = Some(Connection::new(stream));
                }
                continue;
            }
            let Some(connection) = &mut connections[token] else {
                continue;
            };
            let outcome = if event.is_writable() {
                connection.flush(&poll, token)
            } else {
                let outcome = connection.read(&mut input, &mut output);
                if let (Ok(Read::Frames), Some(copies)) = (&outcome, copies) {
                    let copies = output.repeat(copies);
                    for (token, connection) in connections.iter_mut().enumerate() {
                        if let Some(connection) = connection {
                            // What has gone is noticed when it is read from.
                            let _ = connection.send(&poll, token, &copies);
                        }
                    }
                    continue;
                }
                outcome.and_then(|_| connection.send(&poll, token, &output))
            };
            if outcome.is_err() {
                connections[token] = None;
                free.push(token);
            }
        }
    }
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Connection {
            stream,
            upgraded: false,
            closing: false,
            key: [0; 4],
            remaining: 0,
            partial: Vec::new(),
            unsent: VecDeque::new(),
        }
    }

    /// Reads once; `output` is what has to be written. An error means that the connection is over,
    /// for better or worse.
    fn read(&mut self, input: &mut [u8], output: &mut Vec<u8>) -> io::Result<Read> {
        let count = self.stream.read(input)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        output.clear();
        if !self.upgraded {
            self.upgrade(&input[..count], output)?;
            return Ok(Read::Handshake);
        }
        if self.partial.is_empty() {
            self.echo(&mut input[..count], output);
        } else {
            let mut joined = std::mem::take(&mut self.partial);
            joined.extend_from_slice(&input[..count]);
            self.echo(&mut joined, output);
        }
        Ok(Read::Frames)
    }

    fn send(&mut self, poll: &Poll, token: usize, output: &[u8]) -> io::Result<()> {
        let sent = if output.is_empty() || !self.unsent.is_empty() {
            0
        } else {
            self.stream.write(output).or_else(would_block)?
        };
        if sent < output.len() {
            self.unsent.extend(&output[sent..]);
            poll.modify(&self.stream, WRITABLE, token)?;
        } else if self.closing {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(())
    }

    fn flush(&mut self, poll: &Poll, token: usize) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(self.unsent.as_slices().0).or_else(would_block)? {
                0 => return Ok(()),
                sent => drop(self.unsent.drain(..sent)),
            }
        }
        if self.closing {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.unsent = VecDeque::new();
        poll.modify(&self.stream, READABLE, token)
    }

    fn upgrade(&mut self, received: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        const KEY: &[u8] = b"sec-websocket-key: ";
        const KEY_LENGTH: usize = 24;
        self.partial.extend_from_slice(received);
        if !self.partial.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        let head = std::mem::take(&mut self.partial);
        let start =
            find(&head.to_ascii_lowercase(), KEY).ok_or(io::ErrorKind::InvalidData)? + KEY.len();
        let key = head.get(start..start + KEY_LENGTH).ok_or(io::ErrorKind::InvalidData)?;
        write!(
            output,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_for(key)
        )?;
        self.upgraded = true;
        Ok(())
    }

    /// Turns masked frames into unmasked ones; a payload need not have come as a whole.
    fn echo(&mut self, mut input: &mut [u8], output: &mut Vec<u8>) {
        while !input.is_empty() {
            if self.remaining == 0 {
                let Some((length, header)) = parse_header(input) else {
                    self.partial = input.to_vec();
                    return;
                };
                self.closing |= input[0] == CLOSE_FIRST_BYTE;
                self.remaining = length;
                self.key.copy_from_slice(&input[header - 4..header]);
                output.push(input[0]);
                output.push(input[1] & 0x7F);
                output.extend_from_slice(&input[2..header - 4]);
                input = &mut input[header..];
            }
            let length = (input.len() as u64).min(self.remaining) as usize;
            let (payload, rest) = input.split_at_mut(length);
            unmask(payload, self.key);
            output.extend_from_slice(payload);
            self.key.rotate_left(length % 4);
            self.remaining -= length as u64;
            input = rest;
        }
    }
}

/// Returns the lengths of the payload and of the header, or `None` if the header is not all here.
fn parse_header(input: &[u8]) -> Option<(u64, usize)> {
    let (length, header) = match input.get(1)? & 0x7F {
        126 => (u64::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?)), 8),
        127 => (u64::from_be_bytes(input.get(2..10)?.try_into().ok()?), 14),
        length => (u64::from(length), 6),
    };
    (input.len() >= header).then_some((length, header))
}

fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut words = payload.chunks_exact_mut(8);
    for word in &mut words {
        let value = u64::from_ne_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]);
        word.copy_from_slice(&(value ^ wide).to_ne_bytes());
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

fn would_block(error: io::Error) -> io::Result<usize> {
    if error.kind() == io::ErrorKind::WouldBlock {
        Ok(0)
    } else {
        Err(error)
    }
}
