//! The Kafka sink against a real broker.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "../support/kafka.rs"]
mod kafka;

mod delivery;
mod durability;
mod faults;
mod harness;
mod login;
mod recorder;
mod refusals;
