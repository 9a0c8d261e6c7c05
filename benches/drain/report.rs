//! What people and programs read of it.

use std::{fs::File, io::Write as _, path::Path};

use serde_json::{Value, json};

use crate::{
    drain::Run,
    latency::{Latency, Rate},
    machine::Cpu,
    memory::Memory,
    streams::{Shape, Streams},
    workload::Size,
};

/// One line of JSON for each run.
pub(crate) struct Lines(File);

impl Lines {
    /// Appends to a file.
    pub(crate) fn open(path: &Path) -> Self {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).unwrap();
        }
        Self(File::options().create(true).append(true).open(path).unwrap())
    }

    fn write(&mut self, line: &Value) {
        writeln!(self.0, "{line}").unwrap();
    }

    pub(crate) fn run(&mut self, workload: &str, round: usize, program: &str, size: Size, run: &Run) {
        self.write(&json!({
            "workload": workload, "round": round, "program": program, "rows": size.rows, "seconds": run.seconds,
            "rows_per_second": size.rows as f64 / run.seconds, "cpu_seconds": run.program.0,
            "walsender_cpu_seconds": run.walsender.0, "broker_cpu_seconds": run.broker.0,
            "others_cpu_seconds": run.others.0, "peak_rss_bytes": run.memory,
        }));
    }

    pub(crate) fn memory(&mut self, program: &str, situation: &str, memory: &Memory) {
        self.write(&json!({
            "workload": "memory", "program": program, "situation": situation, "payload_bytes": memory.payload,
            "peak_rss_bytes": memory.peak, "rss_bytes_over_seconds": memory.samples,
        }));
    }

    pub(crate) fn streams(&mut self, program: &str, shape: Shape, seen: &Streams) {
        self.write(&json!({
            "workload": "streams", "program": program, "slots": shape.slots, "namespaces_per_slot": shape.namespaces,
            "first_start_seconds": seen.first_start, "start_seconds": seen.start, "cpu_percent": seen.cpu,
            "rss_bytes": seen.memory, "threads": seen.threads, "descriptors": seen.descriptors,
            "context_switches_per_second": seen.wake_ups,
        }));
    }

    pub(crate) fn latency(&mut self, workload: &str, round: usize, program: &str, rate: Rate, latency: &Latency) {
        self.write(&json!({
            "workload": workload, "round": round, "program": program, "rate": rate.0, "p50_ms": latency.p50,
            "p99_ms": latency.p99, "max_ms": latency.max, "cpu_seconds": latency.program.0,
            "broker_cpu_seconds": latency.broker.0, "seconds": latency.seconds, "peak_rss_bytes": latency.memory,
        }));
    }
}

const MIB: f64 = 1_048_576.0;

/// The median with the smallest and the largest.
fn spread(values: impl Iterator<Item = f64>, digits: usize) -> String {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return "-".to_owned() };
    let median = f64::midpoint(values[(values.len() - 1) / 2], values[values.len() / 2]);
    format!("{median:.digits$} ({least:.digits$}-{most:.digits$})")
}

/// The runs of each program, the first of which is what the others are compared with; one run of each a round.
pub(crate) fn drains(workload: &str, size: Size, programs: &[(String, Vec<Run>)]) {
    let rows = size.rows as f64;
    let micros = |cpu: Cpu| cpu.0 / rows * 1e6;
    println!("\n{workload}: {} rows; median (least-most) of {} rounds", size.rows, programs[0].1.len());
    println!(
        "| program | s | ratio | rows/s | its CPU, us/row | walsender, s | broker, s | peak RSS, MiB | others, cores |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, runs) in programs {
        let ratios = runs.iter().zip(&programs[0].1).map(|(run, first)| run.seconds / first.seconds);
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} | {} |",
            spread(runs.iter().map(|run| run.seconds), 2),
            spread(ratios, 2),
            spread(runs.iter().map(|run| rows / run.seconds), 0),
            spread(runs.iter().map(|run| micros(run.program)), 2),
            spread(runs.iter().map(|run| run.walsender.0), 2),
            spread(runs.iter().map(|run| run.broker.0), 2),
            spread(runs.iter().map(|run| run.memory as f64 / 1_048_576.0), 1),
            spread(runs.iter().map(|run| run.others.0 / run.seconds), 2),
        );
    }
}

/// The runs at a steady rate.
pub(crate) fn latencies(runs: &[(String, Rate, Vec<Latency>)]) {
    let rounds = runs[0].2.len();
    println!("\nlatency at steady rates; median (least-most) of {rounds} rounds");
    println!(
        "| program | rows/s | p50, ms | p99, ms | longest, ms | its CPU, % of a core | broker, % of a core | peak RSS, MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, rate, runs) in runs {
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} | {} |",
            rate.0,
            spread(runs.iter().map(|run| run.p50), 2),
            spread(runs.iter().map(|run| run.p99), 2),
            spread(runs.iter().map(|run| run.max), 1),
            spread(runs.iter().map(|run| run.program.0 / run.seconds * 100.0), 1),
            spread(runs.iter().map(|run| run.broker.0 / run.seconds * 100.0), 1),
            spread(runs.iter().map(|run| run.memory as f64 / 1_048_576.0), 1),
        );
    }
}

/// Memory over time, in short.
pub(crate) fn memories(runs: &[(String, &str, Memory)]) {
    println!("\nmemory");
    println!("| program | situation | payload, MiB | at the start, MiB | peak RSS, MiB | at the end, MiB | s |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, situation, memory) in runs {
        // Once it streams.
        let first = memory.samples.iter().find(|(at, _)| *at > 0.5).map_or(0, |(_, bytes)| *bytes);
        let (seconds, last) = memory.samples.last().copied().unwrap_or_default();
        println!(
            "| {name} | {situation} | {:.0} | {:.1} | {:.1} | {:.1} | {seconds:.0} |",
            memory.payload as f64 / MIB,
            first as f64 / MIB,
            memory.peak as f64 / MIB,
            last as f64 / MIB,
        );
    }
}

/// Streams that have nothing to do.
pub(crate) fn streams(runs: &[(String, Shape, Streams)]) {
    println!("\nidle streams");
    println!(
        "| program | slots | namespaces in each | first start, s | start, s | CPU, % of a core | RSS, MiB | threads | \
         descriptors | context switches/s |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |");
    for (name, shape, seen) in runs {
        println!(
            "| {name} | {} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {} | {} | {:.0} |",
            shape.slots,
            shape.namespaces,
            seen.first_start,
            seen.start,
            seen.cpu,
            seen.memory as f64 / MIB,
            seen.threads,
            seen.descriptors,
            seen.wake_ups,
        );
    }
}
