//! Slots that are not what they were while we were away: the slot halts and says so.

use postgres::Client;

use super::tools::{impatient, insert, namespace, shows, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Configuration},
    service::{PATIENCE, Service, eventually},
};

/// Ends the stream of a slot and does something to the slot before the service is back.
fn behind_its_back(sql: &mut Client, slot: &str, doing: &str) {
    let holder = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1::text";
    sql.query(holder, &[&slot]).unwrap();
    eventually(doing, PATIENCE, || sql.batch_execute(doing).map_err(|error| error.to_string()));
}

fn configuration(kafka: &kafka::KafkaServer) -> Configuration {
    Configuration::new("reconnect_timeout = \"4s\"", &kafka.bootstrap())
}

#[test]
fn dropped_recreated_or_moved_while_disconnected() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let slots = ["dropped", "recreated", "moved", "left_alone"];
    let mut configuration = configuration(kafka).database("main", &server, "postgres");
    for slot in slots {
        let namespace = namespace(kafka, slot);
        scene::create_tables(&mut sql, &[&namespace]);
        configuration = configuration.stream("main", slot, &namespace);
    }
    let service = Service::start(configuration.text());
    for slot in slots {
        service.wait_for_state(slot, "streaming");
        insert(&mut sql, slot, "before");
        wait_for_messages(&service, slot, 1);
    }
    behind_its_back(&mut sql, "left_alone", "SELECT 1");
    behind_its_back(&mut sql, "dropped", "SELECT pg_drop_replication_slot('dropped')");
    behind_its_back(&mut sql, "recreated", "SELECT pg_drop_replication_slot('recreated')");
    insert(&mut sql, "recreated", "lost");
    sql.batch_execute("SELECT pg_create_logical_replication_slot('recreated', 'pgoutput')").unwrap();
    insert(&mut sql, "moved", "lost");
    behind_its_back(&mut sql, "moved", "SELECT pg_replication_slot_advance('moved', pg_current_wal_lsn())");

    let dropped =
        ["\"dropped\" was dropped behind our back", "a new slot begins with what is committed after its creation"];
    shows(&service, "dropped", "halted", "history_changed", &dropped);
    for slot in ["recreated", "moved"] {
        let said = [&format!("slot \"{slot}\""), "the slot stands at ", "was acknowledged", "then resume the slot"];
        shows(&service, slot, "halted", "history_changed", &said.map(|text| text as &str));
    }
    service.wait_for_state("left_alone", "streaming");
    insert(&mut sql, "left_alone", "after");
    wait_for_messages(&service, "left_alone", 2);
    for slot in ["dropped", "recreated", "moved"] {
        assert_eq!(service.slot(slot)["state"], "halted");
        assert_eq!(service.post(&format!("/api/v1/streams/main/{slot}/resume")), 200);
        service.wait_for_state(slot, "streaming");
        insert(&mut sql, slot, "after");
        wait_for_messages(&service, slot, 2);
    }
}

#[test]
fn a_lost_slot_halts_alone() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[("wal_keep_size", "0")]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    insert(&mut sql, "default/default", "before");
    wait_for_messages(&service, "slot_a", 1);
    // Away for so long that PostgreSQL gives the slot up.
    service.signal(nix::sys::signal::Signal::SIGSTOP);
    sql.batch_execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'").unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").unwrap();
    eventually("the slot is lost", PATIENCE, || {
        sql.batch_execute("CREATE TABLE IF NOT EXISTS filler (x int)").unwrap();
        sql.batch_execute("INSERT INTO filler SELECT generate_series(1, 1000)").unwrap();
        sql.batch_execute("SELECT pg_switch_wal()").unwrap();
        sql.batch_execute("CHECKPOINT").unwrap();
        let row = sql.query_one("SELECT wal_status::text FROM pg_replication_slots", &[]).unwrap();
        let status: String = row.get(0);
        if status == "lost" { Ok(()) } else { Err(status) }
    });
    service.signal(nix::sys::signal::Signal::SIGCONT);
    let said =
        ["\"slot_a\" was invalidated", "SELECT pg_drop_replication_slot('slot_a')", "Raise max_slot_wal_keep_size"];
    shows(&service, "slot_a", "halted", "slot_lost", &said);
    assert_eq!(service.get("/health/ready").0, 503);
    assert_eq!(service.get("/health/live").0, 200);
    sql.batch_execute("SELECT pg_drop_replication_slot('slot_a')").unwrap();
    sql.batch_execute("ALTER SYSTEM RESET max_slot_wal_keep_size").unwrap();
    assert_eq!(service.post("/api/v1/streams/main/slot_a/resume"), 200);
    service.wait_for_state("slot_a", "streaming");
    service.stop();
}
