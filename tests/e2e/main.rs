//! End to end: the binary between a real PostgreSQL and a real Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::print_stdout,
    missing_docs,
    dead_code,
    unreachable_pub
)]

#[path = "../support/holder.rs"]
mod holder;
#[path = "../support/kafka.rs"]
mod kafka;
#[path = "../support/lanes.rs"]
mod lanes;
#[path = "../support/oracle/mod.rs"]
mod oracle;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/world.rs"]
mod world;
#[path = "../support/writer.rs"]
mod writer;

mod faults_kafka;
mod faults_postgres;
mod faults_service;
mod happy_path;
mod invalid;
mod large;
mod soak;
mod startup;
mod stop;
mod supervision;
mod under_load;
