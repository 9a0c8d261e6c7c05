//! pgoutput as PostgreSQL really sends it, as anybody might send it, and as nobody should.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod allocation;
mod capture;
mod encoder;
mod fixture;
mod golden;
mod listing;
mod malformed;
mod properties;
mod scenario;
