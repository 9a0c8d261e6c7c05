//! What must hold before a slot can be streamed from.

use std::time::Duration;

use super::{
    durability::{self, Risk},
    error::{Doing, Failure},
    joins::{self, Joining},
    publication, quote, slot,
    sql::{self, Sql},
    version::ServerVersion,
};
use crate::{
    change::{Class, Lsn, Trouble},
    config,
};

/// Starters that create publications at the same time, until we give up for now.
const RACES: usize = 5;

/// `rds_replication` is what a managed service grants in place of the attribute.
const SERVER: &str = "
    SELECT current_setting('wal_level') AS wal_level, pg_is_in_recovery() AS standby,
           (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
           (SELECT setting::int8 FROM pg_settings WHERE name = 'wal_sender_timeout') AS wal_sender_timeout,
           EXISTS (SELECT FROM pg_roles WHERE rolname = current_user AND (rolreplication OR rolsuper))
             OR EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_replication' AND pg_has_role(current_user, oid, 'MEMBER'))
           AS may_replicate";

/// What is to be prepared.
#[derive(Clone, Copy, Debug)]
pub struct Plan<'a> {
    /// The database.
    pub database: &'a config::Postgres,
    /// The slot with its namespaces.
    pub slot: &'a config::Slot,
    /// Whether this process knows that the slot existed: if it is gone now, history has changed.
    pub known: bool,
    /// Namespaces whose publications were there earlier in this process: if one is gone now, it was dropped behind our back.
    pub carried: &'a [String],
}

/// What was found or made.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The server's version.
    pub server_version: ServerVersion,
    /// Of the cluster.
    pub system_identifier: String,
    /// Whether the server is a standby.
    pub standby: bool,
    /// Up to where the slot's consumer has confirmed; for a new slot, from where on changes are delivered.
    pub confirmed_flush_lsn: Lsn,
    /// Whether we have created the slot.
    pub slot_created: bool,
    /// Namespaces whose publication we have created.
    pub publications_created: Vec<String>,
    /// Namespaces whose publication we have created on an older slot: not to be named in START_REPLICATION before the slot has
    /// passed their `join_position`.
    pub joining: Vec<Joining>,
    /// After this time without a word from us the server closes the stream; `None`: never.
    pub wal_sender_timeout: Option<Duration>,
}

/// Sees to it that the slot can be streamed from: checks server, role, tables and the slot, creates missing publications and then,
/// if it may, the missing slot.
///
/// Changes nothing that exists, but for the replica identity of a table that gets its first publication.
///
/// # Errors
/// Whatever an operator must mend first, or time will.
pub async fn prepare(plan: Plan<'_>) -> Result<Prepared, Trouble> {
    let sql = sql::sql(plan.database).await?;
    let name = &plan.slot.name;
    let namespaces: Vec<&str> = plan.slot.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    let mut prepared = server(&sql).await?;
    if !plan.known {
        for Risk { message, remedy } in durability::risks(&sql).await? {
            tracing::warn!(slot = name, remedy, "{}: {message}", sql.place().server);
        }
    }
    let found = slot::find(&sql, name).await?;
    match &found {
        Some(found) => prepared.confirmed_flush_lsn = slot::check(&sql, found).await?,
        None if plan.known => return Err(dropped(&sql, name)),
        None if !plan.slot.create_slot => return Err(slot::missing(sql.place(), name)),
        None => {}
    }
    let created = create_publications(&sql, plan, &namespaces).await?;
    if found.is_some() && !created.is_empty() {
        // The next statement after their creation: were this lost, the stream would fail with 42704 and `joins::unseen` be asked.
        prepared.joining = joins::begin(&sql, &created).await?;
        tracing::warn!(slot = name, namespaces = ?created, "publications are younger than the slot: they join later");
    }
    if found.is_none() {
        prepared.confirmed_flush_lsn = slot::create(&sql, plan.database, name).await?;
        prepared.slot_created = true;
        let lsn = prepared.confirmed_flush_lsn;
        if created.is_empty() {
            tracing::warn!(slot = name, %lsn, "slot created although all publications existed: nothing committed before this LSN is delivered");
        } else {
            tracing::info!(slot = name, %lsn, "slot created");
        }
    }
    prepared.publications_created = created.into_iter().map(str::to_owned).collect();
    Ok(prepared)
}

