//! The highest confirmed offsets: librdkafka does not tell that a topic was recreated or that a broker lost what it had
//! confirmed.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The highest confirmed offset of each partition; kept over the replacement of producers.
#[derive(Debug, Default)]
pub struct OffsetWatch {
    topics: Mutex<BTreeMap<String, Vec<i64>>>,
    /// The partition that was held against its broker last.
    looked_at: Mutex<Option<(String, i32)>>,
}

/// A partition in which nothing was confirmed.
const NONE: i64 = -1;

impl OffsetWatch {
    /// Notes a confirmed offset.
    ///
    /// # Errors
    /// With the offset confirmed before, if this one is not higher. The old one is kept.
    pub fn confirmed(&self, topic: &str, partition: i32, offset: i64) -> Result<(), i64> {
        let Ok(place) = usize::try_from(partition) else { return Ok(()) };
        let mut topics = lock(&self.topics);
        let offsets = match topics.get_mut(topic) {
            Some(offsets) => offsets,
            None => topics.entry(topic.to_owned()).or_default(),
        };
        if offsets.len() <= place {
            offsets.resize(place + 1, NONE);
        }
        match offsets.get_mut(place) {
            Some(last) if *last >= offset => Err(*last),
            Some(last) => {
                *last = offset;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Every partition in which something was confirmed, with the highest offset; the first is the one after [`Self::looked_at`].
    #[must_use]
    pub fn confirmed_in_turn(&self) -> Vec<(String, i32, i64)> {
        let topics = lock(&self.topics);
        let of_topic = |(topic, offsets): (&String, &Vec<i64>)| {
            let topic = topic.clone();
            let known = offsets.clone().into_iter().zip(0..).filter(|(offset, _)| *offset != NONE);
            known.map(move |(offset, partition)| (topic.clone(), partition, offset)).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = topics.iter().flat_map(of_topic).collect();
        if let Some((topic, partition)) = &*lock(&self.looked_at) {
            let before = all.partition_point(|(name, place, _)| (name, place) <= (topic, partition));
            all.rotate_left(before);
        }
        all
    }

    /// This partition has been held against its broker.
    pub fn looked_at(&self, topic: &str, partition: i32) {
        *lock(&self.looked_at) = Some((topic.to_owned(), partition));
    }

    /// Forgets all: a person has decided to go on with what is there now.
    pub fn forget(&self) {
        lock(&self.topics).clear();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_rise_in_each_partition() {
        let watch = OffsetWatch::default();
        assert_eq!(watch.confirmed("a", 0, 0), Ok(()));
        assert_eq!(watch.confirmed("a", 0, 5), Ok(()), "others write too");
        assert_eq!(watch.confirmed("a", 2, 0), Ok(()));
        assert_eq!(watch.confirmed("b", 0, 3), Ok(()));
        assert_eq!(watch.confirmed("a", 0, 5), Err(5));
        assert_eq!(watch.confirmed("a", 0, 0), Err(5));
        assert_eq!(watch.confirmed("a", 0, 4), Err(5), "the higher one is kept");
        let all = [("a".into(), 0, 5), ("a".into(), 2, 0), ("b".into(), 0, 3)];
        assert_eq!(watch.confirmed_in_turn(), all);
        watch.looked_at("a", 1);
        let [first, second, third] = all;
        assert_eq!(watch.confirmed_in_turn(), [second.clone(), third.clone(), first.clone()]);
        watch.looked_at("b", 0);
        assert_eq!(watch.confirmed_in_turn(), [first, second, third], "round and round");
        watch.forget();
        assert_eq!(watch.confirmed("a", 0, 0), Ok(()));
        assert_eq!(watch.confirmed("a", -1, 0), Ok(()));
    }
}
