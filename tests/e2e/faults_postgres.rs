//! PostgreSQL goes away in every way: what it has acknowledged is in Kafka, what is not comes again.

use std::time::{Duration, Instant};

use cdc_notifier::demo::postgres::Mode;

use crate::{
    service::{PATIENCE, eventually},
    world::{Broker, NARROW, QUICK, WIDE, World, text, try_connect},
    writer::Load,
};

#[test]
fn postgres_is_restarted_under_load() {
    let mut world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load::default());
    for _ in 0..3 {
        world.under_load(&writer, 200);
        let began = Instant::now();
        world.server.stop(Mode::Fast).unwrap();
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        world.server.start_again().unwrap();
    }
    world.under_load(&writer, 200);
    writer.stop();
    let tally = world.verify();
    assert_eq!(tally.repeats(), 0, "all was confirmed, acknowledged and made durable before each end: {tally:?}");
}

#[test]
fn postgres_is_killed_under_load() {
    let mut world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load::default());
    for _ in 0..5 {
        world.under_load(&writer, 200);
        world.server.kill().unwrap();
        world.server.start_again().unwrap();
    }
    world.under_load(&writer, 200);
    writer.stop();
    let tally = world.verify();
    // PostgreSQL forgets acknowledgements in a crash, this process does not.
    assert_eq!(tally.repeats(), 0, "{tally:?}");
}

#[test]
fn postgres_is_killed_and_the_service_too() {
    let mut world = World::streaming(Broker::shared(), QUICK, &NARROW);
    let writer = world.write(Load::default());
    for _ in 0..3 {
        world.under_load(&writer, 200);
        world.server.kill().unwrap();
        world.service_mut().kill();
        world.server.start_again().unwrap();
        world.start_service();
    }
    world.under_load(&writer, 200);
    writer.stop();
    world.verify();
}

#[test]
fn walsenders_are_terminated_under_load() {
    let world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load::default());
    for _ in 0..10 {
        world.under_load(&writer, 100);
        eventually("a walsender is terminated", PATIENCE, || match world.terminate("walsender") {
            0 => Err("none runs".to_owned()),
            _ => Ok(()),
        });
    }
    world.under_load(&writer, 100);
    writer.stop();
    let tally = world.verify();
    assert_eq!(tally.repeats(), 0, "{tally:?}");
}

#[test]
fn a_fast_shutdown_does_not_hang_on_us_while_kafka_is_suspended() {
    let mut world = World::streaming(Broker::own(), "send_timeout = \"60s\"\nreconnect_timeout = \"300ms\"", &WIDE);
    let writer = world.write(Load::default());
    world.under_load(&writer, 200);
    world.kafka.suspend();
    world.under_load(&writer, 50);
    let began = Instant::now();
    world.server.stop(Mode::Fast).unwrap();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(8), "{took:?}\n{}", world.service().log());
    world.kafka.resume();
    world.server.start_again().unwrap();
    world.under_load(&writer, 200);
    writer.stop();
    world.verify();
}

#[test]
fn an_idle_slot_follows_the_log_that_others_write() {
    let world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let mut other = world.sql("postgres");
    other.batch_execute("CREATE TABLE elsewhere (filler text)").unwrap();
    for _ in 0..3 {
        other.batch_execute("INSERT INTO elsewhere SELECT repeat('x', 500) FROM generate_series(1, 5000)").unwrap();
        let lsn = text(&mut other, "SELECT pg_current_wal_insert_lsn()::text");
        let began = Instant::now();
        eventually("all slots have followed", Duration::from_secs(20), || {
            let behind = format!("SELECT count(*)::text FROM pg_replication_slots WHERE confirmed_flush_lsn < '{lsn}'");
            match text(&mut other, &behind).as_str() {
                "0" => Ok(()),
                behind => Err(format!("{behind} slots are before {lsn}")),
            }
        });
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
    assert!(try_connect(&world.server, "first").is_some());
}
