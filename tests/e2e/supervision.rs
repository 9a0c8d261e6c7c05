//! Crashes of the tree's parts, on cue: what restarts, what halts, what ends the process.

use std::time::Duration;

use crate::{
    kafka, scene,
    scene::{Configuration, Namespace},
    service::{PATIENCE, Service, eventually},
};

struct Stage {
    service: Service,
    server: cdc_notifier::demo::postgres::TemporaryPostgres,
    a: Namespace,
    b: Namespace,
}

/// Two slots of one database, a namespace each.
fn stage(failpoints: &str) -> Stage {
    let kafka = kafka::shared();
    let (a, b) = (Namespace::new("a"), Namespace::new("b"));
    a.create_topics(kafka, 3);
    b.create_topics(kafka, 3);
    let server = scene::postgres(&[]);
    scene::create_tables(&mut scene::connect(&server, "postgres"), &[&a, &b]);
    let configuration = Configuration::new("reconnect_timeout = \"200ms\"", &kafka.bootstrap())
        .database("main", &server, "postgres")
        .stream("main", "slot_a", &a)
        .stream("main", "slot_b", &b);
    let service = Service::start_with_environment(configuration.text(), &[("CDC_NOTIFIER_FAILPOINTS", failpoints)]);
    Stage { service, server, a, b }
}

impl Stage {
    /// What is committed before a slot exists is not delivered.
    fn streams(&self) {
        self.service.wait_for_state("slot_a", "streaming");
        self.service.wait_for_state("slot_b", "streaming");
    }

    fn insert(&self, namespace: &Namespace, process: &str) {
        let mut sql = scene::connect(&self.server, "postgres");
        let table = format!("\"{}_processes\"", namespace.name);
        sql.execute(&format!("INSERT INTO {table} (process_id, status) VALUES ($1, 'running')"), &[&process]).unwrap();
    }

    fn keys(namespace: &Namespace) -> Vec<String> {
        let records = kafka::shared().consume_all(&namespace.lifecycle);
        let mut keys: Vec<_> =
            records.into_iter().map(|record| String::from_utf8(record.key.unwrap()).unwrap()).collect();
        keys.sort();
        keys.dedup();
        keys
    }

    fn arrives(namespace: &Namespace, keys: &[&str]) {
        eventually("the messages arrive", PATIENCE, || {
            let seen = Self::keys(namespace);
            if seen == keys { Ok(()) } else { Err(format!("{seen:?}")) }
        });
    }
}

#[test]
fn a_crash_of_publisher_session_or_slot_restarts_the_slot_and_loses_nothing() {
    for place in ["publisher", "session", "slot"] {
        let mut stage = stage(&format!("{place}:1"));
        stage.streams();
        stage.insert(&stage.a, "p1");
        stage.insert(&stage.b, "p1");
        Stage::arrives(&stage.a, &["a p1"]);
        Stage::arrives(&stage.b, &["b p1"]);
        stage.streams();
        assert_eq!(stage.service.log().matches("it is started again").count(), 1, "{place}");
        stage.service.stop();
    }
}

#[test]
fn past_its_restart_intensity_a_slot_halts_and_the_others_run() {
    // Only slot_a gets a message, so only its publisher crashes: five times it is started again, then it halts.
    let mut stage = stage("publisher:6");
    stage.streams();
    stage.insert(&stage.a, "p1");
    let halted = stage.service.wait_for_state("slot_a", "halted");
    assert_eq!(halted["last_error"]["class"], "bug");
    assert_eq!(halted["acknowledged_lsn"], stage.service.slot("slot_a")["confirmed_lsn"]);
    stage.insert(&stage.b, "p2");
    Stage::arrives(&stage.b, &["b p2"]);
    assert_eq!(stage.service.get("/health/live").0, 200);
    assert_eq!(stage.service.get("/health/ready").0, 503);
    assert_eq!(stage.service.post("/api/v1/streams/main/slot_a/resume"), 200);
    Stage::arrives(&stage.a, &["a p1"]);
    stage.service.wait_for_state("slot_a", "streaming");
    stage.service.stop();
}

#[test]
fn a_crash_of_a_database_actor_restarts_its_slots() {
    let mut stage = stage("slot:1,database:1");
    stage.streams();
    stage.insert(&stage.a, "p1");
    stage.insert(&stage.b, "p1");
    Stage::arrives(&stage.a, &["a p1"]);
    Stage::arrives(&stage.b, &["b p1"]);
    assert!(stage.service.log().contains("the database actor crashed"), "{}", stage.service.log());
    stage.service.stop();
}

#[test]
fn past_its_restart_intensity_a_database_actor_ends_the_process() {
    let mut stage = stage("slot:1000,database:1000");
    assert_eq!(stage.service.exit_code(PATIENCE + Duration::from_secs(30)), Some(70));
}
