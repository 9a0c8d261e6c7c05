//! Faults on real servers: PostgreSQL, three brokers, a proxy before each, the service under load, and an independent checker.
//!
//! `tests/chaos/run` is the command; `docs/reliability.md` says what each kind of fault does and what was counted. Without it, this is
//! a few minutes with a seed of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    unreachable_pub
)]

mod bed;
mod brokers;
mod database;
mod fault;
mod gaps;
mod link;
mod process;
mod proxy;
mod record;
mod round;
mod sampler;

#[path = "../support/holder.rs"]
mod holder;
#[path = "../support/kafka.rs"]
mod kafka;
#[path = "../support/lanes.rs"]
mod lanes;
#[path = "../support/oracle/mod.rs"]
mod oracle;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/world.rs"]
mod world;
#[path = "../support/writer.rs"]
mod writer;

use std::{
    collections::BTreeMap,
    env,
    io::Write as _,
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    time::{Duration, Instant},
};

use self::{
    bed::Bed,
    fault::{Fault, Halt, draw},
    record::Record,
    round::{Round, Verdict},
    writer::Random,
};

/// What is asked for, by environment variables that `tests/chaos/run` sets.
struct Settings {
    seed: u64,
    /// No round begins later.
    time: Duration,
    /// No round begins once so many faults are on record.
    total: Option<u64>,
    /// Only kinds whose names contain one of these, with commas between them.
    only: Option<String>,
    record: Option<Record>,
    /// The longest time that a fault lasts.
    longest: Duration,
}

impl Settings {
    fn new() -> Self {
        let number =
            |name: &str| setting(name).map(|text| text.parse::<u64>().unwrap_or_else(|_| panic!("{name}: {text}")));
        let minutes = number("MINUTES");
        let mut fresh = [0; 4];
        openssl::rand::rand_bytes(&mut fresh).unwrap();
        Self {
            seed: number("SEED").unwrap_or(u32::from_be_bytes(fresh).into()),
            time: minutes.map_or(Duration::from_secs(75), |minutes| Duration::from_secs(60 * minutes)),
            total: number("TOTAL"),
            only: setting("ONLY"),
            record: setting("RECORD").map(|path| Record::new(PathBuf::from(path))),
            longest: Duration::from_secs(if minutes.is_some_and(|minutes| minutes > 10) { 150 } else { 8 }),
        }
    }

    fn done(&self) -> bool {
        let on_record = |total| self.record.as_ref().is_some_and(|record| record.faults(self.only.as_deref()) >= total);
        self.total.is_some_and(on_record)
    }

    fn wanted(&self, name: &str) -> bool {
        record::is_of(name, self.only.as_deref())
    }
}

fn setting(name: &str) -> Option<String> {
    env::var(format!("CDC_NOTIFIER_CHAOS_{name}")).ok().filter(|text| !text.is_empty())
}

/// What happens in a round, drawn before it begins.
enum Plan<'a> {
    Faults(Vec<Happening<'a>>),
    Halt(&'a Halt),
}

struct Happening<'a> {
    fault: &'a Fault,
    /// In the middle of it.
    another: Option<&'a Fault>,
    before: Duration,
    pause: Duration,
}

