//! The load generator; see `load --help`.

use std::io;
use std::process::ExitCode;

use bench_load::options::{Mode, Options, USAGE};
use bench_load::{broadcast, churn, echo, idle, paced, probe, report, sys};

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--help") {
        println!("{USAGE}");
        return ExitCode::SUCCESS;
    }
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("load: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match measure(&options) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<String> {
    /// Descriptors beside the connections: standard streams, epoll, files of /proc.
    const SPARE: u64 = 16;
    let limit = sys::raise_descriptor_limit()?;
    if limit < options.connections as u64 + SPARE {
        return Err(io::Error::other(format!("only {limit} descriptors may be open")));
    }
    if let Some(core) = options.core {
        sys::pin_to_core(core)?;
    }
    let resident = probe::resident(options.pid).unwrap_or(0);
    let run = match options.mode {
        Mode::Echo => echo::run,
        Mode::Paced => paced::run,
        Mode::Broadcast => broadcast::run,
        Mode::Churn => churn::run,
        Mode::Idle => {
            return idle::run(options).map(|(before, with)| report::idle(options, &before, &with))
        }
    };
    run(options).map(|measured| report::window(options, resident, &measured))
}
