//! Scripts of the ledger: what happens, and what may be acknowledged after it.

use std::time::Duration;

use cdc_notifier::{
    change::{Lsn, PgTimestamp, Transaction},
    delivery::{Flow, Ledger, Op, RetryTimes, Waiting, flow},
};

use super::transaction;

/// One step of a script; transactions are named by their number, their commit record begins at ten times that plus ten.
#[derive(Clone, Copy, Debug)]
enum Step {
    Messages(u64, u32),
    Commit(u64),
    Passed(u64),
    Confirm(u64),
    Restart(u64),
    Cut(u64),
}
use Step::{Commit, Confirm, Cut, Messages, Passed, Restart};

const fn place(sequence: u64) -> u64 {
    10 * sequence + 10
}

fn play(ledger: &mut Ledger, step: Step) {
    let now = Duration::ZERO;
    match step {
        Messages(sequence, count) => {
            ledger.apply(Op::Messages { sequence, transaction: transaction(place(sequence), 1), count }, now);
        }
        Commit(end) => ledger.apply(Op::Commit { end_lsn: Lsn::new(end) }, now),
        Passed(lsn) => ledger.apply(Op::Passed { lsn: Lsn::new(lsn) }, now),
        Confirm(sequence) => {
            ledger.confirm(sequence, now, |_| {});
        }
        Restart(position) => {
            ledger.restart(Lsn::new(position));
        }
        Cut(position) => ledger.cut(Lsn::new(position)),
    }
}

/// A script: each step with the position after it, whether all is settled, and whether all commits are.
type Script = (&'static str, &'static [(Step, u64, bool, bool)]);

const SCRIPTS: &[Script] = &[
    (
        "a history that ends later confirms nothing; one that ends earlier takes back",
        &[
            (Messages(0, 1), 5, false, true),
            (Cut(30), 5, true, true),
            (Passed(40), 40, true, true),
            (Cut(20), 20, true, true),
        ],
    ),
    (
        "a commit that ends before an earlier one takes nothing back",
        &[
            (Messages(0, 1), 5, false, true),
            (Commit(20), 5, false, false),
            (Confirm(0), 20, true, true),
            (Messages(1, 1), 20, false, true),
            (Commit(15), 20, false, false),
            (Confirm(1), 20, true, true),
        ],
    ),
    (
        "an idle slot follows keepalives, and never back",
        &[(Passed(7), 7, true, true), (Passed(9), 9, true, true), (Passed(8), 9, true, true)],
    ),
    (
        "a keepalive waits for what came before it",
        &[
            (Messages(0, 1), 5, false, true),
            (Commit(15), 5, false, false),
            (Passed(30), 5, false, false),
            (Passed(20), 5, false, false),
            (Confirm(0), 30, true, true),
        ],
    ),
    (
        "a keepalive inside a transaction says nothing",
        &[
            (Messages(0, 1), 5, false, true),
            (Confirm(0), 5, false, true),
            (Passed(10), 5, false, true),
            (Commit(15), 15, true, true),
        ],
    ),
    (
        "empty transactions between others",
        &[
            (Passed(8), 8, true, true),
            (Messages(0, 1), 8, false, true),
            (Commit(15), 8, false, false),
            (Passed(18), 8, false, false),
            (Messages(1, 1), 8, false, false),
            (Commit(25), 8, false, false),
            (Passed(28), 8, false, false),
            (Confirm(0), 18, false, false),
            (Confirm(1), 28, true, true),
        ],
    ),
    (
        "confirmations in any order",
        &[
            (Messages(0, 2), 5, false, true),
            (Commit(15), 5, false, false),
            (Messages(1, 1), 5, false, false),
            (Commit(25), 5, false, false),
            (Messages(2, 1), 5, false, false),
            (Commit(35), 5, false, false),
            (Confirm(2), 5, false, false),
            (Confirm(1), 5, false, false),
            (Confirm(0), 5, false, false),
            (Confirm(0), 35, true, true),
        ],
    ),
    (
        "a long transaction arrives in pieces",
        &[
            (Messages(0, 1), 5, false, true),
            (Confirm(0), 5, false, true),
            (Messages(0, 2), 5, false, true),
            (Confirm(0), 5, false, true),
            (Commit(15), 5, false, false),
            (Confirm(0), 15, true, true),
        ],
    ),
    (
        "an open transaction behind an unconfirmed one",
        &[
            (Messages(0, 1), 5, false, true),
            (Commit(15), 5, false, false),
            (Messages(1, 1), 5, false, false),
            (Confirm(0), 15, false, true),
            (Confirm(1), 15, false, true),
            (Commit(25), 25, true, true),
        ],
    ),
    (
        "reports of an earlier stream change nothing",
        &[
            (Messages(0, 2), 5, false, true),
            (Confirm(0), 5, false, true),
            (Restart(5), 5, true, true),
            (Confirm(0), 5, true, true),
            (Messages(1, 2), 5, false, true),
            (Commit(25), 5, false, false),
            (Confirm(0), 5, false, false),
            (Confirm(0), 5, false, false),
            (Confirm(1), 5, false, false),
            (Confirm(1), 25, true, true),
        ],
    ),
    (
        "a stream that begins further back begins there",
        &[
            (Passed(50), 50, true, true),
            (Restart(20), 20, true, true),
            (Messages(0, 1), 20, false, true),
            (Commit(35), 20, false, false),
            (Confirm(0), 35, true, true),
        ],
    ),
    (
        "reports of transactions that are not there",
        &[
            (Confirm(0), 5, true, true),
            (Confirm(7), 5, true, true),
            (Messages(0, 1), 5, false, true),
            (Confirm(1), 5, false, true),
        ],
    ),
];