fn plan<'a>(settings: &Settings, seed: u64, kinds: &[&'a Fault], halts: &[&'a Halt], random: &mut Random) -> Plan<'a> {
    if kinds.is_empty() || (!halts.is_empty() && random.below(6) == 0) {
        return Plan::Halt(halts[usize::try_from(seed).unwrap() % halts.len()]);
    }
    let count = if kinds.len() == 1 { 20 } else { 5 + random.below(6) };
    let mut grown = false;
    let happenings = (0..count).map(|_| {
        let mut fault = draw(kinds, random);
        // A key may move once.
        while fault.name == "partitions added" && std::mem::replace(&mut grown, true) && kinds.len() > 1 {
            fault = draw(kinds, random);
        }
        let another = kinds.iter().find(|kind| kind.name == process::KILLED).copied();
        Happening {
            fault,
            another: another.filter(|_| !fault.alone && random.below(4) == 0),
            before: Duration::from_millis(200 + random.below(2_000)),
            pause: pause(random).min(settings.longest),
        }
    });
    Plan::Faults(happenings.collect())
}

/// How long a fault lasts: most of them not long, a few for minutes.
fn pause(random: &mut Random) -> Duration {
    let most = match random.below(100) {
        0..65 => 2_000,
        65..93 => 8_000,
        93..98 => 30_000,
        _ => 150_000,
    };
    Duration::from_millis(50 + random.below(most))
}

fn names(plan: &Plan<'_>) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    match plan {
        Plan::Halt(halt) => drop(counts.insert(halt.name.to_owned(), 1)),
        Plan::Faults(happenings) => {
            for fault in happenings.iter().flat_map(|one| [Some(one.fault), one.another]).flatten() {
                *counts.entry(fault.name.clone()).or_default() += 1;
            }
        }
    }
    counts
}

fn carry_out(bed: &mut Bed, seed: u64, plan: &Plan<'_>, random: &mut Random) -> Verdict {
    let began = Instant::now();
    let mut round = Round::start(bed, &seed.to_string(), random);
    match plan {
        Plan::Halt(halt) => {
            println!("  {}", halt.name);
            round.halts(halt, random)
        }
        Plan::Faults(happenings) => {
            for Happening { fault, another, before, pause } in happenings {
                std::thread::sleep(*before);
                let and = another.map_or(String::new(), |another| format!(" + {}", another.name));
                println!(
                    "  {:5.1} s: {}{and} for {:.1} s",
                    began.elapsed().as_secs_f64(),
                    fault.name,
                    pause.as_secs_f64()
                );
                round.suffer(fault, *pause, *another, random);
            }
            round.verdict()
        }
    }
}

/// For whoever looks on, also where the output of tests that pass is kept back.
fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn objection(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").lines().take(3).collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

#[test]
fn rounds_of_faults() {
    let settings = Settings::new();
    let (faults, halts) = (fault::all(), gaps::halts());
    for fault in &faults {
        if let Some(why) = &fault.missing {
            say(&format!("SKIPPED on this machine: {}: {why}", fault.name));
        }
    }
    let kinds: Vec<_> = faults.iter().filter(|kind| kind.missing.is_none() && settings.wanted(&kind.name)).collect();
    let halts: Vec<_> = halts.iter().filter(|kind| settings.wanted(kind.name)).collect();
    assert!(!kinds.is_empty() || !halts.is_empty(), "no kind of fault has such a name");
    say(&format!("faults on real servers, seed {}", settings.seed));
    let (began, mut bed, mut failed) = (Instant::now(), None, Vec::new());
    for seed in settings.seed.. {
        if (seed > settings.seed && began.elapsed() > settings.time) || settings.done() {
            break;
        }
        let bed = &mut bed;
        let mut random = Random::new(seed);
        let plan = plan(&settings, seed, &kinds, &halts, &mut random);
        println!("round {seed}");
        let round_began = Instant::now();
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            carry_out(bed.get_or_insert_with(Bed::start), seed, &plan, &mut random)
        }));
        let verdict = outcome.map_err(|panic| objection(&*panic));
        say(&format!("round {seed}: {:.0} s: {verdict:?}", round_began.elapsed().as_secs_f64()));
        if let Some(record) = &settings.record {
            record.append(seed, &names(&plan), round_began.elapsed().as_secs(), &verdict);
        }
        if verdict.is_err() {
            say(&format!("once more: tests/chaos/run --seed {seed} --minutes 0 --record ''"));
            failed.push(seed);
            // What a round has left behind is no trouble of the next one's.
            *bed = None;
        }
    }
    assert!(failed.is_empty(), "rounds {failed:?} failed");
}
