//! What an operator may say, read, checked and resolved. No behaviour.
//!
//! ```text
//! file ─▶ Tree (any format) ─▶ ${VAR} replaced ─▶ raw structs (the keys) ─▶ Config (complete, checked)
//! ```
//!
//! The format is TOML; YAML and JSON are read too. No error shows a value: any value may be a secret.

mod environment;
mod error;
mod file;
mod load;
mod overrides;
mod raw;
mod resolve;
mod tree;
mod types;
mod values;

pub use error::{ConfigError, PropertyError};
pub use load::load;
pub use overrides::{CONFIG_VARIABLE, Overrides};
pub use types::{
    Admin, Config, Database, KafkaClient, Limits, Log, LogFormat, Namespace, OnInvalid, Partitioner, Postgres, Retry,
    Slot, SslMode, Tls,
};
