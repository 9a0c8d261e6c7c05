//! Publications and tables that are not as they must be: found at the start, and found while streaming.

use std::time::Duration;

use postgres::Client;

use super::tools::{events, impatient, insert, logged, namespace, processes, shows, wait_for_join, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Namespace},
    service::{Service, eventually},
};

/// A publication as the service makes it, with some words changed.
fn create_publication(sql: &mut Client, namespace: &Namespace, tables: &str, options: &str) {
    let name = &namespace.name;
    let tables = tables.replace("PROCESSES", &processes(name)).replace("EVENTS", &events(name));
    sql.batch_execute(&format!(
        "ALTER TABLE {} REPLICA IDENTITY FULL; CREATE PUBLICATION \"{name}\" FOR TABLE {tables} {options}",
        processes(name)
    ))
    .unwrap();
}

/// Row filters and column lists came with 15.
fn exists(slot: &str, major: u32) -> bool {
    major >= 15 || !["filter", "columns"].contains(&slot)
}

#[test]
fn found_at_the_start() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let cases = [
        ("no_updates", "PROCESSES, EVENTS", "WITH (publish = 'insert, delete')", "does not publish inserts, updates"),
        (
            "filter",
            "PROCESSES, EVENTS WHERE (event_id > 5)",
            "",
            "has a row filter on table public.\"ns/filter_events\"",
        ),
        ("one_table", "PROCESSES", "", "has not table public.\"ns/one_table_events\""),
        ("columns", "PROCESSES, EVENTS (process_id, event_id, timestamp, metadata)", "", "leaves out columns of table"),
        ("identity", "PROCESSES, EVENTS", "", "the replica identity of table public.\"ns/identity_processes\""),
    ];
    let major = scene::major(&mut sql);
    let cases: Vec<_> = cases.into_iter().filter(|(slot, ..)| exists(slot, major)).collect();
    let namespaces: Vec<_> = cases.iter().map(|(slot, ..)| namespace(kafka, &format!("ns/{slot}"))).collect();
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for ((slot, tables, options, _), namespace) in cases.iter().zip(&namespaces) {
        scene::create_tables(&mut sql, &[namespace]);
        create_publication(&mut sql, namespace, tables, options);
        configuration = configuration.stream("main", slot, namespace);
    }
    sql.batch_execute(&format!("ALTER TABLE {} REPLICA IDENTITY DEFAULT", processes("ns/identity"))).unwrap();
    // Somebody else's table of that name.
    let foreign = namespace(kafka, "ns/foreign");
    scene::create_tables(&mut sql, &[&foreign]);
    sql.batch_execute(&format!("ALTER TABLE {} RENAME COLUMN detail TO reason", processes("ns/foreign"))).unwrap();
    configuration = configuration.stream("main", "foreign", &foreign);

    let service = Service::start(configuration.text());
    for (slot, _, _, said) in &cases {
        let (_, remedy) = shows(&service, slot, "waiting", "publication", &[said]);
        let slots = "SELECT FROM pg_replication_slots WHERE slot_name = $1::text";
        assert!(sql.query(slots, &[slot]).unwrap().is_empty(), "no slot before its publication is right");
        // The remedy is the statement that mends it.
        sql.batch_execute(&remedy).unwrap_or_else(|error| panic!("{slot}: {remedy}: {error}"));
        service.wait_for_state(slot, "streaming");
    }
    let said = ["table public.\"ns/foreign_processes\" has no column detail", "let progressor migrate the tables"];
    shows(&service, "foreign", "waiting", "schema", &said);
    sql.batch_execute(&format!("ALTER TABLE {} RENAME COLUMN reason TO detail", processes("ns/foreign"))).unwrap();
    service.wait_for_state("foreign", "streaming");
    for ((slot, ..), namespace) in cases.iter().zip(&namespaces) {
        insert(&mut sql, &namespace.name, "p");
        wait_for_messages(&service, slot, 1);
    }
}

