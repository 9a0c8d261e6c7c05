//! The supervision tree: thin actors around the pure core, and the session task that moves the data.
//!
//! ```text
//! root ─┬─ database ─┬─ slot ─┬─ publisher …
//!       │            │        └─ session (a task, one life of the replication connection)
//!       │            └─ slot …
//!       └─ database …
//! ```
//!
//! ractor's mailboxes are unbounded; credits (bytes) travel with the data and bound them. Stopping goes from the root
//! downwards by `Drain` messages; each child reports that it has stopped. ractor's own `drain` would close the mailbox through
//! which a slot learns that its messages are confirmed.

mod database;
mod failpoint;
mod outlet;
mod parcel;
mod publisher;
mod root;
mod session;
mod shared;
mod slot;

pub use root::{Exit, run};
