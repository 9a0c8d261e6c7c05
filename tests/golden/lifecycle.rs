//! Lifecycle events: byte for byte what the Erlang service wrote, with the commit time where it had its own clock.

use cdc_notifier::{
    change::PgTimestamp,
    encoding::mg_proto::read::{self, Step},
};

use crate::{
    namespace::{DEFAULT_LIMITS, FORMATS, Namespace, micros},
    vectors::{bytes, load, text},
};

type Row<'a> = [Option<&'a str>; 3];

/// Rows before and after that mean this.
fn rows<'a>(kind: &str, id: &'a str, reason: Option<&'a str>) -> (Option<Row<'a>>, Option<Row<'a>>) {
    let row = |status, detail| Some([Some(id), Some(status), detail]);
    match kind {
        "created" => (None, row("running", None)),
        "removed" => (row("running", None), None),
        "failed" => (row("running", None), row("error", reason)),
        "repaired" => (row("error", Some("why")), row("running", None)),
        other => panic!("{other}"),
    }
}

/// The commit time of a `created_at`, somewhere within its second.
fn committed(created_at: &str) -> PgTimestamp {
    PgTimestamp(micros(&created_at.replace('T', " ").replace('Z', "+00")) + 999_999)
}

#[test]
fn every_vector() {
    let lines = load("lifecycle");
    assert!(lines.len() >= 30);
    for line in lines {
        let (before, after) = rows(text(&line, "kind"), text(&line, "process_id"), line["reason"].as_str());
        let expected = (bytes(&line, "key_hex"), bytes(&line, "value_hex"));
        let mut namespace = Namespace::new(text(&line, "ns"), DEFAULT_LIMITS);
        let committed = committed(text(&line, "created_at"));
        for format in FORMATS {
            let record = namespace.process(before, after, format, committed).unwrap().unwrap();
            assert_eq!(
                (hex::encode(record.0), hex::encode(record.1)),
                (hex::encode(&expected.0), hex::encode(&expected.1)),
                "{line}"
            );
        }
        let event = read::lifecycle_event(&expected.1).unwrap();
        assert_eq!(event.machine_ns, text(&line, "ns").as_bytes());
        assert_eq!(event.machine_id, text(&line, "process_id").as_bytes());
        assert_eq!(event.created_at, text(&line, "created_at").as_bytes());
        let step = match text(&line, "kind") {
            "created" => Step::Created,
            "removed" => Step::Removed,
            "repaired" => Step::Working,
            _ => Step::Failed { reason: line["reason"].as_str().map(Into::into) },
        };
        assert_eq!(event.data, step);
    }
}

#[test]
fn records_of_a_whole_run() {
    let mut seen = 0;
    for line in load("e2e_capture") {
        if text(&line, "topic") != "cdc_lifecycle_topic" {
            continue;
        }
        let value = bytes(&line, "value_hex");
        let event = read::lifecycle_event(&value).unwrap();
        let string = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (id, committed) = (string(event.machine_id), committed(&string(event.created_at)));
        let (kind, reason) = match event.data {
            Step::Created => ("created", None),
            Step::Removed => ("removed", None),
            Step::Working => ("repaired", None),
            Step::Failed { reason } => ("failed", reason.map(string)),
        };
        let (before, after) = rows(kind, &id, reason.as_deref());
        let mut namespace = Namespace::new(&string(event.machine_ns), DEFAULT_LIMITS);
        for format in FORMATS {
            let record = namespace.process(before, after, format, committed).unwrap();
            assert_eq!(record, Some((bytes(&line, "key_hex"), value.clone())));
        }
        seen += 1;
    }
    assert!(seen >= 5);
}

#[test]
fn a_commit_time_without_a_text_is_refused() {
    let (before, after) = rows("created", "p", None);
    let mut namespace = Namespace::new("n", DEFAULT_LIMITS);
    for outside in [i64::MIN, i64::MAX, micros("10000-01-01 00:00:00+00")] {
        assert!(namespace.process(before, after, FORMATS[0], PgTimestamp(outside)).is_err());
    }
}
