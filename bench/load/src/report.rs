//! The measured window and the line of JSON it ends in.

use std::io;
use std::time::{Duration, Instant};

use crate::histogram::Histogram;
use crate::options::{Mode, Options};
use crate::probe;
use crate::sys;

/// The clock and the processor times at one moment.
pub struct Moment {
    at: Instant,
    server: u64,
    load: u64,
}

impl Moment {
    /// Reads them now.
    pub fn now(pid: u32) -> io::Result<Self> {
        let server =
            probe::processor_time(pid).ok_or_else(|| io::Error::other("the server is gone"))?;
        let load = probe::processor_time(std::process::id()).unwrap_or(0);
        Ok(Moment { at: Instant::now(), server, load })
    }
}

/// What happened between two moments.
#[derive(Default)]
pub struct Window {
    /// Echoed or delivered messages, or connections opened and closed.
    pub count: u64,
    /// How long each took.
    pub latencies: Histogram,
    /// How late messages were sent, where they were due at a time.
    pub lateness: Option<Histogram>,
    /// Messages echoed to the connection that floods.
    pub flood: u64,
    /// Connections that went on with a session of TLS.
    pub resumed: u64,
}

/// Writes the JSON of a measured window. `resident` is the server's memory before the first
/// connection.
pub fn window(
    options: &Options,
    resident: u64,
    (start, end, window): &(Moment, Moment, Window),
) -> String {
    let elapsed = (end.at - start.at).as_secs_f64();
    let server = (end.server - start.server) as f64;
    let load = (end.load - start.load) as f64;
    let count = window.count as f64;
    let micro = |nanoseconds: u64| nanoseconds as f64 / 1e3;
    let latencies = &window.latencies;
    let mut line = head(options);
    number(&mut line, "seconds", elapsed, 3);
    number(&mut line, "count", count, 0);
    number(&mut line, "per_second", count / elapsed, 1);
    number(&mut line, "server_cpu_us", server / 1e3 / count.max(1.0), 4);
    number(&mut line, "server_busy", server / 1e9 / elapsed, 3);
    number(&mut line, "load_busy", load / 1e9 / elapsed, 3);
    for (name, quantile) in [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999)] {
        number(&mut line, name, micro(latencies.quantile(quantile)), 1);
    }
    number(&mut line, "max_us", micro(latencies.max()), 1);
    if let Some(lateness) = &window.lateness {
        number(&mut line, "rate", options.rate, 0);
        let p999 = micro(lateness.quantile(0.999));
        number(&mut line, "late_p999_us", p999, 1);
    }
    if options.flood > 0 {
        let per_second = window.flood as f64 / elapsed;
        number(&mut line, "flood_per_second", per_second, 0);
    }
    if options.mode == Mode::Churn && options.target.security.is_some() {
        number(&mut line, "resumed", window.resumed as f64 / count.max(1.0), 3);
    }
    let peak = probe::resident_peak(options.pid).unwrap_or(0);
    number(&mut line, "resident_peak_bytes", peak as f64, 0);
    let growth = peak.saturating_sub(resident) as f64;
    number(&mut line, "peak_growth_bytes", growth, 0);
    line + "}"
}

/// Resident memory as it is, and after the server was asked to collect its garbage.
pub struct Memory {
    found: u64,
    collected: u64,
}

impl Memory {
    /// Waits for `settle`, looks, has the server collect, and looks again.
    pub fn measure(pid: u32, settle: Duration) -> io::Result<Self> {
        /// A full collection of 10,000 connections' objects takes tens of milliseconds.
        const COLLECTION: Duration = Duration::from_millis(600);
        let gone = || io::Error::other("the server is gone");
        std::thread::sleep(settle);
        let found = probe::resident(pid).ok_or_else(gone)?;
        sys::request_collection(pid)?;
        std::thread::sleep(COLLECTION);
        let collected = probe::resident(pid).ok_or_else(gone)?;
        Ok(Memory { found, collected })
    }
}

/// Writes the JSON of `options.connections` held connections.
pub fn idle(options: &Options, before: &Memory, with: &Memory) -> String {
    let connections = options.connections as f64;
    let mut line = head(options);
    let grown = with.found as f64 - before.collected as f64;
    let kept = with.collected as f64 - before.collected as f64;
    number(&mut line, "resident_bytes_per_connection", grown / connections, 0);
    number(&mut line, "collected_bytes_per_connection", kept / connections, 0);
    number(&mut line, "resident_bytes_before", before.collected as f64, 0);
    number(&mut line, "resident_bytes", with.found as f64, 0);
    line + "}"
}

fn head(options: &Options) -> String {
    let mode = match options.mode {
        Mode::Echo => "echo",
        Mode::Paced => "paced",
        Mode::Broadcast => "broadcast",
        Mode::Churn => "churn",
        Mode::Idle => "idle",
    };
    let mut line = format!("{{\"mode\":\"{mode}\",\"kind\":\"{:?}\"", options.shape.kind);
    number(&mut line, "connections", options.connections as f64, 0);
    number(&mut line, "depth", options.depth as f64, 0);
    number(&mut line, "size", options.shape.size as f64, 0);
    line
}

fn number(line: &mut String, name: &str, value: f64, decimals: usize) {
    line.push_str(&format!(",\"{name}\":{value:.decimals$}"));
}
