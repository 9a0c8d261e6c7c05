//! What the server tells of transactions that it moved to its disk while it decoded them.

use std::collections::HashMap;

use super::sql::Sql;
use crate::change::{Spill, Trouble};

/// PostgreSQL 14, the first that has the view.
const FIRST: u32 = 140_000;

const QUERY: &str = "
    SELECT slot_name::text AS slot, spill_txns, spill_count, spill_bytes
    FROM pg_stat_replication_slots WHERE slot_name = ANY ($1::text[])";

/// The figures of these slots; none of a slot that does not exist, and none at all before PostgreSQL 14.
///
/// # Errors
/// If the connection has ended.
pub async fn spilled(sql: &Sql, slots: &[&str]) -> Result<HashMap<String, Spill>, Trouble> {
    if !counts(sql.server_version()) {
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

const fn counts(server_version: u32) -> bool {
    server_version >= FIRST
}

#[cfg(test)]
mod tests {
    use super::counts;

    #[test]
    fn servers_count_from_14_on() {
        assert_eq!([130_023, 139_999, 140_000, 150_018].map(counts), [false, false, true, true]);
    }
}
