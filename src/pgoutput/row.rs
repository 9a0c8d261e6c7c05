//! Inserted, updated and deleted rows.

use super::{
    cursor::Cursor,
    error::{DecodeError, Reason},
    message::Message,
};
use crate::change::{Change, Old, Tuple};

const MARK: &str = "mark of the row";

#[inline]
pub(super) fn insert<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let relation = cursor.u32("table OID")?;
    let change = match row(cursor)? {
        Row::New(new) => Change::Insert { new },
        Row::Old(_, at) => return Err(at),
    };
    Ok(Message::Change { relation, change })
}

pub(super) fn update<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let relation = cursor.u32("table OID")?;
    let change = match row(cursor)? {
        Row::New(new) => Change::Update { old: None, new },
        Row::Old(old, _) => match row(cursor)? {
            Row::New(new) => Change::Update { old: Some(old), new },
            Row::Old(_, at) => return Err(at),
        },
    };
    Ok(Message::Change { relation, change })
}

pub(super) fn delete<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let relation = cursor.u32("table OID")?;
    let at = cursor.error(Reason::Unknown(MARK));
    let change = match row(cursor)? {
        Row::Old(old, _) => Change::Delete { old },
        Row::New(_) => return Err(at),
    };
    Ok(Message::Change { relation, change })
}

/// A row behind its mark.
enum Row<'a> {
    New(Tuple<'a>),
    /// With the error for a place where it may not stand.
    Old(Old<'a>, DecodeError),
}

#[inline]
fn row<'a>(cursor: &mut Cursor<'a>) -> Result<Row<'a>, DecodeError> {
    let at = cursor.error(Reason::Unknown(MARK));
    match cursor.u8(MARK)? {
        b'N' => Ok(Row::New(cursor.tuple()?)),
        b'K' => Ok(Row::Old(Old::Key(cursor.tuple()?), at)),
        b'O' => Ok(Row::Old(Old::Full(cursor.tuple()?), at)),
        _ => Err(at),
    }
}
