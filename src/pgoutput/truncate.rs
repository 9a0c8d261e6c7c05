//! Emptied tables.

use super::{
    cursor::Cursor,
    error::{DecodeError, Reason},
    message::Message,
};

const CASCADE: u8 = 1;
const RESTART_IDENTITY: u8 = 2;
/// Bytes of an OID.
const OID: usize = size_of::<u32>();

/// The OIDs of the tables that one TRUNCATE emptied: a view of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Truncated<'a> {
    oids: &'a [u8],
}

impl Truncated<'_> {
    /// The OIDs in the message's order.
    pub fn oids(&self) -> impl ExactSizeIterator<Item = u32> {
        let (oids, _) = self.oids.as_chunks::<OID>();
        oids.iter().map(|oid| u32::from_be_bytes(*oid))
    }
}

pub(super) fn truncate<'a>(cursor: &mut Cursor<'a>) -> Result<Message<'a>, DecodeError> {
    let too_many = cursor.error(Reason::EndsIn("table OIDs"));
    let count = cursor.u32("number of tables")?;
    let flags = cursor.flags(CASCADE | RESTART_IDENTITY, "flags")?;
    let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(OID)).ok_or(too_many)?;
    let relations = Truncated { oids: cursor.take(length, "table OIDs")? };
    Ok(Message::Truncate { relations, cascade: flags & CASCADE != 0, restart_identity: flags & RESTART_IDENTITY != 0 })
}
