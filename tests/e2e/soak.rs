//! Rounds of faults under load, each verified.
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

#[derive(Clone, Copy, Debug)]
enum Fault {
    ServiceKilled,
    ServiceStopped,
    ServiceKilledWhileKafkaWasSuspended,
    PostgresKilled,
    PostgresRestarted,
    WalsendersTerminated,
    KafkaKilled,
}

const KILLS: [Fault; 3] = [Fault::ServiceKilled, Fault::PostgresKilled, Fault::KafkaKilled];

const ALL: [Fault; 7] = [
    Fault::ServiceKilled,
    Fault::ServiceStopped,
    Fault::ServiceKilledWhileKafkaWasSuspended,
    Fault::PostgresKilled,
    Fault::PostgresRestarted,
    Fault::WalsendersTerminated,
    Fault::KafkaKilled,
];

impl Fault {
    /// Happens; whoever has gone is away for as long as `pause`.
    fn strike(self, world: &mut World, pause: Duration) {
        match self {
            Self::ServiceKilled => {
                world.service_mut().kill();
                sleep(pause);
                world.start_service();
            }
            Self::ServiceStopped => {
                world.service_mut().stop();
                world.start_service();
            }
            Self::ServiceKilledWhileKafkaWasSuspended => {
                world.kafka.suspend();
                sleep(pause);
                world.service_mut().kill();
                world.kafka.resume();
                world.start_service();
            }
            Self::PostgresKilled => {
                world.server.kill().unwrap();
                sleep(pause);
                world.server.start_again().unwrap();
            }
            Self::PostgresRestarted => {
                world.server.stop(Mode::Fast).unwrap();
                world.server.start_again().unwrap();
            }
            Self::WalsendersTerminated => {
                world.terminate("walsender");
            }
            Self::KafkaKilled => {
                world.kafka.kill();
                sleep(pause);
                world.kafka.start_again();
            }
        }
    }
}

/// Rounds of the faults that are drawn, all in one world.
fn soak(draw: impl Fn(&mut Random) -> Vec<Fault>) {
    let mut random = Random::new(setting("CDC_NOTIFIER_SOAK_SEED", 1));
    let general = QUICK.replace("5s", "2s");
    let mut world = World::streaming(Broker::own(), &general, &WIDE);
    for round in 1..=setting("CDC_NOTIFIER_SOAK_ROUNDS", 3) {
        let writer = world.write(Load { rate: 100, seed: round });
        let faults = draw(&mut random);
        for fault in &faults {
            writer.go_on(20 + random.below(300));
            fault.strike(&mut world, Duration::from_millis(random.below(2_000)));
        }
        writer.go_on(50);
        writer.stop();
        let tally = world.verify();
        println!("round {round}: {faults:?}: {} messages, {} repeats", tally.distinct, tally.repeats());
    }
    world.service_mut().stop();
}

#[test]
fn random_faults() {
    soak(|random| {
        let count = 1 + random.below(4);
        (0..count).map(|_| ALL[random.place(ALL.len())]).collect()
    });
}

/// Each of the three parties in every round, in any order.
#[test]
fn each_party_is_killed() {
    soak(|random| {
        let mut kills = KILLS.to_vec();
        kills.rotate_left(random.place(3));
        if random.below(2) == 0 {
            kills.reverse();
        }
        kills
    });
}
