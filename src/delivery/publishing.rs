//! What keeps the records of a key in order on their way from a publisher to its producer.

use std::sync::atomic::{AtomicU64, Ordering};

use super::ledger::Ledger;
use crate::change::{Class, Lsn, Topic};

/// The records of one namespace in one session.
#[derive(Debug, Default)]
pub struct Lane {
    /// The partitions that records are placed by now, of the eventsink and the lifecycle topic.
    placed_by: [i32; 2],
    refused: bool,
}

impl Lane {
    /// Whether records may be handed over.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.refused
    }

    /// A record was not handed over, whatever the reason: nothing may be handed over behind it.
    pub const fn refuse(&mut self) {
        self.refused = true;
    }

    /// The partitions by which a record is placed. After some were added, that is the new number only when nothing placed by the old
    /// one is unsettled: a key may move to another partition, and its records must stay in order. Until then there is no room.
    pub fn partitions(&mut self, topic: Topic, latest: i32, in_flight: impl FnOnce() -> usize) -> Option<i32> {
        let [eventsink, lifecycle] = &mut self.placed_by;
        let current = match topic {
            Topic::Eventsink => eventsink,
            Topic::Lifecycle => lifecycle,
        };
        if *current != latest {
            if *current != 0 && in_flight() > 0 {
                return None;
            }
            *current = latest;
        }
        Some(latest)
    }
}

/// Up to where records are sent one at a time: a refusal for size names a batch, and only alone the culprit is found.
#[derive(Debug, Default)]
pub struct Alone(AtomicU64);

impl Alone {
    /// A batch was refused for its size: whatever is in flight is suspect.
    pub fn suspect(&self, ledger: &Ledger) {
        if let Some(newest) = ledger.newest_commit() {
            self.0.store(newest.get(), Ordering::Release);
        }
    }

    /// Whether records are to be sent one at a time now.
    pub fn holds(&self, confirmed: Lsn) -> bool {
        let until = self.0.load(Ordering::Acquire);
        if until != 0 && confirmed.get() > until {
            // For good, although a slot that falls back has its confirmed position there again. Unless there is a new suspicion.
            let _newer = self.0.compare_exchange(until, 0, Ordering::AcqRel, Ordering::Acquire);
        }
        until != 0 && confirmed.get() <= until
    }

    /// Whether the record that was sent alone is what its producer refuses for its size. `first`: no other was given up before it.
    #[must_use]
    pub fn is_culprit(failure: Class, first: bool) -> bool {
        failure == Class::MessageTooLarge && first
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        change::{PgTimestamp, Transaction},
        delivery::Op,
    };

    #[test]
    fn a_new_number_of_partitions_waits_for_what_was_placed_by_the_old_one() {
        let mut lane = Lane::default();
        assert_eq!(lane.partitions(Topic::Eventsink, 4, || 9), Some(4), "nothing of this session is placed yet");
        assert_eq!(lane.partitions(Topic::Eventsink, 4, || 9), Some(4));
        assert_eq!(lane.partitions(Topic::Lifecycle, 8, || 9), Some(8), "each topic has its own");
        assert_eq!(lane.partitions(Topic::Eventsink, 5, || 1), None);
        assert_eq!(lane.partitions(Topic::Eventsink, 5, || 0), Some(5));
        assert_eq!(lane.partitions(Topic::Eventsink, 5, || 1), Some(5));
    }

    #[test]
    fn nothing_is_handed_over_behind_a_refusal() {
        let mut lane = Lane::default();
        assert!(lane.is_open());
        lane.refuse();
        assert!(!lane.is_open());
    }

    #[test]
    fn what_was_in_flight_is_sent_alone_once() {
        let (alone, mut ledger) = (Alone::default(), Ledger::new(8));
        alone.suspect(&ledger);
        assert!(!alone.holds(Lsn::ZERO), "nothing is in flight");
        ledger.restart(Lsn::new(5));
        let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(10), commit_time: PgTimestamp(0) };
        ledger.apply(Op::Messages { sequence: 0, transaction, count: 1 }, Duration::ZERO);
        alone.suspect(&ledger);
        assert!(alone.holds(Lsn::new(5)) && alone.holds(Lsn::new(10)));
        assert!(!alone.holds(Lsn::new(15)));
        assert!(!alone.holds(Lsn::new(5)), "not again");
    }

    #[test]
    fn only_what_is_refused_first_and_for_its_size_is_the_culprit() {
        assert!(Alone::is_culprit(Class::MessageTooLarge, true));
        assert!(!Alone::is_culprit(Class::MessageTooLarge, false));
        assert!(!Alone::is_culprit(Class::SendFailed, true));
    }
}
