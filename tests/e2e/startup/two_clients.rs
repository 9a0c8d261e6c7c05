//! Two Kafka clients in one slot: the trouble of one does not hold the other's records for ever.

use super::tools::{events, impatient, insert, shows, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Namespace},
    service::{PATIENCE, Service, eventually},
};

#[test]
fn each_has_a_message_that_is_too_large() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespaces = ["two/first", "two/second"].map(Namespace::new);
    for namespace in &namespaces {
        for topic in [&namespace.eventsink, &namespace.lifecycle] {
            kafka.create_topic_with(topic, 1, &[("max.message.bytes", "2000")]);
        }
        scene::create_tables(&mut sql, &[namespace]);
    }
    let configuration = impatient(kafka)
        .database("main", &server, "postgres")
        .add(&format!("[kafka_clients.other]\nendpoints = [{:?}]", kafka.bootstrap()))
        .stream_to("kafka", "main", "both", &namespaces[0])
        .stream_to("other", "main", "both", &namespaces[1]);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("both", "streaming");
    insert(&mut sql, "two/first", "one");
    insert(&mut sql, "two/second", "one");
    wait_for_messages(&service, "both", 2);

    // The second one's comes first: the first one's waits for it when they are sent one by one.
    for name in ["two/second", "two/first"] {
        let table = events(name);
        sql.batch_execute(&format!(
            "SET session_replication_role = replica;
             INSERT INTO {table} SELECT 'one', 1, 1, now(), NULL, '\\x836802770362696e6d'::bytea || int4send(12800)
               || string_agg(sha256(int4send(n)), ''::bytea) FROM generate_series(1, 400) AS n;
             INSERT INTO {table} VALUES ('one', 1, 2, now(), NULL, '\\x836802770362696e6d0000000141');"
        ))
        .unwrap();
    }
    for _ in 0..3 {
        let (message, _) = shows(&service, "both", "halted", "invalid_row", &["sent alone"]);
        assert!(message.contains("\"two/second"), "the first of the two: {message}");
        assert_eq!(service.post("/api/v1/streams/main/both/resume"), 200);
        eventually("it tries again", PATIENCE, || {
            let seen = service.slot("both");
            if seen["state"] == "halted" && seen["last_error"].is_object() { Ok(()) } else { Err(seen.to_string()) }
        });
    }
    for namespace in &namespaces {
        kafka.set_topic_option(&namespace.eventsink, "max.message.bytes", "1000000");
    }
    assert_eq!(service.post("/api/v1/streams/main/both/resume"), 200);
    for namespace in &namespaces {
        eventually("all arrives", PATIENCE, || {
            let seen = kafka.consume_all(&namespace.eventsink);
            let values: Vec<_> = seen.iter().map(|record| record.value.as_ref().map_or(0, Vec::len)).collect();
            // The small one behind the large one was sent with it at first, and given up.
            if matches!(values[..], [large, small] if large > 12_800 && small < 200) {
                Ok(())
            } else {
                Err(format!("{values:?}"))
            }
        });
    }
    service.stop();
}
