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
    /// From here to the last one it is complete: what is older was confirmed before this process began, or has been dropped.
    since: Lsn,
}

impl Commits {
    /// A ring of this capacity.
    #[must_use]
    pub const fn new(capacity: usize) -> Self {
        Self { ring: VecDeque::new(), capacity, since: Lsn::ZERO }
    }

    /// Nothing is known of what comes before this position.
    pub fn begin(&mut self, position: Lsn) {
        self.ring.clear();
        self.since = position;
    }

    /// Remembers a confirmed transaction. One that came again takes the place of itself.
    pub fn push(&mut self, transaction: Transaction) {
        while self.ring.back().is_some_and(|(lsn, _)| *lsn >= transaction.commit_lsn) {
            self.ring.pop_back();
        }
        if self.ring.len() == self.capacity
            && let Some((dropped, _)) = self.ring.pop_front()
        {
            self.since = self.since.max(Lsn::new(dropped.get() + 1));
        }
        self.ring.push_back((transaction.commit_lsn, transaction.xid));
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
        Replay { expected: self.ring.range(place..).copied().collect(), since: self.since, again: false }
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

    /// A confirmed transaction that should have come before this position.
    #[must_use]
    pub fn missing_before(&self, position: Lsn) -> Option<(Lsn, u32)> {
        self.expected.front().filter(|(commit_lsn, _)| *commit_lsn < position).copied()
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
