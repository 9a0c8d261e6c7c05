//! Everything on one machine: a temporary PostgreSQL server with progressor's tables in it.
//!
//! Owns the processes and directories that it makes and leaves nothing behind; must not be used by the service itself.

mod account;
mod directory;
mod installation;
pub mod postgres;
pub mod progressor;
