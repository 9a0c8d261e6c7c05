//! The configuration as the rest of the program sees it: complete, checked, references resolved.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use secrecy::SecretString;

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// When to try again, and when to give up for a while.
    pub retry: Retry,
    /// What bounds memory.
    pub limits: Limits,
    /// The admin address.
    pub admin: Admin,
    /// The log.
    pub log: Log,
    /// Every database reference that has streams, by name.
    pub databases: Vec<Arc<Database>>,
}

/// Times of the delivery; the names are those of the configuration file.
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// Before a failed send is tried again.
    pub resend_timeout: Duration,
    /// Failed sends in a row before the replication connection is closed.
    pub max_retries: u32,
    /// Before a closed replication connection is opened again.
    pub reconnect_timeout: Duration,
    /// A message not confirmed for this long is a failed send.
    pub send_timeout: Duration,
    /// How long a stop waits for confirmations.
    pub shutdown_timeout: Duration,
}

/// Bounds of memory.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes read and not yet confirmed, all slots together.
    pub memory: usize,
    /// Bytes of one event's payload, also after inflating.
    pub max_payload_size: usize,
    /// Nested `obj` and `arr` of one payload; a scalar is 0.
    pub max_payload_depth: usize,
}

/// The admin address.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Address to listen on, `host:port`; `None`: switched off. Port 0 takes a free one.
    pub listen: Option<String>,
    /// Not ready when something has waited for acknowledgement this long.
    pub stall_timeout: Duration,
    /// The token that lets others than loopback resume a slot.
    pub token: Option<SecretString>,
}

/// The log.
#[derive(Clone, Debug)]
pub struct Log {
    /// A level, or tracing directives.
    pub level: String,
    /// The flag or the variable that said it; `None`: the file, or nothing.
    pub level_from: Option<&'static str>,
    /// Its format.
    pub format: LogFormat,
}

/// The log's format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
    /// `key=value` lines.
    Logfmt,
}

/// A database reference with its slots.
#[derive(Clone, Debug)]
pub struct Database {
    /// The operator's name of it (`db_ref`).
    pub name: String,
    /// How to reach it.
    pub postgres: Postgres,
    /// Its slots, by name.
    pub slots: Vec<Arc<Slot>>,
}

/// How to reach a PostgreSQL database.
#[derive(Clone, Debug)]
pub struct Postgres {
    /// Host name, address, or the directory of a Unix socket (begins with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Name of the database.
    pub database: String,
    /// Role.
    pub username: String,
    /// Its password.
    pub password: Option<SecretString>,
    /// Encryption and verification.
    pub tls: Tls,
    /// Bound on reaching the server and logging in.
    pub connect_timeout: Duration,
}

/// libpq's TLS settings.
#[derive(Clone, Debug)]
pub struct Tls {
    /// libpq's `sslmode`.
    pub mode: SslMode,
    /// Certificates of trusted authorities, PEM.
    pub root_cert: Option<PathBuf>,
    /// Our certificate, PEM.
    pub cert: Option<PathBuf>,
    /// Its key, PEM.
    pub key: Option<PathBuf>,
}

/// libpq's `sslmode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never encrypted.
    Disable,
    /// Encrypted only if the server does not take it otherwise.
    Allow,
    /// Encrypted if the server can.
    Prefer,
    /// Always encrypted; verified only if `root_cert` is given, as libpq does.
    Require,
    /// Encrypted, the certificate's authority verified.
    VerifyCa,
    /// Encrypted, authority and host name verified.
    VerifyFull,
}

/// A replication slot and what it feeds.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Its name in PostgreSQL.
    pub name: String,
    /// Whether a missing slot may be created.
    pub create_slot: bool,
    /// Its namespaces, by name.
    pub namespaces: Vec<Arc<Namespace>>,
}

/// A progressor namespace and where its messages go.
#[derive(Clone, Debug)]
pub struct Namespace {
    /// Its name; its tables are `<name>_processes` and `<name>_events`, its publication is `<name>`.
    pub name: String,
    /// The Kafka connection.
    pub kafka_client: Arc<KafkaClient>,
    /// Topic of machine events.
    pub eventsink_topic: String,
    /// Topic of lifecycle events.
    pub lifecycle_topic: String,
    /// From key to partition.
    pub partitioner: Partitioner,
    /// What to do with a row that cannot become a message.
    pub on_invalid: OnInvalid,
    /// Whether records carry Kafka headers with their position.
    pub headers: bool,
}

/// From key to partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioner {
    /// Erlang's `erlang:phash2/1`, as the service before us.
    Phash2,
    /// As the Java client.
    Murmur2,
    /// CRC32, as librdkafka.
    Consistent,
}

/// What to do with a row that cannot become a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnInvalid {
    /// The slot stops before it.
    Halt,
}

/// A Kafka connection.
#[derive(Clone)]
pub struct KafkaClient {
    /// The operator's name of it.
    pub name: String,
    /// `host:port` of brokers to begin with.
    pub endpoints: Vec<String>,
    /// librdkafka's properties; a value may be a secret.
    pub properties: BTreeMap<String, SecretString>,
}

impl std::fmt::Debug for KafkaClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaClient")
            .field("name", &self.name)
            .field("endpoints", &self.endpoints)
            .field("properties", &self.properties.keys())
            .finish()
    }
}
