//! Random schedules of one slot: the real decisions between a model of PostgreSQL and a model of Kafka. What they cover and how they
//! are run says docs/reliability.md.

mod faults;
mod kafka;
mod oracle;
mod postgres;
mod publisher;
mod schedule;
mod search;
mod service;
mod session;

use std::time::{SystemTime, UNIX_EPOCH};

use schedule::{Plan, STEPS};
use search::{Tally, minimise, run, search};

/// A fault of the program, to see that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Planted {
    AcknowledgedAtSend,
    MaximumAcknowledged,
    KeepaliveAcknowledged,
    ReadAfterTheFlush,
    FailureTakenForSuccess,
    LostTakenForSuccess,
    RetryOvertakes,
    HandedOverWhileUnsettled,
    StartedUnsettled,
    PlacedAnew,
    KeptThoughTaken,
    SilentWhilePaused,
    StampedWithTheMoment,
    SkippedByPositionAlone,
    StartedAtOwnPosition,
    EarlierStreamAcknowledged,
    DrainedAfterHalt,
}

/// Schedules with known seeds and schedules with new ones of an ordinary run; `CDC_TEST_SCHEDULES` is another number.
const SCHEDULES: u64 = 60_000;
/// Schedules in which a planted fault must show.
const FEW: u64 = 10_000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable} is a number")))
}

/// The shortest schedule that fails as well, with its trace and what replays it.
fn explain(seed: u64, violation: &str) -> ! {
    let plan = minimise(Plan::whole(seed, None));
    let shortest = run(&plan, true).expect_err("it fails");
    panic!(
        "{violation}\nThe {} of {STEPS} steps above are enough: {shortest}\nIt is replayed by:\n\
         CDC_TEST_SEED={seed} cargo test --test machine simulation::whatever_happens -- --nocapture",
        plan.steps.len()
    );
}

fn check(first: u64, count: u64) -> Tally {
    let tally = search(first, count, None);
    if let Some((seed, violation)) = &tally.failed {
        explain(*seed, violation);
    }
    println!("{} schedules from seed {first}, {} messages, {:#?}", tally.schedules, tally.messages, tally.seen);
    assert_eq!(tally.schedules, count);
    tally
}

/// What is seen at least once in a thousand schedules: otherwise they try less than they should.
const COMMON: [&str; 27] = [
    "a batch refused for its size",
    "a broker that hangs",
    "a connection closed because nothing is confirmed",
    "a crash of the server",
    "a crash of the slot's actor",
    "a fail-over",
    "a fatal error",
    "a halt",
    "a history that is changed",
    "a late repeat",
    "a later timeline",
    "a later timeline that lacks what was confirmed",
    "a lost connection",
    "a message given up",
    "a process that ends",
    "a process that sleeps",
    "a purge",
    "a record sent alone",
    "a record without a report",
    "a row of a transaction that is skipped",
    "a server that is shut down",
    "a slot in another's hands",
    "a slot taken by another",
    "crashed too often",
    "cut off for its silence",
    "partitions added",
    "reading paused",
];

#[test]
fn whatever_happens_nothing_is_lost_or_out_of_order() {
    if let Some(seed) = number("CDC_TEST_SEED") {
        check(seed, 1);
        return;
    }
    let tally = check(0, number("CDC_TEST_SCHEDULES").unwrap_or(SCHEDULES));
    assert!(tally.messages > tally.schedules * 10, "nothing is tried");
    // A few schedules need not show everything.
    for what in COMMON.iter().filter(|_| tally.schedules >= 10_000) {
        let seen = tally.seen.get(*what).copied().unwrap_or_default();
        assert!(seen * 1_000 >= tally.schedules, "{what}: in {seen} of {} schedules", tally.schedules);
    }
}

#[test]
fn nor_in_schedules_that_nobody_has_seen_before() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    check(now.as_nanos() as u64, number("CDC_TEST_SCHEDULES").unwrap_or(SCHEDULES));
}

/// The first of the known schedules in which a planted fault shows, and what is left of it.
fn found(planted: Planted) -> Plan {
    let (seed, violation) = search(0, FEW, Some(planted)).failed.unwrap_or_else(|| panic!("{planted:?} is not found"));
    let plan = minimise(Plan::whole(seed, Some(planted)));
    println!("{planted:?}: seed {seed}: {violation}; {} steps are enough", plan.steps.len());
    plan
}

fn is_found_and_minimised(planted: Planted) {
    let plan = found(planted);
    assert!((plan.steps.len() as u64) < STEPS, "nothing was left out");
    assert!(run(&plan, false).is_err(), "what is left fails as well");
    assert!(run(&Plan { planted: None, ..plan }, false).is_ok(), "and it is the planted fault that fails");
}

macro_rules! planted {
    ($($name:ident: $planted:ident,)*) => {
        $(#[test]
        fn $name() {
            is_found_and_minimised(Planted::$planted);
        })*
    };
}

planted! {
    acknowledging_what_is_only_sent_is_found: AcknowledgedAtSend,
    acknowledging_the_latest_instead_of_the_contiguous_is_found: MaximumAcknowledged,
    acknowledging_a_keepalive_before_what_is_open_is_found: KeepaliveAcknowledged,
    reading_the_position_after_the_flush_is_found: ReadAfterTheFlush,
    taking_a_failure_for_success_is_found: FailureTakenForSuccess,
    taking_a_lost_completion_for_success_is_found: LostTakenForSuccess,
    a_retry_that_overtakes_is_found: RetryOvertakes,
    handing_over_while_an_earlier_copy_is_unsettled_is_found: HandedOverWhileUnsettled,
    starting_after_a_crash_before_all_is_settled_is_found: StartedUnsettled,
    placing_by_new_partitions_at_once_is_found: PlacedAnew,
    keeping_the_queue_of_a_slot_in_anothers_hands_is_found: KeptThoughTaken,
    saying_nothing_while_reading_is_paused_is_found: SilentWhilePaused,
    writing_the_time_of_sending_is_found: StampedWithTheMoment,
    skipping_by_position_alone_is_found: SkippedByPositionAlone,
    starting_at_a_position_of_ones_own_is_found: StartedAtOwnPosition,
    acknowledging_what_an_earlier_stream_confirmed_is_found: EarlierStreamAcknowledged,
    reading_on_after_a_poisoned_row_is_found: DrainedAfterHalt,
}
