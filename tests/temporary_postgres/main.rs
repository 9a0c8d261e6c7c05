//! The temporary server itself: every test with a real PostgreSQL relies on it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    env,
    io::{BufRead as _, BufReader},
    net::TcpStream,
    panic,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use cdc_notifier::demo::{
    postgres::{Mode, Options, SUPERUSER, StartError, TemporaryPostgres},
    progressor,
};
use tokio_postgres::{Client, NoTls, error::SqlState};

async fn connect(server: &TemporaryPostgres) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(SUPERUSER).dbname("postgres");
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

#[tokio::test]
async fn what_was_committed_survives_a_kill() {
    let mut server = TemporaryPostgres::start(&Options::default()).expect("start");
    assert_eq!(server.host(), server.socket_dir().to_str().unwrap());
    let client = connect(&server).await;
    client.batch_execute(&progressor::schema_sql("default/default")).await.expect("schema");
    client.batch_execute(&progressor::schema_sql(r#"a"b"#)).await.expect("a second namespace shares the type");
    client
        .batch_execute(r#"INSERT INTO "default/default_processes" (process_id, status) VALUES ('p', 'init')"#)
        .await
        .unwrap();
    let wal_level: String = client.query_one("SHOW wal_level", &[]).await.unwrap().get(0);
    assert_eq!(wal_level, "logical");

    let before = server.postmaster().expect("running");
    server.kill().expect("kill");
    assert_eq!(server.postmaster(), None);
    assert!(client.query_one("SELECT 1", &[]).await.is_err(), "the session died with its server");
    server.start_again().expect("recovery");
    assert_ne!(server.postmaster(), Some(before));
    assert!(server.log().contains("not properly shut down"), "{}", server.log());

    let client = connect(&server).await;
    let row =
        client.query_one(r#"SELECT process_id, status::text FROM "default/default_processes""#, &[]).await.unwrap();
    assert_eq!((row.get(0), row.get(1)), ("p", "init"));
    server.stop(Mode::Fast).expect("stop");
    assert!(server.stop(Mode::Fast).is_err(), "it is stopped already");
    assert!(server.kill().is_err());
    server.start_again().expect("start");
}

#[tokio::test]
async fn tcp_settings_and_hba_are_the_callers() {
    let options = Options {
        settings: vec![("application_name".into(), "it's \\ here".into()), ("wal_level".into(), "replica".into())],
        listen_tcp: true,
        hba: Some("local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n".into()),
        bin_dir: None,
    };
    let mut server = TemporaryPostgres::start(&options).expect("start");
    let second = TemporaryPostgres::start(&options).expect("start");
    assert!(server.port() < 32_768 && server.port() != second.port());
    assert_eq!(server.host(), "127.0.0.1");
    TcpStream::connect((server.host(), server.port())).expect("listens");

    let mut config = tokio_postgres::Config::new();
    config.host_path(server.socket_dir()).port(server.port()).user(SUPERUSER);
    let (client, connection) = config.connect(NoTls).await.expect("trusted on the socket");
    tokio::spawn(connection);
    let names = client.query_one("SELECT current_setting('application_name'), current_setting('wal_level')", &[]).await;
    let names = names.unwrap();
    assert_eq!((names.get(0), names.get(1)), ("it's \\ here", "replica"));
    client.batch_execute("CREATE ROLE reader LOGIN PASSWORD 'right'").await.unwrap();

    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user("reader").dbname("postgres").password("wrong");
    let refused = config.connect(NoTls).await.err().expect("refused");
    assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
    std::fs::write(server.data_dir().join("pg_hba.conf"), "host all all 127.0.0.1/32 trust\n").unwrap();
    server.reload().expect("reload");
    // The postmaster takes the new rules when its signal arrives: asked until then.
    while config.connect(NoTls).await.is_err() {}
}

#[test]
fn leaves_nothing_behind_even_after_a_panic() {
    let places = |server: &TemporaryPostgres| (server.socket_dir().to_owned(), server.postmaster().expect("running"));
    let mut seen = None;
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let server = TemporaryPostgres::start(&Options::default()).expect("start");
        seen = Some(places(&server));
        std::panic::resume_unwind(Box::new("as a failing test does"));
    }));
    assert!(result.is_err());
    let (directory, postmaster) = seen.unwrap();
    assert!(!directory.exists());
    assert!(nix::sys::signal::kill(postmaster, None).is_err(), "the postmaster still runs");
}

#[test]
fn a_missing_installation_is_named_with_its_remedy() {
    let options = Options { bin_dir: Some(PathBuf::from("/nonexistent")), ..Options::default() };
    let error = TemporaryPostgres::start(&options).expect_err("nothing there");
    assert!(matches!(error, StartError::NotInstalled), "{error}");
    assert!(error.remedy().contains("apt-get install postgresql"), "{}", error.remedy());

    let options = Options { settings: vec![("wal_level".into(), "nonsense".into())], ..Options::default() };
    let error = TemporaryPostgres::start(&options).expect_err("refused by the server");
    assert!(error.to_string().contains("invalid value for parameter \"wal_level\""), "{error}");
}

/// Set in the processes that the next test starts: they make a server, say where, and wait for the end of their input.
const OWNER: &str = "TEMPORARY_POSTGRES_OWNER";

fn owner() -> (Child, impl Iterator<Item = String>, PathBuf, u32) {
    let name = "what_a_killed_process_left_goes_away_at_the_next_start";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(OWNER, "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find_map(|line| line.strip_prefix("server ").map(str::to_owned)).expect("a server");
    let (directory, pid) = line.split_once(' ').unwrap();
    (child, lines, directory.into(), pid.parse().unwrap())
}

#[test]
fn what_a_killed_process_left_goes_away_at_the_next_start() {
    if env::var_os(OWNER).is_some() {
        let server = TemporaryPostgres::start(&Options::default()).expect("start");
        println!("\nserver {} {}", server.socket_dir().display(), server.postmaster().unwrap());
        std::io::stdin().lines().for_each(drop);
        return;
    }
    let (mut first, _, directory, postmaster) = owner();
    first.kill().unwrap();
    first.wait().unwrap();
    let (mut second, output, other, _) = owner();
    assert!(!directory.exists(), "swept");
    assert!(other.exists());
    // Its parent died, so it may be left to init as a zombie; it must not run.
    let state = std::fs::read_to_string(format!("/proc/{postmaster}/stat")).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z"), "{state}");
    drop(second.stdin.take());
    output.for_each(drop);
    assert!(second.wait().unwrap().success());
    assert!(!other.exists(), "removed by its owner");
}
