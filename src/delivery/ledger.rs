//! Which position may be acknowledged: the end of the last commit all of whose messages, and those of every earlier one, are confirmed.
//!
//! A transaction gets an entry with its first message. One without messages, and a keepalive, take their place in the queue by
//! moving the entry before them: memory grows only with messages that wait for Kafka.

use std::{collections::VecDeque, time::Duration};

use super::replay::Commits;
use crate::change::{Lsn, PgTimestamp, Transaction};

/// What the stream brought, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// More messages of a transaction; the first of a new sequence number opens its entry.
    Messages {
        /// Number of the transaction: one more than that of the last one with messages.
        sequence: u64,
        /// The transaction.
        transaction: Transaction,
        /// How many messages.
        count: u32,
    },
    /// The commit of the transaction with messages that is open.
    Commit {
        /// End of its commit record.
        end_lsn: Lsn,
    },
    /// A position to which nothing is left to do: a commit without messages, or a keepalive outside a transaction.
    Passed {
        /// The position.
        lsn: Lsn,
    },
}

/// Time without a confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Of the oldest transaction with unconfirmed messages.
    pub oldest: Duration,
    /// Of anything.
    pub any: Duration,
}

#[derive(Debug)]
struct Entry {
    transaction: Transaction,
    pending: u32,
    /// What may be acknowledged once this entry is done; `None` while the transaction is open.
    through: Option<Lsn>,
    /// When its first message was handed over or the last one was confirmed.
    moved: Duration,
}

/// The commits in flight.
#[derive(Debug)]
pub struct Ledger {
    first: u64,
    entries: VecDeque<Entry>,
    position: Lsn,
    /// When a message of this stream was last confirmed.
    confirmed_at: Duration,
    commits: Commits,
}

impl Ledger {
    /// An empty ledger that remembers this many confirmed transactions.
    #[must_use]
    pub fn new(remembered: usize) -> Self {
        Self {
            first: 0,
            entries: VecDeque::new(),
            position: Lsn::ZERO,
            confirmed_at: Duration::ZERO,
            commits: Commits::new(remembered),
        }
    }

    /// A stream begins at this position. What an earlier stream left open is forgotten: it comes again.
    /// Returns the sequence number of the first transaction with messages to come.
    pub fn restart(&mut self, position: Lsn) -> u64 {
        self.first += self.entries.len() as u64;
        self.entries.clear();
        if position > self.position {
            // What lies between did not pass here.
            self.commits.begin(position);
        }
        self.position = position;
        self.first
    }

    /// What was confirmed from this position on is not in the server's history any more.
    pub fn cut(&mut self, position: Lsn) {
        self.restart(self.position.min(position));
        self.commits.forget_from(position);
    }

    /// Takes what the stream brought. Must come before the messages are handed over.
    pub fn apply(&mut self, op: Op, now: Duration) {
        match op {
            Op::Messages { sequence, transaction, count } => {
                let next = self.first + self.entries.len() as u64;
                if sequence == next {
                    self.entries.push_back(Entry { transaction, pending: count, through: None, moved: now });
                } else if let Some(entry) = self.entry(sequence) {
                    if entry.pending == 0 {
                        entry.moved = now;
                    }
                    entry.pending += count;
                } else {
                    debug_assert!(false, "sequence {sequence} is neither known nor the next one, {next}");
                }
            }
            Op::Commit { end_lsn } => {
                if let Some(last) = self.entries.back_mut() {
                    last.through = Some(end_lsn);
                }
                self.settle(|_| {});
            }
            Op::Passed { lsn } => match self.entries.back_mut() {
                Some(Entry { through: Some(through), .. }) => *through = lsn.max(*through),
                // Inside an open transaction a keepalive says nothing that its commit will not say.
                Some(Entry { through: None, .. }) => {}
                None => self.position = lsn.max(self.position),
            },
        }
    }

    /// One message of this transaction is confirmed. Returns whether the position moved; `done` sees each transaction by which it
    /// did. A report of an earlier stream changes nothing.
    pub fn confirm(&mut self, sequence: u64, now: Duration, done: impl FnMut(&Transaction)) -> bool {
        let Some(entry) = self.entry(sequence) else { return false };
        debug_assert!(entry.pending > 0, "more confirmations than messages");
        entry.pending = entry.pending.saturating_sub(1);
        entry.moved = now;
        self.confirmed_at = now;
        self.settle(done)
    }

