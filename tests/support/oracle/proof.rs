//! The oracle objects to what it is there to find.

use cdc_notifier::encoding::mg_proto::read;

use super::{Expected, Message, Objection, Sample, Tally, Wrong, check, phash2::phash2, too_early};
use crate::kafka::ConsumedRecord;

const COUNT: i32 = 4;

/// The messages of one life, as bytes that the reading side takes.
fn life(process: &str, steps: usize) -> (Expected, Vec<ConsumedRecord>) {
    let key = format!("ns {process}").into_bytes();
    let partition = (phash2(&key) % COUNT.cast_unsigned()).cast_signed();
    let (mut messages, mut records) = (Vec::new(), Vec::new());
    for number in 0..steps {
        let reason = format!("reason {number}");
        let value = failed("ns", process, "2026-01-01T00:00:00Z", &reason);
        assert!(read::lifecycle_event(&value).is_ok());
        messages.push(Message::Lifecycle {
            namespace: "ns".into(),
            process: process.into(),
            created_at: "2026-01-01T00:00:00Z".into(),
            step: format!("failed: {reason}"),
        });
        let offset = i64::try_from(number).unwrap();
        records.push(ConsumedRecord {
            partition,
            offset,
            timestamp: offset,
            key: Some(key.clone()),
            value: Some(value),
            headers: vec![],
        });
    }
    (Expected::from([(key, messages)]), records)
}

