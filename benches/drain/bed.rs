//! The servers that all runs share: one PostgreSQL, one warm Kafka broker.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use cdc_notifier::demo::postgres::{Options, TemporaryPostgres};
use postgres::Client;
use rdkafka::{
    ClientConfig,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer},
};

use crate::{
    kafka::{self, KafkaServer},
    scene::{self, Configuration, Namespace},
};

/// Of every topic.
pub(crate) const PARTITIONS: i32 = 8;

/// PostgreSQL keeps out of the way: no fsync (as all temporary servers), no checkpoint and no autovacuum meanwhile.
const SETTINGS: [(&str, &str); 9] = [
    ("shared_buffers", "256MB"),
    ("wal_buffers", "16MB"),
    ("max_wal_size", "64GB"),
    ("checkpoint_timeout", "1h"),
    ("autovacuum", "off"),
    ("jit", "off"),
    // For many streams.
    ("max_connections", "500"),
    ("max_wal_senders", "220"),
    ("max_replication_slots", "450"),
];

/// The servers, and what runs need to know of them.
pub(crate) struct Bed {
    pub(crate) kafka: KafkaServer,
    pub(crate) sql: Client,
    pub(crate) postgres: TemporaryPostgres,
    pub(crate) namespace: Namespace,
    /// The position after the backlog.
    pub(crate) end: String,
    /// Lines of the service's configuration, and of its Kafka client's properties.
    general: String,
    properties: Vec<(String, String)>,
}

impl Bed {
    /// Starts both. The broker compiles with all it has.
    pub(crate) fn start(general: &[String], properties: Vec<(String, String)>) -> Self {
        let java = ["-Xms1g", "-Xmx1g", "-XX:TieredStopAtLevel=4", "-XX:+UseParallelGC", "-XX:-UseSerialGC"];
        let kafka =
            KafkaServer::start(&kafka::Options { java: java.map(str::to_owned).to_vec(), ..kafka::Options::default() });
        let settings = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let options = Options { settings, listen_tcp: true, ..Options::default() };
        let postgres = TemporaryPostgres::start(&options).unwrap_or_else(|error| panic!("{error}: {}", error.remedy()));
        let sql = scene::connect(&postgres, "postgres");
        let namespace = Namespace::new("bench/bench");
        Self { kafka, sql, postgres, namespace, end: String::new(), general: general.join("\n"), properties }
    }

    /// Sends so many messages through the broker: a cold one costs several times more.
    pub(crate) fn warm_up(&self, messages: u64) {
        let begun = Instant::now();
        let topic = scene::unique("warm_up");
        self.kafka.create_topic(&topic, PARTITIONS);
        let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("bootstrap.servers", self.kafka.bootstrap())
            .set("enable.idempotence", "true")
            .set("linger.ms", "5")
            .create()
            .unwrap();
        let value = [b'.'; 300];
        for number in 0..messages {
            let partition = i32::try_from(number % 8).unwrap();
            let mut record = BaseRecord::to(&topic).partition(partition).key(&[0; 20]).payload(&value);
            while let Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) = producer.send(record)
            {
                record = refused;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        producer.flush(Duration::from_mins(2)).unwrap();
        self.kafka.delete_topic(&topic);
        eprintln!("the broker is warm after {messages} messages in {:.1} s", begun.elapsed().as_secs_f64());
    }

    /// The service's configuration for a slot into the topics of this namespace.
    pub(crate) fn configuration(&self, slot: &str, namespace: &Namespace) -> Configuration {
        let mut properties = String::new();
        for (key, value) in &self.properties {
            writeln!(properties, "properties.\"{key}\" = \"{value}\"").unwrap();
        }
        Configuration::new(&self.general, &self.kafka.bootstrap())
            .add(&properties)
            .database("main", &self.postgres, "postgres")
            .stream("main", slot, namespace)
    }

    pub(crate) fn drop_slot(&mut self, slot: &str) {
        self.sql.execute("SELECT pg_drop_replication_slot($1::text::name)", &[&slot]).unwrap();
    }
}
