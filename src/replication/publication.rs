//! Publications and the tables in them: verified, created if missing, never altered.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    blockers::{self, LOCK_TIMEOUT},
    error::{Doing, Failure},
    quote,
    slot::or_unknown,
    sql::{self, Sql},
};
use crate::{
    change::{Class, Trouble},
    config::Postgres,
};

/// Columns that messages are made of.
const PROCESSES: [&str; 3] = ["process_id", "status", "detail"];
const EVENTS: [&str; 5] = ["process_id", "event_id", "timestamp", "metadata", "payload"];
/// Columns of an old row of processes that are needed to see what an update means.
const IDENTITY: [&str; 2] = ["process_id", "status"];

const TABLES: &str = "
    SELECT c.relname::text AS name, c.relpersistence = 'p' AS logged, c.relreplident = 'f' AS full,
           ARRAY(SELECT a.attname::text FROM pg_attribute a
                 WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
           ARRAY(SELECT a.attname::text FROM pg_index i
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
                 WHERE i.indrelid = c.oid AND i.indisvalid
                   AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END) AS identity
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND c.relname::text = ANY ($1::text[])";

const PUBLICATIONS: &str = "
    SELECT pubname::text AS name, pubinsert AND pubupdate AND pubdelete AS complete
    FROM pg_publication WHERE pubname::text = ANY ($1::text[])";

/// Column lists and row filters exist from PostgreSQL 15 on; as JSON their absence is no error.
const PUBLISHED: &str = "
    SELECT t.pubname::text AS publication, t.tablename::text AS name, to_jsonb(t) ->> 'rowfilter' IS NOT NULL AS filtered,
           to_jsonb(t) ? 'attnames' AS listed, ARRAY(SELECT jsonb_array_elements_text(to_jsonb(t) -> 'attnames')) AS columns
    FROM pg_publication_tables t
    WHERE t.schemaname = 'public' AND t.pubname::text = ANY ($1::text[])";

/// A table as the catalogs describe it.
#[derive(Debug)]
pub(super) struct Table {
    logged: bool,
    full: bool,
    columns: BTreeSet<String>,
    identity: BTreeSet<String>,
}

impl Table {
    /// Whether an old row shows what an update of processes means.
    fn identity_suffices(&self) -> bool {
        self.full || IDENTITY.iter().all(|column| self.identity.contains(*column))
    }
}

/// By name.
pub(super) type Tables = BTreeMap<String, Table>;

/// Everything that deviates, each with what mends it.
#[derive(Debug, Default)]
struct Deviations(Vec<(Class, String, String)>);

impl Deviations {
    fn add(&mut self, class: Class, what: String, remedy: String) {
        self.0.push((class, what, remedy));
    }

    fn into_result(self, server: &str) -> Result<(), Trouble> {
        // The first kind comes first because what follows from it may mend itself.
        let Some((class, ..)) = self.0.first() else { return Ok(()) };
        let (whats, remedies): (Vec<_>, Vec<_>) =
            self.0.iter().map(|(_, what, remedy)| (what.as_str(), remedy.as_str())).unzip();
        Err(Trouble::new(*class, format!("{server}: {}", whats.join("; ")), remedies.join(" ")))
    }
}

/// The tables of these namespaces.
///
/// # Errors
/// `TableMissing` or `Schema` if a table, or a column that messages are made of, is missing.
pub(super) async fn tables(sql: &Sql, namespaces: &[&str]) -> Result<Tables, Trouble> {
    let names: Vec<_> = namespaces.iter().flat_map(|ns| [format!("{ns}_processes"), format!("{ns}_events")]).collect();
    let mut tables = Tables::new();
    for row in sql.rows(TABLES, &[&names]).await? {
        let table = Table {
            logged: sql.column(&row, "logged")?,
            full: sql.column(&row, "full")?,
            columns: sql.column::<Vec<String>>(&row, "columns")?.into_iter().collect(),
            identity: sql.column::<Vec<String>>(&row, "identity")?.into_iter().collect(),
        };
        tables.insert(sql.column(&row, "name")?, table);
    }
    let mut deviations = Deviations::default();
    for namespace in namespaces {
        for (name, quoted, needed) in needed(namespace) {
            match tables.get(&name) {
                None => deviations.add(
                    Class::TableMissing,
                    format!("table {quoted} does not exist"),
                    format!("let progressor create the tables of namespace \"{namespace}\", or correct the namespace or `database`."),
                ),
                Some(table) => {
                    for column in needed.iter().filter(|column| !table.columns.contains(**column)) {
                        deviations.add(
                            Class::Schema,
                            format!("table {quoted} has no column {column}"),
                            format!("let progressor migrate the tables of namespace \"{namespace}\"."),
                        );
                    }
                }
            }
        }
    }
    deviations.into_result(&sql.place().server)?;
    Ok(tables)
}

/// Name, SQL and needed columns of both tables.
fn needed(namespace: &str) -> [(String, String, &'static [&'static str]); 2] {
    [
        (format!("{namespace}_processes"), quote::processes(namespace), &PROCESSES),
        (format!("{namespace}_events"), quote::events(namespace), &EVENTS),
    ]
}

