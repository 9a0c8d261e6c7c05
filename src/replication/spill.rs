//! What the server tells of transactions that it moved to its disk while it decoded them.

use std::collections::HashMap;

use super::sql::Sql;
use crate::change::{Spill, Trouble};

const QUERY: &str = "
    SELECT slot_name::text AS slot, spill_txns, spill_count, spill_bytes
    FROM pg_stat_replication_slots WHERE slot_name = ANY ($1::text[])";

/// The figures of these slots; none of a slot that does not exist, and none at all if the server does not count them.
///
/// # Errors
/// If the connection has ended.
pub async fn spilled(sql: &Sql, slots: &[&str]) -> Result<HashMap<String, Spill>, Trouble> {
    if !sql.server_version().counts_spills() {
        return Ok(HashMap::new());
    }
    let rows = sql.rows(QUERY, &[&slots]).await?;
    let figures = rows.iter().map(|row| {
        let figure = |name| sql.column::<i64>(row, name).map(i64::unsigned_abs);
        let spill =
            Spill { transactions: figure("spill_txns")?, count: figure("spill_count")?, bytes: figure("spill_bytes")? };
        Ok((sql.column(row, "slot")?, spill))
    });
    figures.collect()
}
