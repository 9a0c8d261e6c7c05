//! Events: byte for byte what the Erlang service wrote.

use cdc_notifier::encoding::mg_proto::read::{self, Value};
use serde_json::Value as Json;

use crate::{
    etf,
    namespace::{DEFAULT_LIMITS, Event, FORMATS, Namespace, Record},
    vectors::{bytes, load, text},
};

/// The metadata that a vector stands for.
fn metadata(line: &Json) -> Option<String> {
    match (text(line, "name"), line["format_version"].as_i64()) {
        ("fv_empty_object", _) => Some("{}".into()),
        ("fv_other_keys", _) => Some(r#"{"other": {"format_version": 3}, "x": [1, "y"]}"#.into()),
        (_, None) => None,
        (_, Some(version)) => Some(format!(r#"{{"format_version": {version}}}"#)),
    }
}

fn records(line: &Json) -> Vec<Record> {
    let mut namespace = Namespace::new(text(line, "ns"), DEFAULT_LIMITS);
    let (metadata, payload) = (metadata(line), bytes(line, "payload_hex"));
    let event = Event {
        process_id: text(line, "process_id"),
        number: line["event_id"].as_i64().unwrap(),
        timestamp: text(line, "timestamp"),
        metadata: metadata.as_deref(),
        payload: &payload,
    };
    let record = |format| namespace.event(&event, format).unwrap_or_else(|error| panic!("{line}: {error}"));
    FORMATS.map(record).into()
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

#[test]
fn every_vector() {
    let (mut exact, mut sets) = (0, 0);
    for line in load("eventsink") {
        let expected = (bytes(&line, "key_hex"), bytes(&line, "value_hex"));
        for (key, value) in records(&line) {
            let name = text(&line, "name");
            assert_eq!(hex::encode(&key), hex::encode(&expected.0), "{name}");
            if line["map_order"] == "hash" {
                let (mut ours, mut theirs) =
                    (read::sink_event(&value).unwrap(), read::sink_event(&expected.1).unwrap());
                assert_eq!(value.len(), expected.1.len(), "{name}");
                assert_ne!(ours.data, theirs.data, "{name}: not in hash order");
                (ours.data, theirs.data) = (unordered(&ours.data), unordered(&theirs.data));
                assert_eq!(ours, theirs, "{name}");
                sets += 1;
            } else {
                assert_eq!(hex::encode(&value), hex::encode(&expected.1), "{name}");
                exact += 1;
            }
        }
    }
    // 2 formats each.
    assert!(exact >= 2 * 150 && sets >= 2 * 5, "{exact} {sets}");
}

/// What is read back, written as a payload again and encoded again, gives the same bytes.
#[test]
fn every_vector_can_be_read_back() {
    for line in load("eventsink") {
        let expected = bytes(&line, "value_hex");
        let event = read::sink_event(&expected).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(event.source_ns, text(&line, "ns").as_bytes());
        assert_eq!(event.source_id, text(&line, "process_id").as_bytes());
        assert_eq!(Some(event.event_id), line["event_id"].as_i64());
        assert_eq!(event.format_version.map(i64::from), line["format_version"].as_i64());
        let mut again = line.clone();
        again["payload_hex"] = hex::encode(etf::payload(&event.data)).into();
        for (_, value) in records(&again) {
            if line["map_order"] == "hash" {
                let (ours, theirs) = (read::sink_event(&value).unwrap(), read::sink_event(&expected).unwrap());
                assert_eq!(unordered(&ours.data), unordered(&theirs.data));
            } else {
                assert_eq!(hex::encode(value), hex::encode(&expected), "{line}");
            }
        }
        assert_eq!(event.to_json()["source_ns"], line["ns"]);
    }
}

#[test]
fn times() {
    // Forms that PostgreSQL never prints under the pinned settings; the Erlang service took them by chance.
    let not_postgresqls = [
        "0000-01-01 00:00:00+00",
        "2024-01-01 24:00:00+00",
        "2024-01-01 23:59:60+00",
        "2024-01-01 00:00:00.9999999999+00",
        "2024-01-01 00:00:59.99999999999999999999+00",
        "2024-01-01 5:4:3+00",
    ];
    let payload = hex::decode("8368027701696101").unwrap();
    let mut namespace = Namespace::new("ns", DEFAULT_LIMITS);
    let mut accepted = 0;
    for line in load("timestamps") {
        let timestamp = text(&line, "text");
        // Meaning is obvious, yet the Erlang service crashed.
        let expected = match timestamp {
            "2024-03-22 06:12:27+05:30" => Some("2024-03-22T00:42:27Z"),
            "1900-01-01 00:00:00+02:30:17" => Some("1899-12-31T21:29:43Z"),
            timestamp if not_postgresqls.contains(&timestamp) => None,
            _ => line["created_at"].as_str(),
        };
        let event = Event { timestamp, ..Event::with(&payload) };
        let formats = if expected.is_some() { &FORMATS[..] } else { &FORMATS[..1] };
        for format in formats {
            let created_at = namespace.event(&event, *format).ok().map(|(_, value)| {
                let created_at = read::sink_event(&value).unwrap().created_at;
                String::from_utf8(created_at).unwrap()
            });
            assert_eq!(created_at.as_deref(), expected, "{timestamp} {format:?}");
            accepted += usize::from(expected.is_some());
        }
    }
    assert!(accepted >= 20, "{accepted}");
}

/// Records that the whole Erlang service had put into a broker.
#[test]
fn records_of_a_whole_run() {
    let mut seen = 0;
    for line in load("e2e_capture") {
        let value = bytes(&line, "value_hex");
        if text(&line, "topic") != "cdc_eventsink_topic" {
            continue;
        }
        let event = read::sink_event(&value).unwrap();
        let string = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (ns, process_id) = (string(&event.source_ns), string(&event.source_id));
        let created_at = string(&event.created_at);
        let timestamp = created_at.replace('T', " ").replace('Z', "+00");
        let metadata = event.format_version.map(|version| format!(r#"{{"format_version": {version}}}"#));
        let payload = etf::payload(&event.data);
        let row = Event {
            process_id: &process_id,
            number: event.event_id,
            timestamp: &timestamp,
            metadata: metadata.as_deref(),
            payload: &payload,
        };
        for format in FORMATS {
            let record = Namespace::new(&ns, DEFAULT_LIMITS).event(&row, format).unwrap();
            assert_eq!(record, (bytes(&line, "key_hex"), value.clone()));
        }
        seen += 1;
    }
    assert!(seen > 0);
}
