//! Rows that the Erlang service crashed on.

use crate::{
    namespace::{DEFAULT_LIMITS, Event, FORMATS, Namespace},
    vectors::{bytes, load, text},
};

#[test]
fn every_payload_is_refused() {
    let lines = load("invalid");
    assert!(lines.len() >= 100);
    let mut namespace = Namespace::new("ns", DEFAULT_LIMITS);
    for line in lines {
        let payload = bytes(&line, "payload_hex");
        for format in FORMATS {
            match namespace.event(&Event::with(&payload), format) {
                Ok(_) => panic!("accepted: {line}"),
                Err(invalid) => assert_eq!(invalid.column, "payload", "{line}: {invalid}"),
            }
        }
    }
}

#[test]
fn every_row_is_refused() {
    let mut namespace = Namespace::new("ns", DEFAULT_LIMITS);
    for line in load("invalid_rows") {
        let payload = bytes(&line, "payload_hex");
        let event = Event {
            process_id: text(&line, "process_id"),
            number: line["event_id"].as_i64().unwrap(),
            timestamp: text(&line, "timestamp"),
            metadata: line["metadata_json"].as_str(),
            payload: &payload,
        };
        for format in FORMATS {
            let refused = namespace.event(&event, format);
            // Metadata that is SQL NULL has an obvious meaning: no format_version.
            assert_eq!(refused.is_ok(), event.metadata.is_none(), "{line}: {refused:?}");
        }
    }
}
