//! Every class of trouble in both phases, and the modes of a stream.

use std::time::Duration;

use cdc_notifier::{
    change::{Class, Lsn, Trouble},
    delivery::{Disposition, Ended, Intensity, Ledger, Mode, Op, Phase, Restart, disposition},
};

use super::transaction;

#[rustfmt::skip]
const TABLE: [(Class, Disposition, Disposition); 22] = {
    use Class::*;
    use Disposition::{Halt, Resend, Wait};
    [
        // class, at the start, while running
        (PostgresUnavailable, Wait, Wait),
        (PostgresLogin, Wait, Wait),
        (PostgresPrivilege, Wait, Wait),
        (PostgresSetting, Wait, Wait),
        (SlotBusy, Wait, Wait),
        (SlotMissing, Wait, Wait),
        (SlotMismatch, Wait, Wait),
        (SlotLost, Halt, Halt),
        (HistoryChanged, Halt, Halt),
        (TableMissing, Wait, Wait),
        (Publication, Wait, Halt),
        (Schema, Wait, Halt),
        (InvalidRow, Halt, Halt),
        (Undecodable, Halt, Halt),
        (KafkaUnavailable, Wait, Wait),
        (KafkaLogin, Wait, Wait),
        (TopicMissing, Wait, Resend),
        (TopicPrivilege, Wait, Resend),
        (TopicRecreated, Halt, Halt),
        (SendFailed, Resend, Resend),
        (MessageTooLarge, Resend, Resend),
        (Bug, Halt, Halt),
    ]
};

#[test]
fn every_class_has_its_disposition() {
    for (place, (class, start, running)) in TABLE.into_iter().enumerate() {
        // The classes are numbered as they are declared: none is left out as long as the last one is the last.
        assert_eq!(class as usize, place, "{class}");
        assert_eq!(disposition(class, Phase::Start), start, "{class}");
        assert_eq!(disposition(class, Phase::Running), running, "{class}");
    }
    match TABLE[21].0 {
        Class::Bug => {}
        other => panic!("{other} is the last one"),
    }
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn trouble(class: Class) -> Trouble {
    Trouble::new(class, "", "")
}

fn draining(until: u64, then: Ended) -> Mode {
    Mode::Draining { until: s(until), then }
}

fn halting(class: Class, until: Option<u64>) -> Mode {
    Mode::Halting { trouble: trouble(class), until: until.map(s) }
}

#[test]
fn a_stream_that_halts_never_reads_again() {
    use Class::{InvalidRow, Schema};
    let drain = |mut mode: Mode, bound, then| {
        mode.drain(s(bound), then);
        mode
    };
    let halt = |mut mode: Mode| {
        mode.halt(trouble(Schema));
        mode
    };
    let rows = [
        (drain(Mode::Reading, 5, Ended::Closed), draining(5, Ended::Closed)),
        (drain(Mode::Reading, 5, Ended::Rejoin), draining(5, Ended::Rejoin)),
        (drain(draining(9, Ended::Rejoin), 5, Ended::Closed), draining(5, Ended::Closed)),
        (drain(draining(3, Ended::Rejoin), 5, Ended::Closed), draining(3, Ended::Closed)),
        (drain(halting(InvalidRow, None), 5, Ended::Closed), halting(InvalidRow, Some(5))),
        (drain(halting(InvalidRow, Some(9)), 5, Ended::Closed), halting(InvalidRow, Some(5))),
        (drain(halting(InvalidRow, Some(3)), 5, Ended::Closed), halting(InvalidRow, Some(3))),
        (halt(Mode::Reading), halting(Schema, None)),
        (halt(draining(5, Ended::Closed)), halting(Schema, Some(5))),
        (halt(draining(5, Ended::Rejoin)), halting(Schema, None)),
        (halt(halting(InvalidRow, Some(5))), halting(InvalidRow, Some(5))),
    ];
    for (place, (mode, expected)) in rows.into_iter().enumerate() {
        assert_eq!(mode, expected, "row {place}");
        let wants = [mode.wants(false), mode.wants(true)];
        match mode {
            Mode::Reading => panic!("row {place}"),
            Mode::Draining { until, .. } => assert_eq!((wants, mode.deadline()), ([false, true], Some(until))),
            Mode::Halting { until, .. } => assert_eq!((wants, mode.deadline()), ([false, false], until)),
        }
    }
    assert_eq!((Mode::Reading.wants(false), Mode::Reading.deadline()), (true, None));
}

#[test]
fn a_stream_ends_when_what_it_waits_for_is_there_or_cannot_come() {
    let messages = |sequence| Op::Messages { sequence, transaction: transaction(10 * (sequence + 1), 1), count: 1 };
    let (settled, mut open, mut unconfirmed) = (Ledger::new(8), Ledger::new(8), Ledger::new(8));
    open.apply(messages(0), s(0));
    unconfirmed.apply(messages(0), s(0));
    unconfirmed.apply(Op::Commit { end_lsn: Lsn::new(15) }, s(0));
    let failed = || Some(Ended::Failed(trouble(Class::Schema)));
    let halting = |until| halting(Class::Schema, until);
    let draining = draining(10, Ended::Closed);
    for (place, (mode, ledger, broken, now, expected)) in [
        (&Mode::Reading, &settled, true, 99, None),
        (&draining, &settled, false, 0, Some(Ended::Closed)),
        (&draining, &open, false, 0, None),
        (&draining, &unconfirmed, false, 9, None),
        (&draining, &unconfirmed, false, 10, Some(Ended::Closed)),
        (&draining, &unconfirmed, true, 0, Some(Ended::Closed)),
        (&halting(None), &settled, false, 0, failed()),
        (&halting(None), &open, false, 0, failed()),
        (&halting(None), &unconfirmed, false, 99, None),
        (&halting(None), &unconfirmed, true, 0, failed()),
        (&halting(Some(10)), &unconfirmed, false, 9, None),
        (&halting(Some(10)), &unconfirmed, false, 10, failed()),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(mode.is_over(ledger, broken, s(now)), expected, "row {place}");
    }
}

#[test]
fn crashes_are_counted_within_their_period() {
    // The delay in milliseconds.
    let crash = |intensity: &mut Intensity, second| match intensity.crashed(s(second)) {
        Restart::After(delay) => Some(delay.as_millis()),
        Restart::GiveUp => None,
    };
    let mut intensity = Intensity::default();
    let delays: Vec<_> = [0, 1, 2, 3, 4, 59, 59].map(|second| crash(&mut intensity, second)).into();
    assert_eq!(delays, [Some(100), Some(200), Some(400), Some(800), Some(1_600), None, None]);
    let mut intensity = Intensity::default();
    let delays: Vec<_> = [0, 1, 2, 3, 4, 60, 60].map(|second| crash(&mut intensity, second)).into();
    assert_eq!(delays[4..], [Some(1_600), Some(1_600), None], "the first one is a minute old");
    intensity.forgive();
    assert_eq!(crash(&mut intensity, 60), Some(100));
    let mut many = Intensity::new(20, s(60));
    let last = (0..20).map(|_| crash(&mut many, 1)).last();
    assert_eq!(last, Some(Some(5_000)), "never longer");
}
