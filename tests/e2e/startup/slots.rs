//! Slots that cannot be used, each until it can.

use cdc_notifier::demo::postgres::Mode;

use super::tools::{impatient, insert, namespace, processes, shows, wait_for_messages};
use crate::{
    holder::{self, Holder},
    kafka,
    scene::{self, Configuration},
    service::{PATIENCE, Service, eventually},
};

/// The SQL after this word of a remedy, up to the next semicolon.
fn statement<'a>(remedy: &'a str, word: &str) -> &'a str {
    let begin = remedy.find(word).unwrap_or_else(|| panic!("no {word} in {remedy}"));
    remedy[begin..].split(';').next().unwrap()
}

const SLOTS: [&str; 6] = ["busy", "other_plugin", "other_database", "physical", "missing", "no_room"];

#[test]
fn slots_that_cannot_be_used() {
    let kafka = kafka::shared();
    // Four slots exist, and there is room for no more.
    let mut server = scene::postgres(&[("max_replication_slots", "4")]);
    let mut sql = scene::connect(&server, "postgres");
    sql.batch_execute("CREATE DATABASE elsewhere").unwrap();
    let namespaces = SLOTS.map(|slot| namespace(kafka, &format!("default/{slot}")));
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for (slot, namespace) in SLOTS.iter().zip(&namespaces) {
        scene::create_tables(&mut sql, &[namespace]);
        configuration = configuration.stream("main", slot, namespace);
    }
    configuration = configuration.add("[databases.main.slots.missing]\ncreate_slot = false");
    sql.batch_execute(&format!(
        "ALTER TABLE {} REPLICA IDENTITY FULL;
         CREATE PUBLICATION \"default/busy\" FOR TABLE {0}, \"default/busy_events\"",
        processes("default/busy")
    ))
    .unwrap();
    sql.execute("SELECT pg_create_logical_replication_slot('busy', 'pgoutput')", &[]).unwrap();
    sql.execute("SELECT pg_create_logical_replication_slot('other_plugin', 'test_decoding')", &[]).unwrap();
    sql.execute("SELECT pg_create_physical_replication_slot('physical')", &[]).unwrap();
    let mut elsewhere = scene::connect(&server, "elsewhere");
    elsewhere.execute("SELECT pg_create_logical_replication_slot('other_database', 'pgoutput')", &[]).unwrap();
    drop(elsewhere);
    let holder = Holder::start(&server, "postgres", "busy", "default/busy");
    let pid = holder::pid(&mut sql, "busy");

    let service = Service::start(configuration.text());
    let shows = |slot: &str, class: &str, texts: &[&str]| shows(&service, slot, "waiting", class, texts);
    let by = format!("is in use by pid {pid} (application \"the other one\", role postgres");
    shows("busy", "slot_busy", &[&by, &format!("SELECT pg_terminate_backend({pid})")]);
    let (_, plugin) = shows("other_plugin", "slot_mismatch", &["uses the output plugin test_decoding, not pgoutput"]);
    shows("other_database", "slot_mismatch", &["belongs to database \"elsewhere\"", "move it in the configuration"]);
    let (_, physical) = shows("physical", "slot_mismatch", &["is a physical one"]);
    let (_, missing) = shows("missing", "slot_missing", &["\"missing\" does not exist", "set create_slot = true"]);
    shows("no_room", "postgres_setting", &["ALTER SYSTEM SET max_replication_slots", "then restart PostgreSQL"]);

    drop(holder);
    service.wait_for_state("busy", "streaming");
    // What is wrong with the others is mended by the statements that were shown.
    sql.batch_execute(statement(&plugin, "SELECT pg_drop_replication_slot")).unwrap();
    sql.batch_execute(statement(&physical, "SELECT pg_drop_replication_slot")).unwrap();
    sql.execute("SELECT pg_drop_replication_slot('other_database')", &[]).unwrap();
    sql.batch_execute("ALTER SYSTEM SET max_replication_slots = 10").unwrap();
    sql.batch_execute("ALTER SYSTEM SET max_wal_senders = 1").unwrap();
    server.stop(Mode::Fast).unwrap();
    server.start_again().unwrap();
    let mut sql = scene::connect(&server, "postgres");
    sql.batch_execute(statement(&missing, "SELECT pg_create_logical_replication_slot")).unwrap();

    // All want a walsender now, and there is one.
    eventually("slots wait for a walsender", PATIENCE, || {
        let seen = SLOTS.map(|slot| service.slot(slot));
        let waits = seen.iter().any(|slot| {
            slot["last_error"]["class"] == "postgres_setting"
                && slot["last_error"]["remedy"].as_str().unwrap().contains("ALTER SYSTEM SET max_wal_senders")
        });
        if waits { Ok(()) } else { Err(format!("{seen:?}")) }
    });
    sql.batch_execute("ALTER SYSTEM SET max_wal_senders = 10").unwrap();
    server.stop(Mode::Fast).unwrap();
    server.start_again().unwrap();
    let mut sql = scene::connect(&server, "postgres");
    for (slot, namespace) in SLOTS.iter().zip(&namespaces) {
        service.wait_for_state(slot, "streaming");
        insert(&mut sql, &namespace.name, "p");
        wait_for_messages(&service, slot, 1);
    }
}

/// Two services on a fresh database: one streams, the other waits and takes over.
#[test]
fn two_services_start_at_the_same_time() {
    let kafka = kafka::shared();
    let namespace = namespace(kafka, "default/default");
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    scene::create_tables(&mut sql, &[&namespace]);
    let configuration: Configuration =
        impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    let mut services = [Service::start(configuration.text()), Service::start(configuration.text())];
    let busy = eventually("one streams, the other waits for it", PATIENCE, || {
        let seen = [services[0].slot("slot_a"), services[1].slot("slot_a")];
        let waits =
            |place: usize| seen[place]["last_error"]["class"] == "slot_busy" && seen[1 - place]["state"] == "streaming";
        (0..2).find(|place| waits(*place)).ok_or_else(|| format!("{seen:?}"))
    });
    let pid = holder::pid(&mut sql, "slot_a");
    let by = format!("is in use by pid {pid} (application \"cdc-notifier\"");
    shows(&services[busy], "slot_a", "waiting", "slot_busy", &[&by]);
    insert(&mut sql, "default/default", "first");
    wait_for_messages(&services[1 - busy], "slot_a", 1);
    services[1 - busy].stop();
    services[busy].wait_for_state("slot_a", "streaming");
    insert(&mut sql, "default/default", "second");
    wait_for_messages(&services[busy], "slot_a", 1);
    services[busy].stop();
    let got = super::tools::ids(&kafka.consume_all(&namespace.lifecycle), "default/default");
    assert_eq!(got, ["first", "second"], "a clean stop repeats nothing");
}
