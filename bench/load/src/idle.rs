//! Idle: what the server's memory grows by for each connection that only exists.

use std::io::{self, Read, Write};
use std::time::Duration;

use crate::client::AT_A_TIME;
use crate::frames::{Exchange, Inbox};
use crate::options::Options;
use crate::report::Memory;
use crate::stream::Stream;

/// So many connections come and go first, so that compiled code and pools are not counted.
const REHEARSAL: usize = 100;
/// A message at a time.
const READ_BUFFER: usize = 64 * 1024;

/// Opens and holds the connections; returns the memory before and with them.
pub fn run(options: &Options) -> io::Result<(Memory, Memory)> {
    /// Time for the server to notice the closed connections of the rehearsal.
    const AFTER_REHEARSAL: Duration = Duration::from_millis(500);
    drop(open(options, REHEARSAL.min(options.connections))?);
    let before = Memory::measure(options.pid, AFTER_REHEARSAL)?;
    let mut connections = open(options, options.connections)?;
    let with = Memory::measure(options.pid, options.window)?;
    for connection in &mut connections {
        connection.socket().set_nonblocking(true)?;
        let alive = matches!(connection.read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if !alive {
            return Err(io::Error::other("the server has closed an idle connection"));
        }
    }
    Ok((before, with))
}

fn open(options: &Options, count: usize) -> io::Result<Vec<Stream>> {
    let mut connections = options.target.open_all(count)?;
    if options.touch {
        let exchange = Exchange::new(&options.shape, 1, 1);
        for some in connections.chunks_mut(AT_A_TIME) {
            for stream in some.iter_mut() {
                stream.write_all(exchange.first_request())?;
            }
            for stream in some {
                await_reply(stream, &exchange)?;
            }
        }
    }
    Ok(connections)
}

fn await_reply(stream: &mut Stream, exchange: &Exchange) -> io::Result<()> {
    let mut inbox = Inbox::new(exchange);
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        let count = stream.read(&mut buffer)?;
        match inbox.accept(exchange, &buffer[..count]) {
            Some(0) if count > 0 => {}
            Some(1) => return Ok(()),
            _ => return Err(io::Error::other("a reply is not what was sent")),
        }
    }
}
