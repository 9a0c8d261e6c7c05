//! Kafka through librdkafka. The only folder that knows rdkafka.
//!
//! A [`Producer`] is idempotent and gapless and never gives a message up for time; it stops at its first failure.
//! Whatever blocks says so and belongs on a blocking thread.

pub mod consumer;
pub mod durability;
mod error;
mod log;
pub mod mock;
mod offsets;
pub mod options;
pub mod partitioner;
mod polling;
mod producer;
pub mod topics;
mod trouble;

pub use offsets::OffsetWatch;
pub use options::PropertyError;
pub use partitioner::partition;
pub use producer::Producer;
pub use topics::{PartitionCount, PartitionCounts, TopicState};