/// Of these namespaces, those without a publication.
pub(super) async fn missing<'a>(sql: &Sql, namespaces: &[&'a str]) -> Result<Vec<&'a str>, Trouble> {
    let rows = sql.rows(PUBLICATIONS, &[&namespaces]).await?;
    let there: BTreeSet<String> = rows.iter().map(|row| sql.column(row, "name")).collect::<Result<_, _>>()?;
    Ok(namespaces.iter().copied().filter(|name| !there.contains(*name)).collect())
}

/// Sees that the publication of each namespace publishes what is needed: both tables, inserts, updates and deletes, all rows, the
/// columns that messages are made of; and that old rows of processes carry the status. To be called at start and while streaming.
///
/// # Errors
/// `Publication`, `TableMissing` or `Schema`, with everything that deviates and the SQL that mends it.
pub async fn verify_publications(sql: &Sql, namespaces: &[&str]) -> Result<(), Trouble> {
    let tables = tables(sql, namespaces).await?;
    let mut complete = BTreeMap::new();
    for row in sql.rows(PUBLICATIONS, &[&namespaces]).await? {
        complete.insert(sql.column::<String>(&row, "name")?, sql.column::<bool>(&row, "complete")?);
    }
    let mut published = BTreeMap::new();
    for row in sql.rows(PUBLISHED, &[&namespaces]).await? {
        let key = (sql.column::<String>(&row, "publication")?, sql.column::<String>(&row, "name")?);
        let listed: bool = sql.column(&row, "listed")?;
        let columns: Vec<String> = sql.column(&row, "columns")?;
        published.insert(key, (sql.column::<bool>(&row, "filtered")?, listed.then_some(columns)));
    }
    let mut deviations = Deviations::default();
    for namespace in namespaces {
        let publication = quote::identifier(namespace);
        let Some(complete) = complete.get(*namespace) else {
            deviations.add(
                Class::Publication,
                format!("publication {publication} does not exist"),
                create_statement(namespace) + ";",
            );
            continue;
        };
        if !complete {
            deviations.add(
                Class::Publication,
                format!("publication {publication} does not publish inserts, updates and deletes"),
                format!("ALTER PUBLICATION {publication} SET (publish = 'insert, update, delete, truncate');"),
            );
        }
        for (name, table, needed) in needed(namespace) {
            let again = format!(
                "BEGIN; ALTER PUBLICATION {publication} DROP TABLE {table}; ALTER PUBLICATION {publication} ADD TABLE {table}; COMMIT;"
            );
            match published.get(&((*namespace).to_owned(), name)) {
                None => deviations.add(
                    Class::Publication,
                    format!("publication {publication} has not table {table}"),
                    format!("ALTER PUBLICATION {publication} ADD TABLE {table};"),
                ),
                Some((true, _)) => deviations.add(
                    Class::Publication,
                    format!("publication {publication} has a row filter on table {table}"),
                    again,
                ),
                Some((false, Some(columns)))
                    if !needed.iter().all(|need| columns.iter().any(|column| column == need)) =>
                {
                    deviations.add(
                        Class::Publication,
                        format!(
                            "publication {publication} leaves out columns of table {table} that are needed ({})",
                            needed.join(", ")
                        ),
                        again,
                    );
                }
                Some(_) => {}
            }
        }
        if tables.get(&format!("{namespace}_processes")).is_some_and(|table| !table.identity_suffices()) {
            let table = quote::processes(namespace);
            deviations.add(
                Class::Publication,
                format!("the replica identity of table {table} does not carry the old status"),
                format!("ALTER TABLE {table} REPLICA IDENTITY FULL;"),
            );
        }
    }
    deviations.into_result(&sql.place().server)
}

