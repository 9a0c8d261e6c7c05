//! Being a logical replica of a PostgreSQL database: the connection, the slot, the publications.
//!
//! Owns every byte exchanged with PostgreSQL below pgoutput and every statement sent to it; must not know what rows mean or where
//! they go.

mod blockers;
mod buffer;
pub mod connection;
pub mod copy_data;
mod error;
pub mod feedback;
mod handshake;
pub mod joins;
pub mod prepare;
pub mod publication;
mod quote;
pub mod slot;
pub mod sql;
pub mod stream;
mod tls;
pub mod transport;
mod wire;

pub use error::Place;
