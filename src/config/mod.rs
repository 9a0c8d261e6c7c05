//! What an operator may say, read, checked and resolved. No behaviour.

mod types;

pub use types::{
    Admin, Config, Database, KafkaClient, Limits, Log, LogFormat, Namespace, OnInvalid, Partitioner, Postgres, Retry,
    Slot, SslMode, Tls,
};
