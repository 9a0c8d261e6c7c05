//! The vocabulary that every layer shares: positions, values, rows, what happened, and what is wrong.
//!
//! Owns no behaviour beyond its own invariants and must not know any other folder.

mod invalid_row;
mod lsn;
mod notification;
mod relation;
mod spill;
mod token;
mod transaction;
mod trouble;
mod tuple;

pub use invalid_row::InvalidRow;
pub use lsn::{Lsn, ParseLsnError};
pub use notification::{Lifecycle, Notification, Topic};
pub use relation::{Column, Relation, ReplicaIdentity};
pub use spill::Spill;
pub use token::Token;
pub use transaction::{PgTimestamp, Transaction};
pub use trouble::{Class, Trouble};
pub use tuple::{Change, Old, Tuple, TupleError, Value};
