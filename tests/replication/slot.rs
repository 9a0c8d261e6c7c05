//! Slots that exist and cannot be used.

use cdc_notifier::{
    change::{Class, Lsn},
    config::Postgres,
    replication::connection::Connection,
};

use crate::support::{
    NS, end_of, execute, major, names, prepared, refused, session, settings, slot, until, value, with_tables,
};

#[tokio::test(flavor = "multi_thread")]
async fn of_another_kind_plugin_or_database() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    prepared(&db, &slot("good", &[NS])).await.expect("a good one");
    execute(&admin, "CREATE DATABASE other").await;
    let other = session(&Postgres { database: "other".into(), ..db.clone() }).await;
    execute(&other, "SELECT pg_create_logical_replication_slot('elsewhere', 'pgoutput')").await;
    execute(
        &admin,
        "SELECT pg_create_physical_replication_slot('physical');
         SELECT pg_create_logical_replication_slot('decoding', 'test_decoding');
         SELECT pg_create_logical_replication_slot('short', 'pgoutput', temporary => true)",
    )
    .await;
    let major = major(&admin).await;
    if major >= 14 {
        execute(&admin, "SELECT pg_create_logical_replication_slot('prepared', 'pgoutput', twophase => true)").await;
    }
    let free = if major >= 18 {
        "ALTER_REPLICATION_SLOT prepared (TWO_PHASE false)"
    } else {
        "SELECT pg_drop_replication_slot('prepared')"
    };
    for (name, named, remedy) in [
        ("physical", "physical", "pg_drop_replication_slot('physical')"),
        ("decoding", "test_decoding", "pg_drop_replication_slot('decoding')"),
        ("elsewhere", "\"other\"", "database reference of \"other\""),
        ("prepared", "two_phase", free),
        ("short", "temporary", "name another slot"),
    ] {
        if name == "prepared" && major < 14 {
            continue;
        }
        let trouble = refused(prepared(&db, &slot(name, &[NS])).await, Class::SlotMismatch, &[remedy]);
        names(&trouble, &[named, &format!("\"{name}\"")]);
    }
    if major >= 18 {
        Connection::open(&db).await.unwrap().simple_query(free).await.expect("the remedy");
        prepared(&db, &slot("prepared", &[NS])).await.expect("what was mended");
    }
    // Without the check before it, START_REPLICATION tells the same.
    for (name, class) in
        [("physical", Class::SlotMismatch), ("elsewhere", Class::SlotMismatch), ("nosuch", Class::SlotMissing)]
    {
        let connection = Connection::open(&db).await.unwrap();
        let trouble = refused(connection.start_replication(name, Lsn::ZERO, &[NS], true).await, class, &["slot"]);
        names(&trouble, &[&format!("\"{name}\"")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_one_shows_its_holder() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    let cdc = slot("cdc", &[NS]);
    prepared(&db, &cdc).await.expect("prepare");
    let holder = Connection::open(&db).await.unwrap();
    let pid = holder.pid();
    let mut stream = holder.start_replication("cdc", Lsn::ZERO, &[NS], true).await.expect("start");
    let terminate = format!("pg_terminate_backend({pid})");
    let trouble = refused(prepared(&db, &cdc).await, Class::SlotBusy, &[&terminate]);
    names(&trouble, &[&format!("pid {pid} "), "\"cdc-notifier\"", "role postgres", "connected since 20", "\"cdc\""]);
    let second = Connection::open(&db).await.unwrap();
    let trouble =
        refused(second.start_replication("cdc", Lsn::ZERO, &[NS], true).await, Class::SlotBusy, &[&terminate]);
    names(&trouble, &[&format!("pid {pid} ")]);

    execute(&admin, &format!("SELECT {terminate}")).await;
    assert_eq!(end_of(&mut stream).await.class, Class::PostgresUnavailable);
    until("the slot", || async { prepared(&db, &cdc).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_one_is_lost() {
    let options = settings(&[("max_slot_wal_keep_size", "1MB"), ("min_wal_size", "32MB"), ("max_wal_size", "32MB")]);
    let (_server, db, admin) = with_tables(&options, &[NS]).await;
    let cdc = slot("cdc", &[NS]);
    let confirmed = prepared(&db, &cdc).await.expect("prepare").confirmed_flush_lsn;
    let lost = "SELECT coalesce(wal_status, 'none') FROM pg_replication_slots";
    while value(&admin, lost).await != "lost" {
        execute(&admin, "CREATE TABLE IF NOT EXISTS t(); DROP TABLE t; SELECT pg_switch_wal()").await;
        execute(&admin, "CHECKPOINT").await;
    }
    let remedy = ["pg_drop_replication_slot('cdc')", "max_slot_wal_keep_size"];
    let trouble = refused(prepared(&db, &cdc).await, Class::SlotLost, &remedy);
    names(&trouble, &["\"cdc\"", &confirmed.to_string()]);
    let connection = Connection::open(&db).await.unwrap();
    refused(connection.start_replication("cdc", Lsn::ZERO, &[NS], true).await, Class::SlotLost, &remedy);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_was_idle_for_too_long_is_lost() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    if major(&admin).await < 18 {
        return; // There is no such timeout.
    }
    let cdc = slot("cdc", &[NS]);
    let confirmed = prepared(&db, &cdc).await.expect("prepare").confirmed_flush_lsn;
    execute(&admin, "ALTER SYSTEM SET idle_replication_slot_timeout = '1s'").await;
    execute(&admin, "SELECT pg_reload_conf()").await;
    until("the end of its time", || async {
        execute(&admin, "CHECKPOINT").await;
        value(&admin, "SELECT coalesce(invalidation_reason, '') FROM pg_replication_slots").await == "idle_timeout"
    })
    .await;
    let remedy = ["pg_drop_replication_slot('cdc')", "idle_replication_slot_timeout = 0"];
    let trouble = refused(prepared(&db, &cdc).await, Class::SlotLost, &remedy);
    names(&trouble, &["\"cdc\"", "idle_timeout", &confirmed.to_string()]);
    let connection = Connection::open(&db).await.unwrap();
    refused(connection.start_replication("cdc", Lsn::ZERO, &[NS], true).await, Class::SlotLost, &remedy);
}