/// The statement that creates the publication of a namespace.
pub(super) fn create_statement(namespace: &str) -> String {
    format!(
        "CREATE PUBLICATION {} FOR TABLE {}, {}",
        quote::identifier(namespace),
        quote::processes(namespace),
        quote::events(namespace)
    )
}

/// Creates the publications of these namespaces, all or none, with a replica identity of processes that suffices. Returns `false`
/// if somebody else has just created one of them: look again.
///
/// For each lock we wait five seconds at most; then the trouble names who holds it and the caller tries again.
///
/// # Errors
/// If they cannot be created (now).
pub(super) async fn create(sql: &Sql, db: &Postgres, namespaces: &[&str], tables: &Tables) -> Result<bool, Trouble> {
    // One transaction: what is interrupted half way would be found wrong at the next start. It ends with its session.
    let lock_timeout = LOCK_TIMEOUT.as_millis();
    let mut statements = vec![
        "BEGIN".to_owned(),
        format!("SET LOCAL lock_timeout = {lock_timeout}"),
        "SET LOCAL statement_timeout = 0".to_owned(),
    ];
    for namespace in namespaces {
        for (name, table, _) in needed(namespace) {
            if tables.get(&name).is_some_and(|table| !table.logged) {
                return Err(Trouble::new(
                    Class::Publication,
                    format!("{}: table {table} is unlogged: its changes are not in the log", sql.place().server),
                    format!("ALTER TABLE {table} SET LOGGED;"),
                ));
            }
        }
        if tables.get(&format!("{namespace}_processes")).is_none_or(|table| !table.identity_suffices()) {
            statements.push(format!("ALTER TABLE {} REPLICA IDENTITY FULL", quote::processes(namespace)));
        }
        statements.push(create_statement(namespace));
    }
    statements.push("COMMIT".to_owned());
    let worker = sql::sql(db).await?;
    let pid = match worker.rows("SELECT pg_backend_pid() AS pid", &[]).await?.first() {
        Some(row) => worker.column(row, "pid")?,
        None => 0,
    };
    let (created, blockers) = blockers::watch(sql, pid, worker.batch_execute(&statements.join(";"))).await;
    match created.map_err(Failure::from) {
        Ok(()) => Ok(true),
        // 23505 is what the slower of two at the same moment gets.
        Err(failure) if failure.is("42710") || failure.is("23505") => Ok(false),
        Err(failure) if failure.is("55P03") => Err(Trouble::new(
            Class::Publication,
            format!(
                "{}: publications of {} cannot be created yet: a table is locked by {}",
                sql.place().server,
                namespaces.join(", "),
                or_unknown(&blockers)
            ),
            "wait until these sessions are done, or end them: SELECT pg_terminate_backend(pid)",
        )),
        Err(failure) => Err(failure.trouble(sql.place(), Doing::Publication)),
    }
}
