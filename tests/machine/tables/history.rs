//! What is known of a server's history against what the server says.

use cdc_notifier::{
    change::{Class, Lsn},
    delivery::{Continuation, Known, Ledger, Op, Server},
};

use super::transaction;

const fn lsn(position: u64) -> Lsn {
    Lsn::new(position)
}

fn server(system: &str, timeline: u32, wal: u64, history: &[(u32, u64)]) -> Server {
    let history = history.iter().map(|(id, left)| (*id, lsn(*left))).collect();
    Server { system_identifier: system.into(), timeline, wal_position: lsn(wal), history }
}

fn known() -> Known {
    Known { server: Some(("7".into(), 2)), acknowledged: lsn(90), confirmed: lsn(100) }
}

/// A ledger that has confirmed transactions at these places; the stream began at 5.
fn ledger(commits: &[u64]) -> Ledger {
    let mut ledger = Ledger::new(64);
    ledger.restart(lsn(5));
    for (sequence, commit) in (0..).zip(commits) {
        let now = std::time::Duration::ZERO;
        ledger.apply(Op::Messages { sequence, transaction: transaction(*commit, 1), count: 1 }, now);
        ledger.apply(Op::Commit { end_lsn: lsn(commit + 5) }, now);
        ledger.confirm(sequence, now, |_| {});
    }
    ledger
}

#[test]
fn each_history_has_its_answer() {
    let lost = |from| Ok(Continuation::Lost { from: lsn(from), to: lsn(100) });
    let changed = Err(Class::HistoryChanged);
    for (what, server, expected) in [
        ("the same", server("7", 2, 100, &[]), Ok(Continuation::Same)),
        ("the same, further", server("7", 2, 900, &[(1, 50)]), Ok(Continuation::Same)),
        ("set back", server("7", 2, 99, &[]), changed),
        ("another cluster", server("8", 2, 100, &[]), changed),
        ("another cluster, another timeline", server("8", 3, 100, &[(2, 100)]), changed),
        ("promoted, with everything", server("7", 3, 100, &[(1, 50), (2, 100)]), Ok(Continuation::Forked(lsn(100)))),
        ("promoted, with more", server("7", 3, 200, &[(2, 150)]), Ok(Continuation::Forked(lsn(150)))),
        ("promoted, with less", server("7", 3, 200, &[(2, 99)]), lost(99)),
        ("promoted twice", server("7", 4, 200, &[(2, 80), (3, 120)]), lost(80)),
        ("not a descendant", server("7", 3, 200, &[(1, 150)]), changed),
        ("an earlier timeline", server("7", 1, 200, &[]), changed),
    ] {
        assert_eq!(known().compare("s", &server).map_err(|trouble| trouble.class), expected, "{what}");
    }
    let nothing = Known::default().compare("s", &server("8", 5, 1, &[])).ok();
    assert_eq!(nothing, Some(Continuation::Same), "nothing is known yet");
}

#[test]
fn what_is_not_in_the_history_any_more_is_forgotten() {
    let mut ledger = ledger(&[10, 80, 92]);
    let mut known = known();
    let promoted = server("7", 3, 200, &[(2, 90)]);
    let lost = known.follow("s", &promoted, &mut ledger).ok();
    assert_eq!(lost, Some(Continuation::Lost { from: lsn(90), to: lsn(100) }));
    assert_eq!((known.acknowledged, known.confirmed), (lsn(90), lsn(90)));
    assert_eq!((ledger.position(), ledger.commits().last()), (lsn(90), Some(lsn(80))));
    // The stream did not begin; the next one finds nothing more lost.
    known.server = Some(("7".into(), 3));
    assert_eq!(known.follow("s", &server("7", 3, 95, &[]), &mut ledger).ok(), Some(Continuation::Same));

    let mut ledger = self::ledger(&[10, 80, 92]);
    let mut known = Known { acknowledged: lsn(85), ..self::known() };
    known.follow("s", &server("7", 3, 200, &[(2, 86)]), &mut ledger).unwrap();
    assert_eq!(known.acknowledged, lsn(85), "what was acknowledged before the fork stays so");
}

#[test]
fn the_ledgers_position_counts_as_confirmed() {
    let mut known = Known { confirmed: lsn(20), ..known() };
    let back = known.follow("s", &server("7", 2, 96, &[]), &mut ledger(&[10, 80, 92]));
    assert_eq!(back.map_err(|trouble| trouble.class), Err(Class::HistoryChanged), "97 was confirmed");
}

#[test]
fn what_an_earlier_stream_left_open_is_forgotten_when_a_session_begins() {
    let mut ledger = ledger(&[10]);
    let now = std::time::Duration::from_secs(1);
    ledger.apply(Op::Messages { sequence: 1, transaction: transaction(20, 2), count: 1 }, now);
    ledger.apply(Op::Commit { end_lsn: lsn(25) }, now);
    assert!(!ledger.commits_settled());
    known().follow("s", &server("7", 2, 100, &[]), &mut ledger).unwrap();
    assert!(ledger.is_settled() && ledger.waiting(now * 100).is_none(), "nobody will confirm it");
    assert_eq!((ledger.position(), ledger.commits().last()), (lsn(15), Some(lsn(10))));
}

#[test]
fn a_slot_ahead_of_what_was_acknowledged_halts() {
    assert!(known().check_start("s", lsn(90)).is_ok());
    assert_eq!(known().check_start("s", lsn(91)).map_err(|trouble| trouble.class), Err(Class::HistoryChanged));
    assert!(Known::default().check_start("s", lsn(91)).is_ok(), "nothing is known yet");
    let mut known = known();
    known.acknowledging(lsn(120));
    assert_eq!((known.acknowledged, known.confirmed), (lsn(120), lsn(120)));
    known.acknowledging(lsn(110));
    assert_eq!((known.acknowledged, known.confirmed), (lsn(120), lsn(120)), "never back");
    assert!(known.check_start("s", lsn(120)).is_ok());
}
