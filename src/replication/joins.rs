//! Namespaces that join a slot that is older than their publication.
//!
//! PostgreSQL decodes a change with the catalogs as they were at that change. A publication that was created after the slot does not
//! exist for older changes: on 13 to 17 the stream fails for ever with 42704, on 18 the change is skipped. So the slot streams
//! without it until its position is behind every transaction that ran while it was created.

use super::{
    error::{Doing, Failure},
    sql::Sql,
};
use crate::change::{Lsn, Trouble};

/// A namespace whose publication is younger than the slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The namespace.
    pub namespace: String,
    /// All transactions with a lower id must have ended: those with higher ids have written nothing before the publication was there.
    pub horizon: u64,
}

/// Remembers which transactions may have begun before the publications, which exist now, were there.
///
/// # Errors
/// If the connection has ended.
pub async fn begin(sql: &Sql, namespaces: &[&str]) -> Result<Vec<Joining>, Trouble> {
    // An id of our own, higher than all that were given so far. (The xmax of a snapshot is not: it is the lowest id above those
    // that have ended, and transactions with that and higher ids may have written already.)
    let rows = sql.rows("SELECT pg_current_xact_id()::text AS xid", &[]).await?;
    let xid = match rows.first() {
        Some(row) => sql.column::<String>(row, "xid")?.parse().ok(),
        None => None,
    };
    let horizon = xid.ok_or_else(|| unknown(sql))?;
    Ok(namespaces.iter().map(|name| Joining { namespace: (*name).to_owned(), horizon }).collect())
}

/// The position from which the namespace can be decoded: start with its publication at this position or behind it. `None` as long
/// as a transaction runs that may have begun before the publication was there; ask again later.
///
/// # Errors
/// If the connection has ended.
pub async fn join_position(sql: &Sql, joining: &Joining) -> Result<Option<Lsn>, Trouble> {
    // Our own id has ended by now, so that the snapshot knows of every transaction below it.
    // Two statements: the position is read after it was seen that they have ended. It is that of insertion, since the commit of a
    // transaction with synchronous_commit = off may not have been written yet.
    let rows = sql.rows("SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS xmin", &[]).await?;
    let row = rows.first().ok_or_else(|| unknown(sql))?;
    let xmin: u64 = sql.column::<String>(row, "xmin")?.parse().map_err(|_| unknown(sql))?;
    if xmin < joining.horizon {
        return Ok(None);
    }
    let rows = sql.rows("SELECT pg_current_wal_insert_lsn()::text AS lsn", &[]).await?;
    let row = rows.first().ok_or_else(|| unknown(sql))?;
    sql.column::<String>(row, "lsn")?.parse().map(Some).map_err(|_| unknown(sql))
}

/// Of these namespaces, those whose publication may not have been there for all changes that the slot has still to decode.
/// To be asked when the stream has failed for a missing publication (`Class::Publication`), and only then: for a slot that was
/// created while other transactions ran it errs on the side of "may not".
///
/// # Errors
/// If the connection has ended.
pub async fn unseen(sql: &Sql, slot: &str, namespaces: &[&str]) -> Result<Vec<String>, Trouble> {
    let query = "
        SELECT p.pubname::text AS namespace FROM pg_publication p, pg_replication_slots s
        WHERE s.slot_name = $1::text AND p.pubname::text = ANY ($2::text[])
          AND age(p.xmin) <= age(s.catalog_xmin) ORDER BY 1";
    let rows = sql.rows(query, &[&slot, &namespaces]).await?;
    rows.iter().map(|row| sql.column(row, "namespace")).collect()
}

fn unknown(sql: &Sql) -> Trouble {
    Failure::Protocol("an unknown answer about snapshots").trouble(sql.place(), Doing::Sql)
}
