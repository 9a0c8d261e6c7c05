//! Rows to bytes: against what the Erlang service wrote (`tests/fixtures/vectors`), and properties that no fixed set of
//! inputs can show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod allocation;
mod etf;
mod eventsink;
mod hostile;
mod invalid;
mod lifecycle;
mod namespace;
mod properties;
mod vectors;
