//! Who holds up a statement of ours: shown while it waits, so that an operator can decide.

use std::{future::Future, pin::pin, time::Duration};

use super::sql::Sql;
use crate::change::Trouble;

/// How long a statement waits for one lock before it gives up and says who holds it.
pub(super) const LOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// How often we look while it waits.
const LOOK: Duration = Duration::from_millis(1500);
/// Of so many blockers each is named.
const NAMED: i64 = 10;

const SESSIONS: &str = "
    SELECT format('pid %s (application \"%s\", role %s, database %s, %s, in a transaction since %s, last statement begun at %s)',
                  b.pid, a.application_name, a.usename, a.datname, coalesce(a.state, a.backend_type, 'state hidden: GRANT pg_monitor'),
                  coalesce(a.xact_start::text, 'unknown'), coalesce(a.query_start::text, 'unknown')) AS blocker
    FROM unnest(pg_blocking_pids($1)) AS b(pid) LEFT JOIN pg_stat_activity a USING (pid)
    WHERE b.pid <> 0 GROUP BY 1 LIMIT $2";

/// A prepared transaction holds its locks without a process; that on its own id tells which one it is.
const PREPARED: &str = "
    SELECT format('prepared transaction %L (role %s, database %s, prepared at %s; end it there with COMMIT PREPARED or ROLLBACK PREPARED)',
                  p.gid, p.owner, p.database, p.prepared) AS blocker
    FROM pg_locks w
    JOIN pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype
     AND h.database IS NOT DISTINCT FROM w.database AND h.relation IS NOT DISTINCT FROM w.relation
     AND h.transactionid IS NOT DISTINCT FROM w.transactionid
    JOIN pg_locks own ON own.granted AND own.pid IS NULL AND own.locktype = 'transactionid' AND own.virtualtransaction = h.virtualtransaction
    JOIN pg_prepared_xacts p ON p.transaction = own.transactionid
    WHERE w.pid = $1 AND NOT w.granted GROUP BY 1 LIMIT $2";

/// Who blocks this process, for people; empty if nobody does.
pub(super) async fn of(sql: &Sql, pid: i32) -> Result<String, Trouble> {
    let mut blockers = Vec::new();
    for query in [SESSIONS, PREPARED] {
        for row in sql.rows(query, &[&pid, &NAMED]).await? {
            blockers.push(sql.column::<String>(&row, "blocker")?);
        }
    }
    Ok(blockers.join("; "))
}

/// Carries out the work of process `pid`, and tells who blocked it when we last looked.
pub(super) async fn watch<T>(sql: &Sql, pid: i32, work: impl Future<Output = T>) -> (T, String) {
    let mut work = pin!(work);
    let mut seen = String::new();
    loop {
        match tokio::time::timeout(LOOK, &mut work).await {
            Ok(result) => return (result, seen),
            Err(_) => match of(sql, pid).await {
                Ok(blockers) if !blockers.is_empty() => seen = blockers,
                Ok(_) => {}
                Err(trouble) => tracing::warn!(%trouble, "blockers cannot be shown"),
            },
        }
    }
}
