//! What people and programs read of it.

use std::{fs::File, io::Write as _, path::Path};

use serde_json::{Value, json};

use crate::{drain::Run, latency::Latency, machine::Cpu, workload::Size};

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

    pub(crate) fn latency(&mut self, round: usize, program: &str, size: Size, latency: &Latency) {
        self.write(&json!({
            "workload": "latency", "round": round, "program": program, "rows": size.rows, "p50_ms": latency.p50,
            "p99_ms": latency.p99, "max_ms": latency.max, "cpu_seconds": latency.program.0,
            "broker_cpu_seconds": latency.broker.0, "seconds": latency.seconds, "peak_rss_bytes": latency.memory,
        }));
    }
}

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
pub(crate) fn latencies(size: Size, programs: &[(String, Vec<Latency>)]) {
    let rounds = programs[0].1.len();
    println!("\nlatency: {} rows at 1,000 a second; median (least-most) of {rounds} rounds", size.rows);
    println!(
        "| program | p50, ms | p99, ms | longest, ms | its CPU, % of a core | broker, % of a core | peak RSS, MiB |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for (name, runs) in programs {
        println!(
            "| {name} | {} | {} | {} | {} | {} | {} |",
            spread(runs.iter().map(|run| run.p50), 2),
            spread(runs.iter().map(|run| run.p99), 2),
            spread(runs.iter().map(|run| run.max), 1),
            spread(runs.iter().map(|run| run.program.0 / run.seconds * 100.0), 1),
            spread(runs.iter().map(|run| run.broker.0 / run.seconds * 100.0), 1),
            spread(runs.iter().map(|run| run.memory as f64 / 1_048_576.0), 1),
        );
    }
}
