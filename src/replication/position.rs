//! Positions asked for, or moved, by SQL.

use tokio_postgres::Row;

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
    lsn_of(sql, rows.first())
}

fn lsn_of(sql: &Sql, row: Option<&Row>) -> Result<Lsn, Trouble> {
    let unknown = || Failure::Protocol("no position of the log").trouble(sql.place(), Doing::Sql);
    sql.column::<String>(row.ok_or_else(unknown)?, "lsn")?.parse().map_err(|_| unknown())
}

/// Moves a slot that nobody streams from towards this position, as far as the log has been written: what lies before is not
/// delivered. Returns where the slot stands now.
///
/// # Errors
/// If the slot is in use or gone.
pub async fn advance(sql: &Sql, slot: &str, lsn: Lsn) -> Result<Lsn, Trouble> {
    // It reads the whole log up to there, however long that takes.
    sql.rows("SET statement_timeout = 0", &[]).await?;
    let query = "SELECT end_lsn::text AS lsn FROM pg_replication_slot_advance($1::text, $2::text::pg_lsn)";
    let rows = sql.rows(query, &[&slot, &lsn.to_string()]).await?;
    lsn_of(sql, rows.first())
}