#[test]
fn each_script_comes_out() {
    for (what, steps) in SCRIPTS {
        let mut ledger = Ledger::new(8);
        ledger.restart(Lsn::new(5));
        for (number, (step, position, settled, commits_settled)) in steps.iter().enumerate() {
            play(&mut ledger, *step);
            let is = (ledger.position().get(), ledger.is_settled(), ledger.commits_settled());
            assert_eq!(is, (*position, *settled, *commits_settled), "{what}: step {number}, {step:?}");
        }
    }
}

#[test]
fn confirming_tells_what_is_done_in_order() {
    let mut ledger = Ledger::new(8);
    ledger.restart(Lsn::new(5));
    for step in [Messages(0, 1), Commit(15), Messages(1, 1), Commit(25), Messages(2, 1), Commit(35)] {
        play(&mut ledger, step);
    }
    let mut done = Vec::new();
    let mut confirm = |sequence| {
        let moved = ledger.confirm(sequence, Duration::ZERO, |transaction| done.push(transaction.commit_lsn.get()));
        (moved, ledger.position().get())
    };
    assert_eq!([confirm(1), confirm(0), confirm(0), confirm(2)], [(false, 5), (true, 25), (false, 25), (true, 35)]);
    assert_eq!(done, [10, 20, 30]);
    assert_eq!(ledger.commits().last(), Some(Lsn::new(30)));
}

#[test]
fn what_is_in_flight_can_be_asked_for() {
    let commit =
        |sequence: u64, time| Transaction { commit_time: PgTimestamp(time), ..transaction(place(sequence), 1) };
    let mut ledger = Ledger::new(8);
    ledger.restart(Lsn::new(5));
    assert_eq!((ledger.oldest_commit(), ledger.newest_commit(), ledger.transaction(0)), (None, None, None));
    for (sequence, time) in [(0, 70), (1, 80), (2, 90)] {
        ledger.apply(Op::Messages { sequence, transaction: commit(sequence, time), count: 1 }, Duration::ZERO);
        ledger.apply(Op::Commit { end_lsn: Lsn::new(place(sequence) + 5) }, Duration::ZERO);
    }
    assert_eq!((ledger.oldest_commit(), ledger.newest_commit()), (Some(PgTimestamp(70)), Some(Lsn::new(30))));
    play(&mut ledger, Confirm(0));
    assert_eq!((ledger.oldest_commit(), ledger.newest_commit()), (Some(PgTimestamp(80)), Some(Lsn::new(30))));
    assert_eq!([0, 1, 2, 3].map(|n| ledger.transaction(n)), [None, Some(commit(1, 80)), Some(commit(2, 90)), None]);
    assert_eq!(ledger.restart(Lsn::new(15)), 3, "numbers are never used again");
}

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a stream that waits does, with 30 s, 3 retries and 3 s.
fn does(ledger: &Ledger, now: u64) -> Flow {
    let times = RetryTimes { resend_timeout: s(3), max_retries: 3, reconnect_timeout: s(5), send_timeout: s(30) };
    flow(ledger.waiting(s(now)), &times)
}

#[test]
fn waiting_begins_when_a_message_has_nothing_before_it_to_wait_for() {
    let mut ledger = Ledger::new(8);
    let messages = |ledger: &mut Ledger, now| {
        ledger.apply(Op::Messages { sequence: 0, transaction: transaction(10, 1), count: 1 }, s(now));
    };
    messages(&mut ledger, 1);
    messages(&mut ledger, 5);
    assert_eq!(ledger.waiting(s(6)).map(|waiting| waiting.oldest), Some(s(5)), "since the first unconfirmed one");
    ledger.confirm(0, s(7), |_| {});
    ledger.confirm(0, s(8), |_| {});
    assert_eq!(ledger.waiting(s(100)), None, "an open transaction without unconfirmed messages waits for nothing");
    messages(&mut ledger, 90);
    assert_eq!(ledger.waiting(s(100)), Some(Waiting { oldest: s(10), any: s(10) }));
}

#[test]
fn a_slow_kafka_pauses_the_reader_and_a_silent_one_closes_the_connection() {
    let mut ledger = Ledger::new(8);
    for sequence in 0..20 {
        ledger.apply(Op::Messages { sequence, transaction: transaction(place(sequence), 1), count: 1 }, s(0));
        ledger.apply(Op::Commit { end_lsn: Lsn::new(place(sequence) + 5) }, s(0));
    }
    assert_eq!([does(&ledger, 29), does(&ledger, 30), does(&ledger, 39)], [Flow::Read, Flow::Pause, Flow::Close]);
    for (sequence, now) in (0..19).zip((5..).step_by(5)) {
        ledger.confirm(sequence, s(now), |_| {});
        let expected = if now < 30 { Flow::Read } else { Flow::Pause };
        assert_eq!(does(&ledger, now + 4), expected, "one every five seconds: {now}");
    }
    assert_eq!([does(&ledger, 95 + 8), does(&ledger, 95 + 9)], [Flow::Pause, Flow::Close]);
}