/// None of these needs a further change of the table to be seen, but for the last two, which show at once at the next one.
#[test]
fn found_while_streaming() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let cases = [
        ("no_updates", "ALTER PUBLICATION \"@\" SET (publish = 'insert')", "does not publish inserts, updates"),
        ("dropped", "DROP PUBLICATION \"@\"", "publication \"live/dropped\" does not exist"),
        (
            "recreated",
            "DROP PUBLICATION \"@\"; INSERT INTO \"@_processes\" (process_id, status) VALUES ('lost', 'running');
             CREATE PUBLICATION \"@\" FOR TABLE \"@_processes\", \"@_events\"",
            "publications were recreated while their namespaces were delivered (live/recreated)",
        ),
        (
            "one_table",
            "ALTER PUBLICATION \"@\" DROP TABLE \"@_events\"",
            "has not table public.\"live/one_table_events\"",
        ),
        (
            "filter",
            "ALTER PUBLICATION \"@\" SET TABLE \"@_processes\", \"@_events\" WHERE (event_id > 5)",
            "has a row filter",
        ),
        ("identity", "ALTER TABLE \"@_processes\" REPLICA IDENTITY DEFAULT", "the replica identity of table"),
        (
            "columns",
            "ALTER PUBLICATION \"@\" SET TABLE \"@_processes\", \"@_events\" (process_id, event_id)",
            "leaves out columns of table",
        ),
        ("identity_used", "ALTER TABLE \"@_processes\" REPLICA IDENTITY DEFAULT", "the replica identity of table"),
        (
            "column_gone",
            "ALTER TABLE \"@_processes\" DROP COLUMN detail",
            "table public.\"live/column_gone_processes\" has no published column detail",
        ),
    ];
    let major = scene::major(&mut sql);
    let cases: Vec<_> = cases.into_iter().filter(|(slot, ..)| exists(slot, major)).collect();
    // The last two show at a change of the table.
    let (looked_for, [_, column_gone]) = cases.split_last_chunk().unwrap();
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for (slot, ..) in &cases {
        let namespace = namespace(kafka, &format!("live/{slot}"));
        scene::create_tables(&mut sql, &[&namespace]);
        configuration = configuration.stream("main", slot, &namespace);
    }
    let service = Service::start(configuration.text());
    for (slot, ..) in &cases {
        service.wait_for_state(slot, "streaming");
        insert(&mut sql, &format!("live/{slot}"), "before");
        wait_for_messages(&service, slot, 1);
    }
    for (slot, change, _) in &cases {
        // One by one: a publication that is replaced in one transaction is never missing.
        for statement in change.replace('@', &format!("live/{slot}")).split(';') {
            sql.batch_execute(statement).unwrap();
        }
    }
    // The change of the table is in the next Relation message.
    insert(&mut sql, "live/identity_used", "after");
    insert(&mut sql, "live/column_gone", "after");
    let (_, remedy) = shows(&service, "identity_used", "halted", "publication", &["does not carry the old status"]);
    assert_eq!(remedy, "ALTER TABLE public.\"live/identity_used_processes\" REPLICA IDENTITY FULL;");
    shows(&service, "column_gone", "halted", "schema", &[column_gone.2]);
    assert_eq!(service.get("/health/ready").0, 503);
    // One that is gone or another one is noticed at the next change of any table; the others are found by looking, each minute.
    for (slot, _, said) in looked_for {
        let (message, remedy) =
            shows(&service, slot, "halted", "publication", &[said, "last known to be right at LSN "]);
        assert!(!message.contains("at LSN 0/0"), "{message}");
        let joins = ["dropped", "recreated"].contains(slot);
        if !joins {
            sql.batch_execute(&remedy).unwrap_or_else(|error| panic!("{slot}: {remedy}: {error}"));
        }
        // Halted is halted, also when it is mended.
        assert_eq!(service.slot(slot)["state"], "halted");
        assert_eq!(service.post(&format!("/api/v1/streams/main/{slot}/resume")), 200);
        if joins {
            wait_for_join(&service, &format!("live/{slot}"));
        }
        service.wait_for_state(slot, "streaming");
        insert(&mut sql, &format!("live/{slot}"), "mended");
        wait_for_messages(&service, slot, 2);
    }
}

#[test]
fn what_means_nothing_is_ignored_with_one_line() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    create_publication(&mut sql, &namespace, "PROCESSES, EVENTS", "");
    sql.batch_execute(
        "CREATE TABLE stranger (id int PRIMARY KEY);
         CREATE SCHEMA private;
         CREATE TABLE private.\"default/default_processes\" (id int PRIMARY KEY);
         ALTER PUBLICATION \"default/default\" ADD TABLE stranger, private.\"default/default_processes\"",
    )
    .unwrap();
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    sql.batch_execute(
        "INSERT INTO stranger SELECT generate_series(1, 50);
         UPDATE stranger SET id = id + 100; DELETE FROM stranger;
         INSERT INTO private.\"default/default_processes\" VALUES (1)",
    )
    .unwrap();
    insert(&mut sql, "default/default", "p");
    wait_for_messages(&service, "slot_a", 1);
    sql.batch_execute("TRUNCATE \"default/default_processes\" CASCADE").unwrap();
    insert(&mut sql, "default/default", "q");
    wait_for_messages(&service, "slot_a", 2);
    eventually("the lines are there", Duration::from_secs(5), || {
        let lines = ["\"public\".\"stranger\"", "\"private\".\"default/default_processes\"", "TRUNCATE of table"]
            .map(|text| logged(&service, text).len());
        if lines[0] == 1 && lines[1] == 1 && lines[2] >= 1 {
            Ok(())
        } else {
            Err(format!("{lines:?} {}", service.log()))
        }
    });
    service.stop();
    assert_eq!(kafka.consume_all(&namespace.lifecycle).len(), 2);
}
