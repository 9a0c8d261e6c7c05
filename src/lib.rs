//! Logical replication of progressor's tables from PostgreSQL to Kafka, acknowledged only after Kafka has confirmed.
//!
//! `docs/architecture.md` is the map.

pub mod actors;
pub mod app;
pub mod change;
pub mod cli;
pub mod config;
pub mod delivery;
pub mod demo;
pub mod encoding;
pub mod heap;
pub mod observability;
pub mod pgoutput;
pub mod pipeline;
pub mod replication;
pub mod sink;
pub mod source;
