//! Being a logical replica of a PostgreSQL database: the connection, the slot, the publications.
//!
//! Owns every byte exchanged with PostgreSQL below pgoutput and every statement sent to it; must not know what rows mean or where
//! they go.

mod blockers;
mod buffer;
pub mod coalesce;
pub mod connection;
pub mod copy_data;
pub mod durability;
mod error;
pub mod feedback;
mod guard;
mod handshake;
pub mod joins;
mod position;
pub mod prepare;
pub mod publication;
mod quote;
pub mod slot;
pub mod socket;
mod spill;
pub mod sql;
pub mod stream;
mod tls;
pub mod transport;
pub mod version;
mod wire;

pub use connection::{Connection, SystemIdentity};
pub use copy_data::{CopyData, StatusUpdate};
pub use error::Place;
pub use feedback::Feedback;
pub use joins::{Joining, begin, join_position, unseen};
pub use position::{advance, current_wal_lsn};
pub use prepare::{Plan, Prepared, prepare};
pub use publication::verify_publications;
pub use spill::spilled;
pub use sql::{Sql, sql};
pub use stream::{Frame, ReplicationStream};
pub use version::ServerVersion;
