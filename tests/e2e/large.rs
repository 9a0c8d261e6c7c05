//! Large transactions: memory follows the configuration, not their size.

use postgres::Client;

use crate::{
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

#[test]
fn random_numbers_differ() {
    let mut random = Random::new(7);
    let drawn: std::collections::BTreeSet<_> = (0..1000).map(|_| random.below(1 << 32)).collect();
    assert!(drawn.len() > 990);
}
