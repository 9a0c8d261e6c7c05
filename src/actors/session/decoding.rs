//! From the stream's messages to records and ledger operations: what is between two hand-overs.

use std::sync::Arc;

use crate::{
    actors::{failpoint::failpoint, parcel::Parcel, shared::SlotShared},
    change::{Class, Lsn, PgTimestamp, Transaction, Trouble},
    delivery::{Fault, Intake, Judgement},
    pgoutput::{self, Message},
    pipeline::{Announced, Batch, Pipeline},
};

/// Decodes one session's messages.
pub(super) struct Decoding {
    shared: Arc<SlotShared>,
    pipeline: Pipeline,
    /// Since the stream has begun.
    intake: Option<Intake>,
    /// When the newest transaction was committed.
    commit_time: Option<PgTimestamp>,
    /// What the records take that are in no parcel yet. Charged at the hand-over: each access to the account is one that the
    /// thread of the confirmations may have to wait for.
    uncharged: usize,
}

impl Decoding {
    pub(super) fn new(shared: &Arc<SlotShared>, pipeline: Pipeline) -> Self {
        Self { shared: Arc::clone(shared), pipeline, intake: None, commit_time: None, uncharged: 0 }
    }

    /// The stream begins at the slot's confirmed position.
    pub(super) fn begin_at(&mut self, position: Lsn) {
        self.intake = Some(Intake::begin_at(position, &mut self.shared.ledger()));
    }

    /// Where the transaction that this message begins was committed.
    pub(super) fn first(payload: &[u8]) -> Option<Lsn> {
        match pgoutput::decode(payload) {
            Ok(Message::Begin(transaction)) => Some(transaction.commit_lsn),
            _ => None,
        }
    }

    /// Whether the stream has begun.
    pub(super) const fn has_begun(&self) -> bool {
        self.intake.is_some()
    }

    /// Whether a transaction is open of which messages exist.
    pub(super) fn is_inside(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_inside)
    }

    /// When the transaction was committed that was begun last, by the server's clock.
    pub(super) const fn commit_time(&self) -> Option<PgTimestamp> {
        self.commit_time
    }

    /// Bytes of credit that what waits for the next hand-over will take.
    pub(super) const fn uncharged(&self) -> usize {
        self.uncharged
    }

    /// A keepalive: everything before it has been sent.
    pub(super) fn keepalive(&mut self, wal_end: Lsn) -> Result<(), Trouble> {
        match &mut self.intake {
            Some(intake) => intake.keepalive(wal_end).map_err(|fault| self.fault(wal_end, fault)),
            None => Ok(()),
        }
    }

    /// Takes one message. Returns the end of a transaction, if it was one.
    pub(super) fn message(&mut self, lsn: Lsn, payload: &[u8]) -> Result<Option<Lsn>, Trouble> {
        let message = pgoutput::decode(payload).map_err(|error| self.undecodable(lsn, &error))?;
        let Some(intake) = &mut self.intake else {
            return Err(self.undecodable(lsn, &"it comes before the keepalive that begins a stream"));
        };
        let taken = match message {
            Message::Begin(transaction) => {
                self.pipeline.begin(transaction);
                self.commit_time = Some(transaction.commit_time);
                intake.begin(transaction)
            }
            Message::Change { relation, change } => match intake.change() {
                Ok(Judgement::Deliver) => {
                    let Some((namespace, bytes)) = self.pipeline.change(lsn, relation, &change, intake.sequence())?
                    else {
                        return Ok(None);
                    };
                    self.uncharged += self.shared.cost(namespace, bytes);
                    intake.message()
                }
                Ok(Judgement::Unexpected) if self.pipeline.is_message(relation, &change) => intake.message(),
                Ok(Judgement::Unexpected | Judgement::Skip | Judgement::Contradiction { .. }) => Ok(()),
                Err(fault) => Err(fault),
            },
            Message::Commit { commit_lsn, end_lsn, .. } => {
                failpoint("session");
                return match intake.commit(commit_lsn, end_lsn) {
                    Ok(()) => Ok(Some(end_lsn)),
                    Err(fault) => Err(self.fault(lsn, fault)),
                };
            }
            Message::Relation(relation) => {
                let announced = self.pipeline.relation(&relation).map_err(|trouble| self.since(trouble))?;
                if announced == Announced::Foreign {
                    self.log_ignored(&format!("table \"{}\".\"{}\"", relation.schema, relation.name));
                }
                Ok(())
            }
            Message::Truncate { relations, .. } => {
                for oid in relations.oids() {
                    let table = self.pipeline.table(oid).unwrap_or("of another owner");
                    self.log_ignored(&format!("TRUNCATE of table \"{table}\""));
                }
                Ok(())
            }
            Message::Origin { .. } | Message::Type { .. } | Message::LogicalMessage { .. } => Ok(()),
        };
        taken.map(|()| None).map_err(|fault| self.fault(lsn, fault))
    }

    /// Enters what was decoded into the ledger and returns the parcels for the publishers, in this order.
    pub(super) fn hand_over(&mut self) -> Vec<(usize, Parcel)> {
        if let Some(intake) = &mut self.intake {
            let mut ledger = self.shared.ledger();
            if intake.enter(&mut ledger, self.shared.now()) {
                self.shared.status.confirmed.set(ledger.position());
            }
        }
        let shared = &self.shared;
        shared.account.charge(self.uncharged);
        let parcels: Vec<_> = self
            .pipeline
            .take()
            .map(|(namespace, batch)| {
                let held = cost(shared, namespace, &batch);
                self.uncharged -= held;
                (namespace, Parcel::new(batch, Arc::clone(shared), held))
            })
            .collect();
        debug_assert_eq!(self.uncharged, 0, "every record is in a parcel");
        parcels
    }

    fn log_ignored(&self, what: &str) {
        let (database, slot) = (&self.shared.database.name, &self.shared.slot.name);
        tracing::info!(database, slot, "{what} means nothing to a namespace of this slot and is ignored");
    }

    fn fault(&self, lsn: Lsn, fault: Fault) -> Trouble {
        let slot = &self.shared.slot.name;
        match fault {
            Fault::Misplaced(what) => self.undecodable(lsn, &what),
            Fault::Unexpected(Transaction { xid, commit_lsn, .. }) => changed(&format!(
                "slot \"{slot}\": PostgreSQL sends transaction {xid} with commit LSN {commit_lsn} among transactions that \
                 were confirmed already, but it was not there before"
            )),
            Fault::Missing { at, commit_lsn, xid } => changed(&format!(
                "slot \"{slot}\": PostgreSQL has come to LSN {at} without transaction {xid} with commit LSN {commit_lsn}, \
                 which was confirmed already"
            )),
        }
    }

    /// Adds from where on a table is wrong.
    fn since(&self, trouble: Trouble) -> Trouble {
        let good = self.shared.ledger().position();
        Trouble { message: format!("{}; last known to be right at LSN {good}", trouble.message), ..trouble }
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

fn changed(what: &str) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!("{what}: the server's history is another one now"),
        "find out what was done to the server (a restored backup?) and which rows Kafka has that it has not; then resume the \
         slot to go on from where it stands",
    )
}
