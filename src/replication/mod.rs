//! Being a logical replica of PostgreSQL.
//!
//! Owns the replication protocol below pgoutput; must not know what the messages mean.

pub mod copy_data;
pub mod feedback;
