//! Debezium in Kafka Connect, a peer: tuned, and warm when it counts.

use std::{path::Path, process::Command, thread::sleep, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    bed::{Bed, PARTITIONS},
    drain::{LOOK, Meter, PATIENCE, Run, Topics, active, walsender_gone},
    kafka::{Process, free_ports},
    machine,
    scene::unique,
    service::eventually,
    workload::{copy_slot, walsender},
};

/// A heap that is larger than what it holds, and the broker's collector, which is the one for throughput.
const JAVA: [&str; 3] = ["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"];

/// What a run needs, and what makes it faster: unless it is told otherwise, Connect's producer has one request on its way
/// at a time, does not compress and sends small batches.
const WORKER: &str = "\
plugin.discovery=service_load
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
topic.creation.enable=false
offset.storage.file.filename=offsets
offset.flush.interval.ms=10000
producer.acks=all
producer.enable.idempotence=true
producer.max.in.flight.requests.per.connection=5
producer.compression.type=lz4
producer.linger.ms=5
producer.batch.size=262144
producer.buffer.memory=67108864
";

/// A worker of Kafka Connect. It lives as long as its runs: each of the first few takes a fifth less CPU time than the one
/// before.
pub(crate) struct Debezium {
    // The process is dropped before its directory.
    process: Process,
    directory: TempDir,
    address: String,
    agent: ureq::Agent,
}

impl Debezium {
    /// Starts a worker and drains the backlog once. Together with the round that does not count this warms it up.
    pub(crate) fn start(bed: &mut Bed, rows: u64) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let output = Command::new(root.join("benches/debezium/install")).output().expect("bash");
        assert!(output.status.success(), "install: {}", String::from_utf8_lossy(&output.stderr));
        let jars = String::from_utf8(output.stdout).unwrap();
        let directory = tempfile::Builder::new().prefix("debezium-").tempdir().unwrap();
        let address = format!("http://127.0.0.1:{}", free_ports(1)[0]);
        let settings = format!("{WORKER}bootstrap.servers={}\nlisteners={address}\n", bed.kafka.bootstrap());
        std::fs::write(directory.path().join("worker.properties"), settings).unwrap();
        let mut command = Command::new("java");
        command
            .args(JAVA)
            .arg(format!("-Dlog4j2.configurationFile={}", root.join("benches/debezium/log4j2.properties").display()))
            .args(["-cp", &format!("{}/*", jars.trim()), "org.apache.kafka.connect.cli.ConnectStandalone"])
            .arg("worker.properties")
            .current_dir(directory.path());
        let process = Process::start(&mut command, &directory.path().join("log"));
        let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(30))).build().into();
        let debezium = Self { process, directory, address, agent };
        eventually("Kafka Connect answers", Duration::from_mins(2), || {
            let url = format!("{}/connectors", debezium.address);
            debezium.agent.get(url).call().map_err(|error| format!("{error}\n{}", debezium.log()))
        });
        debezium.drain(bed, "warm_up", rows);
        debezium
    }

    /// Through a connector into a topic of its own, until that holds every row.
    pub(crate) fn drain(&self, bed: &mut Bed, slot: &str, rows: u64) -> Run {
        copy_slot(&mut bed.sql, slot);
        let prefix = unique("debezium");
        // What no topic may have in its name is an underscore in Debezium's.
        let name = format!("{prefix}.public.{}_events", bed.namespace.name.replace('/', "_"));
        bed.kafka.create_topic(&name, PARTITIONS);
        let topics = Topics::new(bed, &[&name]);
        let connector = format!("{}/connectors/{prefix}", self.address);
        let pid = self.process.pid().as_raw();
        let meter = Meter::begin(bed);
        let before = machine::of_process(pid);
        let configuration = configuration(bed, slot, &prefix).to_string();
        let request = self.agent.put(format!("{connector}/config")).header("content-type", "application/json");
        request.send(configuration).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        let (_, begun) = active(bed, slot, || self.has_failed()).unwrap_or_else(|| panic!("{}", self.log()));
        while topics.records() < rows {
            assert!(!self.has_failed(), "{}", self.log());
            assert!(begun.elapsed() < PATIENCE, "{} rows of {rows} within {PATIENCE:?}", topics.records());
            sleep(LOOK);
        }
        let seconds = begun.elapsed().as_secs_f64();
        // It may have begun with another one, to find its place.
        let sender = walsender(&mut bed.sql, slot).map(machine::of_process).unwrap_or_default();
        let run = meter.end(seconds, machine::of_process(pid) - before, sender, machine::memory(pid, "VmHWM:"));
        self.agent.delete(&connector).call().unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        eventually("the slot is free", PATIENCE, || walsender_gone(bed, slot));
        bed.kafka.delete_topic(&name);
        bed.drop_slot(slot);
        run
    }

    /// A connector that gives up leaves the worker running.
    fn has_failed(&self) -> bool {
        self.log().contains("] ERROR ")
    }

    /// Its errors.
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }
}

/// A connector that reads a slot from where it stands.
fn configuration(bed: &Bed, slot: &str, prefix: &str) -> Value {
    json!({
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "tasks.max": "1",
        "database.hostname": bed.postgres.host(),
        "database.port": bed.postgres.port().to_string(),
        "database.user": "postgres",
        "database.dbname": "postgres",
        "topic.prefix": prefix,
        "plugin.name": "pgoutput",
        "publication.name": bed.namespace.name,
        "publication.autocreate.mode": "disabled",
        "slot.name": slot,
        "slot.drop.on.stop": "false",
        "snapshot.mode": "no_data",
        "binary.handling.mode": "base64",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        // So long it waits for a batch to fill: at the end of a run none does.
        "poll.interval.ms": "50",
        // Per event: quantiles of how late it is, and headers that name the connector.
        "statistics.metrics.enabled": "false",
        "extended.headers.enabled": "false",
    })
}
