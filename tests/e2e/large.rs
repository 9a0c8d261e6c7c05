//! Large transactions: memory follows the configuration, not their size, and what the server spills is shown.

use postgres::Client;
use serde_json::{Value, json};

use crate::{
    service::{PATIENCE, eventually},
    world::{Broker, NARROW, World},
    writer::Random,
};

/// One transaction that creates so many processes, each with so many events, written in turn.
pub fn write(sql: &mut Client, processes: u32, events: u32) {
    let name = "default/default";
    sql.batch_execute(&format!(
        "BEGIN;
         INSERT INTO \"{name}_processes\" (process_id, status) SELECT 'p' || p, 'running' FROM generate_series(1, {processes}) AS p;
         INSERT INTO oracle_steps (namespace, process_id, step)
           SELECT '{name}', 'p' || p, 'created' FROM generate_series(1, {processes}) AS p;
         INSERT INTO \"{name}_events\"
           SELECT 'p' || p, 1, e, now(), '{{\"format_version\": 1}}', '\\x836802770362696e6d00000040'::bytea
             || int8send(e) || int8send(p) || sha256(int8send(e * {processes} + p)) || '\\x00000000000000000000000000000000'::bytea
           FROM generate_series(1, {events}) AS e, generate_series(1, {processes}) AS p ORDER BY e, p;
         COMMIT;"
    ))
    .unwrap();
}

/// Writes one transaction of so many rows, checks that all arrive, and returns the service's peak.
fn peak_with(rows: u32) -> u64 {
    let mut world = World::streaming(Broker::shared(), "", &NARROW);
    let mut sql = world.sql("first");
    let began = std::time::Instant::now();
    write(&mut sql, 100, rows / 100);
    let written = began.elapsed();
    world.wait_for_acknowledgement();
    let (peak, took) = (world.service().peak_memory(), began.elapsed());
    let tally = world.verify_now();
    assert_eq!((tally.distinct, tally.repeats()), (rows as usize + 100, 0));
    println!("{rows} rows in one transaction: peak {} MiB, written in {written:?}, acknowledged {took:?}", peak >> 20);
    world.service_mut().stop();
    peak
}

#[test]
fn a_large_transaction_needs_little_memory() {
    // A million by hand: CDC_NOTIFIER_TEST_ROWS=1000000 cargo test --test e2e large -- --nocapture
    let rows = std::env::var("CDC_NOTIFIER_TEST_ROWS").map_or(200_000, |rows| rows.parse().unwrap());
    let peak = peak_with(rows);
    assert!(peak < 100 << 20, "{} MiB", peak >> 20);
}

/// What the server itself says that it spilled for a slot.
fn spilled(sql: &mut Client, slot: &str) -> Value {
    let query = "SELECT spill_txns, spill_count, spill_bytes FROM pg_stat_replication_slots WHERE slot_name = $1::text";
    let row = sql.query_one(query, &[&slot]).unwrap();
    let figure = |index| row.get::<_, i64>(index);
    json!({ "transactions": figure(0), "count": figure(1), "bytes": figure(2) })
}

#[test]
fn what_the_server_spills_is_shown() {
    // Both slots decode everything of the database.
    let lanes = [("first", "slot_a", "default/default"), ("first", "slot_b", "quiet")];
    let mut world = World::new(Broker::shared(), "", &lanes);
    let mut sql = world.sql("first");
    sql.batch_execute("ALTER SYSTEM SET logical_decoding_work_mem = '64kB'").unwrap();
    sql.batch_execute("SELECT pg_reload_conf()").unwrap();
    world.start_service();
    world.wait_for_all("streaming");
    let counts = crate::scene::major(&mut sql) >= 14;
    let none = if counts { json!({ "transactions": 0, "count": 0, "bytes": 0 }) } else { Value::Null };
    eventually("nothing is spilled", PATIENCE, || {
        let shown = world.service().slot("slot_a");
        if shown["spill"] == none { Ok(()) } else { Err(shown.to_string()) }
    });
    write(&mut sql, 10, 200);
    world.wait_for_acknowledgement();
    if counts {
        sql.batch_execute("SELECT pg_stat_reset_replication_slot('slot_b')").unwrap();
    }
    eventually("what is spilled is shown, slot by slot", PATIENCE, || {
        let [a, b] = ["slot_a", "slot_b"].map(|slot| world.service().slot(slot)["spill"].clone());
        let is_it = if counts {
            let large = a["transactions"] == 1 && a["count"].as_u64() > Some(1) && a["bytes"].as_u64() > Some(64 << 10);
            large && a == spilled(&mut sql, "slot_a")
        } else {
            a == Value::Null
        };
        if is_it && b == none { Ok(()) } else { Err(format!("{a} {b}")) }
    });
    world.service_mut().stop();
}

#[test]
fn random_numbers_differ() {
    let mut random = Random::new(7);
    let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| random.below(1 << 32)).collect();
    assert!(drawn.len() > 990);
}
