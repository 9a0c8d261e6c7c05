//! What the process shows of itself: log, streams, health. Others call it; it must not know how the work is done.

mod http;
pub mod logging;
mod streams;

pub use http::{bind, serve};
pub use streams::{AtomicLsn, NamespaceStatus, Readiness, Resume, Resumed, SlotStatus, Streams};
