//! What surrounds the rows: begin, commit, origin, types, logical messages.

use super::{cursor::Cursor, error::DecodeError, message::Message};
use crate::change::Transaction;

/// The flag of a logical message that belongs to its transaction.
const TRANSACTIONAL: u8 = 1;

#[inline]
pub(super) fn begin<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let commit_lsn = cursor.lsn("commit LSN")?;
    let commit_time = cursor.timestamp("commit time")?;
    let xid = cursor.u32("transaction id")?;
    Ok(Message::Begin(Transaction { xid, commit_lsn, commit_time }))
}

#[inline]
pub(super) fn commit<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    cursor.flags(0, "flags")?;
    let commit_lsn = cursor.lsn("commit LSN")?;
    let end_lsn = cursor.lsn("end LSN")?;
    let commit_time = cursor.timestamp("commit time")?;
    Ok(Message::Commit { commit_lsn, end_lsn, commit_time })
}

pub(super) fn origin<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(Message::Origin { commit_lsn: cursor.lsn("origin LSN")?, name: cursor.name("origin name")? })
}

pub(super) fn data_type<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    Ok(Message::Type {
        oid: cursor.u32("type OID")?,
        schema: cursor.name("schema of the type")?,
        name: cursor.name("name of the type")?,
    })
}

pub(super) fn logical_message<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let transactional = cursor.flags(TRANSACTIONAL, "flags")? == TRANSACTIONAL;
    let lsn = cursor.lsn("LSN")?;
    let prefix = cursor.name("prefix")?;
    let length = cursor.u32("length of the content")?;
    // Where a length does not fit into memory, neither does the message, which is there.
    let content = cursor.take(usize::try_from(length).unwrap_or(usize::MAX), "content")?;
    Ok(Message::LogicalMessage { transactional, lsn, prefix, content })
}
