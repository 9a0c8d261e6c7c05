//! More slots than begin at the same time.

use std::fs;

use cdc_notifier::demo::postgres::TemporaryPostgres;
use postgres::Client;

use super::tools::{impatient, insert, namespace, wait_for_messages};
use crate::{
    kafka::{self, KafkaServer},
    scene::{self, Namespace},
    service::{PATIENCE, Service, eventually},
};

const MANY: usize = 20;

/// What the C library has been told: how many heaps the process may have, and when they shrink.
fn heaps(service: &Service) -> [Option<String>; 2] {
    let environment = fs::read_to_string(format!("/proc/{}/environ", service.pid())).unwrap();
    let found = |name| environment.split('\0').find_map(|entry| entry.strip_prefix(name)).map(str::to_owned);
    ["MALLOC_ARENA_MAX=", "MALLOC_TRIM_THRESHOLD_="].map(found)
}

fn many_slots() -> TemporaryPostgres {
    scene::postgres(&[("max_wal_senders", "60"), ("max_replication_slots", "60"), ("max_connections", "200")])
}

/// They share their topics.
fn many_namespaces(kafka: &KafkaServer, sql: &mut Client) -> Vec<Namespace> {
    let to = namespace(kafka, "");
    let namespaces: Vec<_> = (0..MANY).map(|n| Namespace { name: format!("n{n}"), ..to.clone() }).collect();
    scene::create_tables(sql, &namespaces.iter().collect::<Vec<_>>());
    namespaces
}

/// How many slots stream.
fn streaming(service: &Service) -> usize {
    let (_, body) = service.get("/api/v1/streams");
    body["streams"].as_array().unwrap().iter().filter(|stream| stream["state"] == "streaming").count()
}

#[test]
fn all_begin() {
    let kafka = kafka::shared();
    let server = many_slots();
    let mut sql = scene::connect(&server, "postgres");
    let namespaces = many_namespaces(kafka, &mut sql);
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for namespace in &namespaces {
        configuration = configuration.stream("main", &format!("slot_{}", namespace.name), namespace);
    }
    let mut service = Service::start(configuration.text());
    for namespace in &namespaces {
        service.wait_for_state(&format!("slot_{}", namespace.name), "streaming");
    }
    assert_eq!(
        heaps(&service),
        [Some("1".to_owned()), Some("1048576".to_owned())],
        "what one thread frees is of use to all"
    );
    for namespace in &namespaces {
        insert(&mut sql, &namespace.name, "a process");
    }
    for namespace in &namespaces {
        wait_for_messages(&service, &format!("slot_{}", namespace.name), 1);
    }
    service.stop();
    assert_eq!(kafka.consume_all(&namespaces[0].lifecycle).len(), MANY);
}

/// To create a slot PostgreSQL waits for the transactions that are open. Who waits for that keeps nobody else from beginning.
#[test]
fn who_waits_for_a_transaction_keeps_nobody_from_beginning() {
    let kafka = kafka::shared();
    let server = many_slots();
    let mut sql = scene::connect(&server, "postgres");
    let namespaces = many_namespaces(kafka, &mut sql);
    // The last one is there already.
    let old = &namespaces[MANY - 1];
    sql.batch_execute(&format!(
        "ALTER TABLE \"{0}_processes\" REPLICA IDENTITY FULL;
         CREATE PUBLICATION \"{0}\" FOR TABLE \"{0}_processes\", \"{0}_events\"",
        old.name
    ))
    .unwrap();
    sql.execute("SELECT pg_create_logical_replication_slot('slot_old', 'pgoutput')", &[]).unwrap();
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for (place, namespace) in namespaces.iter().enumerate() {
        let slot = if place == MANY - 1 { "slot_old".to_owned() } else { format!("slot_new_{place}") };
        configuration = configuration.stream("main", &slot, namespace);
    }
    let mut open = sql.transaction().unwrap();
    open.execute("SELECT pg_current_xact_id()", &[]).unwrap();
    let service = Service::start_with_environment(configuration.text(), &[("MALLOC_ARENA_MAX", "3")]);
    service.wait_for_state("slot_old", "streaming");
    assert_eq!(streaming(&service), 1, "the others wait");
    let (_, body) = service.get("/api/v1/streams");
    let failed = body["streams"].as_array().unwrap().iter().filter(|stream| !stream["last_error"].is_null()).count();
    assert_eq!(failed, 0, "it has not waited until a first attempt was over: {body}");
    assert_eq!(heaps(&service), [Some("3".to_owned()), None], "the operator's choice");
    open.commit().unwrap();
    eventually("the others stream", PATIENCE, || match streaming(&service) {
        MANY => Ok(()),
        less => Err(less.to_string()),
    });
}
