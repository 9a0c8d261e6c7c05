//! What the rows of a namespace's tables mean.
//!
//! Owns the meaning of tables: which ones belong to a namespace, which columns are needed, what a change of a row says.
//! Must not know how a change arrived, how its notification is encoded, or where that goes.
//!
//! ```text
//! Relation ─▶ Source::bind ─▶ Table     (once per Relation message)
//! Change   ─▶ Table::interpret ─▶ Notification
//! ```

mod progressor;

use crate::change::{Change, InvalidRow, Notification, Relation, Trouble};

/// The kinds of tables that are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The progressor workflow engine.
    Progressor,
}

/// What the tables of one namespace mean.
pub trait Source: Send {
    /// The names of its tables in schema `public`, unquoted.
    fn tables(&self) -> Vec<String>;

    /// The meaning of a table in the shape of this Relation message; `None` if the table is not one of the namespace's.
    ///
    /// To be called at every Relation message: columns move and types change on live systems.
    ///
    /// # Errors
    /// If the table lacks what is needed: [`Class::Schema`](crate::change::Class::Schema) for a column,
    /// [`Class::Publication`](crate::change::Class::Publication) for a replica identity.
    fn bind(&self, relation: &Relation) -> Result<Option<Box<dyn Table>>, Trouble>;
}

/// One table in the shape of its last Relation message.
pub trait Table: Send {
    /// What a change means; `None` if it is of no interest to anybody.
    ///
    /// # Errors
    /// If the row cannot become a message.
    fn interpret<'a>(&self, change: &Change<'a>) -> Result<Option<Notification<'a>>, InvalidRow>;

    /// The process id of the row, by which an operator finds it, also where [`interpret`](Self::interpret) failed.
    fn key<'a>(&self, change: &Change<'a>) -> Option<&'a [u8]>;
}

/// The source of this kind for a namespace.
#[must_use]
pub fn build(kind: Kind, namespace: &str) -> Box<dyn Source> {
    match kind {
        Kind::Progressor => Box::new(progressor::Progressor::new(namespace)),
    }
}
