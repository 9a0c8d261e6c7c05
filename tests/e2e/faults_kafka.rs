//! Kafka goes away in every way: nothing is lost, and its return is enough.

use std::time::Duration;

use crate::{
    holder::{self, Holder},
    scene::Namespace,
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
    writer.go_on(200);
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
    // However slow the machine is, the broker is back before this is over.
    let general = QUICK.replace("5s", "10m");
    let mut world = World::streaming(Broker::own(), &general, &WIDE);
    let writer = world.write(Load::default());
    for _ in 0..2 {
        writer.go_on(200);
        world.kafka.kill();
        writer.go_on(50);
        world.kafka.start_again();
    }
    writer.go_on(200);
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
    writer.go_on(200);
    world.kafka.kill();
    for slot in world.slots() {
        world.service().wait_for_state(&slot, "waiting");
        let seen = world.service().wait_for_trouble(&slot, "kafka_unavailable");
        assert!(seen["last_error"]["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "{seen}");
    }
    assert_eq!(world.service().get("/health/ready").0, 503);
    writer.go_on(200);
    world.kafka.start_again();
    world.wait_for_all("streaming");
    writer.go_on(200);
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
        writer.go_on(200);
        world.kafka.suspend();
        std::thread::sleep(pause);
        world.kafka.resume();
    }
    writer.go_on(200);
    writer.stop();
    let tally = world.verify();
    // What was confirmed while the connection was closed is not sent again; at most the transaction that was open is.
    assert!(tally.repeats() <= 20, "{tally:?}");
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

/// What is still queued for Kafka would come to it after what the other consumer has sent by then.
#[test]
fn a_slot_in_the_hands_of_another_gives_up_what_is_queued() {
    let general = QUICK.replace("5s", "1s");
    let world = World::streaming(Broker::own(), &general, &NARROW);
    let writer = world.write(Load::default());
    writer.go_on(200);
    world.kafka.kill();
    writer.go_on(100);
    world.service().wait_for_state("slot_a", "waiting");
    writer.stop();
    let holder = Holder::start(&world.server, "first", "slot_a", "default/default");
    let pid = holder::pid(&mut world.sql("postgres"), "slot_a");
    let seen = world.service().wait_for_trouble("slot_a", "slot_busy");
    assert!(seen["last_error"]["message"].as_str().is_some_and(|by| by.contains(&pid.to_string())), "{seen}");

    world.kafka.start_again();
    let Namespace { eventsink, lifecycle, .. } = &world.lanes[0].namespace;
    let stored = || [eventsink, lifecycle].map(|topic| world.kafka.consume_all(topic).len());
    let before = stored();
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(stored(), before, "sent while another one holds the slot");
    drop(holder);
    world.wait_for_all("streaming");
    assert!(world.verify().distinct > before.iter().sum::<usize>());
}