/// `LifecycleEvent{1: ns, 2: id, 3: created_at, 4: {1: {2: {1: {2: {1: reason}}}}}}` in Thrift's binary protocol.
fn failed(namespace: &str, process: &str, created_at: &str, reason: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut string = |field: u8, text: &str| {
        bytes.extend([11, 0, field]);
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    string(1, namespace);
    string(2, process);
    string(3, created_at);
    for field in [4, 1, 2, 1, 2] {
        bytes.extend([12, 0, field]);
    }
    bytes.extend([11, 0, 1]);
    bytes.extend(u32::try_from(reason.len()).unwrap().to_be_bytes());
    bytes.extend(reason.as_bytes());
    bytes.extend([0; 6]);
    bytes
}

fn objections(expected: &Expected, records: &[ConsumedRecord]) -> Vec<Wrong> {
    let found: Vec<Objection> = check(expected, records, &[COUNT], None).unwrap_err();
    found.into_iter().map(|objection| objection.what).collect()
}

/// The records at these places, in this order.
fn at(records: &[ConsumedRecord], places: &[usize]) -> Vec<ConsumedRecord> {
    places.iter().map(|place| records[*place].clone()).collect()
}

/// The same, each a moment later than the one before.
fn at_times(records: &[ConsumedRecord], places: &[usize]) -> Vec<ConsumedRecord> {
    let times = at(records, places).into_iter().zip(0..);
    times.map(|(record, time)| ConsumedRecord { offset: time, timestamp: time, ..record }).collect()
}

#[test]
fn what_is_right_passes() {
    let (expected, records) = life("p", 5);
    assert_eq!(check(&expected, &records, &[COUNT], None), Ok(Tally { records: 5, distinct: 5, late: 0 }));
    // After a kill, and another one in the middle of the repeat.
    let replayed = at(&records, &[0, 1, 2, 1, 2, 0, 1, 2, 3, 4]);
    assert_eq!(check(&expected, &replayed, &[COUNT], None).map(Tally::repeats), Ok(5));
    // What the dead process had handed to the network comes into the repeat.
    let late = at(&records, &[0, 1, 0, 2, 3, 1, 2, 3, 4]);
    assert_eq!(check(&expected, &late, &[COUNT], None).map(|tally| tally.late), Ok(1));
}

/// After a kill, what is identical may come late; what is lost, reordered or altered is none of it.
#[test]
fn a_late_message() {
    let (expected, records) = life("p", 5);
    let killed_at = |at: usize, places: &[usize]| {
        let mut records = at_times(&records, places);
        let time = records[at].timestamp;
        records.sort_by_key(|record| record.timestamp);
        check(&expected, &records, &[COUNT], Some(time))
    };
    let late = |found: Result<Tally, Vec<Objection>>| found.map(|tally| (tally.repeats(), tally.late));
    for (places, repeats) in [
        (&[0, 1, 2, 3, 4, 2][..], (1, 1)),
        (&[0, 1, 2, 3, 1, 3, 4][..], (2, 1)),
        (&[0, 1, 2, 0, 1, 3, 4][..], (2, 2)),
        (&[0, 1, 2, 1, 2, 3, 4][..], (2, 0)),
    ] {
        assert_eq!(late(killed_at(2, places)), Ok(repeats), "{places:?}");
    }
    for places in [&[0, 1, 2, 3, 4, 2][..], &[0, 1, 2, 3, 1, 3, 4]] {
        let found = check(&expected, &at_times(&records, places), &[COUNT], Some(100));
        assert!(found.is_err(), "{places:?}: they came before the kill");
    }
    for places in [&[0, 1, 3, 4][..], &[0, 2, 1, 3, 4], &[0, 1, 2, 3, 2]] {
        assert!(killed_at(0, places).is_err(), "{places:?}");
    }
    let mut altered = at_times(&records, &[0, 1, 2, 3, 4, 2]);
    altered[5].headers.push(("lsn".into(), b"0/1".to_vec()));
    assert!(check(&expected, &altered, &[COUNT], Some(0)).is_err());
}

#[test]
fn a_lost_message() {
    let (expected, records) = life("p", 5);
    assert_eq!(objections(&expected, &at(&records, &[0, 1, 2, 3])), [Wrong::Missing { from: 4, count: 1 }]);
    assert_eq!(objections(&expected, &at(&records, &[0, 1, 3, 4])), [Wrong::Overtook { place: 3, expected: 2 }]);
    assert_eq!(objections(&expected, &[]), [Wrong::Missing { from: 0, count: 5 }]);
}

#[test]
fn a_reordered_message() {
    let (expected, records) = life("p", 5);
    assert_eq!(objections(&expected, &at(&records, &[0, 2, 1, 3, 4])), [Wrong::Overtook { place: 2, expected: 1 }]);
}

#[test]
fn a_repeat_that_is_no_suffix() {
    let (expected, records) = life("p", 5);
    let hole = at(&records, &[0, 1, 2, 3, 1, 3, 4]);
    assert_eq!(objections(&expected, &hole), [Wrong::Hole { after: 2, place: 3 }]);
    let stray = at(&records, &[0, 1, 2, 3, 4, 2]);
    assert_eq!(objections(&expected, &stray), [Wrong::Unfinished { at: 3 }]);
    let never_gone_on = at(&records, &[0, 1, 2, 0, 3, 4]);
    assert_eq!(objections(&expected, &never_gone_on), [Wrong::Unfinished { at: 1 }]);
}

#[test]
fn an_altered_message() {
    let (expected, mut records) = life("p", 5);
    records[2].value.as_mut().unwrap()[8] ^= 1;
    assert!(matches!(objections(&expected, &records)[..], [Wrong::Foreign(_)]));
    records[2].value.as_mut().unwrap().pop();
    assert!(matches!(objections(&expected, &records)[..], [Wrong::Undecodable(_)]));
    let (expected, mut records) = life("p", 5);
    records.push(records[4].clone());
    records[5].headers.push(("lsn".into(), b"0/1".to_vec()));
    assert_eq!(objections(&expected, &records), [Wrong::Altered { place: 4 }]);
    // The same message in bytes that differ: a field that readers skip.
    let (expected, mut records) = life("p", 5);
    records.push(records[4].clone());
    let value = records[5].value.as_mut().unwrap();
    value.pop();
    value.extend([2, 0, 99, 1, 0]);
    assert_eq!(objections(&expected, &records), [Wrong::Altered { place: 4 }]);
}

#[test]
fn another_key_or_partition() {
    let (expected, mut records) = life("p", 2);
    let (_, others) = life("q", 1);
    records.extend(others);
    assert!(matches!(objections(&expected, &records)[..], [Wrong::Foreign(_)]));
    let (expected, mut records) = life("p", 2);
    records[1].key = Some(b"ns q".to_vec());
    assert_eq!(objections(&expected, &records).len(), 2, "one key has too few, one too many");
    let (expected, mut records) = life("p", 2);
    let wrong = (records[1].partition + 1) % COUNT;
    records[1].partition = wrong;
    assert!(objections(&expected, &records).contains(&Wrong::Partition { found: wrong }));
}

#[test]
fn a_key_that_moves_keeps_its_order() {
    let (expected, mut records) = life("p", 4);
    let home = |count: u32| (phash2(b"ns p") % count).cast_signed();
    let count = (5..50).find(|count| home(*count) != home(COUNT.cast_unsigned())).unwrap();
    for record in &mut records[2..] {
        record.partition = home(count);
    }
    let counts = [COUNT, count.cast_signed()];
    assert!(check(&expected, &records, &counts, None).is_ok());
    let mut late = records.clone();
    late.insert(2, ConsumedRecord { offset: 2, timestamp: 9, ..records[1].clone() });
    assert_eq!(check(&expected, &late, &counts, Some(8)).map(|tally| tally.late), Ok(1));
    assert!(check(&expected, &late, &counts, Some(10)).is_err());
    records[2].timestamp = 0;
    let found = check(&expected, &records, &counts, None).unwrap_err();
    assert_eq!(found[0].what, Wrong::Moved);
}

#[test]
fn an_acknowledgement_before_its_message() {
    let (expected, records) = life("p", 5);
    let partition = usize::try_from(records[0].partition).unwrap();
    // Each message of a transaction of its own: 10, 11, ...
    let transactions = expected.into_values().flatten().zip(10..).collect();
    let sample = |horizon, end| {
        let mut ends = vec![0; 4];
        ends[partition] = end;
        Sample { horizon, ends: [("topic".to_owned(), ends)].into() }
    };
    let early =
        |records: &[ConsumedRecord], samples: &[Sample]| too_early("topic", &transactions, records, samples).len();
    assert_eq!(early(&records, &[sample(10, 0), sample(12, 2), sample(15, 5)]), 0);
    assert_eq!(early(&records, &[sample(11, 0), sample(15, 5)]), 1, "the first one was not there");
    assert_eq!(early(&records, &[sample(12, 2), sample(15, 3)]), 2);
    assert_eq!(early(&records[..4], &[sample(15, 5)]), 1, "the last one never came");
    assert_eq!(early(&records, &[Sample { horizon: 15, ends: [("other".to_owned(), vec![0; 4])].into() }]), 0);
    let mut repeated = records.clone();
    repeated.push(ConsumedRecord { offset: 9, ..records[0].clone() });
    assert_eq!(early(&repeated, &[sample(11, 1)]), 0, "the first copy counts");
}
