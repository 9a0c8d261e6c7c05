//! What is done with transactions that come again.
//!
//! PostgreSQL does not make each acknowledgement durable: after its crash the slot falls back and sends confirmed transactions
//! again. One is skipped only if this process remembers exactly that one. The positions of our own are never given to
//! START_REPLICATION, because the server would then skip in silence, also on a history that is not ours any more.

use std::collections::VecDeque;

use crate::change::{Lsn, Transaction};

/// Start of the commit record and transaction id: together they name a transaction of one history.
type Commit = (Lsn, u32);

/// The last confirmed transactions, a bounded ring.
#[derive(Debug)]
pub struct Commits {
    ring: VecDeque<Commit>,
    capacity: usize,
    /// From here on all confirmed transactions are in the ring; those before it were dropped, or confirmed by an earlier process.
    /// `None` before the first stream.
    since: Option<Lsn>,
}

impl Commits {
    /// A ring of this capacity.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { ring: VecDeque::new(), capacity, since: None }
    }

    /// A stream begins at this position. If it is the first one, nothing before it is known.
    pub fn begin(&mut self, position: Lsn) {
        self.since.get_or_insert(position);
    }

    /// Remembers a confirmed transaction. One that came again takes the place of itself.
    pub fn push(&mut self, transaction: Transaction) {
        while self.ring.back().is_some_and(|(lsn, _)| *lsn >= transaction.commit_lsn) {
            self.ring.pop_back();
        }
        self.ring.push_back((transaction.commit_lsn, transaction.xid));
        // An unknown one that came again is known now.
        self.since = self.since.map(|since| since.min(transaction.commit_lsn));
        if self.ring.len() > self.capacity {
            self.ring.pop_front();
            self.since = self.ring.front().map(|(lsn, _)| *lsn);
        }
    }

    /// Forgets everything, as if no stream had been.
    pub fn forget(&mut self) {
        *self = Self::new(self.capacity);
    }

    /// Forgets those whose commit record begins at or after `lsn`.
    pub fn forget_from(&mut self, lsn: Lsn) {
        while self.ring.back().is_some_and(|(commit, _)| *commit >= lsn) {
            self.ring.pop_back();
        }
    }

    /// Start of the last confirmed commit record.
    #[must_use]
    pub fn last(&self) -> Option<Lsn> {
        self.ring.back().map(|(lsn, _)| *lsn)
    }

    /// What to expect of a stream that begins at the slot's confirmed position: PostgreSQL sends every transaction whose commit
    /// record does not begin before it.
    #[must_use]
    pub fn replay(&self, slot: Lsn) -> Replay {
        let place = self.ring.partition_point(|(lsn, _)| *lsn < slot);
        Replay {
            expected: self.ring.range(place..).copied().collect(),
            since: self.since.unwrap_or(Lsn::ZERO),
            again: false,
        }
    }
}

/// What to do with a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Deliver it.
    Deliver,
    /// It is confirmed already: skip it.
    Skip,
    /// It lies among confirmed ones but is none of them. Without messages it does not matter; with one, history has changed.
    Unexpected,
    /// History has changed: this confirmed transaction should have come at this place.
    Contradiction {
        /// Start of its commit record.
        commit_lsn: Lsn,
        /// Its transaction id.
        xid: u32,
    },
}

/// Judges the transactions of a stream until it has passed what is confirmed already.
#[derive(Debug, Default)]
pub struct Replay {
    expected: VecDeque<Commit>,
    since: Lsn,
    again: bool,
}

impl Replay {
    /// Judges the next transaction of the stream.
    ///
    /// If one that is too old to be remembered comes again, all later ones do as well: a repeat is a contiguous suffix.
    pub fn judge(&mut self, transaction: &Transaction) -> Judgement {
        let Some(&(commit_lsn, xid)) = self.expected.front() else { return Judgement::Deliver };
        if transaction.commit_lsn == commit_lsn && transaction.xid == xid {
            self.expected.pop_front();
            return if self.again { Judgement::Deliver } else { Judgement::Skip };
        }
        if transaction.commit_lsn < commit_lsn {
            if transaction.commit_lsn < self.since {
                self.again = true;
                return Judgement::Deliver;
            }
            return Judgement::Unexpected;
        }
        Judgement::Contradiction { commit_lsn, xid }
    }

