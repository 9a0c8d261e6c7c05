//! Everything arrives, where it belongs, as consumers know it.

use crate::{
    kafka, scene,
    scene::{Configuration, Namespace},
    service::{PATIENCE, Service, eventually},
};

#[test]
fn events_and_lifecycle_changes_arrive() {
    let kafka = kafka::shared();
    let namespace = Namespace::new("default/default");
    namespace.create_topics(kafka, 4);
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    scene::create_tables(&mut sql, &[&namespace]);
    let configuration = Configuration::new("", &kafka.bootstrap())
        .database("main", &server, "postgres")
        .stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    sql.batch_execute(
        "BEGIN;
         INSERT INTO \"default/default_processes\" (process_id, status) VALUES ('p1', 'running');
         COMMIT;",
    )
    .unwrap();
    eventually("a message arrives", PATIENCE, || {
        let got = kafka.consume_all(&namespace.lifecycle);
        if got.len() == 1 { Ok(()) } else { Err(format!("{got:?} {}", service.slot("slot_a"))) }
    });
    service.stop();
}
