//! Logical replication of progressor's tables from PostgreSQL to Kafka, acknowledged only after Kafka has confirmed.
//!
//! `docs/architecture.md` is the map.

pub mod change;
pub mod cli;
pub mod config;
pub mod observability;
pub mod sink;
