//! The pure core: tables of its decisions, and random schedules of a whole slot against an oracle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    missing_docs
)]

mod properties;
mod random;
mod rows;
mod simulation;
mod tables;
