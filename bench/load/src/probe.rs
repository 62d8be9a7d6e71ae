//! What the server used, read from /proc.

use std::fs;

/// Processor time used by all threads of process `pid` so far, in nanoseconds.
///
/// `/proc/PID/task/*/schedstat` counts nanoseconds; a kernel without it has `/proc/PID/stat`, in
/// clock ticks. Returns `None` when the process is gone.
pub fn processor_time(pid: u32) -> Option<u64> {
    scheduler_time(pid).or_else(|| tick_time(pid))
}

fn scheduler_time(pid: u32) -> Option<u64> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let path = thread.ok()?.path().join("schedstat");
        // A thread may end between the listing and the reading.
        let Ok(text) = fs::read_to_string(path) else {
            continue;
        };
        total += text.split_ascii_whitespace().next()?.parse::<u64>().ok()?;
    }
    (total > 0).then_some(total)
}

fn tick_time(pid: u32) -> Option<u64> {
    /// USER_HZ is 100 on every architecture that Node supports.
    const NANOSECONDS_PER_TICK: u64 = 10_000_000;
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; what follows it are plain fields.
    let fields = text.get(text.rfind(')')? + 1..)?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * NANOSECONDS_PER_TICK)
}

/// Resident memory of process `pid` in bytes. The exact sum where the kernel tells it.
pub fn resident(pid: u32) -> Option<u64> {
    kibibytes(&format!("/proc/{pid}/smaps_rollup"), "Rss:")
        .or_else(|| kibibytes(&format!("/proc/{pid}/status"), "VmRSS:"))
}

/// The most memory process `pid` ever had resident, in bytes.
pub fn resident_peak(pid: u32) -> Option<u64> {
    kibibytes(&format!("/proc/{pid}/status"), "VmHWM:")
}

fn kibibytes(path: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
