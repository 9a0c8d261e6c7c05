//! Settings with which published commits, or the slot, can be lost are found.

use cdc_notifier::replication::{durability::risks, sql};

use crate::support::{db, server, settings};

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
async fn an_asynchronous_standby_is_one_and_a_logical_replica_is_none() {
    use cdc_notifier::{change::Lsn, replication::connection::Connection};

    use crate::support::{NS, prepared, slot, with_tables};

    let (server, db, _admin) = with_tables(&settings(&[("fsync", "on"), ("full_page_writes", "on")]), &[NS]).await;
    prepared(&db, &slot("cdc", &[NS])).await.unwrap();
    let connection = Connection::open(&db).await.unwrap();
    let _stream = connection.start_replication("cdc", Lsn::ZERO, &[NS], true).await.unwrap();
    let session = sql(&db).await.unwrap();
    assert_eq!(risks(&session).await.unwrap(), []);
    // pg_receivewal is to the server what a standby is.
    let directory = tempfile::tempdir().unwrap();
    // It may run as another user.
    std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut receiver = server
        .command(
            server.bin_dir().join("postgres").canonicalize().unwrap().with_file_name("pg_receivewal").to_str().unwrap(),
        )
        .args(["--host", server.host(), "--port", &server.port().to_string(), "--username", "postgres", "--directory"])
        .arg(directory.path())
        .spawn()
        .unwrap();
    let mut found = Vec::new();
    for _ in 0..200 {
        found = risks(&session).await.unwrap();
        if !found.is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    receiver.kill().unwrap();
    receiver.wait().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("asynchronous") && found[0].remedy.contains("synchronous_standby_names"));
}
