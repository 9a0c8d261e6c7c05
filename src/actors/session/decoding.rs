//! From the stream's messages to records and ledger operations: what is between two hand-overs.

use std::sync::Arc;

use crate::{
    actors::{failpoint::failpoint, parcel::Parcel, shared::SlotShared},
    change::{Class, Lsn, PgTimestamp, Transaction, Trouble},
    delivery::{Judgement, Op, Replay},
    pgoutput::{self, Message},
    pipeline::{Announced, Batch, Pipeline},
};

/// The transaction that is open.
struct Open {
    transaction: Transaction,
    judgement: Judgement,
    /// Messages since the last hand-over.
    fresh: u32,
    /// Whether it has any message.
    messages: bool,
}

/// Decodes one session's messages.
pub(super) struct Decoding {
    shared: Arc<SlotShared>,
    pipeline: Pipeline,
    replay: Replay,
    open: Option<Open>,
    /// When the newest transaction was committed of which there was something since this was last asked for.
    newest_commit: Option<PgTimestamp>,
    next_sequence: u64,
    ops: Vec<Op>,
    charged: Charged,
}

/// Credits of records that are in no parcel yet; given back if the session ends before.
struct Charged {
    shared: Arc<SlotShared>,
    bytes: usize,
}

impl Drop for Charged {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.shared.account.release(self.bytes);
        }
    }
}

impl Decoding {
    pub(super) fn new(shared: &Arc<SlotShared>, pipeline: Pipeline) -> Self {
        Self {
            shared: Arc::clone(shared),
            pipeline,
            replay: Replay::default(),
            open: None,
            newest_commit: None,
            next_sequence: 0,
            ops: Vec::new(),
            charged: Charged { shared: Arc::clone(shared), bytes: 0 },
        }
    }

    /// The stream begins at the slot's confirmed position.
    pub(super) fn begin_at(&mut self, position: Lsn) {
        let mut ledger = self.shared.ledger();
        self.next_sequence = ledger.restart(position);
        self.replay = ledger.commits().replay(position);
    }