/// Creates the missing publications after all existing ones were found right, so that nothing can fail between creating and joining.
async fn create_publications<'a>(sql: &Sql, plan: Plan<'_>, namespaces: &[&'a str]) -> Result<Vec<&'a str>, Trouble> {
    let tables = publication::tables(sql, namespaces).await?;
    for _ in 0..RACES {
        let missing = publication::missing(sql, namespaces).await?;
        let gone: Vec<&str> = missing.iter().copied().filter(|name| plan.carried.iter().any(|it| it == name)).collect();
        if !gone.is_empty() {
            return Err(vanished(sql, &gone));
        }
        let there: Vec<&str> = namespaces.iter().copied().filter(|name| !missing.contains(name)).collect();
        publication::verify_publications(sql, &there).await?;
        if missing.is_empty() {
            return Ok(missing);
        }
        if publication::create(sql, plan.database, &missing, &tables).await? {
            tracing::info!(publications = ?missing, "publications created");
            return Ok(missing);
        }
    }
    Err(Trouble::new(
        Class::Publication,
        format!("{}: publications appear and vanish while they are created", sql.place().server),
        "see who else creates and drops them",
    ))
}

async fn server(sql: &Sql) -> Result<Prepared, Trouble> {
    let place = sql.place();
    let rows = sql.rows(SERVER, &[]).await?;
    let row = rows.first().ok_or_else(|| Failure::Closed.trouble(place, Doing::Sql))?;
    let wal_level: String = sql.column(row, "wal_level")?;
    if wal_level != "logical" {
        return Err(Trouble::new(
            Class::PostgresSetting,
            format!("{}: wal_level is {wal_level}: the log does not hold what is needed", place.server),
            "ALTER SYSTEM SET wal_level = 'logical', then restart PostgreSQL",
        ));
    }
    let may_replicate: bool = sql.column(row, "may_replicate")?;
    if !may_replicate {
        return Err(Trouble::new(
            Class::PostgresPrivilege,
            format!("{}: role \"{}\" may not replicate", place.server, place.role),
            format!("as a superuser: ALTER ROLE {} REPLICATION", quote::identifier(&place.role)),
        ));
    }
    let timeout: Option<i64> = sql.column(row, "wal_sender_timeout")?;
    let timeout = timeout.and_then(|millis| u64::try_from(millis).ok()).filter(|millis| *millis > 0);
    Ok(Prepared {
        server_version: sql.server_version(),
        system_identifier: sql.column(row, "system_identifier")?,
        standby: sql.column(row, "standby")?,
        confirmed_flush_lsn: Lsn::ZERO,
        slot_created: false,
        publications_created: Vec::new(),
        joining: Vec::new(),
        wal_sender_timeout: timeout.map(Duration::from_millis),
    })
}

fn vanished(sql: &Sql, namespaces: &[&str]) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!(
            "{}: publications were dropped behind our back ({}): what was committed since is lost to these namespaces",
            sql.place().server,
            namespaces.join(", ")
        ),
        "find out who dropped them and copy what consumers miss; then resume the slot: the publications are created anew, and \
         these namespaces join behind that",
    )
}

fn dropped(sql: &Sql, name: &str) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!(
            "{}: replication slot \"{name}\" was dropped behind our back: what was committed since is lost to it",
            sql.place().server
        ),
        "find out who dropped it, copy what consumers miss, then resume or restart: a new slot begins with what is committed after its creation",
    )
}
