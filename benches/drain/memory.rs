//! Resident memory over time, where it could grow.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use crate::{
    bed::{Bed, PARTITIONS},
    drain::Topics,
    machine,
    scene::{self, Namespace},
    service::{Service, eventually},
    workload::{self, Size, Workload},
};

const KIB: u64 = 1024;
const PATIENCE: Duration = Duration::from_mins(20);
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// How long Kafka is away while the backlog is there.
const AWAY: Duration = Duration::from_secs(45);

/// A situation in which memory could grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) name: &'static str,
    workload: Workload,
    size: Size,
    /// Kafka is suspended before the first row and for a while after the last.
    away: bool,
}

/// All of them; so many bytes in the one transaction.
pub(crate) fn situations(gigabytes: u64) -> [Situation; 4] {
    let payload = 10 * KIB;
    let transaction = Size { rows: gigabytes * 1_000_000_000 / payload, rows_per_transaction: u64::MAX, payload };
    let wide = Size { rows: 40, rows_per_transaction: 1, payload: 10 * KIB * KIB };
    let processes = Size { rows: 1_120_000, rows_per_transaction: 1, payload: 200 };
    let backlog = Size { rows: 300_000, rows_per_transaction: 1, payload: 200 };
    [
        Situation { name: "one transaction", workload: Workload::Big, size: transaction, away: false },
        Situation { name: "rows of 10 MiB", workload: Workload::Wide, size: wide, away: false },
        Situation { name: "100,000 processes", workload: Workload::Mix, size: processes, away: false },
        Situation { name: "Kafka away", workload: Workload::One, size: backlog, away: true },
    ]
}

/// What was seen.
pub(crate) struct Memory {
    /// Bytes of payload.
    pub(crate) payload: u64,
    /// Seconds since the start, and resident bytes then.
    pub(crate) samples: Vec<(f64, u64)>,
    /// Highest resident memory in bytes.
    pub(crate) peak: u64,
}

/// The service streams while the rows are written, until it has delivered them.
pub(crate) fn run(bed: &mut Bed, program: &Path, situation: &Situation) -> Memory {
    let Situation { workload, size, away, .. } = *situation;
    let slot = scene::unique("memory");
    workload::create_slot(&mut bed.sql, &slot);
    let namespace = Namespace::new(&bed.namespace.name);
    for topic in [&namespace.eventsink, &namespace.lifecycle] {
        bed.kafka.create_topic_with(topic, PARTITIONS, &[("max.message.bytes", "20000000")]);
    }
    let topics = Topics::new(bed, &[&namespace.eventsink, &namespace.lifecycle]);
    let mut service = Service::start_program(program, bed.configuration(&slot, &namespace).text(), &[]);
    let watch = Watch::start(service.pid().as_raw());
    service.wait_for_state(&slot, "streaming");
    if away {
        bed.kafka.suspend();
    }
    workload::load(&mut bed.sql, &bed.namespace, workload, size);
    if away {
        sleep(AWAY);
        bed.kafka.resume();
    }
    eventually("every message is there", PATIENCE, || {
        let records = topics.try_records()?;
        if records < size.rows { Err(format!("{records} of {}", size.rows)) } else { Ok(()) }
    });
    sleep(Duration::from_secs(2));
    let peak = machine::memory(service.pid().as_raw(), "VmHWM:");
    let samples = watch.end();
    service.stop();
    for topic in [&namespace.eventsink, &namespace.lifecycle] {
        bed.kafka.delete_topic(topic);
    }
    bed.drop_slot(&slot);
    bed.sql
        .batch_execute(&format!("TRUNCATE \"{0}_events\", \"{0}_processes\" CASCADE; CHECKPOINT", bed.namespace.name))
        .unwrap();
    Memory { payload: size.rows * size.payload, samples, peak }
}

/// Looks at a process's memory until it is told to end.
struct Watch {
    ends: Arc<AtomicBool>,
    thread: JoinHandle<Vec<(f64, u64)>>,
}

impl Watch {
    fn start(pid: i32) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let begun = Instant::now();
        let told = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            let mut samples = Vec::new();
            while !told.load(Ordering::Relaxed) {
                samples.push((begun.elapsed().as_secs_f64(), machine::memory(pid, "VmRSS:")));
                sleep(LOOK);
            }
            samples
        });
        Self { ends, thread }
    }

    fn end(self) -> Vec<(f64, u64)> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
