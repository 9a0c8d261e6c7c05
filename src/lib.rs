//! Logical replication of progressor's tables from PostgreSQL to Kafka, acknowledged only after Kafka has confirmed.
//!
//! `docs/architecture.md` is the map.

pub mod change;
pub mod cli;
pub mod config;
pub mod demo;
pub mod observability;
pub mod pgoutput;
pub mod replication;
pub mod sink;
