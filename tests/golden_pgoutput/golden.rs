//! Captured messages are what the scenario says, in the order and with the positions that the service relies on.

use cdc_notifier::{
    change::{Change, Lsn, Transaction, Tuple, Value},
    pgoutput::{Message, decode},
};

use super::{
    fixture::{Captured, FIXTURES, Format},
    listing::Listing,
    scenario,
};

#[test]
fn captured_messages_are_what_was_done() {
    for format in Format::ALL {
        check(&format.load(), format, FIXTURES);
    }
}

/// Holds messages of this version to the scenario's listing and to what the server says beside them.
pub(crate) fn check(captured: &[Captured], format: Format, major: u32) {
    let mut listing = Listing::default();
    let mut open: Option<Transaction> = None;
    let mut last_end = Lsn::ZERO;
    let mut lines = Vec::new();
    for item in captured {
        let bytes = item.bytes();
        let message = decode(&bytes).unwrap_or_else(|error| panic!("{}: {error}", item.message));
        lines.push(listing.line(&message));
        match message {
            Message::Begin(transaction) => {
                assert_eq!(transaction.xid, item.xid);
                assert!(transaction.commit_lsn >= item.lsn(), "the changes come before their commit");
                assert_eq!(open.replace(transaction), None);
            }
            Message::Commit { commit_lsn, end_lsn, commit_time } => {
                assert_eq!(open.take(), Some(Transaction { xid: item.xid, commit_lsn, commit_time }));
                assert_eq!(end_lsn, item.lsn());
                assert!(commit_lsn < end_lsn && last_end <= commit_lsn);
                last_end = end_lsn;
            }
            Message::LogicalMessage { transactional, lsn, .. } => {
                assert_eq!(transactional, open.is_some());
                assert_eq!(lsn, item.lsn());
            }
            Message::Change { change, .. } => rows(change).into_iter().flatten().for_each(|row| all_in(format, row)),
            _ => assert!(open.is_some()),
        }
    }
    if major < 15 {
        // Transactions without a change of a published table come as well, empty.
        let empty = |at: usize, lines: &[String]| lines[at..].starts_with(&["begin".to_owned(), "commit".to_owned()]);
        let found: Vec<usize> = (0..lines.len()).filter(|at| empty(*at, &lines)).collect();
        assert!(!found.is_empty());
        found.into_iter().rev().for_each(|at| drop(lines.drain(at..at + 2)));
    }
    let mut lines = lines.into_iter();
    for step in scenario::STEPS {
        // Logical messages came with 14.
        for expected in step.lines().filter(|line| major >= 14 || !line.starts_with("message ")) {
            assert_eq!(lines.next(), Some(expected), "{format:?}: {}", step.name);
        }
    }
    assert_eq!(lines.next(), None);
}

fn rows(change: Change<'_>) -> [Option<Tuple<'_>>; 2] {
    match change {
        Change::Insert { new } => [None, Some(new)],
        Change::Update { old, new } => [old.map(|old| old.tuple()), Some(new)],
        Change::Delete { old } => [Some(old.tuple()), None],
    }
}

fn all_in(format: Format, row: Tuple<'_>) {
    for value in row.values() {
        match value {
            Value::Text(_) => assert_eq!(format, Format::Text),
            Value::Binary(_) => assert_eq!(format, Format::Binary),
            Value::Null | Value::Unchanged => {}
        }
    }
}
