//! From what went wrong on the wire to what an operator reads. PostgreSQL's errors are told apart by SQLSTATE, never by their text.

use std::{io, time::Duration};

use crate::{
    change::{Class, Trouble},
    config::Postgres,
};

/// Characters of a server's message that we repeat.
const LONGEST_MESSAGE: usize = 400;

/// Which database, for messages. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// `host:port/database`.
    pub server: String,
    /// The name of the database alone.
    pub database: String,
    /// The role.
    pub role: String,
}

impl Place {
    pub(super) fn of(db: &Postgres) -> Self {
        Self {
            server: format!("{}:{}/{}", db.host, db.port, db.database),
            database: db.database.clone(),
            role: db.username.clone(),
        }
    }
}

/// What an ErrorResponse or NoticeResponse says, as far as we use it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) sqlstate: String,
    pub(super) message: String,
    /// The function in PostgreSQL's source: not translated, unlike the message.
    pub(super) routine: String,
}

/// What went wrong, before it is known what it means.
#[derive(Debug)]
pub(super) enum Failure {
    /// PostgreSQL answered with an error.
    Server(ServerError),
    /// The socket.
    Io(io::Error),
    /// The server closed the connection without a word.
    Closed,
    /// It took longer than this.
    Timeout(Duration),
    /// The TLS handshake failed.
    Tls(Trouble),
    /// The other side does not speak PostgreSQL's protocol, or not as we understand it.
    Protocol(&'static str),
    /// Already explained.
    Trouble(Trouble),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::Server(ServerError {
                sqlstate: db.code().code().to_owned(),
                message: db.message().to_owned(),
                routine: db.routine().unwrap_or_default().to_owned(),
            });
        }
        if error.is_closed() {
            return Self::Closed;
        }
        let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        match source {
            Some(source) => io::Error::new(source.kind(), source.to_string()).into(),
            None => Self::Protocol(
                "the SQL connection failed, or the server asked for a way to log in that is not supported",
            ),
        }
    }
}

impl Failure {
    pub(super) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(error) => Some(&error.sqlstate),
            _ => None,
        }
    }

    pub(super) fn is(&self, sqlstate: &str) -> bool {
        self.sqlstate() == Some(sqlstate)
    }

    /// Whether the server refused the login in a way that another line of `pg_hba.conf` might not.
    pub(super) fn is_refused_login(&self) -> bool {
        self.sqlstate().is_some_and(|sqlstate| sqlstate.starts_with("28"))
    }
}

