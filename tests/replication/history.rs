//! Timelines, and namespaces that join an older slot.

use std::fs;

use cdc_notifier::{
    change::{Class, Lsn},
    demo::postgres::Mode,
    replication::{
        connection::Connection,
        joins::{begin, join_position, unseen},
    },
};

use crate::support::{NS, end_of, execute, message, prepared, refused, session, settings, slot, until, with_tables};

#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_is_seen_as_a_fork() {
    let (mut server, db, admin) = with_tables(&settings(&[]), &[NS, "b"]).await;
    let cdc = slot("cdc", &[NS]);
    prepared(&db, &cdc).await.expect("prepare");
    let before = Connection::open(&db).await.unwrap().identify_system().await.unwrap();
    execute(&admin, "DROP PUBLICATION \"default/default\"").await;
    server.stop(Mode::Fast).unwrap();
    let data = server.data_dir().to_owned();
    // The server itself removes the file.
    fs::write(data.join("standby.signal"), "").unwrap();
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        let owner = fs::metadata(&data).unwrap();
        chown(data.join("standby.signal"), Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    server.start_again().unwrap();

    // As long as it is a standby, nothing can be created on it.
    refused(prepared(&db, &slot("other", &["b"])).await, Class::PostgresSetting, &["connect to the primary"]);
    refused(prepared(&db, &slot("cdc", &["b"])).await, Class::PostgresSetting, &["connect to the primary"]);

    let admin = session(&db).await;
    execute(&admin, "SELECT pg_promote()").await;
    let mut connection = Connection::open(&db).await.unwrap();
    let after = connection.identify_system().await.unwrap();
    assert_eq!((after.timeline, &after.system_identifier), (2, &before.system_identifier));
    let history = connection.timeline_history(2).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(history[0].0, 1);
    assert!(history[0].1 >= before.wal_position && history[0].1 <= after.wal_position, "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_joins_behind_what_ran_while_its_publication_was_created() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS, "b"]).await;
    execute(&admin, "ALTER TABLE b_processes REPLICA IDENTITY FULL").await;
    assert!(prepared(&db, &slot("cdc", &[NS])).await.expect("prepare").joining.is_empty());
    // It changes a table of the new namespace before the publication is there, and commits after.
    let early = session(&db).await;
    execute(&early, "BEGIN; INSERT INTO b_processes (process_id, status) VALUES ('early', 'running')").await;

    let both = slot("cdc", &[NS, "b"]);
    let joined = prepared(&db, &both).await.expect("prepare");
    assert_eq!((joined.publications_created.as_slice(), joined.slot_created), (["b".to_owned()].as_slice(), false));
    let joining = joined.joining.first().expect("b joins later").clone();
    assert_eq!((joined.joining.len(), joining.namespace.as_str()), (1, "b"));
    assert_eq!(join_position(&admin, &joining).await, Ok(None), "the early one still runs");
    // Later ones do not matter, wherever they run.
    let later = session(&db).await;
    execute(&later, "BEGIN; INSERT INTO b_processes (process_id, status) VALUES ('later', 'running')").await;
    execute(&early, "SET LOCAL synchronous_commit = off; COMMIT").await;
    let position = join_position(&admin, &joining).await.unwrap().expect("the early one has ended");
    execute(&later, "COMMIT").await;

    // From the slot's position on, the publication is not there for what came early.
    let mut stream = start(&db, Lsn::ZERO).await;
    assert_eq!(end_of(&mut stream).await.class, Class::Publication);
    drop(stream);
    until("the free slot", || async { prepared(&db, &both).await.is_ok() }).await;
    assert_eq!(unseen(&admin, "cdc", &[NS, "b"]).await.unwrap(), ["b"]);
    // From the join on it is, and what began later comes.
    let mut stream = start(&db, position).await;
    let row = message(&mut stream, b'I').await;
    assert!(row.windows(5).any(|window| window == b"later"));
}

async fn start(db: &cdc_notifier::config::Postgres, from: Lsn) -> cdc_notifier::replication::stream::ReplicationStream {
    let connection = Connection::open(db).await.unwrap();
    connection.start_replication("cdc", from, &[NS, "b"], true).await.expect("start")
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_transactions_and_other_databases_hold_a_join_up() {
    let (_server, db, admin) = with_tables(&settings(&[]), &[NS]).await;
    execute(&admin, "CREATE DATABASE other").await;
    let other = session(&cdc_notifier::config::Postgres { database: "other".into(), ..db.clone() }).await;
    execute(&other, "BEGIN; CREATE TABLE t (); PREPARE TRANSACTION 'x'").await;
    let joining = begin(&admin, &[NS, "b"]).await.unwrap();
    assert_eq!(joining.len(), 2);
    assert_eq!(join_position(&admin, &joining[0]).await, Ok(None));
    execute(&other, "COMMIT PREPARED 'x'").await;
    let position = join_position(&admin, &joining[0]).await.unwrap().expect("ended");
    assert!(position > Lsn::ZERO);
    assert_eq!(joining[1].horizon, joining[0].horizon);
}
