//! Kafka goes away in every way: nothing is lost, and its return is enough.

use std::time::Duration;

use crate::{
    service::{PATIENCE, eventually},
    world::{Broker, NARROW, QUICK, WIDE, World},
    writer::Load,
};

#[test]
fn kafka_is_away_at_the_start() {
    let mut world = World::new(Broker::own(), QUICK, &WIDE);
    world.kafka.kill();
    world.start_service();
    let writer = world.write(Load::default());
    world.under_load(&writer, 200);
    let seen = world.service().wait_for_trouble("slot_a", "kafka_unavailable");
    assert!(["waiting", "connecting"].contains(&seen["state"].as_str().unwrap()), "{seen}");
    let (ready, _) = world.service().get("/health/ready");
    assert_eq!(ready, 503);
    assert_eq!(world.service().get("/health/live").0, 200);
    world.kafka.start_again();
    world.wait_for_all("streaming");
    writer.stop();
    assert_eq!(world.verify().repeats(), 0);
}

#[test]
fn kafka_is_killed_and_back_within_send_timeout() {
    let general = QUICK.replace("5s", "60s");
    let mut world = World::streaming(Broker::own(), &general, &WIDE);
    let writer = world.write(Load::default());
    for _ in 0..2 {
        world.under_load(&writer, 200);
        world.kafka.kill();
        world.under_load(&writer, 50);
        world.kafka.start_again();
    }
    world.under_load(&writer, 200);
    writer.stop();
    let tally = world.verify();
    assert_eq!(tally.repeats(), 0, "the producer itself sends again: {tally:?}");
    assert_eq!(world.service().all_logs().matches("replication started").count(), 3, "no session was lost");
    world.service_mut().stop();
}

#[test]
fn kafka_is_away_for_longer_than_all_retries() {
    let general = QUICK.replace("5s", "1s");
    let world = World::streaming(Broker::own(), &general, &WIDE);
    let writer = world.write(Load::default());
    world.under_load(&writer, 200);
    world.kafka.kill();
    for slot in world.slots() {
        world.service().wait_for_state(&slot, "waiting");
        let seen = world.service().wait_for_trouble(&slot, "kafka_unavailable");
        assert!(seen["last_error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{seen}");
    }
    assert_eq!(world.service().get("/health/ready").0, 503);
    world.under_load(&writer, 200);
    world.kafka.start_again();
    world.wait_for_all("streaming");
    world.under_load(&writer, 200);
    writer.stop();
    world.verify();
    eventually("the service is ready again", PATIENCE, || match world.service().get("/health/ready") {
        (200, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
}

#[test]
fn kafka_is_suspended() {
    let general = QUICK.replace("5s", "1s");
    let world = World::streaming(Broker::own(), &general, &NARROW);
    let writer = world.write(Load::default());
    for pause in [Duration::from_millis(500), Duration::from_secs(6)] {
        world.under_load(&writer, 200);
        world.kafka.suspend();
        std::thread::sleep(pause);
        world.kafka.resume();
    }
    world.under_load(&writer, 200);
    writer.stop();
    let tally = world.verify();
    assert_eq!(tally.repeats(), 0, "what was confirmed while the connection was closed is not sent again: {tally:?}");
}

#[test]
fn a_backlog_while_kafka_is_away_stays_within_the_limits() {
    let general = format!("{QUICK}[limits]\nmemory = \"4MiB\"\n");
    let mut world = World::streaming(Broker::own(), &general, &NARROW);
    world.kafka.kill();
    let mut sql = world.sql("first");
    sql.batch_execute(
        "SET synchronous_commit = off;
         INSERT INTO oracle_steps (namespace, process_id, step) SELECT 'default/default', 'p' || i, 'created' FROM generate_series(1, 10) AS i;
         INSERT INTO \"default/default_processes\" (process_id, status) SELECT 'p' || i, 'running' FROM generate_series(1, 10) AS i;",
    )
    .unwrap();
    // The slowest part is a round trip per transaction; a procedure makes none.
    sql.batch_execute(
        "CREATE PROCEDURE backlog() LANGUAGE plpgsql AS $$
         BEGIN
           FOR i IN 1..10000 LOOP
             FOR p IN 1..10 LOOP
               INSERT INTO \"default/default_events\" VALUES ('p' || p, 1, i, now(), NULL, '\\x836802770362696e6d00000008'::bytea || int8send(i));
               COMMIT;
             END LOOP;
           END LOOP;
         END $$;",
    )
    .unwrap();
    sql.batch_execute("CALL backlog()").unwrap();
    world.kafka.start_again();
    let tally = world.verify();
    assert_eq!(tally.distinct, 100_010);
    let peak = world.service().peak_memory();
    assert!(peak < 100 << 20, "{} MiB", peak >> 20);
    println!("peak with a backlog of 100,000 transactions: {} MiB, {} repeats", peak >> 20, tally.repeats());
    world.service_mut().stop();
}
