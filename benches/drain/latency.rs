//! From the INSERT to a consumer, at a steady rate.

use std::{
    collections::HashMap,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use rdkafka::{
    ClientConfig, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
};

use crate::{
    bed::{Bed, PARTITIONS},
    machine::{self, Cpu},
    scene::{self, Namespace},
    service::{PATIENCE, Service},
    workload::payload,
};

/// How long a steady rate is kept, with the first second, which does not count.
const SECONDS: u64 = 11;
/// Rows that are needed for a percentile.
const FEWEST: u64 = 60;
/// Transactions a second that one connection can commit.
const TRANSACTIONS: u64 = 1_000;
const PAYLOAD: u64 = 200;

/// Rows a second, each in a transaction of its own up to 1,000 a second; above, so many in each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate(pub(crate) u64);

impl Rate {
    fn rows_per_transaction(self) -> u64 {
        self.0.div_ceil(TRANSACTIONS)
    }

    /// Rows that are written, of which those of the first second do not count.
    fn rows(self) -> u64 {
        (self.0 * SECONDS).max(FEWEST)
    }
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Latency {
    /// Milliseconds from before the INSERT was sent until a consumer had the message.
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
    pub(crate) seconds: f64,
    pub(crate) program: Cpu,
    pub(crate) broker: Cpu,
    pub(crate) memory: u64,
}

/// Inserts rows at a rate into a namespace of their own and waits for each in its topic; beside them, if wanted, a slot that has
/// a backlog to drain.
pub(crate) fn run(bed: &mut Bed, program: &Path, slot: &str, rate: Rate, behind: Option<&str>) -> Latency {
    let namespace = Namespace::new(&scene::unique("steady"));
    namespace.create_topics(&bed.kafka, PARTITIONS);
    scene::create_tables(&mut bed.sql, &[&namespace]);
    let mut configuration = bed.configuration(slot, &namespace);
    if let Some(behind) = behind {
        let backlog = Namespace::new(&bed.namespace.name);
        backlog.create_topics(&bed.kafka, PARTITIONS);
        configuration = configuration.stream("main", behind, &backlog);
    }
    let mut service = Service::start_program(program, configuration.text(), &[]);
    service.wait_for_state(slot, "streaming");
    let (pid, broker_pid) = (service.pid().as_raw(), bed.kafka.pid().as_raw());
    let (cpu, broker) = (machine::of_process(pid), machine::of_process(broker_pid));
    let consumer = consumer(bed, &namespace.eventsink);
    let rows = rate.rows();
    let prefix = format!("{slot}-");
    let reader = thread::spawn(move || read(&consumer, &prefix, rows));
    let begun = Instant::now();
    let sent = write(bed, &namespace, slot, rate);
    let seen = reader.join().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    // In the first second consumer and producer meet the broker: that is not the rate at rest.
    for row in rate.0..rows {
        let arrived = seen.get(&row).unwrap_or_else(|| panic!("row {row} is missing"));
        let at = sent[usize::try_from(row / rate.rows_per_transaction()).unwrap()];
        histogram.record(u64::try_from(arrived.duration_since(at).as_micros()).unwrap()).unwrap();
    }
    let milliseconds = |micros: u64| micros as f64 / 1e3;
    let latency = Latency {
        p50: milliseconds(histogram.value_at_quantile(0.5)),
        p99: milliseconds(histogram.value_at_quantile(0.99)),
        max: milliseconds(histogram.max()),
        seconds,
        program: machine::of_process(pid) - cpu,
        broker: machine::of_process(broker_pid) - broker,
        memory: machine::memory(pid, "VmHWM:"),
    };
    service.stop();
    latency
}

/// When each transaction was sent.
fn write(bed: &Bed, namespace: &Namespace, slot: &str, rate: Rate) -> Vec<Instant> {
    let mut sql = scene::connect(&bed.postgres, "postgres");
    sql.batch_execute("SET session_replication_role = replica").unwrap();
    let filler = format!("'\\x{}'::bytea", "2e".repeat(usize::try_from(PAYLOAD).unwrap()));
    let insert = format!(
        "INSERT INTO \"{}_events\" (process_id, task_id, event_id, metadata, payload)
         SELECT $1 || i, 1, 1, '{{\"format_version\": 1}}', {} FROM generate_series($2::bigint, $3::bigint) AS i",
        namespace.name,
        payload(PAYLOAD).replace("filler", &filler)
    );
    let insert = sql.prepare(&insert).unwrap();
    let (begun, prefix, together) = (Instant::now(), format!("{slot}-"), rate.rows_per_transaction());
    let each = |transaction: u64| {
        let first = transaction * together;
        let due = begun + Duration::from_secs(1) * u32::try_from(first).unwrap() / u32::try_from(rate.0).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let at = Instant::now();
        let last = (first + together).min(rate.rows()) - 1;
        sql.execute(&insert, &[&prefix, &first.cast_signed(), &last.cast_signed()]).unwrap();
        at
    };
    (0..rate.rows().div_ceil(together)).map(each).collect()
}

fn consumer(bed: &Bed, topic: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bed.kafka.bootstrap())
        .set("group.id", "drain")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

/// When each row's message arrived, by the process id in its key.
fn read(consumer: &BaseConsumer, prefix: &str, rows: u64) -> HashMap<u64, Instant> {
    let mut seen = HashMap::new();
    while (seen.len() as u64) < rows {
        let message = consumer.poll(PATIENCE).expect("a message within a minute").unwrap();
        let key = String::from_utf8_lossy(message.key().unwrap()).into_owned();
        if let Some(row) = key.rsplit(' ').next().and_then(|id| id.strip_prefix(prefix)) {
            seen.insert(row.parse().unwrap(), Instant::now());
        }
    }
    seen
}