    /// Whether a transaction is open of which messages exist.
    pub(super) fn is_inside(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.messages)
    }

    /// When the newest transaction was committed of which something came since the last call; `None` if nothing did.
    pub(super) fn newest_commit(&mut self) -> Option<PgTimestamp> {
        let newest = self.newest_commit.take();
        self.open.as_ref().map(|open| open.transaction.commit_time).or(newest)
    }

    /// A keepalive: everything before it has been sent.
    pub(super) fn keepalive(&mut self, wal_end: Lsn) {
        if self.open.is_none() {
            self.passed(wal_end);
        }
    }

    fn passed(&mut self, lsn: Lsn) {
        if let Some(Op::Passed { lsn: last }) = self.ops.last_mut() {
            *last = lsn.max(*last);
        } else {
            self.ops.push(Op::Passed { lsn });
        }
    }

    /// Takes one message. Returns the end of a transaction, if it was one.
    pub(super) fn message(&mut self, lsn: Lsn, payload: &[u8]) -> Result<Option<Lsn>, Trouble> {
        match pgoutput::decode(payload).map_err(|error| self.undecodable(lsn, &error))? {
            Message::Begin(transaction) => self.begin(transaction)?,
            Message::Change { relation, change } => {
                let Some(open) = self.open.as_mut() else {
                    return Err(self.misplaced(lsn, "a change"));
                };
                if open.judgement == Judgement::Skip {
                    return Ok(None);
                }
                let made = self.pipeline.change(lsn, relation, &change, self.next_sequence);
                if let Some((namespace, bytes)) = made? {
                    if open.judgement == Judgement::Unexpected {
                        return Err(unexpected(&self.shared.slot.name, &open.transaction));
                    }
                    open.fresh += 1;
                    open.messages = true;
                    let cost = self.shared.cost(namespace, bytes);
                    self.shared.account.charge(cost);
                    self.charged.bytes += cost;
                }
            }
            Message::Commit { end_lsn, .. } => {
                let Some(open) = self.open.take() else {
                    return Err(self.misplaced(lsn, "a commit"));
                };
                failpoint("session");
                self.push_fresh(&open);
                if open.messages {
                    self.ops.push(Op::Commit { end_lsn });
                    self.next_sequence += 1;
                } else {
                    self.passed(end_lsn);
                }
                return Ok(Some(end_lsn));
            }
            Message::Relation(relation) => {
                let announced = self.pipeline.relation(&relation).map_err(|trouble| self.since(trouble))?;
                if announced == Announced::Foreign {
                    self.log_ignored(&format!("table \"{}\".\"{}\"", relation.schema, relation.name));
                }
            }
            Message::Truncate { relations, .. } => {
                for oid in relations.oids() {
                    let table = self.pipeline.table(oid).unwrap_or("of another owner");
                    self.log_ignored(&format!("TRUNCATE of table \"{table}\""));
                }
            }
            Message::Origin { .. } | Message::Type { .. } | Message::LogicalMessage { .. } => {}
        }
        Ok(None)
    }

    fn begin(&mut self, transaction: Transaction) -> Result<(), Trouble> {
        let judgement = self.replay.judge(&transaction);
        if let Judgement::Contradiction { commit_lsn, xid } = judgement {
            return Err(contradiction(&self.shared.slot.name, &transaction, commit_lsn, xid));
        }
        self.pipeline.begin(transaction);
        self.newest_commit = Some(transaction.commit_time);
        self.open = Some(Open { transaction, judgement, fresh: 0, messages: false });
        Ok(())
    }

    fn push_fresh(&mut self, open: &Open) {
        if open.fresh > 0 {
            let Open { transaction, fresh, .. } = *open;
            self.ops.push(Op::Messages { sequence: self.next_sequence, transaction, count: fresh });
        }
    }

    /// Enters what was decoded into the ledger and returns the parcels for the publishers: this order, because a confirmation
    /// may come before the hand-over returns.
    pub(super) fn hand_over(&mut self) -> Vec<(usize, Parcel)> {
        if let Some(mut open) = self.open.take() {
            self.push_fresh(&open);
            open.fresh = 0;
            self.open = Some(open);
        }
        if !self.ops.is_empty() {
            let now = self.shared.now();
            let mut ledger = self.shared.ledger();
            for op in self.ops.drain(..) {
                ledger.apply(op, now);
            }
            self.shared.status.confirmed.set(ledger.position());
        }
        let (shared, charged) = (&self.shared, &mut self.charged);
        let parcels = self.pipeline.take().map(|(namespace, batch)| {
            let held = cost(shared, namespace, &batch);
            charged.bytes -= held;
            (namespace, Parcel::new(batch, Arc::clone(shared), held))
        });
        parcels.collect()
    }

    fn log_ignored(&self, what: &str) {
        let (database, slot) = (&self.shared.database.name, &self.shared.slot.name);
        tracing::info!(database, slot, "{what} means nothing to a namespace of this slot and is ignored");
    }

    /// Adds from where on a table is wrong.
    fn since(&self, trouble: Trouble) -> Trouble {
        let good = self.shared.ledger().position();
        Trouble { message: format!("{}; last known to be right at LSN {good}", trouble.message), ..trouble }
    }

    fn misplaced(&self, lsn: Lsn, what: &str) -> Trouble {
        self.undecodable(lsn, &format!("{what} outside a transaction"))
    }

    fn undecodable(&self, lsn: Lsn, error: &dyn std::fmt::Display) -> Trouble {
        Trouble::new(
            Class::Undecodable,
            format!("slot \"{}\": a message at LSN {lsn} cannot be decoded: {error}", self.shared.slot.name),
            "this is a defect of this program or of the server: report it with both versions; resume the slot to try again",
        )
    }
}

fn cost(shared: &SlotShared, namespace: usize, batch: &Batch) -> usize {
    batch.bytes() + batch.len() * shared.cost(namespace, 0)
}

fn contradiction(slot: &str, transaction: &Transaction, commit_lsn: Lsn, xid: u32) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!(
            "slot \"{slot}\": PostgreSQL sends transaction {} with commit LSN {} where transaction {xid} with commit LSN \
             {commit_lsn} was confirmed already: its history is another one now",
            transaction.xid, transaction.commit_lsn
        ),
        "find out what was done to the server (a restored backup?) and which rows Kafka has that it has not; then resume the \
         slot to go on from where it stands",
    )
}

fn unexpected(slot: &str, transaction: &Transaction) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!(
            "slot \"{slot}\": PostgreSQL sends transaction {} with commit LSN {} among transactions that were confirmed \
             already, but it was not there before: its history is another one now",
            transaction.xid, transaction.commit_lsn
        ),
        "find out what was done to the server (a restored backup?) and which rows Kafka has that it has not; then resume the \
         slot to go on from where it stands",
    )
}
