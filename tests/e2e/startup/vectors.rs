//! What the Erlang service wrote, for rows that go the whole way: key, value and partition.

use std::collections::{BTreeMap, HashMap};

use cdc_notifier::encoding::mg_proto::read::{self, Step, Value};
use postgres::Client;
use serde_json::Value as Json;

use super::tools::{events, impatient, processes, wait_for_messages};
use crate::{
    kafka::{self, ConsumedRecord},
    scene::{self, Namespace},
    service::Service,
};

/// The lines of a file of vectors.
pub(super) fn load(name: &str) -> Vec<Json> {
    let path = format!("{}/tests/fixtures/vectors/{name}.jsonl", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

pub(super) fn text<'a>(line: &'a Json, field: &str) -> &'a str {
    line[field].as_str().unwrap_or_else(|| panic!("{line}: no text {field}"))
}

pub(super) fn bytes(line: &Json, field: &str) -> Vec<u8> {
    hex::decode(text(line, field)).unwrap()
}

/// Tables without progressor's keys, since vectors repeat rows, and with an `event_id` as wide as the message's.
pub(super) fn create_tables(sql: &mut Client, namespace: &str) {
    let (processes, events) = (processes(namespace), events(namespace));
    sql.batch_execute(&format!(
        "CREATE TABLE {processes} (process_id text, status text, detail text);
         CREATE TABLE {events} (process_id text, event_id bigint, timestamp timestamptz, metadata jsonb, payload bytea)"
    ))
    .unwrap();
}

/// An events row; times as text.
pub(super) struct Event<'a> {
    pub(super) process_id: &'a str,
    pub(super) number: i64,
    pub(super) timestamp: &'a str,
    pub(super) metadata: Option<&'a str>,
    pub(super) payload: &'a [u8],
}

impl Event<'_> {
    pub(super) fn insert(&self, sql: &mut impl postgres::GenericClient, namespace: &str) {
        let insert = format!(
            "INSERT INTO {} (process_id, event_id, timestamp, metadata, payload)
             VALUES ($1, $2, $3::text::timestamptz, $4::text::jsonb, $5)",
            events(namespace)
        );
        sql.execute(&insert, &[&self.process_id, &self.number, &self.timestamp, &self.metadata, &self.payload])
            .unwrap();
    }
}

