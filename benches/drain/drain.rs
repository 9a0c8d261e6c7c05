//! One run: the whole backlog through one program, from the moment its slot is active.

use std::{
    path::Path,
    process::{Child, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{
    bed::{Bed, PARTITIONS},
    machine::{self, Cpu},
    scene::Namespace,
    service::{Service, eventually},
    workload::{copy_slot, walsender},
};

/// How often is looked whether a run has ended; so much a time may be too long.
pub(crate) const LOOK: Duration = Duration::from_millis(10);
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// From the active slot to the last row.
    pub(crate) seconds: f64,
    /// Of the program: its whole life so far, or the run only if it outlives it.
    pub(crate) program: Cpu,
    pub(crate) walsender: Cpu,
    pub(crate) broker: Cpu,
    /// Of everything on this machine that has nothing to do with the run.
    pub(crate) others: Cpu,
    /// Highest resident memory of the program in bytes, in its whole life so far.
    pub(crate) memory: u64,
}

/// Waits until a slot is active; its walsender and the moment. `None`: the program has ended before that was seen.
pub(crate) fn active(bed: &mut Bed, slot: &str, mut ended: impl FnMut() -> bool) -> Option<(i32, Instant)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(pid) = walsender(&mut bed.sql, slot) {
            return Some((pid, Instant::now()));
        }
        if ended() {
            return None;
        }
        assert!(Instant::now() < deadline, "slot {slot} does not become active");
        sleep(Duration::from_millis(1));
    }
}

/// The CPU time of everything that takes part in a run, beside the program and its walsender.
pub(crate) struct Meter {
    machine: Cpu,
    broker: Cpu,
    ours: Cpu,
    broker_pid: i32,
}

impl Meter {
    pub(crate) fn begin(bed: &Bed) -> Self {
        let broker_pid = bed.kafka.pid().as_raw();
        let ours = machine::of_process(std::process::id().cast_signed());
        Self { machine: machine::of_machine(), broker: machine::of_process(broker_pid), ours, broker_pid }
    }

    pub(crate) fn end(self, seconds: f64, program: Cpu, walsender: Cpu, memory: u64) -> Run {
        let broker = machine::of_process(self.broker_pid) - self.broker;
        let ours = machine::of_process(std::process::id().cast_signed()) - self.ours;
        let known: Cpu = [program, walsender, broker, ours].into_iter().sum();
        let others = (machine::of_machine() - self.machine) - known;
        Run { seconds, program, walsender, broker, others, memory }
    }
}

/// Through a build of the service into a topic of its own, until that holds every row.
pub(crate) fn service(bed: &mut Bed, program: &Path, slot: &str, rows: u64) -> Run {
    copy_slot(&mut bed.sql, slot);
    let namespace = Namespace::new(&bed.namespace.name);
    namespace.create_topics(&bed.kafka, PARTITIONS);
    let topics = Topics::new(bed, &[&namespace.eventsink, &namespace.lifecycle]);
    let configuration = bed.configuration(slot, &namespace);
    let meter = Meter::begin(bed);
    let mut service = Service::start_program(program, configuration.text(), &[]);
    let (walsender, begun) = active(bed, slot, || service.has_ended()).expect("the service runs");
    while topics.records() < rows {
        assert!(begun.elapsed() < PATIENCE, "{} rows of {rows} within {PATIENCE:?}", topics.records());
        sleep(LOOK);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let pid = service.pid().as_raw();
    let cpu = machine::of_process(pid);
    let run = meter.end(seconds, cpu, machine::of_process(walsender), machine::memory(pid, "VmHWM:"));
    service.stop();
    assert_eq!(topics.records(), rows, "each message is there once");
    for topic in [&namespace.eventsink, &namespace.lifecycle] {
        bed.kafka.delete_topic(topic);
    }
    bed.drop_slot(slot);
    run
}

/// Through `pg_recvlogical` to /dev/null, until it has received the end.
pub(crate) fn recvlogical(bed: &mut Bed, slot: &str) -> Run {
    copy_slot(&mut bed.sql, slot);
    let meter = Meter::begin(bed);
    // A directory of links to the server's programs need not have all of them.
    let server = bed.postgres.bin_dir().join("postgres").canonicalize().unwrap();
    let mut command = bed.postgres.command(server.with_file_name("pg_recvlogical").to_str().unwrap());
    command
        .args(["--host", bed.postgres.host(), "--port", &bed.postgres.port().to_string(), "--username", "postgres"])
        .args(["--dbname", "postgres", "--slot", slot, "--start", "--no-loop", "--file", "/dev/null"])
        .args(["--option", "proto_version=1", "--option"])
        .arg(format!("publication_names=\"{}\"", bed.namespace.name))
        .args(["--endpos", &bed.end])
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let spawned = Instant::now();
    // A backlog of a few rows is gone before anyone looks.
    let seen = active(bed, slot, || !running(&mut child));
    let (walsender, begun) = seen.map_or((None, spawned), |(pid, at)| (Some(pid), at));
    let pid = child.id().cast_signed();
    let (mut cpu, mut sender, mut memory) = (Cpu::default(), Cpu::default(), 0);
    while running(&mut child) {
        assert!(begun.elapsed() < PATIENCE, "pg_recvlogical does not end");
        // What was read last before the end counts.
        cpu = machine::of_process(pid).max(cpu);
        sender = walsender.map_or(sender, |pid| machine::of_process(pid).max(sender));
        memory = machine::memory(pid, "VmHWM:").max(memory);
        sleep(LOOK);
    }
    let run = meter.end(begun.elapsed().as_secs_f64(), cpu, sender, memory);
    eventually("the slot is free", PATIENCE, || walsender_gone(bed, slot));
    bed.drop_slot(slot);
    run
}

fn running(child: &mut Child) -> bool {
    match child.try_wait().unwrap() {
        None => true,
        Some(status) => {
            assert!(status.success(), "pg_recvlogical: {status}");
            false
        }
    }
}

/// Whether nobody streams from a slot.
pub(crate) fn walsender_gone(bed: &mut Bed, slot: &str) -> Result<(), String> {
    walsender(&mut bed.sql, slot).map_or(Ok(()), |pid| Err(format!("held by {pid}")))
}

/// Topics, seen from outside.
pub(crate) struct Topics {
    consumer: BaseConsumer,
    partitions: Vec<(String, i32)>,
}

impl Topics {
    pub(crate) fn new(bed: &Bed, names: &[&str]) -> Self {
        let consumer = ClientConfig::new().set("bootstrap.servers", bed.kafka.bootstrap()).create().unwrap();
        let of = |name: &&str| (0..PARTITIONS).map(|partition| ((*name).to_owned(), partition)).collect::<Vec<_>>();
        Self { consumer, partitions: names.iter().flat_map(of).collect() }
    }

    /// The records that are in them.
    pub(crate) fn records(&self) -> u64 {
        self.try_records().unwrap()
    }

    /// The same, of a broker that may not answer.
    pub(crate) fn try_records(&self) -> Result<u64, String> {
        let of = |(name, partition): &(String, i32)| self.consumer.fetch_watermarks(name, *partition, PATIENCE);
        let ends: Result<Vec<_>, _> = self.partitions.iter().map(of).collect();
        let records: i64 = ends.map_err(|error| error.to_string())?.into_iter().map(|(_, end)| end).sum();
        Ok(records.cast_unsigned())
    }
}
