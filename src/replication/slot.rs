//! Replication slots: what is wrong with one, and how it comes to be.

use serde::Deserialize;

use super::{
    blockers::{self, LOCK_TIMEOUT},
    connection::Connection,
    error::{Doing, Failure, Place},
    quote,
    sql::Sql,
};
use crate::{
    change::{Class, Lsn, Trouble},
    config::Postgres,
};

/// A row of `pg_replication_slots`. Columns that a version has not are absent.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct SlotState {
    /// Its name.
    pub slot_name: String,
    plugin: Option<String>,
    slot_type: String,
    database: Option<String>,
    #[serde(default)]
    temporary: bool,
    /// The process that streams from it, or creates it.
    pub active_pid: Option<i32>,
    confirmed_flush_lsn: Option<String>,
    wal_status: Option<String>,
    #[serde(default)]
    two_phase: bool,
    invalidation_reason: Option<String>,
    #[serde(default)]
    synced: bool,
}

impl SlotState {
    /// Up to where its consumer has confirmed; `None` while it is being created.
    #[must_use]
    pub fn confirmed_flush_lsn(&self) -> Option<Lsn> {
        self.confirmed_flush_lsn.as_deref()?.parse().ok()
    }
}

/// The slot, if there is one of this name.
///
/// # Errors
/// If the connection has ended.
pub async fn find(sql: &Sql, name: &str) -> Result<Option<SlotState>, Trouble> {
    let query = "SELECT to_jsonb(s)::text AS slot FROM pg_replication_slots s WHERE slot_name = $1::text";
    let rows = sql.rows(query, &[&name]).await?;
    let Some(row) = rows.first() else { return Ok(None) };
    let slot: String = sql.column(row, "slot")?;
    let slot = serde_json::from_str(&slot);
    let unknown = |_| Failure::Protocol("pg_replication_slots has unknown columns").trouble(sql.place(), Doing::Sql);
    slot.map(Some).map_err(unknown)
}

/// Sees that a slot can be streamed from, now and by us, and returns its confirmed position.
///
/// # Errors
/// `SlotMismatch`, `SlotLost`, or `SlotBusy` with who holds it.
pub async fn check(sql: &Sql, slot: &SlotState) -> Result<Lsn, Trouble> {
    let place = sql.place();
    let name = &slot.slot_name;
    let at = format!("{}: replication slot \"{name}\"", place.server);
    let drop = format!("SELECT pg_drop_replication_slot({})", quote::literal(name));
    let mismatch =
        |what: String, remedy: String| Err(Trouble::new(Class::SlotMismatch, format!("{at} {what}"), remedy));
    if slot.slot_type != "logical" {
        return mismatch(
            "is a physical one".to_owned(),
            format!("name another slot in the configuration, or, if no standby needs this one: {drop}"),
        );
    }
    if let Some(database) = slot.database.as_ref().filter(|database| **database != place.database) {
        return mismatch(
            format!("belongs to database \"{database}\""),
            format!("name another slot, or move it in the configuration to the database reference of \"{database}\""),
        );
    }
    if let Some(plugin) = slot.plugin.as_ref().filter(|plugin| *plugin != "pgoutput") {
        return mismatch(
            format!("uses the output plugin {plugin}, not pgoutput"),
            format!("name another slot, or, if its consumer is gone: {drop}"),
        );
    }
    if slot.two_phase {
        return mismatch(
            "sends prepared transactions (two_phase)".to_owned(),
            if sql.server_version().alters_two_phase() {
                format!("ALTER_REPLICATION_SLOT {name} (TWO_PHASE false) on a replication connection")
            } else {
                format!("{drop}, and begin anew with a new slot")
            },
        );
    }
    if slot.synced && standby(sql).await? {
        return Err(Trouble::new(
            Class::PostgresUnavailable,
            format!("{at} is being synchronised from the primary: it can be used here after a promotion"),
            "connect to the primary",
        ));
    }
    if slot.temporary {
        return mismatch(
            "is temporary: it vanishes with its session".to_owned(),
            format!("name another slot, or: {drop}"),
        );
    }
    if slot.wal_status.as_deref() == Some("lost") || slot.invalidation_reason.is_some() {
        let reason = slot.invalidation_reason.as_deref().unwrap_or("max_slot_wal_keep_size was exceeded");
        let last = slot.confirmed_flush_lsn.as_deref().unwrap_or("its beginning");
        let prevention = match slot.invalidation_reason.as_deref() {
            None | Some("wal_removed") => ". Raise max_slot_wal_keep_size",
            Some("idle_timeout") => ". ALTER SYSTEM SET idle_replication_slot_timeout = 0",
            Some(_) => "",
        };
        return Err(Trouble::new(
            Class::SlotLost,
            format!("{at} was invalidated ({reason}): what was committed after {last} cannot be read any more"),
            format!("{drop}; then begin anew with a new slot, and see what consumers miss since {last}{prevention}"),
        ));
    }
    let Some(confirmed) = slot.confirmed_flush_lsn() else {
        let blockers = match slot.active_pid {
            Some(pid) => blockers::of(sql, pid).await?,
            None => String::new(),
        };
        return Err(being_created(&at, slot.active_pid, &blockers));
    };
    match slot.active_pid {
        None => Ok(confirmed),
        Some(pid) => Err(Trouble::new(
            Class::SlotBusy,
            format!("{at} is in use by {}", holder(sql, pid).await?),
            format!(
                "stop that consumer; if it is dead, wait for wal_sender_timeout or: SELECT pg_terminate_backend({pid})"
            ),
        )),
    }
}