    /// Whether confirmed transactions are still expected.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.expected.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::PgTimestamp;

    fn transaction(commit: u64, xid: u32) -> Transaction {
        Transaction { xid, commit_lsn: Lsn::new(commit), commit_time: PgTimestamp(0) }
    }

    fn commits(capacity: usize, list: &[(u64, u32)]) -> Commits {
        let mut commits = Commits::new(capacity);
        for (lsn, xid) in list {
            commits.push(transaction(*lsn, *xid));
        }
        commits
    }

    #[test]
    fn only_exactly_the_remembered_ones_are_skipped() {
        let mut replay = commits(8, &[(10, 1), (20, 2), (30, 3)]).replay(Lsn::new(15));
        assert_eq!(replay.judge(&transaction(20, 2)), Judgement::Skip);
        assert_eq!(replay.judge(&transaction(30, 3)), Judgement::Skip);
        assert!(replay.is_over());
        assert_eq!(replay.judge(&transaction(40, 4)), Judgement::Deliver);
    }

    #[test]
    fn another_transaction_in_the_same_place_contradicts() {
        let mut replay = commits(8, &[(10, 1), (20, 2)]).replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(10, 1)), Judgement::Skip);
        assert_eq!(replay.judge(&transaction(20, 9)), Judgement::Contradiction { commit_lsn: Lsn::new(20), xid: 2 });
    }

    #[test]
    fn a_confirmed_transaction_that_does_not_come_contradicts() {
        let mut replay = commits(8, &[(10, 1), (20, 2)]).replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(30, 3)), Judgement::Contradiction { commit_lsn: Lsn::new(10), xid: 1 });
        assert_eq!(replay.judge(&transaction(8, 3)), Judgement::Unexpected);
    }

    #[test]
    fn what_is_too_old_to_be_remembered_comes_again_with_all_after_it() {
        let mut replay = commits(2, &[(10, 1), (20, 2), (30, 3)]).replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(10, 1)), Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(20, 2)), Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(30, 3)), Judgement::Deliver);
    }

    #[test]
    fn what_an_earlier_process_had_confirmed_comes_again_with_all_after_it() {
        // This process began at 25; the server crashed and fell back to 5.
        let mut ring = Commits::new(8);
        ring.begin(Lsn::new(25));
        for (lsn, xid) in [(30, 3), (40, 4)] {
            ring.push(transaction(lsn, xid));
        }
        let mut replay = ring.replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(10, 1)), Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(20, 2)), Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(30, 3)), Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(35, 9)), Judgement::Unexpected, "from 25 on all are known");
        // The connection is lost when two are confirmed again, and the server falls back once more.
        ring.push(transaction(10, 1));
        ring.push(transaction(20, 2));
        let mut replay = ring.replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(10, 1)), Judgement::Skip);
        assert_eq!(replay.judge(&transaction(15, 9)), Judgement::Unexpected);
        assert_eq!(replay.judge(&transaction(20, 2)), Judgement::Skip);
        assert_eq!(replay.judge(&transaction(30, 3)), Judgement::Deliver);
    }

    #[test]
    fn a_slot_that_has_not_fallen_back_that_far_skips() {
        let mut ring = Commits::new(8);
        ring.begin(Lsn::new(25));
        ring.push(transaction(30, 3));
        assert_eq!(
            ring.replay(Lsn::new(5)).judge(&transaction(30, 3)),
            Judgement::Skip,
            "nothing else came in between"
        );
    }

    #[test]
    fn a_fork_forgets_what_came_after_it() {
        let mut ring = commits(8, &[(10, 1), (20, 2), (30, 3)]);
        ring.forget_from(Lsn::new(20));
        assert_eq!(ring.last(), Some(Lsn::new(10)));
        assert!(ring.replay(Lsn::new(15)).is_over());
    }

    #[test]
    fn one_that_was_delivered_again_stands_once() {
        let mut ring = commits(8, &[(10, 1), (20, 2), (30, 3)]);
        ring.push(transaction(20, 2));
        assert_eq!(ring.last(), Some(Lsn::new(20)));
    }
}
