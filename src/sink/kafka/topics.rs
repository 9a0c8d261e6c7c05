//! Topics: whether they are there, how many partitions they have, and whether they are still the same.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    time::{Duration, Instant},
};

use rdkafka::{
    error::RDKafkaErrorCode as Code,
    metadata::{Metadata, MetadataTopic},
};

use super::{
    OffsetWatch, Producer,
    error::{self, About},
};
use crate::{
    change::{Class, Trouble},
    config::KafkaClient,
};

/// A topic as the brokers describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// Partitions.
    pub partitions: i32,
    /// Replicas of the partition that has the fewest.
    pub replicas: usize,
}

/// Up to so many topics are asked for one by one, more all at once: the brokers then tell of all topics they have.
const ONE_BY_ONE: usize = 8;

/// Asks the brokers for these topics. Blocks for up to `timeout` for each question; also refreshes what the producer knows of them.
///
/// # Errors
/// The first topic, in this order, that is missing or may not be described; or why no broker answers.
pub fn fetch(producer: &Producer, topics: &[&str], timeout: Duration) -> Result<HashMap<String, TopicState>, Trouble> {
    let mut wanted = topics.to_vec();
    wanted.sort_unstable();
    wanted.dedup();
    let mut states = HashMap::with_capacity(wanted.len());
    if wanted.len() > ONE_BY_ONE {
        for described in metadata(producer, None, timeout)?.topics() {
            if let (Ok(_), Some(state)) = (wanted.binary_search(&described.name()), state(described)) {
                states.insert(described.name().to_owned(), state);
            }
        }
    }
    let client = &producer.connection().client;
    for &topic in topics {
        if states.contains_key(topic) {
            continue;
        }
        let metadata = metadata(producer, Some(topic), timeout)?;
        let described = metadata.topics().iter().find(|described| described.name() == topic);
        let Some(state) = described.and_then(state) else {
            let code = described.and_then(MetadataTopic::error).map(Code::from);
            return Err(error::trouble(code.unwrap_or(Code::UnknownTopicOrPartition), About::topic(client, topic)));
        };
        states.insert(topic.to_owned(), state);
    }
    Ok(states)
}

fn metadata(producer: &Producer, topic: Option<&str>, timeout: Duration) -> Result<Metadata, Trouble> {
    let metadata =
        producer.client().fetch_metadata(topic, timeout).map_err(|error| producer.connection().why(&error))?;
    producer.connection().succeeded();
    Ok(metadata)
}

/// `None`: it is not there, or may not be described.
fn state(described: &MetadataTopic) -> Option<TopicState> {
    match described.error().map(Code::from) {
        // A leader is being elected; the partitions are there.
        None | Some(Code::LeaderNotAvailable) => {}
        Some(_) => return None,
    }
    let replicas = described.partitions().iter().map(|partition| partition.replicas().len()).min()?;
    let partitions = i32::try_from(described.partitions().len()).unwrap_or(i32::MAX);
    Some(TopicState { partitions, replicas })
}

/// Compares the end of every partition with what was confirmed. Blocks for up to `timeout`; of more partitions than that lets it ask
/// for, the others follow at the next call.
///
/// # Errors
/// If a partition ends before what was confirmed, is missing, or no broker answers.
pub fn check_high_watermarks(producer: &Producer, watch: &OffsetWatch, timeout: Duration) -> Result<(), Trouble> {
    let deadline = Instant::now() + timeout;
    let client = &producer.connection().client;
    for (topic, partition, last) in watch.confirmed_in_turn() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let (_, high) = producer.client().fetch_watermarks(&topic, partition, left).map_err(|error| {
            match error.rdkafka_error_code() {
                Some(
                    code @ (Code::UnknownPartition
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::TopicAuthorizationFailed),
                ) => error::trouble(code, About::partition(client, &topic, partition)),
                _ => producer.connection().why(&error),
            }
        })?;
        if high <= last {
            return Err(recreated(
                client,
                &topic,
                &format!(
                    "partition {partition} ends at offset {high}, but {last} was confirmed, so that a replay is needed from offset {high} on"
                ),
            ));
        }
        watch.looked_at(&topic, partition);
    }
    Ok(())
}

/// An offset that is not higher than one confirmed before.
pub(super) fn went_back(client: &KafkaClient, topic: &str, partition: i32, last: i64, offset: i64) -> Trouble {
    recreated(
        client,
        topic,
        &format!(
            "partition {partition} confirmed offset {offset} after {last}, so that a replay is needed from offset {offset} on"
        ),
    )
}

