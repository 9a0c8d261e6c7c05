//! What the stream brings, on its way into the ledger: transactions are judged, messages counted, and what lies between two
//! hand-overs becomes the ledger's operations.

use std::time::Duration;

use super::{
    ledger::{Ledger, Op},
    replay::{Judgement, Replay},
};
use crate::change::{Lsn, Transaction};

/// The transaction that is open.
#[derive(Debug)]
struct Open {
    transaction: Transaction,
    judgement: Judgement,
    /// Messages since the last hand-over.
    fresh: u32,
    /// Whether it has any message.
    messages: bool,
}

/// The stream must not be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Something came where it cannot stand.
    Misplaced(&'static str),
    /// A transaction with messages lies among confirmed ones and is none of them.
    Unexpected(Transaction),
    /// A confirmed transaction should have come before this place, and did not.
    Missing {
        /// Where the stream is now.
        at: Lsn,
        /// Start of its commit record.
        commit_lsn: Lsn,
        /// Its transaction id.
        xid: u32,
    },
}

/// The transactions of one session.
#[derive(Debug)]
pub struct Intake {
    replay: Replay,
    open: Option<Open>,
    next: u64,
    ops: Vec<Op>,
}

impl Intake {
    /// The stream begins at the slot's confirmed position.
    pub fn begin_at(position: Lsn, ledger: &mut Ledger) -> Self {
        let next = ledger.restart(position);
        Self { replay: ledger.commits().replay(position), open: None, next, ops: Vec::new() }
    }

    /// Whether a transaction is open of which messages exist.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.messages)
    }

    /// The number under which the ledger knows the messages of the open transaction.
    #[must_use]
    pub const fn sequence(&self) -> u64 {
        self.next
    }

    /// A keepalive: everything before it has been sent.
    ///
    /// # Errors
    /// If a confirmed transaction should have come before it.
    pub fn keepalive(&mut self, wal_end: Lsn) -> Result<(), Fault> {
        if self.open.is_none() {
            if let Some((commit_lsn, xid)) = self.replay.missing_before(wal_end) {
                return Err(Fault::Missing { at: wal_end, commit_lsn, xid });
            }
            self.passed(wal_end);
        }
        Ok(())
    }

    /// A transaction begins.
    ///
    /// # Errors
    /// If another one is open, or a confirmed one should have come before it.
    pub fn begin(&mut self, transaction: Transaction) -> Result<(), Fault> {
        if self.open.is_some() {
            return Err(Fault::Misplaced("a transaction inside a transaction"));
        }
        let judgement = self.replay.judge(&transaction);
        if let Judgement::Contradiction { commit_lsn, xid } = judgement {
            return Err(Fault::Missing { at: transaction.commit_lsn, commit_lsn, xid });
        }
        self.open = Some(Open { transaction, judgement, fresh: 0, messages: false });
        Ok(())
    }

    /// A change: what is done with those of its transaction.
    ///
    /// # Errors
    /// If no transaction is open.
    pub fn change(&self) -> Result<Judgement, Fault> {
        self.open.as_ref().map(|open| open.judgement).ok_or(Fault::Misplaced("a change outside a transaction"))
    }

    /// The change is a message.
    ///
    /// # Errors
    /// If it must not be delivered: nothing is counted then.
    pub fn message(&mut self) -> Result<(), Fault> {
        match self.open.as_mut() {
            Some(open) if open.judgement == Judgement::Deliver => {
                open.fresh += 1;
                open.messages = true;
                Ok(())
            }
            Some(open) => Err(Fault::Unexpected(open.transaction)),
            None => Err(Fault::Misplaced("a message outside a transaction")),
        }
    }

    /// The transaction is over.
    ///
    /// # Errors
    /// If none is open, or another one.
    pub fn commit(&mut self, commit_lsn: Lsn, end_lsn: Lsn) -> Result<(), Fault> {
        // Another one stays open: its messages are on their way, and the ledger must know them.
        let open = self.open.take_if(|open| open.transaction.commit_lsn == commit_lsn);
        let Some(open) = open else { return Err(Fault::Misplaced("a commit of no open transaction")) };
        self.push_fresh(&open);
        if open.messages {
            self.ops.push(Op::Commit { end_lsn });
            self.next += 1;
        } else {
            self.passed(end_lsn);
        }
        Ok(())
    }

    /// Enters everything so far into the ledger. Must come before the messages are handed over, because a confirmation may come
    /// before the hand-over returns. Returns whether there was anything.
    pub fn enter(&mut self, ledger: &mut Ledger, now: Duration) -> bool {
        if let Some(mut open) = self.open.take() {
            self.push_fresh(&open);
            open.fresh = 0;
            self.open = Some(open);
        }
        let any = !self.ops.is_empty();
        for op in self.ops.drain(..) {
            ledger.apply(op, now);
        }
        any
    }

    fn passed(&mut self, lsn: Lsn) {
        if let Some(Op::Passed { lsn: last }) = self.ops.last_mut() {
            *last = lsn.max(*last);
        } else {
            self.ops.push(Op::Passed { lsn });
        }
    }

    fn push_fresh(&mut self, open: &Open) {
        if open.fresh > 0 {
            let Open { transaction, fresh, .. } = *open;
            self.ops.push(Op::Messages { sequence: self.next, transaction, count: fresh });
        }
    }
}
