//! An event's payload: a term in Erlang's external format.

use cdc_notifier::{
    change::{InvalidRow, Lsn, Notification, PgTimestamp, Transaction},
    encoding::{self, Encoder, Limits, mg_proto::read},
};

use super::{etf, held};

const LIMITS: Limits = Limits { max_payload_size: 1 << 16, max_payload_depth: 64 };
const RAISED: Limits = Limits { max_payload_size: 1 << 24, max_payload_depth: 64 };
/// Bytes of a message around its data.
const AROUND: usize = 70;

/// What is accepted can be read, means the same when it is written as Erlang would, and is at most 12/7 as long; a refusal leaves
/// nothing behind and names the column; memory follows what is there, not what is announced.
pub fn check(payload: &[u8]) {
    let before = b"before".to_vec();
    let mut out = before.clone();
    let mut result = Ok(());
    let memory = held(|| result = encode(LIMITS, payload, &mut out));
    let size = match payload {
        [131, 80, a, b, c, d, ..] => u32::from_be_bytes([*a, *b, *c, *d]) as usize,
        _ => payload.len(),
    };
    let size = size.min(LIMITS.max_payload_size);
    assert!(memory <= 16 * size + 160 * 1024, "{memory} for {size}");
    match result {
        Ok(()) => {
            let value = &out[before.len() + KEY..];
            assert!(value.len() <= AROUND + size * 12 / 7, "{} from {size}", value.len());
            let data = read::sink_event(value).expect("can be read").data;
            let mut again = before;
            encode(RAISED, &etf::payload(&data), &mut again).expect("means something");
            assert_eq!(again, out);
        }
        Err(row) => assert!(out == before && row.column == "payload", "{row}"),
    }
}

const KEY: usize = "n 2Ab3".len();

fn encode(limits: Limits, payload: &[u8], out: &mut Vec<u8>) -> Result<(), InvalidRow> {
    let mut encoder: Box<dyn Encoder> = encoding::build(encoding::Kind::MgProto, "n", limits);
    let at = PgTimestamp(764_400_000_000_000);
    let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time: at };
    let event = Notification::MachineEvent {
        machine_id: b"2Ab3",
        event_id: 1,
        created_at: at,
        format_version: None,
        payload: payload.into(),
    };
    encoder.encode(&transaction, &event, out).map(|key| assert_eq!(key, KEY))
}
