//! Namespaces with their slots and topics, and the oracle over them.

use postgres::Client;

use crate::{
    kafka::Admin,
    oracle::{self, Expected, Objection, Tally, Transactions},
    scene::{self, Namespace},
};

/// The oracle needs commit timestamps, and commits that outlive a crash.
pub const SETTINGS: [(&str, &str); 2] = [("track_commit_timestamp", "on"), ("synchronous_commit", "on")];

/// A namespace with where it is.
#[derive(Clone, Debug)]
pub struct Lane {
    pub database: String,
    pub slot: String,
    pub namespace: Namespace,
}

/// Progressor's tables, and the one task to which all events refer; it and its process are older than the slot.
pub fn create_tables(sql: &mut Client, namespace: &Namespace) {
    scene::create_tables(sql, &[namespace]);
    let name = &namespace.name;
    sql.batch_execute(&format!(
        "INSERT INTO \"{name}_processes\" (process_id, status) VALUES ('seed', 'running');
         INSERT INTO \"{name}_tasks\" (process_id) VALUES ('seed');"
    ))
    .unwrap();
}

/// Whether these slots are acknowledged up to this position; if not, where they are.
pub fn acknowledged(sql: &mut Client, slots: &[String], lsn: &str) -> Result<(), String> {
    let behind = format!(
        "SELECT string_agg(format('%s at %s', slot_name, confirmed_flush_lsn), ', ') FROM pg_replication_slots
         WHERE confirmed_flush_lsn < '{lsn}' AND slot_name = ANY('{{{}}}')",
        slots.join(",")
    );
    sql.query_one(&behind, &[]).unwrap().get::<_, Option<String>>(0).map_or(Ok(()), Err)
}

/// What must be in the topics of a namespace by its tables, and who wrote it.
pub fn expected(sql: &mut Client, namespace: &Namespace) -> [(Expected, Transactions); 2] {
    [oracle::events(sql, &namespace.name), oracle::lifecycle(sql, &namespace.name)]
}

/// Holds the topics of a namespace against its tables as they are. `counts`: see `oracle::check`.
pub fn check(sql: &mut Client, kafka: &Admin, namespace: &Namespace, counts: &[i32]) -> Result<Tally, String> {
    let mut tally = Tally::default();
    for (topic, (expected, _)) in namespace.topics().into_iter().zip(expected(sql, namespace)) {
        tally += oracle::check(&expected, &kafka.consume_all(topic), counts, None)
            .map_err(|objections| shown(topic, &objections))?;
    }
    Ok(tally)
}

/// The first objections to a topic.
pub fn shown(topic: &str, objections: &[Objection]) -> String {
    let first: Vec<_> = objections.iter().take(10).map(ToString::to_string).collect();
    format!("{topic}: {} objections\n{}", objections.len(), first.join("\n"))
}
