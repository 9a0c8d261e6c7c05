//! Logical replication of progressor's tables from PostgreSQL to Kafka, acknowledged only after Kafka has confirmed.
//!
//! `docs/architecture.md` is the map.

pub mod change;
pub mod config;
pub mod encoding;
pub mod source;
