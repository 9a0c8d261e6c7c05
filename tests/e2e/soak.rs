//! Rounds of random faults under load, each verified.
//!
//! `CDC_NOTIFIER_SOAK_ROUNDS` (3) and `CDC_NOTIFIER_SOAK_SEED` (1) say how many and which:
//! `CDC_NOTIFIER_SOAK_ROUNDS=50 CDC_NOTIFIER_SOAK_SEED=7 cargo test --test e2e soak -- --nocapture`

use std::{thread::sleep, time::Duration};

use cdc_notifier::demo::postgres::Mode;

use crate::{
    world::{Broker, QUICK, WIDE, World},
    writer::{Load, Random},
};

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

/// One fault, of one of the three parties.
fn fault(world: &mut World, random: &mut Random) -> &'static str {
    let pause = Duration::from_millis(random.below(2_000));
    match random.below(8) {
        0 | 1 => {
            world.service_mut().kill();
            sleep(pause);
            world.start_service();
            "the service killed"
        }
        2 => {
            world.service_mut().stop();
            world.start_service();
            "the service stopped"
        }
        3 => {
            world.server.kill().unwrap();
            sleep(pause);
            world.server.start_again().unwrap();
            "PostgreSQL killed"
        }
        4 => {
            world.server.stop(Mode::Fast).unwrap();
            world.server.start_again().unwrap();
            "PostgreSQL restarted"
        }
        5 => {
            world.kafka.kill();
            sleep(pause);
            world.kafka.start_again();
            "Kafka killed"
        }
        6 => {
            world.kafka.suspend();
            sleep(pause);
            world.service_mut().kill();
            world.kafka.resume();
            world.start_service();
            "the service killed while Kafka was suspended"
        }
        _ => {
            world.terminate("walsender");
            "walsenders terminated"
        }
    }
}

#[test]
fn random_faults() {
    let rounds = setting("CDC_NOTIFIER_SOAK_ROUNDS", 3);
    let mut random = Random::new(setting("CDC_NOTIFIER_SOAK_SEED", 1));
    let general = QUICK.replace("5s", "2s");
    let mut world = World::streaming(Broker::own(), &general, &WIDE);
    for round in 1..=rounds {
        let writer = world.write(Load { rate: 100, seed: round });
        let mut faults = Vec::new();
        for _ in 0..=random.below(4) {
            world.under_load(&writer, 20 + random.below(300));
            faults.push(fault(&mut world, &mut random));
        }
        world.under_load(&writer, 50);
        writer.stop();
        let tally = world.verify();
        println!("round {round}: {}: {} messages, {} repeats", faults.join(", "), tally.distinct, tally.repeats());
    }
    world.service_mut().stop();
}
