//! Rows that cannot become messages: each halts its slot, and only that.

use std::time::Duration;

use super::{
    tools::{messages, wait_for_messages},
    vectors::{Event, bytes, create_tables, load, text},
};
use crate::{
    kafka,
    scene::{self, Configuration, Namespace},
    service::{Service, eventually},
};

const GOOD: Event<'_> = Event {
    process_id: "good",
    number: 1,
    timestamp: "2024-03-22 06:12:27+00",
    metadata: None,
    payload: b"\x83h\x02w\x01ia\x01",
};

/// All slots of one process, each with one row that the Erlang service crashed on, and one without.
#[test]
fn every_invalid_row_halts_its_slot_alone() {
    let kafka = kafka::shared();
    let server =
        scene::postgres(&[("max_replication_slots", "200"), ("max_wal_senders", "200"), ("max_connections", "400")]);
    let mut sql = scene::connect(&server, "postgres");
    // PostgreSQL itself turns the number 1e0 of a jsonb into 1.
    let mut lines: Vec<_> = load("invalid_rows").into_iter().filter(|line| line["name"] != "fv_exp").collect();
    lines.extend(load("invalid"));
    let shared = Namespace::new("");
    shared.create_topics(kafka, 3);
    let names: Vec<_> =
        (0..lines.len()).map(|number| format!("bad_{number:03}")).chain(["healthy".to_owned()]).collect();
    let mut configuration = Configuration::new("", &kafka.bootstrap()).database("main", &server, "postgres");
    for name in &names {
        create_tables(&mut sql, name);
        configuration = configuration.stream("main", name, &Namespace { name: name.clone(), ..shared.clone() });
    }
    let mut service = Service::start(configuration.text());
    let in_state = |wanted: &str| {
        let (_, answer) = service.get("/api/v1/streams");
        let streams = answer["streams"].as_array().unwrap().clone();
        let others: Vec<_> = streams.iter().filter(|slot| slot["state"] != wanted).cloned().collect();
        (streams, others)
    };
    eventually("all slots stream", Duration::from_mins(4), || {
        let (_, others) = in_state("streaming");
        if others.is_empty() { Ok(()) } else { Err(format!("{} others, such as {}", others.len(), others[0])) }
    });

    for (name, line) in names.iter().zip(&lines) {
        GOOD.insert(&mut sql, name);
        let payload = bytes(line, "payload_hex");
        // Those of invalid_rows say more than a payload.
        let bad = Event {
            process_id: line["process_id"].as_str().unwrap_or("bad"),
            number: 2,
            timestamp: line["timestamp"].as_str().unwrap_or(GOOD.timestamp),
            metadata: line["metadata_json"].as_str(),
            payload: &payload,
        };
        bad.insert(&mut sql, name);
        Event { number: 3, ..GOOD }.insert(&mut sql, name);
    }
    GOOD.insert(&mut sql, "healthy");
    let slots = eventually("all slots but one halt", Duration::from_mins(2), || {
        let (streams, others) = in_state("halted");
        if others.len() == 1 { Ok(streams) } else { Err(format!("{} others, such as {}", others.len(), others[0])) }
    });
    for slot in &slots {
        let name = text(slot, "slot");
        assert_eq!(messages(slot), 1, "{slot}");
        let Some(line) = names.iter().position(|other| other == name).and_then(|place| lines.get(place)) else {
            assert_eq!((name, &slot["state"]), ("healthy", &"streaming".into()));
            continue;
        };
        let error = &slot["last_error"];
        let (message, remedy) = (text(error, "message"), text(error, "remedy"));
        assert_eq!(error["class"], "invalid_row", "{}: {slot}", line["name"]);
        let id = line["process_id"].as_str().unwrap_or("bad");
        for said in
            [&format!("insert of table \"{name}_events\""), &format!("key \"{name} {id}\""), "ordinal 0", "xid "]
        {
            assert!(message.contains(said), "{said}: {message}");
        }
        assert!(remedy.contains("resume the slot"), "{remedy}");
        // Nothing is acknowledged past the row: it comes again.
        assert_eq!(slot["acknowledged_lsn"], slot["confirmed_lsn"]);
    }
    assert_eq!(service.get("/health/ready").0, 503);
    assert_eq!(service.get("/health/live").0, 200);
    Event { number: 2, ..GOOD }.insert(&mut sql, "healthy");
    wait_for_messages(&service, "healthy", 2);
    assert!(service.peak_memory() < 400 << 20, "{} MiB", service.peak_memory() >> 20);
    service.stop();
    let records = kafka.consume_all(&shared.eventsink);
    assert_eq!(records.len(), names.len() + 1, "one of each, two of the healthy one");
}
