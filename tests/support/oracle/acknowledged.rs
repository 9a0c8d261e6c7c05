//! Whether a slot was acknowledged past what Kafka had: by the tables, what PostgreSQL says of the slot, and the ends of partitions.

use std::collections::{BTreeMap, HashMap};

use super::{Transactions, decode};
use crate::kafka::ConsumedRecord;

/// What was seen at one time: first the slot's acknowledged position, then the ends.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Every transaction with a lower number had ended before the acknowledged position. It never falls.
    pub horizon: u32,
    /// The end of each partition of each topic.
    pub ends: BTreeMap<String, Vec<i64>>,
}

/// The messages of a topic that were acknowledged, by one of the samples (the oldest first), before Kafka had them.
pub fn too_early(
    topic: &str,
    transactions: &Transactions,
    records: &[ConsumedRecord],
    samples: &[Sample],
) -> Vec<String> {
    let mut found: HashMap<_, Vec<&ConsumedRecord>> = HashMap::new();
    for record in records {
        if let Ok(message) = decode(record.value.as_deref().unwrap_or_default()) {
            found.entry(message).or_default().push(record);
        }
    }
    let samples: Vec<_> = samples.iter().filter(|sample| sample.ends.contains_key(topic)).collect();
    let early = |(message, xid): (_, &u32)| {
        // The ends rise too: the first sample that asks for it is the strictest.
        let sample = samples.get(samples.partition_point(|sample| sample.horizon <= *xid))?;
        let before = |record: &&&ConsumedRecord| {
            let end = usize::try_from(record.partition).ok().and_then(|place| sample.ends[topic].get(place));
            end.is_some_and(|end| record.offset < *end)
        };
        let there = found.get(message).and_then(|all| all.iter().find(before));
        there.is_none().then(|| format!("acknowledged with transactions before {}: {xid}, {message:?}", sample.horizon))
    };
    transactions.iter().filter_map(early).collect()
}
