//! Where records go. What every sink has in common is here; each kind is one folder.
//!
//! A sink takes records in order, settles each of them once, and stops for good at its first failure: what comes after
//! a record that was given up must not overtake it. It is then closed and a new one is opened.

pub mod kafka;

use crate::change::Trouble;

/// A record to be handed over; the sink copies what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition, chosen by the caller.
    pub partition: i32,
    /// Its key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: &'a [u8],
    /// Its headers, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// What its [`Delivery`] carries back.
    pub token: u64,
}

/// What became of one record that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The record's token.
    pub token: u64,
    /// Bytes of its key and value.
    pub bytes: usize,
    /// Whether it is where it belongs.
    pub outcome: Outcome,
}

/// Whether a record is where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, acknowledged by all in-sync replicas.
    Confirmed {
        /// Its partition.
        partition: i32,
        /// Its offset; `None` where the broker did not tell (it already had the record).
        offset: Option<i64>,
    },
    /// Given up. It may be stored all the same.
    Failed,
}

/// Who wants to know. Called on the sink's own threads: to be short, and never to block.
pub trait Settlement: Send + Sync {
    /// One record is confirmed or given up. Each record that was handed over is settled at most once; what a close
    /// leaves unsettled, it returns.
    fn settled(&self, delivery: Delivery);

    /// The first failure of this sink, told once and before the settlement of the record at fault: nothing more is
    /// sent.
    fn failed(&self, trouble: &Trouble);
}

/// A record was not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The queue is full: the same record again after the next settlement.
    Full,
    /// The sink has failed, now or before: nothing can be handed over any more.
    Failed(Trouble),
}

/// Takes records. Never blocks.
pub trait Sink: Send + Sync {
    /// Hands a record over.
    ///
    /// # Errors
    /// If the queue is full, or the sink has failed.
    fn send(&self, record: &Record<'_>) -> Result<(), Refused>;

    /// Records handed over and not yet settled.
    fn in_flight(&self) -> usize;

    /// Why nothing can be handed over any more, if so.
    fn broken(&self) -> Option<Trouble>;
}
