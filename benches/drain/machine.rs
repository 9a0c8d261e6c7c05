//! What processes and the machine have used, from `/proc`.

use std::{fs, iter::Sum, ops::Sub};

/// `USER_HZ`: the unit of CPU times in `/proc`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU time in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
pub(crate) struct Cpu(pub(crate) f64);

impl Cpu {
    pub(crate) fn max(self, other: Self) -> Self {
        Self(self.0.max(other.0))
    }
}

impl Sub for Cpu {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0.0))
    }
}

impl Sum for Cpu {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        Self(all.map(|cpu| cpu.0).sum())
    }
}

/// User and system time of a process and all its threads so far; nothing if it has ended.
pub(crate) fn of_process(pid: i32) -> Cpu {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold anything; after it, user and system time are the 12th and 13th.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    Cpu(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
}

/// What all processes of the machine have used so far.
pub(crate) fn of_machine() -> Cpu {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let line = stat.lines().next().unwrap_or_default();
    // user nice system (idle iowait) irq softirq
    let ticks: Vec<f64> = line.split_whitespace().skip(1).filter_map(|ticks| ticks.parse().ok()).collect();
    Cpu([0, 1, 2, 5, 6].iter().filter_map(|place| ticks.get(*place)).sum::<f64>() / TICKS_PER_SECOND)
}

/// A line of `/proc/<pid>/status` in bytes.
pub(crate) fn memory(pid: i32, line: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Context switches of all threads of a process so far.
pub(crate) fn switches(pid: i32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0 };
    let of = |status: String| -> u64 {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches:"));
        lines.filter_map(|line| line.rsplit('\t').next()?.parse::<u64>().ok()).sum()
    };
    threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).map(of).sum()
}

/// Number of entries of a directory of `/proc/<pid>`.
pub(crate) fn entries(pid: i32, directory: &str) -> u64 {
    fs::read_dir(format!("/proc/{pid}/{directory}")).map_or(0, |entries| entries.count() as u64)
}

/// CPU time of the threads that a process has now, to the nanosecond. The other count looks at who runs when the clock ticks, which
/// is wrong for what is woken by the clock and runs for microseconds.
pub(crate) fn of_threads(pid: i32) -> Cpu {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Cpu::default() };
    let of = |text: String| text.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(0.0);
    Cpu(threads
        .flatten()
        .filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok())
        .map(of)
        .sum::<f64>()
        / 1e9)
}