fn recreated(client: &KafkaClient, topic: &str, what: &str) -> Trouble {
    Trouble::new(
        Class::TopicRecreated,
        format!(
            "Kafka client {:?}, topic {topic:?}: {what}: the topic was recreated, or the broker has lost messages",
            client.name
        ),
        "find out what consumers of the topic miss (`kafka-topics.sh --describe`, the broker's log), then \
         resume the slot",
    )
}

/// A topic that has got more partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grown {
    /// The topic.
    pub topic: String,
    /// Partitions in use so far.
    pub from: i32,
    /// Partitions it has now.
    pub to: i32,
}

/// The number of partitions in use of one topic; a copy follows what the others see.
#[derive(Clone, Debug, Default)]
pub struct PartitionCount(Arc<AtomicI32>);

impl PartitionCount {
    /// Partitions in use; 0 if nothing is known of the topic.
    #[must_use]
    pub fn get(&self) -> i32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The number of partitions in use of each topic.
///
/// It does not grow by itself: first what is in flight is to be confirmed, so that no key's messages overtake each
/// other.
#[derive(Debug)]
pub struct PartitionCounts {
    client: KafkaClient,
    counts: HashMap<String, PartitionCount>,
    /// Topics that seemed smaller at the last look.
    smaller: Mutex<HashSet<String>>,
}

impl PartitionCounts {
    /// Begins with these topics.
    pub fn new(client: &KafkaClient, topics: &HashMap<String, TopicState>) -> Self {
        let counts = topics.iter().map(|(topic, state)| {
            let count = PartitionCount(Arc::new(AtomicI32::new(state.partitions)));
            (topic.clone(), count)
        });
        let counts = counts.collect();
        Self { client: client.clone(), counts, smaller: Mutex::default() }
    }

    /// Partitions in use.
    #[must_use]
    pub fn get(&self, topic: &str) -> Option<i32> {
        self.counts.get(topic).map(PartitionCount::get)
    }

    /// The count of one topic, to be kept by who asks for it often.
    #[must_use]
    pub fn of(&self, topic: &str) -> PartitionCount {
        self.counts.get(topic).cloned().unwrap_or_default()
    }

    /// Compares with what the brokers say now, and returns what has grown; to be used after [`Self::apply`].
    ///
    /// # Errors
    /// If a topic has fewer partitions than are in use, twice in a row: what brokers know may be stale for a moment.
    pub fn observe(&self, topics: &HashMap<String, TopicState>) -> Result<Vec<Grown>, Trouble> {
        let mut smaller = self.smaller.lock().unwrap_or_else(PoisonError::into_inner);
        let mut grown = Vec::new();
        for (topic, state) in topics {
            let (Some(from), to) = (self.get(topic), state.partitions) else { continue };
            if to >= from {
                smaller.remove(topic);
            }
            if to > from {
                grown.push(Grown { topic: topic.clone(), from, to });
            } else if to < from && !smaller.insert(topic.clone()) {
                return Err(recreated(&self.client, topic, &format!("it has {to} partitions and had {from}")));
            }
        }
        Ok(grown)
    }

    /// Uses the new partitions from the next message on.
    pub fn apply(&self, grown: &Grown) {
        if let Some(count) = self.counts.get(&grown.topic) {
            count.0.store(grown.to, Ordering::Relaxed);
            tracing::info!(
                client = self.client.name,
                topic = grown.topic,
                from = grown.from,
                to = grown.to,
                "partitions added"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(partitions: i32) -> HashMap<String, TopicState> {
        [("events".to_owned(), TopicState { partitions, replicas: 3 })].into()
    }

    #[test]
    fn a_topic_grows_when_told_and_never_falls() {
        let client = KafkaClient { name: "main".into(), endpoints: vec![], properties: [].into() };
        let counts = PartitionCounts::new(&client, &topics(4));
        assert_eq!((counts.get("events"), counts.get("other")), (Some(4), None));
        assert_eq!(counts.observe(&topics(4)), Ok(vec![]));
        let grown = Grown { topic: "events".into(), from: 4, to: 6 };
        assert_eq!(counts.observe(&topics(6)), Ok(vec![grown.clone()]));
        assert_eq!(counts.get("events"), Some(4), "not before what is in flight is confirmed");
        counts.apply(&grown);
        assert_eq!(counts.get("events"), Some(6));
        assert_eq!(counts.observe(&topics(4)), Ok(vec![]), "stale metadata");
        assert_eq!(counts.observe(&topics(6)), Ok(vec![]));
        assert_eq!(counts.observe(&topics(4)), Ok(vec![]), "stale again, not in a row");
        let trouble = counts.observe(&topics(4)).unwrap_err();
        assert_eq!(trouble.class, Class::TopicRecreated);
        assert!(trouble.message.contains("it has 4 partitions and had 6"), "{trouble}");
    }
}
