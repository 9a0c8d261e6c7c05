//! Drains the same backlog through the service, through `pg_recvlogical` and through peers that are asked for, by turns,
//! on real servers.
//!
//! `benches/run --help` tells what can be asked of it; `docs/performance.md` has figures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod bed;
mod debezium;
mod drain;
mod latency;
mod machine;
mod memory;
mod plot;
mod report;
mod streams;
mod workload;

#[path = "../../tests/support/kafka.rs"]
mod kafka;
#[path = "../../tests/support/scene.rs"]
mod scene;
#[path = "../../tests/support/service.rs"]
mod service;

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};

use self::{bed::Bed, debezium::Debezium, drain::Run, latency::Rate, report::Lines, workload::Workload};

/// Another program for the same work.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Peer {
    /// Debezium in Kafka Connect, tuned and warm.
    Debezium,
}

/// Drains a backlog through the service and through pg_recvlogical, by turns.
#[derive(Debug, Parser)]
#[command(name = "drain")]
struct Arguments {
    /// What to drain; may be given more than once.
    #[arg(long, value_enum, default_values_t = [Workload::One])]
    workload: Vec<Workload>,
    /// Another number of rows than the workload's own: 50000 for a quick look.
    #[arg(long)]
    rows: Option<u64>,
    /// How often each program drains each backlog, after one round that does not count.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Rows a second of the workload `latency`; may be given more than once.
    #[arg(long, default_values_t = [2, 100, 1_000, 10_000])]
    rate: Vec<u64>,
    /// A situation of the workload `memory`, instead of all; may be given more than once.
    #[arg(long)]
    situation: Vec<String>,
    /// Billions of bytes in the one transaction of the workload `memory`.
    #[arg(long, default_value_t = 2)]
    gigabytes: u64,
    /// Messages through the broker before the first round.
    #[arg(long, default_value_t = 3_000_000)]
    warm_up: u64,
    /// A build of the service, NAME=PATH; may be given more than once, to compare builds in one run.
    #[arg(long, value_parser = program)]
    service: Vec<(String, PathBuf)>,
    /// Another program that drains the same backlogs; may be given more than once. It takes no part in `latency`.
    #[arg(long, value_enum)]
    peer: Vec<Peer>,
    /// A line of the service's configuration before the first table.
    #[arg(long)]
    set: Vec<String>,
    /// A property of the Kafka client, KEY=VALUE.
    #[arg(long, value_parser = property)]
    property: Vec<(String, String)>,
    /// Each run is appended here, a line of JSON.
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/target/drain/runs.jsonl"))]
    output: PathBuf,
    /// Draws what the output has so far into this directory, and measures nothing.
    #[arg(long)]
    plot: Option<PathBuf>,
    /// Given by `cargo bench`; without it, a tiny run that only proves that this program works.
    #[arg(long, hide = true)]
    bench: bool,
}

fn program(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = property(text)?;
    Ok((name, path.into()))
}

fn property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("KEY=VALUE is wanted")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn main() {
    let given: Vec<String> = std::env::args().collect();
    if given.iter().any(|argument| argument == "--bench") {
        let arguments = Arguments::parse();
        match &arguments.plot {
            Some(directory) => plot::all(&arguments.output, directory).unwrap(),
            None => measure(arguments),
        }
    } else if given[1..].iter().filter(|argument| !argument.starts_with('-')).all(|filter| "drain".contains(filter)) {
        smoke();
    }
}

/// What `cargo test` does with it.
fn smoke() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("runs.jsonl");
    let tiny = ["drain", "--rows", "300", "--rounds", "1", "--warm-up", "1000", "--output", output.to_str().unwrap()];
    let workloads = ["--workload", "ten", "--workload", "mix", "--workload", "latency", "--rate", "100"];
    measure(Arguments::parse_from(tiny.into_iter().chain(workloads)));
    let lines = std::fs::read_to_string(&output).unwrap();
    let runs: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut programs: Vec<_> = runs.iter().map(|run| run["program"].as_str().unwrap()).collect();
    programs.sort_unstable();
    assert_eq!(programs, ["pg_recvlogical", "pg_recvlogical", "service", "service", "service"], "{lines}");
    plot::all(&output, directory.path()).unwrap();
    for picture in ["drains.svg", "latency.svg"] {
        let svg = std::fs::read_to_string(directory.path().join(picture)).unwrap();
        assert!(svg.contains("</svg>"), "{picture}: {svg}");
    }
    println!("\ntest result: ok. 1 passed; 0 failed; the benchmark works");
}

fn measure(mut arguments: Arguments) {
    if arguments.service.is_empty() {
        arguments.service.push(("service".to_owned(), env!("CARGO_BIN_EXE_cdc-notifier").into()));
    }
    let mut lines = Lines::open(&arguments.output);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load average at the beginning: {}", load.trim());
    for (number, workload) in arguments.workload.iter().enumerate() {
        // A server of its own, so that no backlog lies behind another.
        let mut bed = Bed::start(&arguments.set, arguments.property.clone());
        bed.warm_up(if number == 0 { arguments.warm_up } else { arguments.warm_up.min(1_000_000) });
        workload::prepare(&mut bed.sql, &bed.namespace);
        match workload {
            Workload::Latency => latency_of(&mut bed, &arguments, &mut lines),
            Workload::Memory => memory_of(&mut bed, &arguments, &mut lines),
            Workload::Streams => streams_of(&mut bed, &arguments, &mut lines),
            Workload::Fair => fair_of(&mut bed, &arguments, &mut lines),
            _ => drain_of(&mut bed, *workload, &arguments, &mut lines),
        }
    }
}

