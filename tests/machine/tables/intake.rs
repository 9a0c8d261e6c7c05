//! What the stream brings, on its way into the ledger.

use std::time::Duration;

use cdc_notifier::{
    change::Lsn,
    delivery::{Fault, Intake, Judgement, Ledger, Op},
};

use super::transaction;

const NOW: Duration = Duration::ZERO;

const fn lsn(position: u64) -> Lsn {
    Lsn::new(position)
}

/// A ledger that has confirmed the transaction at 20, from a stream that began at 5.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(8);
    ledger.restart(lsn(5));
    ledger.apply(Op::Messages { sequence: 0, transaction: transaction(20, 2), count: 1 }, NOW);
    ledger.apply(Op::Commit { end_lsn: lsn(25) }, NOW);
    ledger.confirm(0, NOW, |_| {});
    ledger
}

#[test]
fn messages_are_in_the_ledger_before_they_are_handed_over() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(25), &mut ledger);
    assert_eq!((intake.sequence(), intake.is_inside()), (1, false));
    intake.begin(transaction(30, 3)).unwrap();
    assert!(!intake.is_inside(), "no message yet");
    assert!(!intake.enter(&mut ledger, NOW));
    assert_eq!(intake.change(), Ok(Judgement::Deliver));
    intake.message().unwrap();
    intake.message().unwrap();
    assert!(intake.is_inside());
    assert!(intake.enter(&mut ledger, NOW));
    assert!(!intake.enter(&mut ledger, NOW), "once");
    ledger.confirm(1, NOW, |_| {});
    assert!(ledger.waiting(NOW).is_some(), "two were entered");
    intake.message().unwrap();
    intake.commit(lsn(30), lsn(35)).unwrap();
    assert_eq!((intake.sequence(), intake.is_inside()), (2, false));
    assert!(intake.enter(&mut ledger, NOW));
    ledger.confirm(1, NOW, |_| {});
    assert_eq!(ledger.position(), lsn(25));
    ledger.confirm(1, NOW, |_| {});
    assert_eq!(ledger.position(), lsn(35));
}

#[test]
fn messages_before_a_commit_of_another_transaction_are_in_the_ledger() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(25), &mut ledger);
    intake.begin(transaction(30, 3)).unwrap();
    intake.message().unwrap();
    assert!(matches!(intake.commit(lsn(31), lsn(35)), Err(Fault::Misplaced(_))));
    assert!(intake.enter(&mut ledger, NOW));
    ledger.confirm(1, NOW, |_| {});
    assert!(!ledger.is_settled() && ledger.position() == lsn(25), "it has no commit");
}

#[test]
fn a_transaction_without_messages_and_a_keepalive_only_pass() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(25), &mut ledger);
    intake.begin(transaction(30, 3)).unwrap();
    intake.keepalive(lsn(30)).unwrap();
    intake.commit(lsn(30), lsn(35)).unwrap();
    intake.keepalive(lsn(33)).unwrap();
    assert_eq!(intake.sequence(), 1, "no number is used");
    intake.enter(&mut ledger, NOW);
    assert_eq!(ledger.position(), lsn(35));
    intake.begin(transaction(40, 4)).unwrap();
    intake.keepalive(lsn(40)).unwrap();
    assert!(!intake.enter(&mut ledger, NOW), "inside a transaction a keepalive says nothing");
}

#[test]
fn a_keepalive_stands_behind_the_commit_before_it() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(25), &mut ledger);
    intake.begin(transaction(30, 3)).unwrap();
    intake.message().unwrap();
    intake.commit(lsn(30), lsn(35)).unwrap();
    intake.keepalive(lsn(50)).unwrap();
    intake.enter(&mut ledger, NOW);
    assert_eq!(ledger.position(), lsn(25));
    ledger.confirm(1, NOW, |_| {});
    assert_eq!(ledger.position(), lsn(50));
}

#[test]
fn a_confirmed_transaction_is_passed_and_one_that_was_not_there_is_not_delivered() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(5), &mut ledger);
    intake.begin(transaction(10, 1)).unwrap();
    assert_eq!(intake.change(), Ok(Judgement::Unexpected));
    assert_eq!(intake.message(), Err(Fault::Unexpected(transaction(10, 1))));
    assert!(!intake.is_inside(), "nothing is counted");
    intake.commit(lsn(10), lsn(15)).unwrap();
    intake.begin(transaction(20, 2)).unwrap();
    assert_eq!(intake.change(), Ok(Judgement::Skip));
    intake.commit(lsn(20), lsn(25)).unwrap();
    intake.enter(&mut ledger, NOW);
    assert_eq!(ledger.position(), lsn(25));
}

#[test]
fn history_that_contradicts_is_a_fault() {
    let missing = |at| Err(Fault::Missing { at: lsn(at), commit_lsn: lsn(20), xid: 2 });
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(5), &mut ledger);
    assert_eq!(intake.keepalive(lsn(20)), Ok(()));
    assert_eq!(intake.keepalive(lsn(21)), missing(21));
    assert_eq!(intake.begin(transaction(20, 9)), missing(20));
    assert_eq!(intake.begin(transaction(30, 3)), missing(30));
    assert_eq!(intake.change(), Err(Fault::Misplaced("a change outside a transaction")), "it did not begin");
    intake.enter(&mut ledger, NOW);
    assert_eq!(ledger.position(), lsn(20), "what was before the fault has passed");
}

#[test]
fn what_stands_where_it_cannot_is_a_fault() {
    let mut ledger = ledger();
    let mut intake = Intake::begin_at(lsn(25), &mut ledger);
    assert!(matches!(intake.change(), Err(Fault::Misplaced(_))));
    assert!(matches!(intake.message(), Err(Fault::Misplaced(_))));
    assert!(matches!(intake.commit(lsn(30), lsn(35)), Err(Fault::Misplaced(_))));
    intake.begin(transaction(30, 3)).unwrap();
    intake.message().unwrap();
    assert!(matches!(intake.begin(transaction(40, 4)), Err(Fault::Misplaced(_))));
    assert!(intake.is_inside(), "the first one is still open");
    assert!(matches!(intake.commit(lsn(31), lsn(35)), Err(Fault::Misplaced(_))), "the commit of another one");
}
