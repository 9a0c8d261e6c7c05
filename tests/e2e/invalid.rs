//! A row that cannot be delivered halts its slot before it, and nothing else.

use postgres::Client;
use serde_json::Value;

use crate::{
    service::{PATIENCE, eventually},
    world::{Broker, QUICK, WIDE, World, text},
};

/// Statements for one event of a process, with data of this size.
fn event(namespace: &str, process: &str, event: u32, size: usize) -> String {
    format!(
        "INSERT INTO \"{namespace}_events\" VALUES ('{process}', 1, {event}, now(), NULL,
           '\\x836802770362696e6d'::bytea || int4send({size}) || decode(repeat('{event:02x}', {size}), 'hex'));"
    )
}

fn create(namespace: &str, process: &str) -> String {
    format!(
        "INSERT INTO \"{namespace}_processes\" (process_id, status) VALUES ('{process}', 'running');
         INSERT INTO oracle_steps (namespace, process_id, step) VALUES ('{namespace}', '{process}', 'created');"
    )
}

fn confirmed_flush(sql: &mut Client, slot: &str) -> String {
    text(sql, &format!("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'"))
}

fn is_before(sql: &mut Client, left: &str, right: &str) -> bool {
    text(sql, &format!("SELECT ('{left}'::pg_lsn < '{right}'::pg_lsn)::text")) == "true"
}

fn halted(world: &World) -> Value {
    let seen = world.service().wait_for_state("slot_a", "halted");
    assert_eq!(seen["last_error"]["class"], "invalid_row", "{seen}");
    seen
}

#[test]
fn a_poisoned_row_halts_its_slot_only() {
    let mut world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let mut sql = world.sql("first");
    let name = "default/default";
    sql.batch_execute(&create(name, "good")).unwrap();
    for number in 1..=50 {
        sql.batch_execute(&event(name, "good", number, 10)).unwrap();
    }
    let before = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
    sql.batch_execute(&format!(
        "INSERT INTO \"{name}_events\" VALUES ('good', 1, 51, now(), NULL, '\\x83680277036e6f6e736572736521')"
    ))
    .unwrap();
    let after = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
    sql.batch_execute(&event(name, "good", 52, 10)).unwrap();

    let seen = halted(&world);
    let message = seen["last_error"]["message"].as_str().unwrap();
    assert!(message.contains("good") && message.contains("default/default"), "{message}");
    eventually("what was before it is acknowledged", PATIENCE, || {
        let at = confirmed_flush(&mut sql, "slot_a");
        if is_before(&mut sql, &at, &before) { Err(format!("{at} < {before}")) } else { Ok(()) }
    });
    let topic = world.lanes[0].namespace.eventsink.clone();
    assert_eq!(world.kafka.consume_all(&topic).len(), 50);

    // The others go on, and a person's resume halts again at the same row.
    sql.batch_execute(&format!("{}{}", create("quiet", "other"), event("quiet", "other", 1, 10))).unwrap();
    world.wait_for_acknowledgement_of(&["slot_b".into(), "slot_c".into()]);
    assert_eq!(world.kafka.consume_all(&world.lanes[2].namespace.eventsink).len(), 1);
    for _ in 0..2 {
        let logged = world.service().log().matches("\"invalid_row\"").count();
        assert_eq!(world.service().post("/api/v1/streams/first/slot_a/resume"), 200);
        eventually("it halts again", PATIENCE, || {
            let again = world.service().log().matches("\"invalid_row\"").count();
            if again > logged { Ok(()) } else { Err(world.service().log()) }
        });
        assert_eq!(halted(&world)["last_error"]["message"], message);
    }
    // Nor does a restart get past it.
    world.service_mut().stop();
    world.start_service();
    assert_eq!(halted(&world)["last_error"]["message"], message);
    let at = confirmed_flush(&mut sql, "slot_a");
    assert!(is_before(&mut sql, &at, &after), "{at} {after}");
    assert_eq!(world.kafka.consume_all(&topic).len(), 50);
    assert_eq!(world.service().get("/health/live").0, 200);
    assert_eq!(world.service().get("/health/ready").0, 503);
}

#[test]
fn a_poisoned_row_in_the_middle_of_a_transaction() {
    let world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let mut sql = world.sql("first");
    let name = "default/default";
    sql.batch_execute(&create(name, "good")).unwrap();
    let before = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
    let poison = format!("INSERT INTO \"{name}_events\" VALUES ('good', 1, 2, now(), NULL, '\\x00');");
    sql.batch_execute(&format!("BEGIN; {}{poison}{} COMMIT;", event(name, "good", 1, 10), event(name, "good", 3, 10)))
        .unwrap();
    halted(&world);
    let at = confirmed_flush(&mut sql, "slot_a");
    assert!(!is_before(&mut sql, &at, &before), "{at} {before}");
    let found = world.kafka.consume_all(&world.lanes[0].namespace.eventsink);
    assert!(found.len() <= 1, "nothing after the poisoned row: {found:?}");
}

#[test]
fn a_message_that_is_too_large_for_its_topic() {
    let mut world = World::with(Broker::shared(), QUICK, &WIDE, &[("max.message.bytes", "20000")]);
    world.start_service();
    world.wait_for_all("streaming");
    let mut sql = world.sql("first");
    let (name, neighbour) = ("default/default", "orders/v1");
    sql.batch_execute(&format!("{}{}{}", create(name, "small"), create(name, "big"), create(neighbour, "next")))
        .unwrap();
    // One transaction, so that they travel together.
    let mut rows = String::new();
    for number in 1..=40 {
        rows.push_str(&event(name, "small", number, 100));
        rows.push_str(&event(neighbour, "next", number, 100));
    }
    sql.batch_execute(&format!("BEGIN; {rows} COMMIT;")).unwrap();
    let before = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
    let large = event(name, "big", 1, 50_000);
    let tail = event(name, "small", 41, 100);
    sql.batch_execute(&format!("BEGIN; {large} {tail} COMMIT;")).unwrap();
    let seen = halted(&world);
    let message = seen["last_error"]["message"].as_str().unwrap();
    assert!(message.contains("default/default big"), "it names the key: {message}");
    assert!(!message.contains("\"default/default small\""), "{message}");
    eventually("what was before it is acknowledged", PATIENCE, || {
        let at = confirmed_flush(&mut sql, "slot_a");
        if is_before(&mut sql, &at, &before) { Err(format!("{at} < {before}")) } else { Ok(()) }
    });
    for (lane, process) in [(0, "small"), (1, "next")] {
        let found = world.kafka.consume_all(&world.lanes[lane].namespace.eventsink);
        let keys =
            found.iter().filter(|record| record.key.as_deref().is_some_and(|key| key.ends_with(process.as_bytes())));
        let values: std::collections::BTreeSet<_> = keys.map(|record| &record.value).collect();
        assert_eq!(values.len(), 40, "{process}");
    }
    // The broker is the one to decide: once it takes larger ones, a person lets the slot go on.
    for lane in &world.lanes {
        world.kafka.set_topic_option(&lane.namespace.eventsink, "max.message.bytes", "1000000");
    }
    assert_eq!(world.service().post("/api/v1/streams/first/slot_a/resume"), 200);
    world.verify();
}
