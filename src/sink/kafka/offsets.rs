//! The highest confirmed offsets: librdkafka does not tell that a topic was recreated or that a broker lost what it had
//! confirmed.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

/// The highest confirmed offset of each partition; kept over the replacement of producers.
#[derive(Debug, Default)]
pub struct OffsetWatch(Mutex<HashMap<String, Vec<i64>>>);

/// A partition in which nothing was confirmed.
const NONE: i64 = -1;

impl OffsetWatch {
    /// Notes a confirmed offset.
    ///
    /// # Errors
    /// With the offset confirmed before, if this one is not higher. The old one is kept.
    pub fn confirmed(&self, topic: &str, partition: i32, offset: i64) -> Result<(), i64> {
        let Ok(place) = usize::try_from(partition) else { return Ok(()) };
        let mut topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Every partition in which something was confirmed, with the highest offset.
    #[must_use]
    pub fn confirmed_so_far(&self) -> Vec<(String, i32, i64)> {
        let topics = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_topic = |(topic, offsets): (&String, &Vec<i64>)| {
            let topic = topic.clone();
            let known = offsets.clone().into_iter().zip(0..).filter(|(offset, _)| *offset != NONE);
            known.map(move |(offset, partition)| (topic.clone(), partition, offset)).collect::<Vec<_>>()
        };
        topics.iter().flat_map(of_topic).collect()
    }

    /// Forgets a topic: a person has decided to go on with the one that is there now.
    pub fn forget(&self, topic: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }
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
        let mut known = watch.confirmed_so_far();
        known.sort();
        assert_eq!(known, [("a".into(), 0, 5), ("a".into(), 2, 0), ("b".into(), 0, 3)]);
        watch.forget("a");
        assert_eq!(watch.confirmed("a", 0, 0), Ok(()));
        assert_eq!(watch.confirmed("a", -1, 0), Ok(()));
    }
}
