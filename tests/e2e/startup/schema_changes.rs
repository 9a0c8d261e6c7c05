//! Progressor migrates its tables while the service streams.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use cdc_notifier::{
    demo::progressor::schema_sql,
    encoding::mg_proto::read::{self, Step},
};

use super::tools::{ids, impatient, insert, logged, namespace, wait_for_messages};
use crate::{
    kafka, scene,
    service::{PATIENCE, Service, eventually},
};

#[test]
fn migrations_under_load() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    // As an older progressor had made them.
    let old = schema_sql("default/default").replace("varchar(256)", "varchar(80)").replace(", 'init')", ")");
    assert!(old.contains("('running', 'error');") && old.contains("varchar(80) PRIMARY KEY"));
    sql.batch_execute(&old).unwrap();
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");

    let running = Arc::new(AtomicBool::new(true));
    let mut client = scene::connect(&server, "postgres");
    let goes_on = Arc::clone(&running);
    let load = std::thread::spawn(move || {
        let mut written = 0;
        while goes_on.load(Ordering::Relaxed) {
            insert(&mut client, "default/default", &format!("load-{written:06}"));
            written += 1;
        }
        written
    });
    let mut migrate = |statement: &str| {
        let before = super::tools::messages(&service.slot("slot_a"));
        sql.batch_execute(&statement.replace("NS", "default/default")).unwrap();
        wait_for_messages(&service, "slot_a", before + 5);
    };
    migrate(
        "ALTER TABLE \"NS_processes\" ADD COLUMN initialization timestamptz, ADD COLUMN running_task int DEFAULT 7",
    );
    migrate("ALTER TABLE \"NS_events\" DROP CONSTRAINT \"NS_events_process_id_fkey\"");
    migrate("ALTER TABLE \"NS_processes\" ALTER COLUMN process_id TYPE varchar(256)");
    migrate("ALTER TABLE \"NS_events\" ALTER COLUMN process_id TYPE varchar(256)");
    migrate("ALTER TYPE process_status ADD VALUE 'init'");
    migrate("ALTER TABLE \"NS_processes\" DROP COLUMN aux_state");
    migrate("CREATE INDEX ON \"NS_processes\" (status); ANALYZE \"NS_processes\"");
    migrate("ALTER TABLE \"NS_processes\" RENAME COLUMN metadata TO meta");
    running.store(false, Ordering::Relaxed);
    let written = load.join().unwrap();
    wait_for_messages(&service, "slot_a", written);

    // A longer name than was possible before, and the new status with all that leads to and from it.
    let long = "x".repeat(200);
    insert(&mut sql, "default/default", &long);
    let mut step = |statement: &str| sql.batch_execute(&statement.replace("NS", "default/default")).unwrap();
    step("INSERT INTO \"NS_processes\" (process_id, status) VALUES ('p', 'init')");
    step("UPDATE \"NS_processes\" SET status = 'running' WHERE process_id = 'p'");
    step("UPDATE \"NS_processes\" SET status = 'init' WHERE process_id = 'p'");
    step("UPDATE \"NS_processes\" SET status = 'error', detail = 'why' WHERE process_id = 'p'");
    step("UPDATE \"NS_processes\" SET status = 'init' WHERE process_id = 'p'");
    step("UPDATE \"NS_processes\" SET status = 'error' WHERE process_id = 'p'");
    step("UPDATE \"NS_processes\" SET status = 'running', detail = NULL WHERE process_id = 'p'");
    step("DELETE FROM \"NS_processes\" WHERE process_id = 'p'");
    wait_for_messages(&service, "slot_a", written + 7);
    assert_eq!(logged(&service, "replication started").len(), 1, "one stream went through all of it");
    service.stop();

    let records = kafka.consume_all(&namespace.lifecycle);
    let got = ids(&records, "default/default");
    let expected = (0..written).map(|number| format!("load-{number:06}")).chain([long]);
    assert!(got.iter().take(usize::try_from(written).unwrap() + 1).cloned().eq(expected));
    let steps: Vec<_> = records
        .iter()
        .filter(|record| record.key.as_deref() == Some(b"default/default p"))
        .map(|record| read::lifecycle_event(record.value.as_ref().unwrap()).unwrap().data)
        .collect();
    let failed = |reason: &str| Step::Failed { reason: Some(reason.into()) };
    assert_eq!(steps, [Step::Created, failed("why"), Step::Working, failed("why"), Step::Working, Step::Removed]);
}

/// A column that messages need is renamed: the slot stops before the first row without it, and goes on when it is back.
#[test]
fn a_migration_that_goes_too_far() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    insert(&mut sql, "default/default", "before");
    wait_for_messages(&service, "slot_a", 1);
    sql.batch_execute("ALTER TABLE \"default/default_processes\" RENAME COLUMN status TO state").unwrap();
    sql.batch_execute("INSERT INTO \"default/default_processes\" (process_id, state) VALUES ('between', 'running')")
        .unwrap();
    let seen = service.wait_for_state("slot_a", "halted");
    assert_eq!(seen["last_error"]["class"], "schema");
    assert!(
        seen["last_error"]["message"].as_str().unwrap().ends_with("_processes\" has no published column status"),
        "{seen}"
    );
    sql.batch_execute("ALTER TABLE \"default/default_processes\" RENAME COLUMN state TO status").unwrap();
    insert(&mut sql, "default/default", "after");
    assert_eq!(service.post("/api/v1/streams/main/slot_a/resume"), 200);
    // Decoded with the name that it had then: nobody can decide this but a person.
    let seen = service.wait_for_state("slot_a", "halted");
    assert_eq!(seen["last_error"]["class"], "schema");
    eventually("it says the same again", PATIENCE, || {
        let stuck = logged(&service, "has no published column status").len();
        if stuck >= 2 { Ok(()) } else { Err(stuck.to_string()) }
    });
    service.stop();
    assert_eq!(ids(&kafka.consume_all(&namespace.lifecycle), "default/default"), ["before"]);
}
