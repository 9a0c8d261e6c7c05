//! PostgreSQL with progressor's tables, topics in a real Kafka, and a configuration that connects them.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicUsize, Ordering},
};

use cdc_notifier::demo::{
    postgres::{Options, TemporaryPostgres},
    progressor::schema_sql,
};
use postgres::{Client, NoTls};

use super::{kafka::Admin, service::CANARY};

static SCENES: AtomicUsize = AtomicUsize::new(0);

/// A name that no other test of this process uses.
pub fn unique(what: &str) -> String {
    format!("{what}_{}_{}", std::process::id(), SCENES.fetch_add(1, Ordering::Relaxed))
}

/// A namespace with its two topics.
#[derive(Clone, Debug)]
pub struct Namespace {
    pub name: String,
    pub eventsink: String,
    pub lifecycle: String,
    pub options: String,
}

impl Namespace {
    pub fn new(name: &str) -> Self {
        let topic = unique("topic");
        Self {
            name: name.to_owned(),
            eventsink: format!("{topic}_events"),
            lifecycle: format!("{topic}_lifecycle"),
            options: String::new(),
        }
    }

    pub fn with(mut self, option: &str) -> Self {
        self.options.push_str(option);
        self.options.push('\n');
        self
    }

    pub fn create_topics(&self, kafka: &Admin, partitions: i32) {
        self.create_topics_with(kafka, partitions, &[]);
    }

    /// With settings of their own.
    pub fn create_topics_with(&self, kafka: &Admin, partitions: i32, settings: &[(&str, &str)]) {
        for topic in self.topics() {
            kafka.create_topic_with(topic, partitions, settings);
        }
    }

    pub const fn topics(&self) -> [&String; 2] {
        [&self.eventsink, &self.lifecycle]
    }
}

/// Starts a PostgreSQL for one test.
pub fn postgres(settings: &[(&str, &str)]) -> TemporaryPostgres {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TemporaryPostgres::start(&Options { settings, ..Options::default() }).unwrap()
}

/// The same, reached over TCP instead of a Unix socket.
pub fn postgres_over_tcp(settings: &[(&str, &str)]) -> TemporaryPostgres {
    let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    TemporaryPostgres::start(&Options { settings, listen_tcp: true, ..Options::default() }).unwrap()
}

/// A superuser's SQL connection.
pub fn connect(server: &TemporaryPostgres, database: &str) -> Client {
    let config = format!("host={} port={} user=postgres dbname={database}", server.host(), server.port());
    Client::connect(&config, NoTls).unwrap()
}

/// 15, 16 ...
pub fn major(client: &mut Client) -> u32 {
    let version: String = client.query_one("SHOW server_version_num", &[]).unwrap().get(0);
    version.parse::<u32>().unwrap() / 10_000
}

/// Creates progressor's tables of these namespaces.
pub fn create_tables(client: &mut Client, namespaces: &[&Namespace]) {
    for namespace in namespaces {
        client.batch_execute(&schema_sql(&namespace.name)).unwrap();
    }
}

/// A text as TOML writes it.
pub fn quoted(text: &str) -> String {
    serde_json::to_string(text).unwrap()
}

/// Builds a configuration.
pub struct Configuration(String);

impl Configuration {
    /// `general`: settings before the first table. `bootstrap`: brokers with commas between them. The Kafka client has a password that the broker does not ask for, and so has
    /// each database: no output may show them.
    pub fn new(general: &str, bootstrap: &str) -> Self {
        let mut text = format!("{general}\n");
        let endpoints: Vec<_> = bootstrap.split(',').map(quoted).collect();
        writeln!(text, "[kafka_clients.kafka]\nendpoints = [{}]", endpoints.join(", ")).unwrap();
        writeln!(text, "properties.\"sasl.password\" = \"{CANARY}-of-kafka\"").unwrap();
        Self(text)
    }

    pub fn database(self, name: &str, server: &TemporaryPostgres, database: &str) -> Self {
        self.database_at(name, server.host(), server.port(), database)
    }

    /// A database behind an address of its own.
    pub fn database_at(mut self, name: &str, host: &str, port: u16, database: &str) -> Self {
        writeln!(
            self.0,
            "[databases.{name}]\nhost = \"{host}\"\nport = {port}\ndatabase = \"{database}\"\nusername = \"postgres\"\npassword = \"{CANARY}-of-{name}\"",
        )
        .unwrap();
        self
    }

    pub fn stream(self, database: &str, slot: &str, namespace: &Namespace) -> Self {
        self.stream_to("kafka", database, slot, namespace)
    }

    /// A stream to another Kafka client, which `add` describes.
    pub fn stream_to(mut self, kafka_client: &str, database: &str, slot: &str, namespace: &Namespace) -> Self {
        writeln!(
            self.0,
            "[streams.{database}.{slot}.{}]\nkafka_client = \"{kafka_client}\"\neventsink_topic = \"{}\"\nlifecycle_topic = \
             \"{}\"\n{}",
            quoted(&namespace.name),
            namespace.eventsink,
            namespace.lifecycle,
            namespace.options
        )
        .unwrap();
        self
    }

    pub fn add(mut self, text: &str) -> Self {
        self.0.push_str(text);
        self.0.push('\n');
        self
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}