/// What drains.
enum Program<'a> {
    Recvlogical,
    Service(&'a Path),
    Debezium(Debezium),
}

impl Program<'_> {
    fn drain(&self, bed: &mut Bed, slot: &str, rows: u64) -> Run {
        match self {
            Self::Recvlogical => drain::recvlogical(bed, slot),
            Self::Service(program) => drain::service(bed, program, slot, rows),
            Self::Debezium(debezium) => debezium.drain(bed, slot, rows),
        }
    }
}

fn drain_of(bed: &mut Bed, workload: Workload, arguments: &Arguments, lines: &mut Lines) {
    let size = workload.size(arguments.rows);
    bed.end = workload::load(&mut bed.sql, &bed.namespace, workload, size);
    let mut programs = vec![("pg_recvlogical".to_owned(), Program::Recvlogical)];
    programs.extend(arguments.service.iter().map(|(name, program)| (name.clone(), Program::Service(program))));
    // The mix has updates that mean no message: a peer publishes them.
    let peers = arguments.peer.iter().filter(|_| workload != Workload::Mix);
    programs.extend(peers.map(|peer| match peer {
        Peer::Debezium => ("debezium".to_owned(), Program::Debezium(Debezium::start(bed, size.rows))),
    }));
    let mut runs: Vec<_> = programs.iter().map(|(name, _)| (name.clone(), Vec::new())).collect();
    for round in 0..=arguments.rounds {
        for turn in 0..programs.len() {
            // Each begins as often as any other.
            let place = (round + turn) % programs.len();
            let (name, program) = &programs[place];
            let run = program.drain(bed, &format!("round_{round}_{place}"), size.rows);
            eprintln!("{} round {round}: {name} {run:.2?}", workload.name());
            if round > 0 {
                lines.run(workload.name(), round, name, size, &run);
                runs[place].1.push(run);
            }
        }
    }
    report::drains(workload.name(), size, &runs);
}

fn memory_of(bed: &mut Bed, arguments: &Arguments, lines: &mut Lines) {
    let mut all = Vec::new();
    let asked = |name: &str| arguments.situation.is_empty() || arguments.situation.iter().any(|asked| asked == name);
    for situation in memory::situations(arguments.gigabytes).into_iter().filter(|situation| asked(situation.name)) {
        for (name, program) in &arguments.service {
            let seen = memory::run(bed, program, &situation);
            eprintln!("{}: {name}: peak {} MiB", situation.name, seen.peak >> 20);
            lines.memory(name, situation.name, &seen);
            all.push((name.clone(), situation.name, seen));
        }
    }
    report::memories(&all);
}

fn streams_of(bed: &mut Bed, arguments: &Arguments, lines: &mut Lines) {
    let mut all = Vec::new();
    for shape in streams::SHAPES {
        for (name, program) in &arguments.service {
            let seen = streams::run(bed, program, shape);
            eprintln!("{shape:?}: {name}: {seen:?}");
            lines.streams(name, shape, &seen);
            all.push((name.clone(), shape, seen));
        }
    }
    report::streams(&all);
}

fn latency_of(bed: &mut Bed, arguments: &Arguments, lines: &mut Lines) {
    let of = |rate: &u64| {
        arguments.service.iter().map(|(name, _)| (name.clone(), Rate(*rate), Vec::new())).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = arguments.rate.iter().flat_map(of).collect();
    for round in 1..=arguments.rounds {
        for (place, (name, rate, runs)) in all.iter_mut().enumerate() {
            let program = &arguments.service[place % arguments.service.len()].1;
            let slot = scene::unique("latency");
            let seen = latency::run(bed, program, &slot, *rate, None);
            bed.drop_slot(&slot);
            eprintln!("latency round {round}: {name} at {}: {seen:?}", rate.0);
            lines.latency("latency", round, name, *rate, &seen);
            runs.push(seen);
        }
    }
    report::latencies(&all);
}

/// A slot at a steady rate, alone and beside one that is behind.
fn fair_of(bed: &mut Bed, arguments: &Arguments, lines: &mut Lines) {
    let size = Workload::Fair.size(arguments.rows);
    workload::load(&mut bed.sql, &bed.namespace, Workload::Fair, size);
    let (rate, (name, program)) = (Rate(100), &arguments.service[0]);
    let mut all = ["alone", "beside a slot that is behind"].map(|how| (format!("{name}, {how}"), rate, Vec::new()));
    for round in 1..=arguments.rounds {
        for (place, (name, rate, runs)) in all.iter_mut().enumerate() {
            let slot = scene::unique("steady");
            let behind = (place == 1).then(|| scene::unique("behind"));
            if let Some(behind) = &behind {
                workload::copy_slot(&mut bed.sql, behind);
            }
            let seen = latency::run(bed, program, &slot, *rate, behind.as_deref());
            for slot in [Some(slot), behind].into_iter().flatten() {
                bed.drop_slot(&slot);
            }
            eprintln!("fair round {round}: {name}: {seen:?}");
            lines.latency("fair", round, name, *rate, &seen);
            runs.push(seen);
        }
    }
    report::latencies(&all);
}
