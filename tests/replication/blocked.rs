//! What waits for other sessions says for whom.

use cdc_notifier::change::Class;

use crate::support::{
    NS, as_role, execute, names, prepared, refused, session, settings, slot, until, value, with_tables,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_behind_open_transactions_names_them() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    prepared(&db, &slot("unrelated", &[NS])).await.expect("the publication is there now");
    execute(&admin, "CREATE DATABASE other").await;
    // In another database, and prepared.
    let elsewhere = session(&cdc_notifier::config::Postgres { database: "other".into(), ..db.clone() }).await;
    execute(&elsewhere, "SET application_name = 'the blocker'; BEGIN; CREATE TABLE t ()").await;
    let pid = value(&elsewhere, "SELECT pg_backend_pid()::text").await;
    let cdc = slot("cdc", &[NS]);
    let trouble = refused(prepared(&db, &cdc).await, Class::SlotMissing, &["pg_terminate_backend(pid)"]);
    names(&trouble, &["\"cdc\"", &format!("pid {pid} "), "\"the blocker\"", "idle in transaction", "since 20"]);
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_replication_slots").await, "1", "it was given up");

    execute(&elsewhere, "PREPARE TRANSACTION 'it''s prepared'").await;
    let trouble = refused(prepared(&db, &cdc).await, Class::SlotMissing, &[]);
    names(&trouble, &["prepared transaction 'it''s prepared'", "ROLLBACK PREPARED", "database other"]);

    // Meanwhile somebody else sees it being created.
    let (creating, watching) = {
        let (db, cdc) = (db.clone(), cdc.clone());
        (
            tokio::spawn({
                let (db, cdc) = (db.clone(), cdc.clone());
                async move { prepared(&db, &cdc).await }
            }),
            (db, cdc),
        )
    };
    let being_created =
        "SELECT count(*)::text FROM pg_replication_slots WHERE slot_name = 'cdc' AND confirmed_flush_lsn IS NULL";
    until("the slot in creation", || async { value(&admin, being_created).await == "1" }).await;
    let waits = "SELECT count(*)::text FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'";
    until("its wait", || async { value(&admin, waits).await == "1" }).await;
    let trouble = refused(prepared(&watching.0, &watching.1).await, Class::SlotBusy, &["wait"]);
    names(&trouble, &["still being created", "it''s prepared"]);

    execute(&elsewhere, "ROLLBACK PREPARED 'it''s prepared'").await;
    let first = creating.await.unwrap();
    assert!(first.expect("created once the transaction has ended").slot_created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_behind_a_lock_names_its_holder_and_leaves_nothing() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS, "b"]).await;
    let blocker = session(&db).await;
    execute(&blocker, "SET application_name = 'the blocker'; BEGIN; LOCK TABLE b_processes IN ROW EXCLUSIVE MODE")
        .await;
    let cdc = slot("cdc", &["b", NS]);
    let trouble = refused(prepared(&db, &cdc).await, Class::Publication, &["pg_terminate_backend(pid)"]);
    names(&trouble, &["\"the blocker\"", "idle in transaction", NS]);
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_publication").await, "0");
    let identity = "SELECT string_agg(relreplident::text, '') FROM pg_class WHERE relname LIKE '%\\_processes'";
    assert_eq!(value(&admin, identity).await, "dd", "all or nothing");
    assert_eq!(value(&admin, "SELECT count(*)::text FROM pg_locks WHERE NOT granted").await, "0");
    execute(&blocker, "COMMIT").await;
    assert_eq!(prepared(&db, &cdc).await.expect("prepare").publications_created, ["b", NS]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_see_others_is_told_how() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    execute(
        &admin,
        "CREATE ROLE cdc LOGIN REPLICATION; ALTER TABLE \"default/default_processes\" REPLICA IDENTITY FULL;
         CREATE PUBLICATION \"default/default\" FOR TABLE \"default/default_processes\", \"default/default_events\"",
    )
    .await;
    let blocker = session(&db).await;
    execute(&blocker, "BEGIN; CREATE TABLE t ()").await;
    let pid = value(&blocker, "SELECT pg_backend_pid()::text").await;
    let trouble = refused(prepared(&as_role(&db, "cdc"), &slot("cdc", &[NS])).await, Class::SlotMissing, &[]);
    names(&trouble, &[&format!("pid {pid} "), "GRANT pg_monitor"]);
}
