//! Records that travel together: one allocation for the bytes of all.

use crate::change::{InvalidRow, Lsn, Token, Transaction};

/// Where in the write-ahead log a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Its transaction.
    pub transaction: Transaction,
    /// Position of the change itself.
    pub lsn: Lsn,
    /// 0-based place among all rows that the transaction changed in the namespace's tables.
    pub ordinal: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    token: Token,
    lsn: Lsn,
    ordinal: u32,
    transaction: u32,
    value: usize,
    end: usize,
}

/// How much is in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Size {
    bytes: usize,
    entries: usize,
    transactions: usize,
}

impl Size {
    /// What it takes in memory.
    pub(super) const fn memory(self) -> usize {
        self.bytes + self.entries * size_of::<Entry>() + self.transactions * size_of::<Transaction>()
    }
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// What comes back with its delivery report.
    pub token: Token,
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// Where it comes from.
    pub position: Position,
}

/// Records of one namespace, in the order of the stream.
#[derive(Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    transactions: Vec<Transaction>,
}

impl Batch {
    /// Appends a record whose key and value are written by `write`, which returns the key's length. Returns the bytes of both.
    /// If `write` fails, nothing is appended.
    pub(super) fn append(
        &mut self,
        token: Token,
        position: Position,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, InvalidRow>,
    ) -> Result<usize, InvalidRow> {
        let start = self.bytes.len();
        let key = match write(&mut self.bytes) {
            Ok(key) => key,
            Err(row) => {
                self.bytes.truncate(start);
                return Err(row);
            }
        };
        if self.transactions.last() != Some(&position.transaction) {
            self.transactions.push(position.transaction);
        }
        self.entries.push(Entry {
            token,
            lsn: position.lsn,
            ordinal: position.ordinal,
            transaction: u32::try_from(self.transactions.len() - 1).unwrap_or(u32::MAX),
            value: start + key,
            end: self.bytes.len(),
        });
        Ok(self.bytes.len() - start)
    }

    /// How much is in it.
    pub(super) const fn size(&self) -> Size {
        Size { bytes: self.bytes.len(), entries: self.entries.len(), transactions: self.transactions.len() }
    }

    /// Makes room for this much: what grows step by step is copied at each.
    pub(super) fn reserve(&mut self, size: Size) {
        self.bytes.reserve(size.bytes);
        self.entries.reserve(size.entries);
        self.transactions.reserve(size.transactions);
    }

    /// Whether it has no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Number of records.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records in their order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let mut start = 0;
        self.entries.iter().filter_map(move |entry| {
            let key = self.bytes.get(start..entry.value).unwrap_or_default();
            let value = self.bytes.get(entry.value..entry.end).unwrap_or_default();
            start = entry.end;
            let transaction = *self.transactions.get(entry.transaction as usize)?;
            let position = Position { transaction, lsn: entry.lsn, ordinal: entry.ordinal };
            Some(Record { token: entry.token, key, value, position })
        })
    }
}
