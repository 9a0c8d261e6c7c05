//! SQL on an ordinary connection, over the same transport.

use std::{ops::Deref, sync::atomic::Ordering, time::Duration};

use secrecy::ExposeSecret as _;
use tokio::{sync::watch, task::AbortHandle, time::timeout};
use tokio_postgres::{Client, Config, NoTls, Row, types::ToSql};

use super::{
    error::{Doing, Failure, Place},
    guard::Guard,
    handshake::{APPLICATION_NAME, clear_text},
    transport::{self, Stream},
    version::ServerVersion,
};
use crate::{change::Trouble, config::Postgres};

/// Settings of the session. No object of a schema that others may write to is found by its bare name, and no statement of ours
/// takes longer than 30 s.
const OPTIONS: &str = "-c search_path=pg_catalog -c statement_timeout=30s -c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres \
                       -c bytea_output=hex -c extra_float_digits=1";

/// Bound on a statement, if not even the server's own bound is kept.
const ANSWER: Duration = Duration::from_secs(40);

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// The SQLSTATE of the server's last word, if it said one: `57P01` when it was told to stop, or the session to end.
    pub sqlstate: Option<String>,
    /// The same for people.
    pub trouble: Trouble,
}

/// A client and its connection, which ends with it.
#[derive(Debug)]
pub struct Sql {
    client: Client,
    place: Place,
    server_version: ServerVersion,
    end: watch::Receiver<Option<End>>,
    connection: AbortHandle,
}

impl Drop for Sql {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Deref for Sql {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// Opens an SQL connection.
///
/// # Errors
/// If the server cannot be reached within `connect_timeout` or refuses the login.
pub async fn sql(db: &Postgres) -> Result<Sql, Trouble> {
    let place = Place::of(db);
    let mut config = Config::new();
    config.user(&db.username).dbname(&db.database).application_name(APPLICATION_NAME).options(OPTIONS);
    if let Some(password) = &db.password {
        config.password(password.expose_secret());
    }
    let config = &config;
    let (client, connection) = transport::login(db, |stream: Stream| async move {
        let guard = Guard::new(stream);
        let asks_for_clear_text = guard.asks_for_clear_text();
        let refusal = |error: tokio_postgres::Error| {
            if asks_for_clear_text.load(Ordering::Acquire) { clear_text(db) } else { error.into() }
        };
        config.connect_raw(guard, NoTls).await.map_err(refusal)
    })
    .await?;
    let accepted = ServerVersion::accept(connection.parameter("server_version"), &place);
    let server_version = accepted.map_err(|failure| failure.trouble(&place, Doing::Login))?;
    let (sender, end) = watch::channel(None);
    let at = place.clone();
    let task = tokio::spawn(async move {
        let failure = connection.await.map_or_else(Failure::from, |()| Failure::Closed);
        let sqlstate = failure.sqlstate().map(str::to_owned);
        sender.send_replace(Some(End { sqlstate, trouble: failure.trouble(&at, Doing::Sql) }));
    });
    Ok(Sql { client, place, server_version, end, connection: task.abort_handle() })
}

impl Sql {
    /// Which database it is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The server's version.
    #[must_use]
    pub const fn server_version(&self) -> ServerVersion {
        self.server_version
    }

    /// Waits until the connection has ended.
    pub async fn ended(&self) -> End {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await.ok().and_then(|end| end.clone());
        ended.unwrap_or_else(|| End { sqlstate: None, trouble: Failure::Closed.trouble(&self.place, Doing::Sql) })
    }

    /// The rows of a statement of ours.
    ///
    /// # Errors
    /// If the server refuses it, does not answer in time, or the connection has ended.
    pub async fn rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Trouble> {
        self.try_rows(sql, parameters).await.map_err(|failure| failure.trouble(&self.place, Doing::Sql))
    }

    /// One value of one row.
    pub(super) fn column<'a, T: tokio_postgres::types::FromSql<'a>>(
        &self,
        row: &'a Row,
        name: &str,
    ) -> Result<T, Trouble> {
        row.try_get(name)
            .map_err(|_| Failure::Protocol("a catalog has a column of another type").trouble(&self.place, Doing::Sql))
    }

    async fn try_rows(&self, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, Failure> {
        let answer = timeout(ANSWER, self.client.query(sql, parameters)).await;
        let failure = match answer {
            Err(_) => return Err(Failure::Timeout(ANSWER)),
            Ok(Ok(rows)) => return Ok(rows),
            Ok(Err(error)) => Failure::from(error),
        };
        // Why it ended is known to the connection, not to the client.
        let end = self.end.borrow().clone();
        Err(match (failure, end) {
            (Failure::Closed, Some(end)) => Failure::Trouble(end.trouble),
            (failure, _) => failure,
        })
    }
}