/// The metadata that a vector stands for.
fn metadata(line: &Json) -> Option<String> {
    match (text(line, "name"), line["format_version"].as_i64()) {
        ("fv_empty_object", _) => Some("{}".into()),
        ("fv_other_keys", _) => Some(r#"{"other": {"format_version": 3}, "x": [1, "y"]}"#.into()),
        (_, None) => None,
        (_, Some(version)) => Some(format!(r#"{{"format_version": {version}}}"#)),
    }
}

/// The value with the entries of every map in one order.
fn unordered(value: &Value) -> Value {
    match value {
        Value::Arr(values) => Value::Arr(values.iter().map(unordered).collect()),
        Value::Obj(entries) => {
            let mut entries: Vec<_> = entries.iter().map(|(key, value)| (unordered(key), unordered(value))).collect();
            entries.sort_by_cached_key(|(key, _)| format!("{key:?}"));
            Value::Obj(entries)
        }
        scalar => scalar.clone(),
    }
}

/// Where each key belongs in a topic of so many partitions.
fn phash2(partitions: i64) -> HashMap<Vec<u8>, i32> {
    let place = |line: &Json| i32::try_from(line["phash2"].as_i64().unwrap() % partitions).unwrap();
    load("phash2").iter().map(|line| (bytes(line, "key_hex"), place(line))).collect()
}

/// A topic's records by key, in their order; each key in one partition, and that is the right one.
fn by_key(
    records: &[ConsumedRecord],
    places: &HashMap<Vec<u8>, i32>,
) -> (BTreeMap<Vec<u8>, Vec<ConsumedRecord>>, usize) {
    let mut by_key: BTreeMap<_, Vec<ConsumedRecord>> = BTreeMap::new();
    for record in records {
        by_key.entry(record.key.clone().unwrap()).or_default().push(record.clone());
    }
    let mut known = 0;
    for (key, records) in &by_key {
        assert!(records.iter().all(|record| record.partition == records[0].partition), "{key:?}");
        if let Some(place) = places.get(key) {
            assert_eq!(records[0].partition, *place, "{:?}", String::from_utf8_lossy(key));
            known += 1;
        }
    }
    (by_key, known)
}

#[test]
fn every_event() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let lines = load("eventsink");
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    let topics = [("invoice", 6), ("invoice_template", 1), ("default/default", 7), ("a b", 12)];
    let namespaces = topics.map(|(name, partitions)| {
        let namespace = Namespace::new(name);
        namespace.create_topics(kafka, partitions);
        create_tables(&mut sql, name);
        namespace
    });
    for namespace in &namespaces {
        configuration = configuration.stream("main", "slot_a", namespace);
    }
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    for some in lines.chunks(10) {
        let mut transaction = sql.transaction().unwrap();
        for line in some {
            let (metadata, payload) = (metadata(line), bytes(line, "payload_hex"));
            let event = Event {
                process_id: text(line, "process_id"),
                number: line["event_id"].as_i64().unwrap(),
                timestamp: text(line, "timestamp"),
                metadata: metadata.as_deref(),
                payload: &payload,
            };
            event.insert(&mut transaction, text(line, "ns"));
        }
        transaction.commit().unwrap();
    }
    wait_for_messages(&service, "slot_a", lines.len() as u64);
    service.stop();

    let (mut seen, mut placed, mut sets) = (0, 0, 0);
    for (namespace, (_, partitions)) in namespaces.iter().zip(topics) {
        let (mut got, known) = by_key(&kafka.consume_all(&namespace.eventsink), &phash2(partitions.into()));
        placed += known;
        for line in lines.iter().filter(|line| line["ns"] == namespace.name.as_str()) {
            let record = got.get_mut(&bytes(line, "key_hex")).unwrap_or_else(|| panic!("no key of {line}")).remove(0);
            let (value, expected) = (record.value.unwrap(), bytes(line, "value_hex"));
            if line["map_order"] == "hash" {
                let (mut ours, mut theirs) = (read::sink_event(&value).unwrap(), read::sink_event(&expected).unwrap());
                (ours.data, theirs.data) = (unordered(&ours.data), unordered(&theirs.data));
                assert_eq!(ours, theirs, "{}", line["name"]);
                sets += 1;
            } else {
                assert_eq!(hex::encode(value), hex::encode(expected), "{}", line["name"]);
            }
            assert!(record.headers.is_empty());
            seen += 1;
        }
        assert!(got.values().all(Vec::is_empty), "more than was expected: {got:?}");
        assert!(kafka.consume_all(&namespace.lifecycle).is_empty());
    }
    assert_eq!(seen, lines.len());
    assert!(placed >= 2 && sets >= 5, "{placed} {sets}");
}

#[test]
fn every_lifecycle_change() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let lines = load("lifecycle");
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    let namespaces = ["invoice", "default/default", "пространство", "ns_under_score", "a b", "n"].map(|name| {
        let namespace = Namespace::new(name).with("headers = true");
        namespace.create_topics(kafka, 5);
        create_tables(&mut sql, name);
        namespace
    });
    for namespace in &namespaces {
        configuration = configuration.stream("main", "slot_a", namespace);
    }
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    // What each vector's rows say; the vector itself is one of these.
    let mut expected: BTreeMap<Vec<u8>, Vec<(&str, Option<&Json>)>> = BTreeMap::new();
    for line in &lines {
        let (table, kind) = (processes(text(line, "ns")), text(line, "kind"));
        let id = text(line, "process_id");
        let reason = line["reason"].as_str().filter(|_| text(line, "name") != "failed_reason_unknown");
        let first = if kind == "repaired" { "error" } else { "running" };
        sql.execute(&format!("INSERT INTO {table} VALUES ($1, $2, 'before')"), &[&id, &first]).unwrap();
        let change = format!("UPDATE {table} SET status = $2, detail = $3 WHERE process_id = $1");
        match kind {
            "failed" => sql.execute(&change, &[&id, &"error", &reason]).unwrap(),
            "repaired" => sql.execute(&change, &[&id, &"running", &None::<&str>]).unwrap(),
            _ => 0,
        };
        sql.execute(&format!("DELETE FROM {table} WHERE process_id = $1"), &[&id]).unwrap();
        let kinds: &[&str] = match kind {
            "failed" => &["created", "failed", "removed"],
            "repaired" => &["created", "repaired", "removed"],
            _ => &["created", "removed"],
        };
        let vector = |it: &str| (it == kind).then_some(line);
        let of_key = expected.entry(bytes(line, "key_hex")).or_default();
        of_key.extend(kinds.iter().map(|kind| (*kind, vector(kind))));
    }
    let total: usize = expected.values().map(Vec::len).sum();
    wait_for_messages(&service, "slot_a", total as u64);
    service.stop();

    let mut seen = 0;
    for namespace in &namespaces {
        let (got, _) = by_key(&kafka.consume_all(&namespace.lifecycle), &phash2(5));
        for (key, records) in got {
            let expected = &expected[&key];
            assert_eq!(records.len(), expected.len());
            for (record, (kind, vector)) in records.iter().zip(expected) {
                let value = record.value.as_ref().unwrap();
                let event = read::lifecycle_event(value).unwrap();
                let said = match event.data {
                    Step::Created => "created",
                    Step::Working => "repaired",
                    Step::Removed => "removed",
                    Step::Failed { .. } => "failed",
                };
                assert_eq!(said, *kind);
                let (_, micros) = record.headers.iter().find(|(name, _)| name == "commit_time").unwrap();
                let micros: i64 = std::str::from_utf8(micros).unwrap().parse().unwrap();
                let committed = jiff::Timestamp::from_microsecond(micros).unwrap();
                let committed = committed.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
                assert_eq!(String::from_utf8(event.created_at).unwrap(), committed);
                // The Erlang service had its clock where the commit time is.
                if let Some(line) = vector {
                    let (clock, commit) = (hex::encode(text(line, "created_at")), hex::encode(committed));
                    assert_eq!(hex::encode(value), text(line, "value_hex").replacen(&clock, &commit, 1), "{line}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, lines.len());
}

/// Namespaces whose keys are in the vectors.
const NAMESPACES: [&str; 9] = [
    "invoice",
    "default/default",
    "recurrent_paytools",
    "invoice_template",
    "customer",
    "namespace/subspace",
    "domain-config",
    "deposit/v2",
    "p2p/transfer",
];

#[test]
fn every_key_has_its_partition() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    for name in NAMESPACES {
        create_tables(&mut sql, name);
    }
    let other = load("murmur2");
    let of_other = |place: &dyn Fn(&Json) -> i64| -> HashMap<Vec<u8>, i32> {
        other.iter().map(|line| (bytes(line, "key_hex"), i32::try_from(place(line)).unwrap())).collect()
    };
    let slots = [
        ("phash2_12", "phash2", 12, phash2(12)),
        ("phash2_7", "phash2", 7, phash2(7)),
        ("murmur2_12", "murmur2", 12, of_other(&|line| line["partition_of_12"].as_i64().unwrap())),
        ("consistent_12", "consistent", 12, of_other(&|line| line["crc32"].as_i64().unwrap() % 12)),
    ];
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    let mut topics = Vec::new();
    for (slot, partitioner, partitions, _) in &slots {
        // All namespaces of a slot share its topics.
        let shared = Namespace::new("").with(&format!("partitioner = \"{partitioner}\""));
        shared.create_topics(kafka, *partitions);
        for name in NAMESPACES {
            configuration = configuration.stream("main", slot, &Namespace { name: name.to_owned(), ..shared.clone() });
        }
        topics.push(shared.lifecycle);
    }
    let mut service = Service::start(configuration.text());
    for (slot, ..) in &slots {
        service.wait_for_state(slot, "streaming");
    }
    let mut written = 0;
    for line in load("phash2") {
        let Ok(key) = String::from_utf8(bytes(&line, "key_hex")) else { continue };
        let Some((namespace, id)) = key.split_once(' ').filter(|(namespace, _)| NAMESPACES.contains(namespace)) else {
            continue;
        };
        sql.execute(&format!("INSERT INTO {} VALUES ($1, 'running', NULL)", processes(namespace)), &[&id]).unwrap();
        written += 1;
    }
    assert!(written >= 150, "{written}");
    for (slot, ..) in &slots {
        wait_for_messages(&service, slot, written);
    }
    service.stop();
    for ((slot, .., places), topic) in slots.iter().zip(topics) {
        let records = kafka.consume_all(&topic);
        assert_eq!(records.len() as u64, written, "{slot}");
        let (keys, placed) = by_key(&records, places);
        assert_eq!(placed, keys.len(), "{slot}");
    }
}
