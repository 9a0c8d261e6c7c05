//! From a change to a record: which namespace it belongs to, what it means there, and its bytes.
//!
//! Pure. Knows sources and encodings only by their traits; must not know where records go.

mod batch;

use std::collections::{BTreeMap, HashMap};

use self::batch::Size;
pub use self::batch::{Batch, Position, Record};

use crate::{
    change::{Change, Class, InvalidRow, Lsn, Relation, Token, Transaction, Trouble},
    encoding::Encoder,
    source::{Source, Table},
};

/// A namespace with what its tables mean and how its messages are written.
pub struct Line {
    /// The namespace.
    pub namespace: String,
    /// What its tables mean.
    pub source: Box<dyn Source>,
    /// How its messages are written.
    pub encoder: Box<dyn Encoder>,
}

/// Bytes that all open batches together may reserve beforehand.
const ROOM: usize = 1024 * 1024;

struct Lane {
    line: Line,
    batch: Batch,
    /// The last batch: the next one is mostly like it.
    last: Size,
    /// The transaction that `ordinal` counts in.
    counted: u64,
    ordinal: u32,
}

enum Bound {
    Ours { lane: usize, table: Box<dyn Table>, name: String },
    Foreign,
}

/// What a Relation message was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announced {
    /// A table of a namespace.
    Ours,
    /// A table that the stream need not carry; its changes are ignored.
    Foreign,
}

/// Turns the changes of one session into batches of records, one open batch per namespace.
pub struct Pipeline {
    lanes: Vec<Lane>,
    tables: HashMap<String, usize>,
    /// By OID. Looked into for each row: hashing one would cost more than a few comparisons.
    relations: BTreeMap<u32, Bound>,
    filled: Vec<usize>,
    /// What is left of [`ROOM`].
    room: usize,
    transaction: Option<Transaction>,
    transactions: u64,
}

impl Pipeline {
    /// A pipeline of these namespaces; their place here is the namespace's number in tokens.
    #[must_use]
    pub fn new(lines: Vec<Line>) -> Self {
        let mut tables = HashMap::new();
        for (number, line) in lines.iter().enumerate() {
            tables.extend(line.source.tables().into_iter().map(|table| (table, number)));
        }
        let lane = |line| Lane { line, batch: Batch::default(), last: Size::default(), counted: 0, ordinal: 0 };
        Self {
            lanes: lines.into_iter().map(lane).collect(),
            tables,
            relations: BTreeMap::new(),
            filled: Vec::new(),
            room: ROOM,
            transaction: None,
            transactions: 0,
        }
    }

    /// A table's shape from here on.
    ///
    /// # Errors
    /// If a namespace's table has not the columns or the replica identity that its messages need.
    pub fn relation(&mut self, relation: &Relation) -> Result<Announced, Trouble> {
        let lane = (relation.schema == "public").then(|| self.tables.get(&relation.name)).flatten().copied();
        let bound = match lane.and_then(|lane| Some((lane, self.lanes.get(lane)?))) {
            None => Bound::Foreign,
            Some((number, lane)) => match lane.line.source.bind(relation)? {
                None => Bound::Foreign,
                Some(table) => Bound::Ours { lane: number, table, name: relation.name.clone() },
            },
        };
        let announced = if matches!(bound, Bound::Foreign) { Announced::Foreign } else { Announced::Ours };
        self.relations.insert(relation.oid, bound);
        Ok(announced)
    }

    /// A transaction begins.
    pub const fn begin(&mut self, transaction: Transaction) {
        self.transaction = Some(transaction);
        self.transactions += 1;
    }

