//! One message: its kind, and what each kind carries.

use super::{
    control,
    cursor::Cursor,
    error::{DecodeError, Reason},
    relation, row,
    truncate::{self, Truncated},
};
use crate::change::{Change, Lsn, PgTimestamp, Relation, Transaction};

/// A message of protocol version 1. What is borrowed lies in the bytes that were decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// `B`: a transaction begins; all its changes follow, without those of others.
    Begin(Transaction),
    /// `C`: the transaction is over.
    Commit {
        /// Start of the commit record, as in Begin.
        commit_lsn: Lsn,
        /// End of the commit record: the position to acknowledge.
        end_lsn: Lsn,
        /// When it was committed, by the server's clock.
        commit_time: PgTimestamp,
    },
    /// `O`: the transaction was replicated from elsewhere; directly after Begin.
    Origin {
        /// The commit's position there.
        commit_lsn: Lsn,
        /// The origin's name, in `client_encoding`.
        name: &'a [u8],
    },
    /// `R`: the shape of a table from here on.
    Relation(Relation),
    /// `Y`: a type that is not built in; before the Relation that uses it.
    Type {
        /// OID of the type.
        oid: u32,
        /// Its schema, in `client_encoding`; empty for `pg_catalog`.
        schema: &'a [u8],
        /// Its name, in `client_encoding`.
        name: &'a [u8],
    },
    /// `I`, `U`, `D`: a row.
    Change {
        /// OID of the table, described by an earlier Relation.
        relation: u32,
        /// What became of the row.
        change: Change<'a>,
    },
    /// `T`: tables were emptied.
    Truncate {
        /// The OIDs of those that are published.
        relations: Truncated<'a>,
        /// Whether CASCADE was said.
        cascade: bool,
        /// Whether RESTART IDENTITY was said.
        restart_identity: bool,
    },
    /// `M`: what `pg_logical_emit_message` wrote; sent only where it is asked for.
    LogicalMessage {
        /// Whether it belongs to the transaction around it; if not, it stands outside of any.
        transactional: bool,
        /// Its position.
        lsn: Lsn,
        /// Its prefix, in `client_encoding`.
        prefix: &'a [u8],
        /// Its content.
        content: &'a [u8],
    },
}

/// Decodes one message: the payload of one XLogData, all of it.
///
/// # Errors
/// If the bytes are no message of protocol version 1, end too early or go on too long.
#[inline]
pub fn decode(bytes: &[u8]) -> Result<Message<'_>, DecodeError> {
    let (tag, mut cursor) = Cursor::new(bytes)?;
    let message = match tag {
        b'I' => row::insert(&mut cursor),
        b'U' => row::update(&mut cursor),
        b'D' => row::delete(&mut cursor),
        b'B' => control::begin(&mut cursor),
        b'C' => control::commit(&mut cursor),
        b'O' => control::origin(&mut cursor),
        b'Y' => control::data_type(&mut cursor),
        b'M' => control::logical_message(&mut cursor),
        b'R' => relation::relation(&mut cursor).map(Message::Relation),
        b'T' => truncate::truncate(&mut cursor),
        _ => Err(DecodeError { tag: Some(tag), offset: 0, reason: unsupported(tag) }),
    }?;
    cursor.end()?;
    Ok(message)
}

/// Messages of protocol versions 2 to 4 by name, so that whoever reads the error knows what is switched on.
const fn unsupported(tag: u8) -> Reason {
    match tag {
        b'S' => Reason::Streaming("Stream Start"),
        b'E' => Reason::Streaming("Stream Stop"),
        b'c' => Reason::Streaming("Stream Commit"),
        b'A' => Reason::Streaming("Stream Abort"),
        b'p' => Reason::Streaming("Stream Prepare"),
        b'b' => Reason::TwoPhase("Begin Prepare"),
        b'P' => Reason::TwoPhase("Prepare"),
        b'K' => Reason::TwoPhase("Commit Prepared"),
        b'r' => Reason::TwoPhase("Rollback Prepared"),
        _ => Reason::UnknownKind,
    }
}
