//! Whether the server keeps what it has committed, and what a slot needs: a change that is published must not be taken back.

use super::sql::Sql;
use crate::change::Trouble;

/// Physical standbys are the walsenders that no logical slot belongs to; a role without pg_monitor sees their process ids, too.
const SETTINGS: &str = "
    SELECT current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
           current_setting('synchronous_standby_names') AS synchronous_standby_names,
           current_setting('max_slot_wal_keep_size') AS max_slot_wal_keep_size,
           coalesce(current_setting('idle_replication_slot_timeout', true), '0') AS idle_replication_slot_timeout,
           EXISTS (SELECT FROM pg_stat_replication AS sender WHERE sender.pid NOT IN
             (SELECT active_pid FROM pg_replication_slots WHERE slot_type = 'logical' AND active_pid IS NOT NULL)) AS standbys";

/// A setting with which published commits, or the slot, can be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// What can be lost, and by which setting.
    pub message: String,
    /// What mends it.
    pub remedy: &'static str,
}

/// The risks that the server's settings leave. None of them keeps a stream from running.
///
/// # Errors
/// If the server does not answer.
pub async fn risks(sql: &Sql) -> Result<Vec<Risk>, Trouble> {
    let rows = sql.rows(SETTINGS, &[]).await?;
    let mut risks = Vec::new();
    let Some(row) = rows.first() else { return Ok(risks) };
    for (setting, remedy) in [
        ("fsync", "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()"),
        ("full_page_writes", "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()"),
    ] {
        if sql.column::<String>(row, setting)? == "off" {
            let message = format!("{setting} is off: a crash of the server can take back commits that were published");
            risks.push(Risk { message, remedy });
        }
    }
    let standbys: bool = sql.column(row, "standbys")?;
    if standbys && sql.column::<String>(row, "synchronous_standby_names")?.is_empty() {
        risks.push(Risk {
            message:
                "the standbys are asynchronous: after a failover, commits that were published may not exist any more"
                    .to_owned(),
            remedy: "set synchronous_standby_names",
        });
    }
    let keep: String = sql.column(row, "max_slot_wal_keep_size")?;
    if keep != "-1" {
        let message = format!("max_slot_wal_keep_size is {keep}: a slot that falls behind further is lost");
        risks.push(Risk {
            message,
            remedy: "ALTER SYSTEM SET max_slot_wal_keep_size = -1, or more than an outage writes",
        });
    }
    let idle: String = sql.column(row, "idle_replication_slot_timeout")?;
    if idle != "0" {
        let message = format!("idle_replication_slot_timeout is {idle}: a slot that nobody reads for so long is lost");
        risks.push(Risk {
            message,
            remedy: "ALTER SYSTEM SET idle_replication_slot_timeout = 0; SELECT pg_reload_conf()",
        });
    }
    Ok(risks)
}