/// Who streams from a slot, if it is somebody else than this process of the server.
///
/// # Errors
/// If the connection has ended.
pub async fn taken(sql: &Sql, name: &str, own: i32) -> Result<Option<Trouble>, Trouble> {
    let Some(slot) = find(sql, name).await? else { return Ok(None) };
    if slot.active_pid.is_none_or(|pid| pid == own) {
        return Ok(None);
    }
    Ok(check(sql, &slot).await.err().filter(|trouble| trouble.class == Class::SlotBusy))
}

async fn standby(sql: &Sql) -> Result<bool, Trouble> {
    let rows = sql.rows("SELECT pg_is_in_recovery() AS standby", &[]).await?;
    rows.first().map_or(Ok(false), |row| sql.column(row, "standby"))
}

async fn holder(sql: &Sql, pid: i32) -> Result<String, Trouble> {
    let query = "
        SELECT format('pid %s (application \"%s\", role %s, from %s, connected since %s)', pid, application_name, usename,
                      coalesce(host(client_addr), 'the server''s own machine or hidden'), coalesce(backend_start::text, 'unknown')) AS holder
        FROM pg_stat_activity WHERE pid = $1";
    let rows = sql.rows(query, &[&pid]).await?;
    rows.first().map_or_else(|| Ok(format!("pid {pid}")), |row| sql.column(row, "holder"))
}

fn being_created(at: &str, pid: Option<i32>, blockers: &str) -> Trouble {
    let by = pid.map(|pid| format!(" by pid {pid}")).unwrap_or_default();
    let until = if blockers.is_empty() { String::new() } else { format!(", which waits for {blockers}") };
    Trouble::new(
        Class::SlotBusy,
        format!("{at} is still being created{by}{until}"),
        "wait until the transactions that are named have ended, or end them (SELECT pg_terminate_backend(pid))",
    )
}

/// The trouble of a slot that is not there and may not be created.
pub(super) fn missing(place: &Place, name: &str) -> Trouble {
    Trouble::new(
        Class::SlotMissing,
        format!("{}: replication slot \"{name}\" does not exist", place.server),
        format!(
            "set create_slot = true, or, after the publications: SELECT pg_create_logical_replication_slot({}, 'pgoutput'); \
             what is committed before that is not delivered",
            quote::literal(name)
        ),
    )
}

/// Creates the slot and returns its first position: what is committed from there on is delivered.
///
/// PostgreSQL waits for every transaction that writes, in any database. For each we wait five seconds at most; then the slot is
/// given up and the trouble names who it was, so that the caller tries again and an operator sees why.
///
/// # Errors
/// If it cannot be created (now).
pub async fn create(sql: &Sql, db: &Postgres, name: &str) -> Result<Lsn, Trouble> {
    let mut connection = Connection::open(db).await?;
    let at = format!("{}: replication slot \"{name}\"", sql.place().server);
    connection.simple_query(&format!("SET lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
    let pid = connection.pid();
    let command = format!("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput NOEXPORT_SNAPSHOT", quote::identifier(name));
    let (created, blockers) = blockers::watch(sql, pid, connection.query(&command)).await;
    match created {
        Ok(rows) => {
            let consistent_point = rows.first().and_then(|row| row.get(1)?.as_deref()?.parse().ok());
            consistent_point
                .ok_or_else(|| connection.trouble(Failure::Protocol("an unknown answer"), Doing::CreateSlot(name)))
        }
        Err(failure) if failure.is("55P03") => Err(Trouble::new(
            Class::SlotMissing,
            format!("{at} cannot be created yet: open transactions must end first: {}", or_unknown(&blockers)),
            "wait until they end, or end them: SELECT pg_terminate_backend(pid)",
        )),
        // Another starter was quicker; what it is doing is worth telling.
        Err(failure) if failure.is("42710") => match find(sql, name).await? {
            Some(slot) => Err(match check(sql, &slot).await {
                Err(trouble) => trouble,
                Ok(_) => being_created(&at, None, ""),
            }),
            None => Err(being_created(&at, None, "")),
        },
        Err(failure) => Err(connection.trouble(failure, Doing::CreateSlot(name))),
    }
}

pub(super) fn or_unknown(blockers: &str) -> &str {
    if blockers.is_empty() { "unknown, they ended just now" } else { blockers }
}
