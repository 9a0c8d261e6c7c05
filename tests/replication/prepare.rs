//! The start of a slot, from an empty database on.

use std::time::Duration;

use cdc_notifier::{
    change::{Class, Lsn},
    config::Slot,
    replication::{
        connection::Connection,
        prepare::{Plan, prepare},
    },
};
use tokio::time::Instant;

use crate::support::{
    NS, as_role, db, execute, major, message, names, prepared, refused, server, session, settings, slot, until, value,
    with_tables,
};

#[tokio::test(flavor = "multi_thread")]
async fn publication_then_slot_then_nothing_more() {
    let options = settings(&[("wal_sender_timeout", "7s")]);
    let (_server, db, admin) = with_tables(&options, &[NS, r#"odd"na'me, X"#]).await;
    let slot = slot("cdc", &[NS, r#"odd"na'me, X"#]);
    let first = prepared(&db, &slot).await.expect("prepare");
    assert!(first.slot_created && first.joining.is_empty() && !first.standby);
    assert_eq!(first.publications_created, [NS, r#"odd"na'me, X"#]);
    assert_eq!(first.server_version.major(), major(&admin).await);
    assert_eq!(first.wal_sender_timeout, Some(Duration::from_secs(7)));
    assert!(first.confirmed_flush_lsn > Lsn::ZERO);

    let second = prepare(Plan { database: &db, slot: &slot, known: true, carried: &[] }).await.expect("prepare again");
    assert!(!second.slot_created && second.publications_created.is_empty());
    assert_eq!(second.confirmed_flush_lsn, first.confirmed_flush_lsn);
    let mut connection = Connection::open(&db).await.unwrap();
    let system = connection.identify_system().await.unwrap();
    assert_eq!((system.system_identifier, system.timeline), (first.system_identifier, 1));
    assert!(system.wal_position >= first.confirmed_flush_lsn);
    assert_eq!(connection.timeline_history(1).await.unwrap(), []);

    let full =
        "SELECT string_agg(relreplident::text, '' ORDER BY relname) FROM pg_class WHERE relname LIKE '%\\_processes'";
    assert_eq!(value(&admin, full).await, "ff");
    let columns = "SELECT string_agg(slot_name || plugin || temporary, ',') FROM pg_replication_slots";
    assert_eq!(value(&admin, columns).await, "cdcpgoutputfalse");

    // The names reach pgoutput unchanged: both namespaces arrive.
    let odd = r#"odd"na'me, X"#;
    let mut stream = connection.start_replication("cdc", Lsn::ZERO, &[NS, odd], true).await.expect("start");
    let table = format!("\"{}_processes\"", odd.replace('"', "\"\""));
    execute(&admin, &format!("INSERT INTO {table} (process_id, status) VALUES ('p1', 'running')")).await;
    let relation = message(&mut stream, b'R').await;
    assert!(String::from_utf8_lossy(&relation).contains(&format!("{odd}_processes")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_is_named_and_nothing_is_created() {
    let server = server(&settings(&[]));
    let db = db(&server);
    let admin = session(&db).await;
    let one = slot("cdc", &[NS]);
    let trouble = refused(prepared(&db, &one).await, Class::TableMissing, &["progressor", NS]);
    names(&trouble, &["public.\"default/default_processes\"", "public.\"default/default_events\""]);
    execute(&admin, "CREATE VIEW \"default/default_processes\" AS SELECT 1 AS process_id").await;
    refused(prepared(&db, &one).await, Class::TableMissing, &["progressor"]);
    execute(&admin, "DROP VIEW \"default/default_processes\"").await;
    execute(&admin, &cdc_notifier::demo::progressor::schema_sql(NS)).await;
    execute(&admin, "ALTER TABLE \"default/default_events\" DROP COLUMN metadata").await;
    let trouble = refused(prepared(&db, &one).await, Class::Schema, &["progressor"]);
    names(&trouble, &["metadata"]);
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "0");

    execute(&admin, "ALTER TABLE \"default/default_events\" ADD COLUMN metadata jsonb").await;
    let never = Slot { create_slot: false, ..one.clone() };
    let trouble = refused(prepared(&db, &never).await, Class::SlotMissing, &["create_slot = true"]);
    names(&trouble, &["\"cdc\""]);
    let known = prepare(Plan { database: &db, slot: &one, known: true, carried: &[] }).await;
    refused(known, Class::HistoryChanged, &["who dropped it"]);
    let slots = "SELECT count(*)::text FROM pg_replication_slots";
    assert_eq!(value(&admin, slots).await, "0");
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_the_server_that_do_not_do() {
    let (mut server, db, admin) = with_tables(&settings(&[("max_replication_slots", "1")]), &[NS]).await;
    execute(&admin, "SELECT pg_create_physical_replication_slot('other')").await;
    let trouble = refused(prepared(&db, &slot("cdc", &[NS])).await, Class::PostgresSetting, &["max_replication_slots"]);
    names(&trouble, &["\"cdc\""]);
    execute(&admin, "SELECT pg_drop_replication_slot('other')").await;

    execute(&admin, "ALTER SYSTEM SET wal_level = 'replica'").await;
    server.stop(cdc_notifier::demo::postgres::Mode::Fast).unwrap();
    server.start_again().unwrap();
    let trouble =
        refused(prepared(&db, &slot("cdc", &[NS])).await, Class::PostgresSetting, &["ALTER SYSTEM SET wal_level"]);
    names(&trouble, &["replica"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_need_what_they_need() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    execute(&admin, "CREATE ROLE weak LOGIN; CREATE ROLE cdc LOGIN REPLICATION").await;
    let cdc = slot("cdc", &[NS]);
    let weak = refused(
        prepared(&as_role(&db, "weak"), &cdc).await,
        Class::PostgresPrivilege,
        &["ALTER ROLE \"weak\" REPLICATION"],
    );
    names(&weak, &["\"weak\""]);
    let role = as_role(&db, "cdc");
    refused(
        prepared(&role, &cdc).await,
        Class::PostgresPrivilege,
        &["GRANT CREATE ON DATABASE \"postgres\" TO \"cdc\""],
    );
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "0");
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_replication_slots").await, "0");
    // Without any privilege on the tables it is enough once the owner has made the publication.
    execute(
        &admin,
        "ALTER TABLE \"default/default_processes\" REPLICA IDENTITY FULL;
         CREATE PUBLICATION \"default/default\" FOR TABLE \"default/default_processes\", \"default/default_events\"",
    )
    .await;
    let prepared = prepared(&role, &cdc).await.expect("prepare");
    assert!(prepared.slot_created && prepared.publications_created.is_empty());
    assert!(!prepared.system_identifier.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn starters_at_the_same_time_agree() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS, "b"]).await;
    let cdc = slot("cdc", &[NS, "b"]);
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let (db, cdc) = (db.clone(), cdc.clone());
            tokio::spawn(async move { prepared(&db, &cdc).await })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(prepared) => created += usize::from(prepared.slot_created),
            Err(trouble) => assert_eq!(trouble.class, Class::SlotBusy, "{trouble:?}"),
        }
    }
    assert_eq!(created, 1);
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "2");
    let end = Instant::now() + Duration::from_secs(20);
    while prepared(&db, &cdc).await.is_err() {
        assert!(Instant::now() < end, "all is there and free");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_another_is_just_creating_is_taken_as_it_is() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    execute(&admin, "ALTER TABLE \"default/default_processes\" REPLICA IDENTITY FULL").await;
    let other = session(&db).await;
    execute(
        &other,
        "BEGIN; CREATE PUBLICATION \"default/default\" FOR TABLE \"default/default_processes\", \"default/default_events\"",
    )
    .await;
    let second = tokio::spawn({
        let (db, cdc) = (db.clone(), slot("cdc", &[NS]));
        async move { prepared(&db, &cdc).await }
    });
    let waits = "SELECT count(*)::text FROM pg_locks WHERE NOT granted";
    until("its wait", || async { value(&admin, waits).await == "1" }).await;
    execute(&other, "COMMIT").await;
    let prepared = second.await.unwrap().expect("prepare");
    assert!(prepared.slot_created && prepared.publications_created.is_empty());
}
