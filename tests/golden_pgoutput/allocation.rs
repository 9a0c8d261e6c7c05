//! What a row allocates on its way from the read buffer to a confirmed record, once everything is warm: nothing.

use std::time::Duration;

use allocation_counter::measure;
use cdc_notifier::{
    change::{Column, Lsn, Relation, ReplicaIdentity},
    delivery::{Intake, Ledger},
    encoding::{self, Limits},
    pgoutput::{self, Message},
    pipeline::{Line, Pipeline},
    source,
};

use crate::encoder::{Field, Sent};

const EVENTS: u32 = 7;
const ROWS: u64 = 1_000;

fn relation() -> Relation {
    let column = |(name, type_oid): (&str, u32)| Column { name: name.into(), identity: name == "process_id", type_oid };
    let columns = [("process_id", 1043), ("event_id", 21), ("timestamp", 1184), ("metadata", 3802), ("payload", 17)];
    Relation {
        oid: EVENTS,
        schema: "public".into(),
        name: "n_events".into(),
        identity: ReplicaIdentity::Default,
        columns: columns.map(column).into(),
    }
}

/// Begin, a row, Commit.
fn transaction(number: u64) -> [Vec<u8>; 3] {
    let (commit_lsn, commit_time) = (1_000 + number * 100, 800_000_000_000_000);
    // {bin, <<1, 2, 3, 4>>}
    let payload = hex::decode("836802770362696e6d0000000401020304").unwrap();
    let row = vec![
        Field::Text(b"a-process".to_vec()),
        Field::Binary(vec![0, 5]),
        Field::Binary(800_000_000_000_000_u64.to_be_bytes().to_vec()),
        Field::Text(b"{\"format_version\": 1}".to_vec()),
        Field::Binary(payload),
    ];
    [
        Sent::Begin { commit_lsn, commit_time, xid: 9 },
        Sent::Insert { relation: EVENTS, new: row },
        Sent::Commit { commit_lsn, end_lsn: commit_lsn + 50, commit_time },
    ]
    .map(|message| message.encode())
}

/// Everything that one session's thread and the thread of the delivery reports do with a record, without sockets and librdkafka.
struct Path {
    pipeline: Pipeline,
    intake: Intake,
    ledger: Ledger,
    records: u64,
}

impl Path {
    fn take(&mut self, bytes: &[u8]) {
        match pgoutput::decode(bytes).unwrap() {
            Message::Begin(transaction) => {
                self.pipeline.begin(transaction);
                self.intake.begin(transaction).unwrap();
            }
            Message::Change { relation, change } => {
                self.intake.change().unwrap();
                let sequence = self.intake.sequence();
                self.pipeline.change(Lsn::new(1), relation, &change, sequence).unwrap().expect("a message");
                self.intake.message().unwrap();
            }
            Message::Commit { commit_lsn, end_lsn, .. } => self.intake.commit(commit_lsn, end_lsn).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    fn hand_over_and_confirm(&mut self) {
        self.intake.enter(&mut self.ledger, Duration::ZERO);
        for (_, batch) in self.pipeline.take() {
            for record in batch.records() {
                self.ledger.confirm(record.token.sequence(), Duration::ZERO, |_| {});
                self.records += 1;
            }
        }
    }
}

#[test]
fn rows_allocate_nothing_and_a_batch_three_times() {
    let limits = Limits { max_payload_size: 1 << 20, max_payload_depth: 100 };
    let mut pipeline = Pipeline::new(vec![Line {
        namespace: "n".into(),
        source: source::build(source::Kind::Progressor, "n"),
        encoder: encoding::build(encoding::Kind::MgProto, "n", limits),
    }]);
    pipeline.relation(&relation()).unwrap();
    let mut ledger = Ledger::new(100);
    let intake = Intake::begin_at(Lsn::new(1), &mut ledger);
    let mut path = Path { pipeline, intake, ledger, records: 0 };
    let stream: Vec<_> = (0..3 * ROWS).map(transaction).collect();
    let (warm, measured) = stream.split_at(usize::try_from(2 * ROWS).unwrap());
    for half in warm.chunks(warm.len() / 2) {
        half.iter().flatten().for_each(|bytes| path.take(bytes));
        path.hand_over_and_confirm();
    }
    let allocated = measure(|| {
        measured.iter().flatten().for_each(|bytes| path.take(bytes));
        path.hand_over_and_confirm();
    });
    assert_eq!((path.records, path.ledger.is_settled()), (3 * ROWS, true));
    // Its bytes, its entries, its transactions.
    assert_eq!(allocated.count_total, 3);
}
