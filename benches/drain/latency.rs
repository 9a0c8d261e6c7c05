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
    workload::{Size, payload},
};

const RATE: u64 = 1_000;

/// What was seen.
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

/// Inserts rows one by one, each in its transaction, and waits for each in its topic.
pub(crate) fn run(bed: &mut Bed, program: &Path, slot: &str, size: Size) -> Latency {
    let namespace = Namespace::new(&bed.namespace.name);
    namespace.create_topics(&bed.kafka, PARTITIONS);
    let mut service = Service::start_program(program, &bed.configuration(slot, &namespace), &[]);
    service.wait_for_state(slot, "streaming");
    let (pid, broker_pid) = (service.pid().as_raw(), bed.kafka.pid().as_raw());
    let (cpu, broker) = (machine::of_process(pid), machine::of_process(broker_pid));
    let consumer = consumer(bed, &namespace.eventsink);
    let rows = size.rows;
    let prefix = format!("{slot}-");
    let reader = thread::spawn(move || read(&consumer, &prefix, rows));
    let begun = Instant::now();
    let sent = write(bed, slot, size);
    let seen = reader.join().unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    let mut histogram = Histogram::<u64>::new(3).unwrap();
    // In the first second consumer and producer meet the broker: that is not the rate at rest.
    let first = usize::try_from(RATE.min(rows / 5)).unwrap();
    for (row, at) in sent.into_iter().skip(first) {
        let arrived = seen.get(&row).unwrap_or_else(|| panic!("{row} is missing"));
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

/// The rows' process ids, and when each was sent.
fn write(bed: &Bed, slot: &str, size: Size) -> Vec<(String, Instant)> {
    let mut sql = scene::connect(&bed.postgres, "postgres");
    sql.batch_execute("SET session_replication_role = replica").unwrap();
    let filler = format!("'\\x{}'::bytea", "2e".repeat(usize::try_from(size.payload).unwrap()));
    let insert = format!(
        "INSERT INTO \"{}_events\" (process_id, task_id, event_id, metadata, payload)
         SELECT $1, 1, 1, '{{\"format_version\": 1}}', {} FROM (SELECT $2::bigint AS i) AS row",
        bed.namespace.name,
        payload(size.payload).replace("filler", &filler)
    );
    let insert = sql.prepare(&insert).unwrap();
    let begun = Instant::now();
    let each = |row: u64| {
        let due = begun + Duration::from_secs(1) * u32::try_from(row).unwrap() / u32::try_from(RATE).unwrap();
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let id = format!("{slot}-{row}");
        let at = Instant::now();
        sql.execute(&insert, &[&id, &row.cast_signed()]).unwrap();
        (id, at)
    };
    (0..size.rows).map(each).collect()
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

/// When each row's message arrived, by the process id in its key. Those of earlier rounds come first: every slot is a copy of the same.
fn read(consumer: &BaseConsumer, prefix: &str, rows: u64) -> HashMap<String, Instant> {
    let mut seen = HashMap::new();
    while (seen.len() as u64) < rows {
        let message = consumer.poll(PATIENCE).expect("a message within a minute").unwrap();
        let key = String::from_utf8_lossy(message.key().unwrap()).into_owned();
        let id = key.rsplit(' ').next().unwrap();
        if id.starts_with(prefix) {
            seen.insert(id.to_owned(), Instant::now());
        }
    }
    seen
}
