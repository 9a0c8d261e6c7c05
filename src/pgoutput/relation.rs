//! The shape of a table.

use super::{
    cursor::Cursor,
    error::{DecodeError, Reason},
};
use crate::change::{Column, Relation, ReplicaIdentity};

/// The flag of a column that is part of the replica identity.
const IDENTITY: u8 = 1;
/// Bytes of a column with an empty name: flags, zero byte, type OID, type modifier.
const SMALLEST_COLUMN: usize = 10;

pub(super) fn relation(cursor: &mut Cursor<'_>) -> Result<Relation, DecodeError> {
    let oid = cursor.u32("table OID")?;
    let schema = match cursor.text("schema")? {
        "" => "pg_catalog",
        schema => schema,
    };
    let name = cursor.text("table name")?;
    let identity = identity(cursor)?;
    let count = cursor.u16("number of columns")?.into();
    // Never more than the message can hold, whatever it says.
    let mut columns = Vec::with_capacity(usize::min(count, cursor.left() / SMALLEST_COLUMN));
    for _ in 0..count {
        columns.push(column(cursor)?);
    }
    Ok(Relation { oid, schema: schema.to_owned(), name: name.to_owned(), identity, columns })
}

fn identity(cursor: &mut Cursor<'_>) -> Result<ReplicaIdentity, DecodeError> {
    let unknown = cursor.error(Reason::Unknown("replica identity"));
    match cursor.u8("replica identity")? {
        b'd' => Ok(ReplicaIdentity::Default),
        b'n' => Ok(ReplicaIdentity::Nothing),
        b'f' => Ok(ReplicaIdentity::Full),
        b'i' => Ok(ReplicaIdentity::Index),
        _ => Err(unknown),
    }
}

fn column(cursor: &mut Cursor<'_>) -> Result<Column, DecodeError> {
    let identity = cursor.flags(IDENTITY, "column flags")? == IDENTITY;
    let name = cursor.text("column name")?.to_owned();
    let type_oid = cursor.u32("type OID")?;
    // The length of a varchar and the like: nothing that changes what a value means.
    let _modifier = cursor.u32("type modifier")?;
    Ok(Column { name, identity, type_oid })
}
