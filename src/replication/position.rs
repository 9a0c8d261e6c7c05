//! Positions asked for, or moved, by SQL.

use super::{
    error::{Doing, Failure},
    sql::Sql,
};
use crate::change::{Lsn, Trouble};

/// The end of the server's log; on a standby, of what it has replayed.
///
/// # Errors
/// If the connection has ended.
pub async fn current_wal_lsn(sql: &Sql) -> Result<Lsn, Trouble> {
    let query = "
        SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END::text AS lsn";
    let rows = sql.rows(query, &[]).await?;
    let unknown = || Failure::Protocol("no position of the log").trouble(sql.place(), Doing::Sql);
    let row = rows.first().ok_or_else(unknown)?;
    sql.column::<String>(row, "lsn")?.parse().map_err(|_| unknown())
}

/// Moves a slot that nobody streams from to this position: what lies before it is not delivered.
///
/// # Errors
/// If the slot is in use or gone.
pub async fn advance(sql: &Sql, slot: &str, lsn: Lsn) -> Result<(), Trouble> {
    // It reads the whole log up to there, however long that takes.
    sql.rows("SET statement_timeout = 0", &[]).await?;
    let query = "SELECT pg_replication_slot_advance($1::text, $2::text::pg_lsn)::text";
    sql.rows(query, &[&slot, &lsn.to_string()]).await.map(drop)
}