    /// A row has changed. If that means a message, it is appended to its namespace's batch under the transaction's number, and
    /// the namespace's number and the bytes of key and value are returned.
    ///
    /// # Errors
    /// If the row cannot become a message; nothing is appended then.
    pub fn change(
        &mut self,
        lsn: Lsn,
        relation: u32,
        change: &Change<'_>,
        sequence: u64,
    ) -> Result<Option<(usize, usize)>, Trouble> {
        let Some(transaction) = self.transaction else {
            return Err(undecodable(lsn, "a change outside a transaction"));
        };
        let (lane_number, table, name) = match self.relations.get(&relation) {
            Some(Bound::Ours { lane, table, name }) => (*lane, table, name),
            Some(Bound::Foreign) => return Ok(None),
            None => return Err(undecodable(lsn, "a change of a table that was not announced")),
        };
        let Some(lane) = self.lanes.get_mut(lane_number) else { return Ok(None) };
        if lane.counted != self.transactions {
            lane.counted = self.transactions;
            lane.ordinal = 0;
        }
        let ordinal = lane.ordinal;
        lane.ordinal = ordinal.saturating_add(1);
        let position = Position { transaction, lsn, ordinal };
        let poison = |row: &InvalidRow| invalid_row(name, change, table.as_ref(), &lane.line.namespace, position, row);
        let notification = match table.interpret(change) {
            Ok(Some(notification)) => notification,
            Ok(None) => return Ok(None),
            Err(row) => return Err(poison(&row)),
        };
        #[expect(clippy::cast_possible_truncation, reason = "a slot has at most Token::MAX_NAMESPACES namespaces")]
        let token = Token::new(sequence, lane_number as u16, notification.topic());
        let encoder = &mut lane.line.encoder;
        let empty = lane.batch.is_empty();
        if empty && let Some(room) = self.room.checked_sub(lane.last.memory()) {
            self.room = room;
            lane.batch.reserve(lane.last);
        }
        let appended = lane.batch.append(token, position, |out| encoder.encode(&transaction, &notification, out));
        match appended {
            Ok(bytes) => {
                if empty {
                    self.filled.push(lane_number);
                }
                Ok(Some((lane_number, bytes)))
            }
            Err(row) => Err(poison(&row)),
        }
    }

    /// Whether a change would become a message, or should and cannot.
    #[must_use]
    pub fn is_message(&self, relation: u32, change: &Change<'_>) -> bool {
        match self.relations.get(&relation) {
            Some(Bound::Ours { table, .. }) => !matches!(table.interpret(change), Ok(None)),
            Some(Bound::Foreign) | None => false,
        }
    }

    /// The name of a namespace's table.
    #[must_use]
    pub fn table(&self, relation: u32) -> Option<&str> {
        match self.relations.get(&relation)? {
            Bound::Ours { name, .. } => Some(name),
            Bound::Foreign => None,
        }
    }

    /// Takes the batches that have records, with their namespaces' numbers.
    pub fn take(&mut self) -> impl Iterator<Item = (usize, Batch)> + use<'_> {
        let lanes = &mut self.lanes;
        self.room = ROOM;
        self.filled.drain(..).filter_map(|number| {
            let lane = lanes.get_mut(number)?;
            lane.last = lane.batch.size();
            Some((number, std::mem::take(&mut lane.batch)))
        })
    }
}

fn undecodable(lsn: Lsn, what: &str) -> Trouble {
    Trouble::new(
        Class::Undecodable,
        format!("PostgreSQL sent {what}, at LSN {lsn}"),
        "this is a defect of this program or of the server: report it with both versions; resume the slot to try again",
    )
}

fn invalid_row(
    table: &str,
    change: &Change<'_>,
    binding: &dyn Table,
    namespace: &str,
    position: Position,
    row: &InvalidRow,
) -> Trouble {
    let key = binding.key(change).map_or_else(
        || "unknown".to_owned(),
        |id| format!("\"{namespace} {}\"", String::from_utf8_lossy(id).escape_debug().take(256).collect::<String>()),
    );
    Trouble::new(
        Class::InvalidRow,
        format!(
            "{} of table \"{table}\" with key {key} cannot become a message: {row} (commit LSN {}, xid {}, ordinal {})",
            change.operation(),
            position.transaction.commit_lsn,
            position.transaction.xid,
            position.ordinal
        ),
        "raise the limit that it passes or deploy a version that can handle it; then restart, or resume the slot",
    )
}
