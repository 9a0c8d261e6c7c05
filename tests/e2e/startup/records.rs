//! Headers and positions of records.

use std::collections::HashMap;

use super::tools::{impatient, namespace, wait_for_messages};
use crate::{
    kafka::{self, ConsumedRecord},
    scene,
    service::Service,
};

fn headers(record: &ConsumedRecord) -> HashMap<&str, &str> {
    record.headers.iter().map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap())).collect()
}

#[test]
fn headers_tell_the_position() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[("track_commit_timestamp", "on")]);
    let mut sql = scene::connect(&server, "postgres");
    let with = namespace(kafka, "with").with("headers = true");
    let without = namespace(kafka, "without");
    scene::create_tables(&mut sql, &[&with, &without]);
    let configuration = impatient(kafka)
        .database("main", &server, "postgres")
        .stream("main", "slot_a", &with)
        .stream("main", "slot_a", &without);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    let mut transaction = sql.transaction().unwrap();
    transaction
        .batch_execute(
            "INSERT INTO without_processes (process_id, status) VALUES ('x', 'running');
             INSERT INTO with_processes (process_id, status) VALUES ('p', 'running');
             UPDATE with_processes SET metadata = '{}' WHERE process_id = 'p';
             INSERT INTO without_processes (process_id, status) VALUES ('y', 'running');
             INSERT INTO with_tasks (process_id) VALUES ('p');
             INSERT INTO with_events (process_id, task_id, event_id, payload, metadata)
             VALUES ('p', 1, 1, '\\x8368027701696101', NULL);
             UPDATE with_processes SET status = 'error' WHERE process_id = 'p'",
        )
        .unwrap();
    let xid: String = transaction.query_one("SELECT pg_current_xact_id()::text", &[]).unwrap().get(0);
    let before: String = transaction.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).unwrap().get(0);
    transaction.commit().unwrap();
    let row = sql
        .query_one(
            "SELECT (extract(epoch FROM pg_xact_commit_timestamp($1::text::xid)) * 1000000)::bigint::text, pg_current_wal_insert_lsn()::text",
            &[&xid],
        )
        .unwrap();
    let (commit_time, after): (String, String) = (row.get(0), row.get(1));
    wait_for_messages(&service, "slot_a", 5);
    service.stop();

    let lifecycle = kafka.consume_all(&with.lifecycle);
    let events = kafka.consume_all(&with.eventsink);
    let records = [&lifecycle[0], &events[0], &lifecycle[1]];
    let lsn = |text: &str| text.parse::<cdc_notifier::change::Lsn>().unwrap();
    // Created, an update that says nothing, the event, the failure.
    let mut last = lsn("0/0");
    for (record, ordinal) in records.iter().zip(["0", "2", "3"]) {
        let names: Vec<_> = record.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["lsn", "commit_lsn", "xid", "commit_time", "ordinal"]);
        let headers = headers(record);
        assert_eq!([headers["xid"], headers["commit_time"], headers["ordinal"]], [&xid, &commit_time, ordinal]);
        assert!(lsn(headers["commit_lsn"]) >= lsn(&before) && lsn(headers["commit_lsn"]) < lsn(&after), "{headers:?}");
        assert!(lsn(headers["lsn"]) > last && lsn(headers["lsn"]) < lsn(headers["commit_lsn"]), "{headers:?}");
        last = lsn(headers["lsn"]);
    }
    assert!(kafka.consume_all(&without.lifecycle).iter().all(|record| record.headers.is_empty()));
}
