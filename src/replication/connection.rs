//! A replication connection before it streams: commands of the replication protocol and simple queries.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    error::{Doing, Failure, Place},
    handshake::{self, Session},
    quote, slot, sql,
    stream::ReplicationStream,
    transport,
    version::ServerVersion,
    wire::{Body, Wire},
};
use crate::{
    change::{Class, Lsn, Trouble},
    config::Postgres,
};

/// Bound on commands that the server answers at once.
const ANSWER: Duration = Duration::from_mins(1);

/// The rows of a simple query, columns as text.
pub type Rows = Vec<Vec<Option<String>>>;

/// What a server says of itself (`IDENTIFY_SYSTEM`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SystemIdentity {
    /// Of the cluster; another one is another history.
    pub system_identifier: String,
    /// Begins at 1 and grows with each promotion.
    pub timeline: u32,
    /// The end of the log that is flushed (on a standby: replayed).
    pub wal_position: Lsn,
}

/// A walsender of a database (`replication=database`), with the settings pinned that decide how values are printed.
#[derive(Debug)]
pub struct Connection {
    wire: Wire,
    db: Postgres,
    place: Place,
    pid: i32,
    server_version: ServerVersion,
    /// A command was sent whose answer has not been read to its end.
    busy: bool,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// If the server cannot be reached within `connect_timeout`, refuses the login, or does not keep a pinned setting.
    pub async fn open(db: &Postgres) -> Result<Self, Trouble> {
        let Session { wire, pid, server_version } =
            transport::login(db, |stream| handshake::log_in(db, stream)).await?;
        Ok(Self { wire, db: db.clone(), place: Place::of(db), pid, server_version, busy: false })
    }

    /// The server's version.
    #[must_use]
    pub const fn server_version(&self) -> ServerVersion {
        self.server_version
    }

