//! Starts a process where the benchmark wants it: `launch [--core N] [--network] -- COMMAND...`.
//!
//! With `--core` it runs on that core only. With `--network` it runs in a network of its own: no
//! other traffic, empty port tables, and a congestion control that does not pace (BBR, the default
//! of some machines, makes large messages a quarter dearer). The command replaces this process, so
//! its process id is the one the caller started, and it is ended with the process that called.

use std::ffi::CString;
use std::process::ExitCode;

use bench_load::sys;

/// What `env` and `nice` exit with when they themselves fail, so that callers can tell.
const LAUNCH_FAILED: u8 = 125;

fn main() -> ExitCode {
    match launch(std::env::args().skip(1)) {
        Ok(never) => match never {},
        Err(message) => {
            eprintln!("launch: {message}");
            ExitCode::from(LAUNCH_FAILED)
        }
    }
}

fn launch(mut arguments: impl Iterator<Item = String>) -> Result<std::convert::Infallible, String> {
    sys::die_with_parent().map_err(|error| format!("prctl: {error}"))?;
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--core" => {
                let core = arguments
                    .next()
                    .and_then(|core| core.parse().ok())
                    .ok_or("--core wants a number")?;
                sys::pin_to_core(core).map_err(|error| format!("core {core}: {error}"))?;
            }
            "--network" => {
                sys::enter_own_network()
                    .map_err(|error| format!("no network of its own: {error}"))?;
                tune_network();
            }
            "--" => {
                let command: Result<Vec<CString>, _> = arguments.map(CString::new).collect();
                let command = command.map_err(|error| error.to_string())?;
                return Err(format!("cannot start: {}", sys::replace_process(&command)));
            }
            other => return Err(format!("unknown argument {other}")),
        }
    }
    Err("no command after --".into())
}

/// Sets what a fresh network may set; a kernel that refuses keeps its default.
fn tune_network() {
    let root = "/proc/sys/net/ipv4";
    let congestion_control = format!("{root}/tcp_congestion_control");
    if std::fs::write(&congestion_control, "cubic").is_err() {
        // RFC 5681's algorithm is compiled into every kernel.
        let _ = std::fs::write(&congestion_control, "reno");
    }
    // Churn opens connections faster than the default range of ports is freed.
    let _ = std::fs::write(format!("{root}/ip_local_port_range"), "1024 65535");
}
