//! The replication client against a real PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod blocked;
mod durability;
mod history;
mod login;
mod prepare;
mod publication;
mod slot;
mod stream;
mod support;
mod tls;
