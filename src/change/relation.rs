//! A table as pgoutput's Relation message describes it.

/// Which columns the old row of an update or a delete carries (`pg_class.relreplident`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// `d`: the primary key.
    Default,
    /// `n`: nothing.
    Nothing,
    /// `f`: all columns.
    Full,
    /// `i`: the columns of one index.
    Index,
}

/// One column of a table. Its place differs between installations: go by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The column's name.
    pub name: String,
    /// Whether the column is part of the replica identity (all are, under `Full`).
    pub identity: bool,
    /// OID of its type. That of an enum differs from database to database.
    pub type_oid: u32,
}

/// A table's shape from here on in the stream; it replaces an earlier one of the same OID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relation {
    /// OID of the table; stays over a rename.
    pub oid: u32,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table, unquoted.
    pub name: String,
    /// Its replica identity.
    pub identity: ReplicaIdentity,
    /// Its published columns, in the order of the tuples.
    pub columns: Vec<Column>,
}

impl Relation {
    /// The place of a column in the tuples.
    #[must_use]
    pub fn position(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == column)
    }
}
