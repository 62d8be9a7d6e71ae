//! Idle: what the server's memory grows by for each connection that only exists.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::frames::Exchange;
use crate::options::Options;
use crate::report::Memory;

/// So many connections come and go first, so that compiled code and pools are not counted.
const REHEARSAL: usize = 100;

/// Opens and holds the connections; returns the memory before and with them.
pub fn run(options: &Options) -> io::Result<(Memory, Memory)> {
    /// Time for the server to notice the closed connections of the rehearsal.
    const AFTER_REHEARSAL: Duration = Duration::from_millis(500);
    drop(open(options, REHEARSAL.min(options.connections))?);
    let before = Memory::measure(options.pid, AFTER_REHEARSAL)?;
    let connections = open(options, options.connections)?;
    let with = Memory::measure(options.pid, options.window)?;
    for connection in &connections {
        connection.set_nonblocking(true)?;
        let alive = matches!((&*connection).read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if !alive {
            return Err(io::Error::other("the server has closed an idle connection"));
        }
    }
    Ok((before, with))
}

fn open(options: &Options, count: usize) -> io::Result<Vec<TcpStream>> {
    let exchange = Exchange::new(options.kind, options.size, 1, options.check_every);
    let mut reply = vec![0; exchange.reply_length()];
    let mut connections = Vec::with_capacity(count);
    for ordinal in 0..count {
        let mut stream = options.target.open(ordinal)?;
        if options.touch {
            stream.write_all(exchange.first_request())?;
            stream.read_exact(&mut reply)?;
            if reply != exchange.first_reply() {
                return Err(io::Error::other("a reply is not what was sent"));
            }
        }
        connections.push(stream);
    }
    Ok(connections)
}
