//! Logging in, and every way to be refused.

use std::time::Duration;

use cdc_notifier::{
    change::Class,
    config::{Postgres, SslMode},
    demo::postgres::{Mode, Options},
    replication::{connection::Connection, sql::sql, transport},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{CANARY, as_role, db, execute, major, refused, server, value};

const HBA: &str = "
local all postgres trust
local all trusty trust
local all md5 md5
local all scram scram-sha-256
local all clear password
local all limited trust
local all norole trust
host all clear 127.0.0.1/32 password
host all scram 127.0.0.1/32 scram-sha-256
host all postgres 127.0.0.1/32 trust
host all rejected 127.0.0.1/32 reject
";

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_log_in_and_to_be_refused() {
    let server = server(&Options { hba: Some(HBA.to_owned()), listen_tcp: true, ..Options::default() });
    let tcp = db(&server);
    let unix = Postgres { host: server.socket_dir().to_str().unwrap().to_owned(), ..tcp.clone() };
    let admin = sql(&unix).await.expect("sql");
    execute(
        &admin,
        &format!(
            "CREATE ROLE trusty LOGIN REPLICATION; CREATE ROLE limited LOGIN;
             SET password_encryption = md5; CREATE ROLE md5 LOGIN REPLICATION PASSWORD '{CANARY}';
             SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN REPLICATION PASSWORD '{CANARY}';
             CREATE ROLE clear LOGIN REPLICATION PASSWORD '{CANARY}'; CREATE ROLE rejected LOGIN REPLICATION"
        ),
    )
    .await;

    for role in ["trusty", "md5", "scram", "clear"] {
        let mut connection = Connection::open(&as_role(&unix, role)).await.unwrap_or_else(|t| panic!("{role}: {t:?}"));
        assert_eq!(connection.server_version().major(), major(&admin).await);
        let rows = connection.simple_query("SELECT current_user, current_setting('application_name')").await.unwrap();
        assert_eq!(rows, [[Some(role.to_owned()), Some("cdc-notifier".to_owned())]]);
        let client = sql(&as_role(&unix, role)).await.unwrap_or_else(|t| panic!("{role}: {t:?}"));
        assert_eq!(value(&client, "SELECT current_user::text").await, role);
        assert!(!format!("{connection:?}{client:?}").contains(CANARY));
    }
    Connection::open(&as_role(&tcp, "scram")).await.expect("scram over TCP");

    let wrong = |role| Postgres { password: Some("canary-3e1f-not".into()), ..as_role(&unix, role) };
    let none = |role| Postgres { password: None, ..as_role(&unix, role) };
    for role in ["md5", "scram", "clear"] {
        let alter = format!("ALTER ROLE \"{role}\" PASSWORD");
        refused(Connection::open(&wrong(role)).await, Class::PostgresLogin, &["`password`", &alter]);
        refused(sql(&wrong(role)).await, Class::PostgresLogin, &["`password`", &alter]);
        refused(Connection::open(&none(role)).await, Class::PostgresLogin, &["`password`"]);
    }
    refused(Connection::open(&as_role(&tcp, "clear")).await, Class::PostgresLogin, &["sslmode", "scram-sha-256"]);
    refused(sql(&as_role(&tcp, "clear")).await, Class::PostgresLogin, &["sslmode", "scram-sha-256"]);
    refused(Connection::open(&as_role(&tcp, "rejected")).await, Class::PostgresLogin, &["pg_hba.conf"]);
    refused(Connection::open(&as_role(&tcp, "trusty")).await, Class::PostgresLogin, &["pg_hba.conf"]);
    refused(Connection::open(&as_role(&unix, "norole")).await, Class::PostgresLogin, &["CREATE ROLE \"norole\""]);
    let nodb = Postgres { database: "nodb".into(), ..unix.clone() };
    refused(Connection::open(&nodb).await, Class::PostgresLogin, &["CREATE DATABASE \"nodb\""]);
    refused(sql(&nodb).await, Class::PostgresLogin, &["CREATE DATABASE \"nodb\""]);
    refused(
        Connection::open(&as_role(&unix, "limited")).await,
        Class::PostgresPrivilege,
        &["ALTER ROLE \"limited\" REPLICATION"],
    );
    let demanding = Postgres { tls: cdc_notifier::config::Tls { mode: SslMode::Require, ..tcp.tls.clone() }, ..tcp };
    refused(Connection::open(&demanding).await, Class::PostgresLogin, &["ssl = on"]);
    refused(transport::connect(&demanding).await, Class::PostgresLogin, &["ssl = on"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_role_and_database_do_not_change_values() {
    let server = server(&Options::default());
    let db = db(&server);
    let admin = sql(&db).await.unwrap();
    execute(
        &admin,
        "ALTER ROLE postgres SET datestyle = 'German'; ALTER ROLE postgres SET timezone = 'Asia/Kolkata';
         ALTER ROLE postgres SET client_encoding = 'LATIN1'; ALTER DATABASE postgres SET bytea_output = 'escape';
         ALTER ROLE postgres SET intervalstyle = 'sql_standard'; ALTER ROLE postgres SET extra_float_digits = -10",
    )
    .await;
    let mut connection = Connection::open(&db).await.expect("open");
    let rows = connection
        .simple_query(
            "SELECT timestamptz '2000-01-01 05:30:01+05:30', '\\x00ff'::bytea, 0.1::float8 + 0.2::float8, 'ü', interval '1 day 2 hours'",
        )
        .await
        .unwrap();
    let values: Vec<_> = rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
    assert_eq!(values, ["2000-01-01 00:00:01+00", "\\x00ff", "0.30000000000000004", "ü", "1 day 02:00:00"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_room_for_senders_says_what_to_raise() {
    let server = server(&crate::support::settings(&[("max_wal_senders", "1")]));
    let db = db(&server);
    let first = Connection::open(&db).await.expect("the first");
    refused(Connection::open(&db).await, Class::PostgresSetting, &["max_wal_senders"]);
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_away_silent_or_strange_are_unavailable() {
    let mut server = server(&Options { listen_tcp: true, ..Options::default() });
    let mut db = db(&server);
    let mut connection = Connection::open(&db).await.unwrap();
    let client = sql(&db).await.unwrap();
    server.stop(Mode::Fast).expect("stop");
    let end = client.ended().await;
    assert_eq!(end.sqlstate.as_deref(), Some("57P01"));
    assert_eq!(end.trouble.class, Class::PostgresUnavailable);
    refused(client.rows("SELECT 1", &[]).await, Class::PostgresUnavailable, &["log"]);
    refused(connection.identify_system().await, Class::PostgresUnavailable, &["log"]);
    refused(Connection::open(&db).await, Class::PostgresUnavailable, &["PostgreSQL runs"]);

    db.connect_timeout = Duration::from_millis(300);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    db.port = silent.local_addr().unwrap().port();
    let trouble = refused(Connection::open(&db).await, Class::PostgresUnavailable, &[]);
    assert!(trouble.message.contains("300 ms"), "{trouble:?}");
    refused(sql(&db).await, Class::PostgresUnavailable, &[]);

    tokio::spawn(async move {
        loop {
            let (mut socket, _) = silent.accept().await.unwrap();
            socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        }
    });
    refused(Connection::open(&db).await, Class::PostgresUnavailable, &[]);
    db.tls.mode = SslMode::Disable;
    refused(Connection::open(&db).await, Class::PostgresUnavailable, &[]);
    db.host = "no-such-host.invalid".into();
    refused(Connection::open(&db).await, Class::PostgresUnavailable, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_too_old_is_refused_at_login() {
    let server = server(&Options::default());
    let old = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = old.local_addr().unwrap().port();
    let db = Postgres { host: "127.0.0.1".into(), port, ..db(&server) };
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = old.accept().await.unwrap();
            let mut request = [0; 8];
            socket.read_exact(&mut request).await.unwrap();
            // No TLS; then AuthenticationOk, ParameterStatus, BackendKeyData, ReadyForQuery.
            socket.write_all(b"NR\0\0\0\x08\0\0\0\0S\0\0\0\x19server_version\x0012.22\0").await.unwrap();
            socket.write_all(b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I").await.unwrap();
            // Until the client hangs up.
            let _rest = socket.read_to_end(&mut Vec::new()).await;
        }
    });
    for trouble in [Connection::open(&db).await.err(), sql(&db).await.err()] {
        let trouble = refused(trouble.map_or(Ok(()), Err), Class::PostgresSetting, &["PostgreSQL 13 or later"]);
        assert!(trouble.message.contains("12.22 is too old"), "{trouble:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abandoned_command_is_not_answered_to_the_next() {
    let server = server(&Options::default());
    let mut connection = Connection::open(&db(&server)).await.unwrap();
    let slow = connection.simple_query("SELECT pg_sleep(30)");
    assert!(tokio::time::timeout(Duration::from_millis(100), slow).await.is_err());
    refused(connection.simple_query("SELECT 1").await, Class::PostgresUnavailable, &[]);

    let mut connection = Connection::open(&db(&server)).await.unwrap();
    refused(connection.simple_query("SELECT nonsense").await, Class::PostgresUnavailable, &[]);
    assert_eq!(connection.simple_query("SELECT 1").await.unwrap(), [[Some("1".to_owned())]], "usable after an error");
    assert_eq!(connection.simple_query("SELECT NULL").await.unwrap(), [[None]]);
}
