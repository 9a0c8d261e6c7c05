//! Random schedules of one slot: the real decisions between a model of PostgreSQL and a model of Kafka.

mod kafka;
mod oracle;
mod postgres;
mod schedule;
mod service;
mod session;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use schedule::Schedule;

/// A fault of the program, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    AcknowledgedAtSend,
    MaximumAcknowledged,
    KeepaliveAcknowledged,
    FailureTakenForSuccess,
    LostTakenForSuccess,
    HandedOverWhileUnsettled,
    SkippedByPositionAlone,
    StartedAtOwnPosition,
    EarlierStreamAcknowledged,
    DrainedAfterHalt,
}

/// Schedules of the ordinary run, with known seeds, and at most with unknown ones.
const SCHEDULES: u64 = 20_000;

fn run(seed: u64, planted: Option<Planted>) -> Result<usize, String> {
    let run = || Schedule::new(seed, planted).run();
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|_| Err("panicked".to_owned()))
}

fn check(seeds: impl Iterator<Item = u64>) {
    let (mut messages, mut count) = (0, 0);
    for seed in seeds {
        match run(seed, None) {
            Ok(handed_over) => messages += handed_over,
            Err(violation) => panic!("CDC_TEST_SEED={seed} replays it: {violation}"),
        }
        count += 1;
    }
    assert!(count < 10 || messages > count * 10, "{messages} messages in {count} schedules: nothing is tried");
}

fn seed() -> Option<u64> {
    std::env::var("CDC_TEST_SEED").ok().map(|seed| seed.parse().expect("CDC_TEST_SEED is a number"))
}

#[test]
fn whatever_happens_nothing_is_lost_or_out_of_order() {
    match seed() {
        Some(seed) => check(seed..=seed),
        None => check(0..SCHEDULES),
    }
}

#[test]
fn nor_in_schedules_that_nobody_has_seen_before() {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let first = now.as_nanos() as u64;
    let began = Instant::now();
    check((0..SCHEDULES).map(|n| first.wrapping_add(n)).take_while(|_| began.elapsed() < Duration::from_secs(20)));
}

fn is_found(planted: Planted) {
    let found = (0..5_000).find_map(|seed| run(seed, Some(planted)).err().map(|violation| (seed, violation)));
    let (seed, violation) = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
    println!("{planted:?}: seed {seed}: {violation}");
}

macro_rules! planted {
    ($($name:ident: $planted:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found(Planted::$planted);
        })*
    };
}

planted! {
    acknowledging_what_is_only_sent_is_found: AcknowledgedAtSend,
    acknowledging_the_latest_instead_of_the_contiguous_is_found: MaximumAcknowledged,
    acknowledging_a_keepalive_before_what_is_open_is_found: KeepaliveAcknowledged,
    taking_a_failure_for_success_is_found: FailureTakenForSuccess,
    taking_a_lost_completion_for_success_is_found: LostTakenForSuccess,
    handing_over_while_an_earlier_copy_is_unsettled_is_found: HandedOverWhileUnsettled,
    skipping_by_position_alone_is_found: SkippedByPositionAlone,
    starting_at_a_position_of_ones_own_is_found: StartedAtOwnPosition,
    acknowledging_what_an_earlier_stream_confirmed_is_found: EarlierStreamAcknowledged,
    reading_on_after_a_poisoned_row_is_found: DrainedAfterHalt,
}
