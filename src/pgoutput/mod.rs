//! The messages of PostgreSQL's logical replication plugin `pgoutput`, protocol version 1, in text and in binary.
//!
//! [`decode`] gives views of one message's bytes; a row change costs no allocation. Every byte must make sense: a message with an unknown
//! flag, or with something left over, is an error and no guess. Owns the wire format and must not know what a table means.
//! Source of the format: PostgreSQL's documentation, "Logical Replication Message Formats".

mod control;
mod cursor;
mod error;
mod message;
mod relation;
mod row;
mod truncate;

pub use error::{DecodeError, Reason};
pub use message::{Message, decode};
pub use truncate::Truncated;
