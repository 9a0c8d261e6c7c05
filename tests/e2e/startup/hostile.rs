//! Payloads that are made to hurt: refused or right, and bounded in memory.

use super::{
    tools::{impatient, wait_for_messages},
    vectors::{Event, bytes, create_tables, load, text},
};
use crate::{
    kafka,
    scene::{self, Namespace},
    service::Service,
};

#[test]
fn hostile_payloads() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let lines = load("accepted_hostile");
    // A database for each: all vectors are of one namespace.
    let mut configuration = impatient(kafka);
    let mut namespaces = Vec::new();
    for number in 0..lines.len() {
        let (database, slot) = (format!("hostile_{number}"), format!("slot_{number}"));
        sql.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        create_tables(&mut scene::connect(&server, &database), "invoice");
        let namespace = Namespace::new("invoice");
        for topic in [&namespace.eventsink, &namespace.lifecycle] {
            kafka.create_topic_with(topic, 1, &[("max.message.bytes", "67108864")]);
        }
        configuration = configuration.database(&database, &server, &database).stream(&database, &slot, &namespace);
        namespaces.push(namespace);
    }
    let mut service = Service::start(configuration.text());
    for (number, line) in lines.iter().enumerate() {
        service.wait_for_state(&format!("slot_{number}"), "streaming");
        let event = Event {
            process_id: "2Ab3",
            number: 1,
            timestamp: "2024-03-22 06:12:27+00",
            metadata: Some(r#"{"format_version": 1}"#),
            payload: &bytes(line, "payload_hex"),
        };
        event.insert(&mut scene::connect(&server, &format!("hostile_{number}")), "invoice");
    }
    // Under the default limits.
    for (number, line) in lines.iter().enumerate() {
        let slot = format!("slot_{number}");
        if text(line, "name") == "arr_1000000_ints" {
            wait_for_messages(&service, &slot, 1);
        } else {
            let seen = service.wait_for_state(&slot, "halted");
            assert_eq!(seen["last_error"]["class"], "invalid_row");
            let message = text(&seen["last_error"], "message");
            let said = if text(line, "name").starts_with("zlib") { "max_payload_size" } else { "max_payload_depth" };
            assert!(message.contains("payload") && message.contains(said), "{message}");
        }
    }
    let peak = service.peak_memory() >> 20;
    assert!(peak < 200, "{peak} MiB");
    service.stop();
    // Under raised limits: the rows are still there.
    let raised = "[limits]\nmax_payload_size = \"64MiB\"\nmax_payload_depth = 30000\n[databases.hostile_0]".to_string();
    service.start_with(&configuration.text().replace("[databases.hostile_0]", &raised));
    for (number, line) in lines.iter().enumerate() {
        if text(line, "name") != "arr_1000000_ints" {
            wait_for_messages(&service, &format!("slot_{number}"), 1);
        }
    }
    let peak = service.peak_memory() >> 20;
    assert!(peak < 300, "{peak} MiB");
    service.stop();
    for (line, namespace) in lines.iter().zip(&namespaces) {
        let records = kafka.consume_all(&namespace.eventsink);
        assert_eq!(records.len(), 1, "{}", line["name"]);
        let value = records[0].value.as_ref().unwrap();
        assert_eq!(Some(value.len() as u64), line["value_len"].as_u64(), "{}", line["name"]);
        assert_eq!(hex::encode(openssl::sha::sha256(value)), text(line, "value_sha256"), "{}", line["name"]);
    }
}
