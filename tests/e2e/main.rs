//! End to end: the binary between a real PostgreSQL and a real Kafka.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    missing_docs,
    dead_code,
    unreachable_pub
)]

#[path = "../support/kafka.rs"]
mod kafka;
#[path = "../support/scene.rs"]
mod scene;
#[path = "../support/service.rs"]
mod service;

mod happy_path;
mod supervision;