/// What we were about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing<'a> {
    /// Logging in.
    Login,
    /// Reading catalogs and settings.
    Sql,
    /// Creating publications.
    Publication,
    /// Creating this slot.
    CreateSlot(&'a str),
    /// Starting or reading this slot's stream.
    Stream(&'a str),
}

impl Failure {
    /// What it means.
    pub(super) fn trouble(self, place: &Place, doing: Doing<'_>) -> Trouble {
        let server = &place.server;
        let what = match doing {
            Doing::Login => format!("login as role \"{}\"", place.role),
            Doing::Sql => "reading catalogs".to_owned(),
            Doing::Publication => "creation of publications".to_owned(),
            Doing::CreateSlot(slot) => format!("creation of replication slot \"{slot}\""),
            Doing::Stream(slot) => format!("replication slot \"{slot}\""),
        };
        let unavailable = |why: String| {
            Trouble::new(
                Class::PostgresUnavailable,
                format!("{server}: {what}: {why}"),
                "see that PostgreSQL runs and can be reached at this address; its log says why it closed a connection",
            )
        };
        match self {
            Self::Server(error) => {
                let (class, remedy) = meaning(&error.sqlstate, place, doing);
                let message: String = error.message.chars().take(LONGEST_MESSAGE).collect();
                Trouble::new(class, format!("{server}: {what}: {message} (SQLSTATE {})", error.sqlstate), remedy)
            }
            Self::Io(error) => unavailable(error.to_string()),
            Self::Closed => unavailable("the server closed the connection".to_owned()),
            Self::Timeout(after) => unavailable(format!("no answer within {} ms", after.as_millis())),
            Self::Protocol(why) => unavailable(why.to_owned()),
            Self::Tls(trouble) | Self::Trouble(trouble) => trouble,
        }
    }
}

/// The one table from SQLSTATE (and what we were about to do) to the kind of trouble and what mends it.
fn meaning(sqlstate: &str, place: &Place, doing: Doing<'_>) -> (Class, String) {
    let role = super::quote::identifier(&place.role);
    let database = super::quote::identifier(&place.database);
    let (class, remedy) = match (sqlstate, doing) {
        ("28P01", _) => (
            Class::PostgresLogin,
            format!("correct `password` (or password_file) of this database, or: ALTER ROLE {role} PASSWORD '...'"),
        ),
        (_, Doing::Login) if sqlstate.starts_with("28") => (
            Class::PostgresLogin,
            format!(
                "see that the role exists (CREATE ROLE {role} LOGIN REPLICATION) and that pg_hba.conf has a line for database {database}, \
                 this role, this client's address and this sslmode; then SELECT pg_reload_conf()"
            ),
        ),
        ("3D000", _) => (Class::PostgresLogin, format!("correct `database`, or: CREATE DATABASE {database}")),
        ("42704", Doing::Login) => (
            Class::PostgresLogin,
            "connect to PostgreSQL 13 or later directly, not through a pooler".to_owned(),
        ),
        ("53300", _) => (
            Class::PostgresSetting,
            "ALTER SYSTEM SET max_wal_senders and max_connections to higher values, then restart PostgreSQL; or end connections that are not needed"
                .to_owned(),
        ),
        ("53400", _) => (
            Class::PostgresSetting,
            "ALTER SYSTEM SET max_replication_slots to a higher value, then restart PostgreSQL; or drop a slot that is not needed: \
             SELECT slot_name, active FROM pg_replication_slots"
                .to_owned(),
        ),
        ("42501", Doing::Login | Doing::CreateSlot(_) | Doing::Stream(_)) => {
            (Class::PostgresPrivilege, format!("as a superuser: ALTER ROLE {role} REPLICATION"))
        }
        ("42501", Doing::Publication) => (
            Class::PostgresPrivilege,
            format!(
                "create the publications as the owner of the tables (cdc-notifier check prints the statements), or: \
                 GRANT CREATE ON DATABASE {database} TO {role}, and make {role} a member of the tables' owner"
            ),
        ),
        ("42501", Doing::Sql) => (Class::PostgresPrivilege, format!("GRANT what the message names to {role}")),
        ("25006", _) => (
            Class::PostgresSetting,
            "connect to the primary: this server is a standby, or default_transaction_read_only is on".to_owned(),
        ),
        ("0A000", Doing::CreateSlot(_)) => (
            Class::PostgresSetting,
            "connect to the primary: a standby can have logical slots from PostgreSQL 16 on".to_owned(),
        ),
        ("55000", Doing::CreateSlot(_)) => (
            Class::PostgresSetting,
            "ALTER SYSTEM SET wal_level = 'logical' and max_replication_slots above 0, then restart PostgreSQL".to_owned(),
        ),
        ("55006", _) | ("42710", Doing::CreateSlot(_)) => {
            (Class::SlotBusy, "wait, or stop the other consumer of the slot".to_owned())
        }
        ("0A000" | "42704" | "42602", Doing::Stream(_)) => (
            Class::Publication,
            "a publication was missing or unfit at this place of the log, that is, it was created, changed or recreated after the slot: \
             its namespace can only join behind that place"
                .to_owned(),
        ),
        ("58P01", Doing::Stream(slot)) => (
            Class::SlotLost,
            format!("PostgreSQL has removed what the slot needs: SELECT pg_drop_replication_slot({}), and begin anew", super::quote::literal(slot)),
        ),
        ("57P01" | "57P02" | "57P03", _) => (
            Class::PostgresUnavailable,
            "none while PostgreSQL starts, stops or recovers; else find out who called pg_terminate_backend, and look into PostgreSQL's log".to_owned(),
        ),
        ("08P01", _) => {
            (Class::PostgresUnavailable, "connect to PostgreSQL directly, not through a pooler".to_owned())
        }
        ("55P03", _) => (
            Class::PostgresUnavailable,
            "wait for, or end, the sessions that hold the lock: SELECT pid, pg_blocking_pids(pid) FROM pg_stat_activity".to_owned(),
        ),
        ("53100", _) => (Class::PostgresUnavailable, "free space on PostgreSQL's disk".to_owned()),
        _ => (Class::PostgresUnavailable, "see PostgreSQL's log; it is tried again".to_owned()),
    };
    (class, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_means_what_we_were_about_to_do() {
        let place = Place { server: "h:1/d".into(), database: "d".into(), role: "r".into() };
        let class = |sqlstate: &str, doing| {
            let error = ServerError { sqlstate: sqlstate.into(), message: "text".into(), routine: String::new() };
            Failure::Server(error).trouble(&place, doing).class
        };
        for (sqlstate, doing, expected) in [
            ("28P01", Doing::Login, Class::PostgresLogin),
            ("28000", Doing::Login, Class::PostgresLogin),
            ("3D000", Doing::Login, Class::PostgresLogin),
            ("42704", Doing::Login, Class::PostgresLogin),
            ("42704", Doing::Stream("s"), Class::Publication),
            ("42501", Doing::Login, Class::PostgresPrivilege),
            ("42501", Doing::Publication, Class::PostgresPrivilege),
            ("53300", Doing::Login, Class::PostgresSetting),
            ("53400", Doing::CreateSlot("s"), Class::PostgresSetting),
            ("55000", Doing::CreateSlot("s"), Class::PostgresSetting),
            ("55000", Doing::Stream("s"), Class::PostgresUnavailable),
            ("55006", Doing::Stream("s"), Class::SlotBusy),
            ("42710", Doing::CreateSlot("s"), Class::SlotBusy),
            ("58P01", Doing::Stream("s"), Class::SlotLost),
            ("57P03", Doing::Login, Class::PostgresUnavailable),
            ("XX000", Doing::Stream("s"), Class::PostgresUnavailable),
        ] {
            assert_eq!(class(sqlstate, doing), expected, "{sqlstate} {doing:?}");
        }
    }
}
