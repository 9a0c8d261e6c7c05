//! What is done with transactions that come again.

use cdc_notifier::{
    change::Lsn,
    delivery::{Commits, Judgement, Ledger},
};

use super::transaction;

const fn lsn(position: u64) -> Lsn {
    Lsn::new(position)
}

/// A ring that knows everything since 10.
fn ring(capacity: usize, commits: &[u64]) -> Commits {
    let mut ring = Commits::new(capacity);
    ring.begin(lsn(10));
    for commit in commits {
        ring.push(transaction(*commit, *commit as u32));
    }
    ring
}

const fn missing(commit: u64) -> Judgement {
    Judgement::Contradiction { commit_lsn: lsn(commit), xid: commit as u32 }
}

/// What is remembered, how many can be, where the slot is, and the transactions of the stream (position, xid) with what is done.
type Row = (&'static str, &'static [u64], usize, u64, &'static [((u64, u32), Judgement)]);

#[rustfmt::skip]
const TABLE: &[Row] = {
    use Judgement::{Deliver, Skip, Unexpected};
    &[
        ("nothing is remembered", &[], 8, 10, &[((10, 1), Deliver), ((30, 3), Deliver)]),
        ("exactly those that are remembered", &[10, 20, 30], 8, 10,
            &[((10, 10), Skip), ((20, 20), Skip), ((30, 30), Skip), ((40, 40), Deliver)]),
        ("only from the slot's position", &[10, 20, 30], 8, 20, &[((20, 20), Skip), ((30, 30), Skip), ((40, 40), Deliver)]),
        ("a slot that stands after them", &[10, 20, 30], 8, 31, &[((40, 40), Deliver)]),
        ("another transaction at the same place", &[10, 20], 8, 10, &[((10, 10), Skip), ((20, 21), missing(20))]),
        ("the same transaction at another place", &[10, 20], 8, 10, &[((10, 10), Skip), ((21, 20), missing(20))]),
        ("one that does not come", &[10, 20], 8, 10, &[((20, 20), missing(10))]),
        ("one that was not there", &[12, 20], 8, 10, &[((11, 1), Unexpected), ((12, 12), Skip), ((15, 1), Unexpected), ((20, 20), Skip)]),
        ("at the position since which all are known", &[12, 20], 8, 10, &[((10, 1), Unexpected)]),
        ("older than this process, with all after it", &[20, 30], 8, 5,
            &[((9, 1), Deliver), ((20, 20), Deliver), ((30, 30), Deliver), ((40, 40), Deliver)]),
        ("older than this process, and then one that was not there", &[20, 30], 8, 5,
            &[((9, 1), Deliver), ((11, 1), Unexpected), ((20, 20), Deliver)]),
        ("older than this process, and then one is missing", &[20, 30], 8, 5, &[((9, 1), Deliver), ((30, 30), missing(20))]),
        ("older than the ring, with all after it", &[10, 20, 30, 40], 2, 10,
            &[((10, 10), Deliver), ((20, 20), Deliver), ((30, 30), Deliver), ((40, 40), Deliver), ((50, 50), Deliver)]),
        ("between the last that was dropped and the first that is remembered", &[10, 20, 30, 40], 2, 10,
            &[((20, 20), Deliver), ((21, 1), Unexpected)]),
        ("a full ring has dropped nothing", &[10, 20], 2, 10, &[((10, 10), Skip), ((20, 20), Skip)]),
    ]
};

#[test]
fn each_stream_is_judged() {
    for (what, remembered, capacity, slot, stream) in TABLE {
        let mut replay = ring(*capacity, remembered).replay(lsn(*slot));
        for ((commit, xid), expected) in *stream {
            assert_eq!(replay.judge(&transaction(*commit, *xid)), *expected, "{what}: {commit}");
        }
    }
}

#[test]
fn a_confirmed_transaction_is_missed_at_a_position_behind_it() {
    let mut replay = ring(8, &[10, 20]).replay(lsn(10));
    assert_eq!([10, 11].map(|position| replay.missing_before(lsn(position))), [None, Some((lsn(10), 10))]);
    replay.judge(&transaction(10, 10));
    assert_eq!([20, 21].map(|position| replay.missing_before(lsn(position))), [None, Some((lsn(20), 20))]);
    assert!(!replay.is_over());
    replay.judge(&transaction(20, 20));
    assert!(replay.is_over());
    assert_eq!(replay.missing_before(lsn(1_000)), None);
}

#[test]
fn one_that_is_delivered_again_takes_its_place_and_all_after_it_come_again() {
    let mut ring = ring(8, &[10, 20, 30]);
    ring.push(transaction(20, 20));
    assert_eq!(ring.last(), Some(lsn(20)));
    let mut replay = ring.replay(lsn(10));
    let judged = [10, 20, 30].map(|commit| replay.judge(&transaction(commit, commit as u32)));
    assert_eq!(judged, [Judgement::Skip, Judgement::Skip, Judgement::Deliver]);
}

#[test]
fn a_fork_forgets_what_begins_at_it_or_later() {
    let mut ring = ring(8, &[10, 20, 30]);
    ring.forget_from(lsn(21));
    assert_eq!(ring.last(), Some(lsn(20)));
    ring.forget_from(lsn(20));
    assert_eq!(ring.last(), Some(lsn(10)));
    let mut replay = ring.replay(lsn(10));
    assert_eq!(replay.judge(&transaction(10, 10)), Judgement::Skip);
    assert_eq!(replay.judge(&transaction(25, 1)), Judgement::Deliver);
}

/// Through the ledger: what it knows of the stretch between its position and where a stream begins.
#[test]
fn what_did_not_pass_here_is_not_known() {
    use std::time::Duration;

    use cdc_notifier::delivery::Op;
    let confirm = |ledger: &mut Ledger, commit: u64| {
        let sequence = ledger.restart(ledger.position());
        let transaction = transaction(commit, commit as u32);
        ledger.apply(Op::Messages { sequence, transaction, count: 1 }, Duration::ZERO);
        ledger.apply(Op::Commit { end_lsn: lsn(commit + 5) }, Duration::ZERO);
        ledger.confirm(sequence, Duration::ZERO, |_| {});
    };
    let judge =
        |ledger: &Ledger, slot, commit| ledger.commits().replay(lsn(slot)).judge(&transaction(commit, commit as u32));
    let mut ledger = Ledger::new(8);
    ledger.restart(lsn(50));
    confirm(&mut ledger, 60);
    // The slot has fallen back to before this process began.
    assert_eq!(judge(&ledger, 40, 40), Judgement::Deliver);
    assert_eq!(judge(&ledger, 50, 50), Judgement::Unexpected);
    assert_eq!(judge(&ledger, 50, 60), Judgement::Skip);
    // It begins where the last stream ended, or further back: nothing is unknown.
    ledger.restart(lsn(65));
    ledger.restart(lsn(50));
    assert_eq!(judge(&ledger, 50, 60), Judgement::Skip);
    // It begins further on: what lies between may come one day.
    ledger.restart(lsn(80));
    confirm(&mut ledger, 90);
    assert_eq!(judge(&ledger, 50, 60), Judgement::Deliver);
    assert_eq!(judge(&ledger, 80, 85), Judgement::Unexpected);
    // A person has decided that history is as it is.
    ledger.forget();
    assert_eq!((ledger.position(), ledger.commits().last()), (Lsn::ZERO, None));
    ledger.restart(lsn(70));
    confirm(&mut ledger, 75);
    assert_eq!(judge(&ledger, 60, 65), Judgement::Deliver);
    assert_eq!(judge(&ledger, 60, 75), Judgement::Skip);
}
