//! The pipeline: records come out as they were put in, whatever is between them.

use cdc_notifier::{
    change::{Change, Class, Lsn, PgTimestamp, Topic, Transaction, Tuple},
    pipeline::{Announced, Pipeline},
};
use proptest::prelude::*;

use crate::rows::{self, Meaning};

#[derive(Clone, Debug)]
struct Put {
    table: u32,
    key: Vec<u8>,
    meaning: Meaning,
    /// The batches are taken after this row.
    take: bool,
    /// A transaction begins before this row.
    begins: bool,
}

fn put() -> impl Strategy<Value = Put> {
    let meaning = prop_oneof![
        3 => Just(Meaning::Message),
        2 => Just(Meaning::Event),
        2 => Just(Meaning::Nothing),
        1 => Just(Meaning::Poison),
        1 => Just(Meaning::Unwritable),
    ];
    let key = proptest::collection::vec(any::<u8>(), 0..6);
    (0..4_u32, key, meaning, any::<bool>(), any::<bool>()).prop_map(|(table, key, meaning, take, begins)| Put {
        table,
        key,
        meaning,
        take,
        begins,
    })
}

fn transaction(number: u64) -> Transaction {
    Transaction { xid: number as u32, commit_lsn: Lsn::new(1_000 + number), commit_time: PgTimestamp(7) }
}

/// Three namespaces; table 3 is nobody's.
fn pipeline() -> Pipeline {
    let mut pipeline = rows::pipeline(3);
    for table in 0..3 {
        assert_eq!(pipeline.relation(&rows::relation(table)), Ok(Announced::Ours));
    }
    assert_eq!(pipeline.relation(&rows::relation(3)), Ok(Announced::Foreign));
    pipeline
}

/// Namespace, number, key, id, transaction, position, ordinal.
type Got = (usize, u64, Vec<u8>, u64, Transaction, Lsn, u32);

fn take(pipeline: &mut Pipeline, got: &mut [Vec<Got>]) -> usize {
    let mut bytes = 0;
    for (namespace, batch) in pipeline.take() {
        assert!(!batch.is_empty());
        assert_eq!(batch.records().count(), batch.len());
        bytes += batch.bytes();
        for record in batch.records() {
            let topic = if record.value[0] == b'e' { Topic::Eventsink } else { Topic::Lifecycle };
            assert_eq!((record.token.namespace(), record.token.topic()), (namespace, topic));
            let position = record.position;
            let id = rows::id(record.value);
            let number = record.token.sequence();
            let key = record.key.to_vec();
            got[namespace].push((namespace, number, key, id, position.transaction, position.lsn, position.ordinal));
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn records_come_out_as_they_were_put_in(puts in proptest::collection::vec(put(), 1..60)) {
        let mut pipeline = pipeline();
        let (mut expected, mut got) = (vec![Vec::new(); 3], vec![Vec::new(); 3]);
        let (mut charged, mut released) = (0, 0);
        let (mut number, mut ordinals) = (0, [0; 3]);
        pipeline.begin(transaction(0));
        for (id, put) in (0_u64..).zip(&puts) {
            if put.begins {
                number += 1;
                ordinals = [0; 3];
                pipeline.begin(transaction(number));
            }
            let bytes = rows::tuple(&put.key, put.meaning, id);
            let change = Change::Insert { new: Tuple::parse(&bytes).unwrap().0 };
            let namespace = put.table as usize;
            let lsn = Lsn::new(id);
            let speaks = namespace < 3 && put.meaning != Meaning::Nothing;
            prop_assert_eq!(pipeline.is_message(put.table, &change), speaks);
            let made = pipeline.change(lsn, put.table, &change, number);
            match (put.meaning, namespace) {
                (_, 3..) | (Meaning::Nothing, _) => prop_assert_eq!(made, Ok(None)),
                (Meaning::Message | Meaning::Event | Meaning::Large, _) => {
                    let size = put.key.len() + 9;
                    prop_assert_eq!(made, Ok(Some((namespace, size))));
                    charged += size;
                    let ordinal = ordinals[namespace];
                    expected[namespace]
                        .push((namespace, number, put.key.clone(), id, transaction(number), lsn, ordinal));
                }
                (Meaning::Poison | Meaning::Unwritable, _) => {
                    let trouble = made.unwrap_err();
                    prop_assert_eq!(trouble.class, Class::InvalidRow);
                    let place = format!("xid {number}, ordinal {}", ordinals[namespace]);
                    prop_assert!(trouble.message.contains(&place), "{}", trouble.message);
                }
            }
            if namespace < 3 {
                ordinals[namespace] += 1;
            }
            if put.take {
                released += take(&mut pipeline, &mut got);
                prop_assert_eq!(charged, released, "what was charged is what the batches hold");
            }
        }
        released += take(&mut pipeline, &mut got);
        prop_assert_eq!(charged, released);
        prop_assert_eq!(pipeline.take().count(), 0, "nothing is taken twice");
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn what_was_not_announced_or_has_no_transaction_is_refused() {
    let bytes = rows::tuple(b"k", Meaning::Message, 1);
    let change = Change::Insert { new: Tuple::parse(&bytes).unwrap().0 };
    let mut pipeline = pipeline();
    let class = |made: Result<_, cdc_notifier::change::Trouble>| made.map_err(|trouble| trouble.class);
    assert_eq!(class(pipeline.change(Lsn::new(1), 0, &change, 0)), Err(Class::Undecodable), "no transaction");
    pipeline.begin(transaction(0));
    assert_eq!(class(pipeline.change(Lsn::new(1), 9, &change, 0)), Err(Class::Undecodable), "no such relation");
    assert!(!pipeline.is_message(9, &change));
    assert_eq!((pipeline.table(1), pipeline.table(3), pipeline.table(9)), (Some("t1"), None, None));
    let mut elsewhere = rows::relation(1);
    elsewhere.schema = "private".into();
    assert_eq!(pipeline.relation(&elsewhere), Ok(Announced::Foreign));
    assert_eq!(pipeline.change(Lsn::new(1), 1, &change, 0), Ok(None), "the table has moved to another schema");
}
