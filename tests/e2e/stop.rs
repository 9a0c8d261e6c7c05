//! SIGTERM: everything read is confirmed and acknowledged, within a bound.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::{
    service::PATIENCE,
    world::{Broker, NARROW, QUICK, WIDE, World},
    writer::Load,
};

#[test]
fn a_stop_under_load_repeats_nothing() {
    let mut world = World::streaming(Broker::shared(), QUICK, &WIDE);
    let writer = world.write(Load { rate: 200, seed: 4 });
    for _ in 0..5 {
        world.under_load(&writer, 300);
        let began = Instant::now();
        world.service_mut().stop();
        assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
        world.start_service();
        world.wait_for_all("streaming");
    }
    world.under_load(&writer, 100);
    writer.stop();
    let tally = world.verify();
    assert_eq!(tally.repeats(), 0, "{tally:?}");
}

#[test]
fn a_stop_in_a_large_transaction_repeats_nothing() {
    let mut world = World::streaming(Broker::shared(), QUICK, &NARROW);
    let mut sql = world.sql("first");
    crate::large::write(&mut sql, 40, 1_000);
    // Its rows arrive at once, and the service is in the middle of them.
    crate::service::eventually("some have arrived", PATIENCE, || {
        let confirmed = world.service().slot("slot_a")["namespaces"][0]["messages_confirmed"].as_u64().unwrap();
        if confirmed > 0 { Ok(()) } else { Err(confirmed.to_string()) }
    });
    world.service_mut().stop();
    world.start_service();
    assert_eq!(world.verify().repeats(), 0);
}

#[test]
fn a_stop_without_kafka_keeps_its_bound() {
    let general = format!("{QUICK}shutdown_timeout = \"2s\"\n").replace("5s", "60s");
    let mut world = World::streaming(Broker::own(), &general, &WIDE);
    let writer = world.write(Load::default());
    world.under_load(&writer, 200);
    world.kafka.suspend();
    world.under_load(&writer, 50);
    let began = Instant::now();
    world.service_mut().stop();
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    world.kafka.resume();
    world.start_service();
    writer.stop();
    world.verify();
}

#[test]
fn a_second_signal_stops_at_once() {
    let mut world = World::streaming(Broker::own(), QUICK, &NARROW);
    let writer = world.write(Load::default());
    world.under_load(&writer, 100);
    world.kafka.suspend();
    world.under_load(&writer, 50);
    world.service().signal(Signal::SIGTERM);
    world.service().wait_for_state("slot_a", "draining");
    let began = Instant::now();
    world.service().signal(Signal::SIGINT);
    assert_eq!(world.service_mut().exit_code(PATIENCE), Some(0));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    world.kafka.resume();
    world.start_service();
    writer.stop();
    world.verify();
}

#[test]
fn a_stop_while_everything_is_away() {
    let mut world = World::new(Broker::own(), QUICK, &WIDE);
    world.start_service();
    world.kafka.kill();
    world.server.kill().unwrap();
    world.service().wait_for_trouble("slot_c", "postgres_unavailable");
    let began = Instant::now();
    world.service_mut().stop();
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    world.server.start_again().unwrap();
}