    fn entry(&mut self, sequence: u64) -> Option<&mut Entry> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(place)
    }

    fn settle(&mut self, mut done: impl FnMut(&Transaction)) -> bool {
        let mut moved = false;
        while let Some(Entry { transaction, pending: 0, through: Some(through), .. }) = self.entries.front() {
            // Commits end in their order. What is acknowledged is not taken back by a server that says otherwise.
            self.position = self.position.max(*through);
            done(transaction);
            self.commits.push(*transaction);
            self.entries.pop_front();
            self.first += 1;
            moved = true;
        }
        moved
    }

    /// The position that may be acknowledged.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// Whether nothing waits: no message is unconfirmed and no transaction with messages is open.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether all commits are confirmed: at most the open transaction is left.
    #[must_use]
    pub fn commits_settled(&self) -> bool {
        self.entries.front().is_none_or(|entry| entry.through.is_none())
    }

    /// Whether nothing older than this transaction waits for its confirmation.
    #[must_use]
    pub const fn is_oldest(&self, sequence: u64) -> bool {
        sequence <= self.first
    }

    /// How long the oldest transaction with unconfirmed messages has seen no confirmation; `None` if none waits.
    #[must_use]
    pub fn waiting(&self, now: Duration) -> Option<Waiting> {
        let entry = self.entries.iter().find(|entry| entry.pending > 0)?;
        let oldest = now.saturating_sub(entry.moved);
        Some(Waiting { oldest, any: oldest.min(now.saturating_sub(self.confirmed_at)) })
    }

    /// When the oldest unconfirmed transaction was committed.
    #[must_use]
    pub fn oldest_commit(&self) -> Option<PgTimestamp> {
        self.entries.front().map(|entry| entry.transaction.commit_time)
    }

    /// Start of the commit record of the newest transaction that has unconfirmed messages.
    #[must_use]
    pub fn newest_commit(&self) -> Option<Lsn> {
        self.entries.back().map(|entry| entry.transaction.commit_lsn)
    }

    /// The transaction with this number, while it is in flight.
    #[must_use]
    pub fn transaction(&self, sequence: u64) -> Option<Transaction> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        self.entries.get(place).map(|entry| entry.transaction)
    }

    /// The confirmed transactions that are remembered.
    #[must_use]
    pub const fn commits(&self) -> &Commits {
        &self.commits
    }

    /// Forgets which transactions were confirmed: another stream has more in them.
    pub fn forget_commits(&mut self) {
        self.commits.begin(self.position);
    }

    /// Forgets what was confirmed: the server's history is taken as it is from the next stream on.
    pub fn forget(&mut self) {
        self.cut(Lsn::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::ZERO;

    fn transaction(commit: u64) -> Transaction {
        Transaction { xid: 1, commit_lsn: Lsn::new(commit), commit_time: PgTimestamp(0) }
    }

    fn messages(ledger: &mut Ledger, sequence: u64, commit: u64, count: u32) {
        ledger.apply(Op::Messages { sequence, transaction: transaction(commit), count }, T);
    }

    fn commit(ledger: &mut Ledger, end: u64) {
        ledger.apply(Op::Commit { end_lsn: Lsn::new(end) }, T);
    }

    fn confirm(ledger: &mut Ledger, sequence: u64, now: Duration) -> bool {
        ledger.confirm(sequence, now, |_| {})
    }

    #[test]
    fn position_follows_the_contiguous_prefix() {
        let mut ledger = Ledger::new(8);
        assert_eq!(ledger.restart(Lsn::new(5)), 0);
        messages(&mut ledger, 0, 10, 2);
        commit(&mut ledger, 15);
        messages(&mut ledger, 1, 20, 1);
        commit(&mut ledger, 25);
        assert!(!confirm(&mut ledger, 1, T), "a later transaction is no prefix");
        assert!(!confirm(&mut ledger, 0, T));
        assert_eq!(ledger.position(), Lsn::new(5));
        assert!(confirm(&mut ledger, 0, T));
        assert_eq!(ledger.position(), Lsn::new(25));
        assert!(ledger.is_settled());
    }

    #[test]
    fn what_was_confirmed_without_a_namespace_is_no_measure_once_it_has_joined() {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        messages(&mut ledger, 0, 20, 1);
        commit(&mut ledger, 25);
        confirm(&mut ledger, 0, T);
        ledger.forget_commits();
        // The server has crashed, and the slot falls back to before the other namespace's transaction at 10.
        ledger.restart(Lsn::new(5));
        let mut replay = ledger.commits().replay(Lsn::new(5));
        assert_eq!(replay.judge(&transaction(10)), crate::delivery::Judgement::Deliver);
        assert_eq!(replay.judge(&transaction(20)), crate::delivery::Judgement::Deliver);
    }

    #[test]
    fn an_open_transaction_holds_the_position_even_if_all_its_messages_are_confirmed() {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        messages(&mut ledger, 0, 10, 1);
        assert!(!confirm(&mut ledger, 0, T));
        ledger.apply(Op::Passed { lsn: Lsn::new(12) }, T);
        assert_eq!(ledger.position(), Lsn::new(5), "a keepalive inside a transaction is not acknowledged");
        messages(&mut ledger, 0, 10, 1);
        commit(&mut ledger, 15);
        assert_eq!(ledger.position(), Lsn::new(5));
        confirm(&mut ledger, 0, T);
        assert_eq!(ledger.position(), Lsn::new(15));
    }

    #[test]
    fn a_keepalive_waits_for_what_came_before_it() {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        ledger.apply(Op::Passed { lsn: Lsn::new(7) }, T);
        assert_eq!(ledger.position(), Lsn::new(7), "idle: at once");
        messages(&mut ledger, 0, 10, 1);
        commit(&mut ledger, 15);
        ledger.apply(Op::Passed { lsn: Lsn::new(30) }, T);
        ledger.apply(Op::Passed { lsn: Lsn::new(20) }, T);
        assert_eq!(ledger.position(), Lsn::new(7));
        confirm(&mut ledger, 0, T);
        assert_eq!(ledger.position(), Lsn::new(30), "and never goes back");
    }

    #[test]
    fn late_reports_of_an_earlier_stream_change_nothing() {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        messages(&mut ledger, 0, 10, 2);
        commit(&mut ledger, 15);
        assert_eq!(ledger.restart(Lsn::new(5)), 1);
        messages(&mut ledger, 1, 10, 2);
        commit(&mut ledger, 15);
        assert!(!confirm(&mut ledger, 0, T));
        assert!(!confirm(&mut ledger, 0, T));
        assert_eq!(ledger.position(), Lsn::new(5));
        confirm(&mut ledger, 1, T);
        assert!(confirm(&mut ledger, 1, T));
    }

    #[test]
    fn memory_does_not_grow_with_empty_transactions() {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        messages(&mut ledger, 0, 10, 1);
        commit(&mut ledger, 15);
        for lsn in 16..10_000 {
            ledger.apply(Op::Passed { lsn: Lsn::new(lsn) }, T);
        }
        assert_eq!(ledger.entries.len(), 1);
    }

    #[test]
    fn waiting_is_the_time_without_a_confirmation_of_the_oldest() {
        let seconds = Duration::from_secs;
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        let waiting = |ledger: &Ledger, now| ledger.waiting(seconds(now)).map(|w| (w.oldest, w.any));
        assert_eq!(waiting(&ledger, 9), None);
        ledger.apply(Op::Messages { sequence: 0, transaction: transaction(10), count: 3 }, seconds(1));
        ledger.apply(Op::Messages { sequence: 1, transaction: transaction(20), count: 1 }, seconds(2));
        assert_eq!(waiting(&ledger, 9), Some((seconds(8), seconds(8))));
        confirm(&mut ledger, 1, seconds(9));
        assert_eq!(waiting(&ledger, 10), Some((seconds(9), seconds(1))), "progress of another does not hide it");
        confirm(&mut ledger, 0, seconds(11));
        assert_eq!(waiting(&ledger, 13), Some((seconds(2), seconds(2))));
    }
}