    /// The process id of the walsender.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        matches!(self.wire.stream(), transport::Stream::Tls(_))
    }

    /// System identifier, timeline and position of the server.
    ///
    /// # Errors
    /// If the connection breaks.
    pub async fn identify_system(&mut self) -> Result<SystemIdentity, Trouble> {
        let rows = self.simple_query("IDENTIFY_SYSTEM").await?;
        let mut columns = rows.into_iter().next().unwrap_or_default().into_iter().flatten();
        let identity = (|| {
            Some(SystemIdentity {
                system_identifier: columns.next()?,
                timeline: columns.next()?.parse().ok()?,
                wal_position: columns.next()?.parse().ok()?,
            })
        })();
        identity.ok_or_else(|| self.trouble(Failure::Protocol("IDENTIFY_SYSTEM has an unknown answer"), Doing::Sql))
    }

    /// Where earlier timelines ended: each with the position at which the next one forked from it, oldest first. Empty for the first.
    ///
    /// # Errors
    /// If the connection breaks or the server has not this timeline's history.
    pub async fn timeline_history(&mut self, timeline: u32) -> Result<Vec<(u32, Lsn)>, Trouble> {
        if timeline <= 1 {
            return Ok(Vec::new());
        }
        let rows = self.simple_query(&format!("TIMELINE_HISTORY {timeline}")).await?;
        let content = rows.into_iter().next().and_then(|row| row.into_iter().nth(1)).flatten();
        let forks = content.as_deref().and_then(parse_history);
        forks.ok_or_else(|| self.trouble(Failure::Protocol("TIMELINE_HISTORY has an unknown answer"), Doing::Sql))
    }

    /// Runs one statement by the simple protocol, the only one that a walsender has.
    ///
    /// # Errors
    /// If the server refuses it, does not answer within a minute, or the connection breaks.
    pub async fn simple_query(&mut self, sql: &str) -> Result<Rows, Trouble> {
        let result = timeout(ANSWER, self.query(sql)).await.unwrap_or(Err(Failure::Timeout(ANSWER)));
        result.map_err(|failure| self.trouble(failure, Doing::Sql))
    }

    pub(super) fn trouble(&self, failure: Failure, doing: Doing<'_>) -> Trouble {
        failure.trouble(&self.place, doing)
    }

    /// As `simple_query`, without a bound on time: some commands wait for other sessions.
    pub(super) async fn query(&mut self, sql: &str) -> Result<Rows, Failure> {
        self.command(sql).await?;
        let (mut rows, mut refused) = (Rows::new(), None);
        loop {
            let message = match self.wire.receive().await {
                // A fatal error is followed by the end of the connection.
                Err(failure) => return Err(refused.unwrap_or(failure)),
                Ok(message) => message,
            };
            match message.kind {
                b'D' => rows.push(Body(&message.body).row()?),
                b'E' => refused = Some(Failure::Server(Body(&message.body).server_error()?)),
                b'Z' => break,
                b'T' | b'C' | b'I' | b'N' | b'S' | b'A' => {}
                _ => return Err(Failure::Protocol("an unexpected message in the answer to a query")),
            }
        }
        self.busy = false;
        refused.map_or(Ok(rows), Err)
    }

    async fn command(&mut self, sql: &str) -> Result<(), Failure> {
        if std::mem::replace(&mut self.busy, true) {
            return Err(Failure::Protocol("the connection waits for the answer to an abandoned command"));
        }
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.wire.send(b'Q', &body).await
    }

    /// Begins to stream from the slot: committed transactions from `from` on, or from the slot's own confirmed position if that is
    /// later. `binary` asks for values in binary, if the server can; rows say themselves what they are.
    ///
    /// # Errors
    /// If the slot cannot be used; what is wrong with it is looked up in the catalogs.
    pub async fn start_replication(
        mut self,
        slot: &str,
        from: Lsn,
        publications: &[&str],
        binary: bool,
    ) -> Result<ReplicationStream, Trouble> {
        let binary = if binary && self.server_version.sends_binary() { ", binary 'true'" } else { "" };
        let command = format!(
            "START_REPLICATION SLOT {} LOGICAL {from} (proto_version '1', publication_names {}{binary})",
            quote::identifier(slot),
            quote::publication_names(publications),
        );
        let started = timeout(ANSWER, self.start(&command)).await.unwrap_or(Err(Failure::Timeout(ANSWER)));
        match started {
            Ok(()) => Ok(ReplicationStream::new(self.wire, self.place, slot.to_owned(), self.server_version)),
            Err(failure) => Err(explain_start_error(&self.db, slot, publications, failure).await),
        }
    }

    async fn start(&mut self, command: &str) -> Result<(), Failure> {
        self.command(command).await?;
        loop {
            let message = self.wire.receive().await?;
            match message.kind {
                b'W' => return Ok(()),
                b'E' => return Err(Failure::Server(Body(&message.body).server_error()?)),
                b'N' | b'S' | b'A' => {}
                _ => return Err(Failure::Protocol("START_REPLICATION has an unknown answer")),
            }
        }
    }
}

/// One SQLSTATE stands for many states of a slot, so the catalogs are asked which it is.
async fn explain_start_error(db: &Postgres, name: &str, publications: &[&str], failure: Failure) -> Trouble {
    let place = Place::of(db);
    if matches!(failure.sqlstate(), Some("55006" | "55000" | "42704"))
        && let Ok(sql) = sql::sql(db).await
    {
        match slot::find(&sql, name).await {
            Ok(None) => return slot::missing(&place, name),
            Ok(Some(found)) => {
                if let Err(trouble) = slot::check(&sql, &found).await {
                    return trouble;
                }
            }
            Err(_) => {}
        }
        if !failure.is("55006")
            && let Err(trouble) = super::publication::verify_publications(&sql, publications).await
        {
            return trouble;
        }
        if failure.is("55000") {
            let sqlstate = failure.trouble(&place, Doing::Stream(name));
            return Trouble::new(Class::PostgresSetting, sqlstate.message, "see PostgreSQL's log, and wal_level");
        }
    }
    if failure.is("42704") {
        return slot::missing(&place, name);
    }
    failure.trouble(&place, Doing::Stream(name))
}

/// Lines of a history file: timeline, the position where it ended, a reason.
fn parse_history(content: &str) -> Option<Vec<(u32, Lsn)>> {
    let lines = content.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| {
            let mut fields = line.split_whitespace();
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_files_are_read() {
        let file = "1\t0/3000148\tno recovery target specified\n\n# a comment\n2\t1/A0\tbefore 2000-01-01\n";
        assert_eq!(parse_history(file), Some(vec![(1, Lsn::new(0x300_0148)), (2, Lsn::new(0x1_0000_00A0))]));
        assert_eq!(parse_history("1\tnonsense"), None);
    }
}
