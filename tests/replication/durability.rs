//! Settings with which published commits, or the slot, can be lost are found.

use std::{
    io::{self, Write as _},
    os::unix::net::UnixStream,
};

use cdc_notifier::{
    change::Lsn,
    demo::postgres::TemporaryPostgres,
    replication::{connection::Connection, durability::risks, sql},
};

use crate::support::{NS, db, execute, major, prepared, server, settings, slot, until, value, with_tables};

#[tokio::test(flavor = "multi_thread")]
async fn each_setting_is_named() {
    let dangerous = [("fsync", "off"), ("full_page_writes", "off"), ("max_slot_wal_keep_size", "64MB")];
    let safe = [("fsync", "on"), ("full_page_writes", "on"), ("max_slot_wal_keep_size", "-1")];
    for (options, expected) in
        [(dangerous, vec!["fsync", "full_page_writes", "max_slot_wal_keep_size"]), (safe, vec![])]
    {
        let server = server(&settings(&options));
        let sql = sql(&db(&server)).await.unwrap();
        let found = risks(&sql).await.unwrap();
        let named: Vec<_> = found.iter().map(|risk| risk.message.split(' ').next().unwrap()).collect();
        assert_eq!(named, expected, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeout_of_idle_slots_is_named() {
    let server = server(&settings(&[("fsync", "on"), ("full_page_writes", "on")]));
    let sql = sql(&db(&server)).await.unwrap();
    if major(&sql).await < 18 {
        return; // There is none.
    }
    execute(&sql, "ALTER SYSTEM SET idle_replication_slot_timeout = '1h'").await;
    execute(&sql, "SELECT pg_reload_conf()").await;
    until("the new setting", || async { !risks(&sql).await.unwrap().is_empty() }).await;
    let found = risks(&sql).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.starts_with("idle_replication_slot_timeout is 1h:"), "{found:?}");
    execute(&sql, found[0].remedy.split_once("; ").unwrap().0).await;
    execute(&sql, found[0].remedy.split_once("; ").unwrap().1).await;
    until("the remedy", || async { risks(&sql).await.unwrap().is_empty() }).await;
}

/// What a standby is to the server: a walsender that streams the whole log.
fn standby(server: &TemporaryPostgres, from: &str) -> io::Result<UnixStream> {
    let mut socket = UnixStream::connect(server.socket_dir().join(format!(".s.PGSQL.{}", server.port())))?;
    let startup = [&(3_u32 << 16).to_be_bytes(), &b"user\0postgres\0replication\0true\0\0"[..]].concat();
    let query = format!("START_REPLICATION PHYSICAL {from}\0");
    for (kind, body) in [(&b""[..], startup), (b"Q", query.into_bytes())] {
        socket.write_all(kind)?;
        socket.write_all(&u32::try_from(body.len() + 4).unwrap().to_be_bytes())?;
        socket.write_all(&body)?;
    }
    Ok(socket)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_standby_is_one_and_a_logical_replica_is_none() {
    let (server, db, _admin) = with_tables(&settings(&[("fsync", "on"), ("full_page_writes", "on")]), &[NS]).await;
    prepared(&db, &slot("cdc", &[NS])).await.unwrap();
    let connection = Connection::open(&db).await.unwrap();
    let _stream = connection.start_replication("cdc", Lsn::ZERO, &[NS], true).await.unwrap();
    let session = sql(&db).await.unwrap();
    assert_eq!(risks(&session).await.unwrap(), []);
    let standby = standby(&server, &value(&session, "SELECT pg_current_wal_lsn()::text").await).unwrap();
    let mut found = Vec::new();
    for _ in 0..200 {
        found = risks(&session).await.unwrap();
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    drop(standby);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("asynchronous") && found[0].remedy.contains("synchronous_standby_names"));
}
