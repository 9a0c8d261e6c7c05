//! The first start on a fresh database, and the starts after it.

use super::tools::{ids, impatient, insert, logged, namespace, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Namespace},
    service::{PATIENCE, Service, eventually},
};

#[test]
fn a_fresh_database() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespaces = ["default/default", "other"].map(|name| namespace(kafka, name));
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for namespace in &namespaces {
        scene::create_tables(&mut sql, &[namespace]);
        configuration = configuration.stream("main", "slot_a", namespace);
    }
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    // The publications are older than what the slot has to decode: it needs no catalog from before them.
    let row = sql
        .query_one(
            "SELECT count(*) FROM pg_publication p, pg_replication_slots s
             WHERE s.slot_name = 'slot_a' AND s.plugin = 'pgoutput' AND NOT s.temporary AND age(p.xmin) > age(s.catalog_xmin)
               AND p.pubinsert AND p.pubupdate AND p.pubdelete",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 2);
    let log = service.log();
    let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text:?} in {log}"));
    assert!(place("publications created") < place("slot created"));
    assert!(!log.contains("they join later"));
    // What the two servers may lose although it is confirmed or committed.
    assert_eq!(logged(&service, "fsync is off").len(), 1);
    eventually("the topics' settings are looked at", PATIENCE, || {
        let said = logged(&service, "4 topics (");
        if said.len() == 1 { Ok(()) } else { Err(format!("{said:?}")) }
    });
    for namespace in &namespaces {
        let name = &namespace.name;
        let identity = |table: &str| {
            let query = "SELECT relreplident::text FROM pg_class WHERE relname = $1::text";
            sql.query_one(query, &[&format!("{name}_{table}")]).unwrap().get::<_, String>(0)
        };
        assert_eq!(["processes", "events"].map(identity), ["f", "d"]);
        let tables = "SELECT tablename::text FROM pg_publication_tables WHERE pubname = $1::text ORDER BY 1";
        let tables: Vec<String> = sql.query(tables, &[name]).unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(tables, [format!("{name}_events"), format!("{name}_processes")]);
    }
    for namespace in &namespaces {
        insert(&mut sql, &namespace.name, "first");
    }
    wait_for_messages(&service, "slot_a", 2);
    service.stop();
    // From where it stood: nothing missing, nothing again.
    for namespace in &namespaces {
        insert(&mut sql, &namespace.name, "while away");
    }
    service.start_again();
    wait_for_messages(&service, "slot_a", 2);
    assert!(logged(&service, "created").is_empty(), "{}", service.log());
    service.stop();
    for namespace in &namespaces {
        assert_eq!(ids(&kafka.consume_all(&namespace.lifecycle), &namespace.name), ["first", "while away"]);
    }
}

/// A slot that some other consumer has used before.
#[test]
fn an_old_slot_goes_on_where_it_stood() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    sql.batch_execute(
        "ALTER TABLE \"default/default_processes\" REPLICA IDENTITY FULL;
         CREATE PUBLICATION \"default/default\" FOR TABLE \"default/default_processes\", \"default/default_events\"",
    )
    .unwrap();
    insert(&mut sql, "default/default", "before the slot");
    sql.batch_execute("SELECT pg_create_logical_replication_slot('old_slot', 'pgoutput')").unwrap();
    insert(&mut sql, "default/default", "confirmed to another");
    let confirmed: String = sql.query_one("SELECT pg_current_wal_insert_lsn()::text", &[]).unwrap().get(0);
    insert(&mut sql, "default/default", "p1");
    insert(&mut sql, "default/default", "p2");
    sql.batch_execute(&format!("SELECT pg_replication_slot_advance('old_slot', '{confirmed}')")).unwrap();
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "old_slot", &namespace);
    let mut service = Service::start(configuration.text());
    wait_for_messages(&service, "old_slot", 2);
    service.stop();
    assert_eq!(ids(&kafka.consume_all(&namespace.lifecycle), "default/default"), ["p1", "p2"]);
}

/// Names that need care in SQL, in pgoutput's options, in TOML and in URLs; two of them share their topics.
#[test]
fn names_with_odd_characters() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let names =
        ["say \"hi\"", "it's", "Upper Case", "пространство", "a,b.c;d", "back\\slash", "%s $1 {x}", "под_чер_кой"];
    let mut namespaces: Vec<Namespace> = names.map(|name| namespace(kafka, name)).into();
    let (first, last) = (namespaces[0].clone(), namespaces.last_mut().unwrap());
    (last.eventsink, last.lifecycle) = (first.eventsink.clone(), first.lifecycle.clone());
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for namespace in &namespaces {
        scene::create_tables(&mut sql, &[namespace]);
        configuration = configuration.stream("main", "slot_a", namespace);
    }
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    for (number, namespace) in namespaces.iter().enumerate() {
        insert(&mut sql, &namespace.name, &format!("p'\"{number}"));
    }
    wait_for_messages(&service, "slot_a", 8);
    // The publications are found again.
    service.stop();
    service.start_again();
    service.wait_for_state("slot_a", "streaming");
    let (_, streams) = service.get("/api/v1/streams");
    for name in names {
        assert!(
            streams["streams"][0]["namespaces"].as_array().unwrap().iter().any(|ns| ns["namespace"] == name),
            "{streams}"
        );
    }
    service.stop();
    for (number, namespace) in namespaces.iter().enumerate() {
        let key = format!("{} p'\"{number}", namespace.name);
        let got = kafka.consume_all(&namespace.lifecycle);
        assert!(got.iter().any(|record| record.key.as_deref() == Some(key.as_bytes())), "{key}: {got:?}");
        assert_eq!(got.len(), if number == 0 || number == 7 { 2 } else { 1 }, "{key}");
    }
}
