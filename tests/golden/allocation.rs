//! What encoding allocates: nothing once warm, and never more than a stated multiple of the limit.

use std::io::Write;

use allocation_counter::measure;
use cdc_notifier::{
    change::{InvalidRow, Lifecycle, Lsn, Notification, PgTimestamp, Transaction},
    encoding::{self, Limits, mg_proto::read::Value},
};
use proptest::prelude::*;

use crate::{etf, namespace::DEFAULT_LIMITS};

const TRANSACTION: Transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time: PgTimestamp(0) };

fn event(payload: &[u8]) -> Notification<'_> {
    let created_at = PgTimestamp(764_400_000_000_000);
    Notification::MachineEvent {
        machine_id: b"2Ab3",
        event_id: 1,
        created_at,
        format_version: Some(1),
        payload: payload.into(),
    }
}

pub(crate) fn compressed(term: &[u8], declared: usize) -> Vec<u8> {
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    zlib.write_all(term).unwrap();
    let declared = u32::try_from(declared).unwrap().to_be_bytes();
    [&[131, 80][..], &declared, &zlib.finish().unwrap()].concat()
}

#[test]
fn nothing_once_warm() {
    let str = |text: String| Value::Str(text.into_bytes());
    let map = Value::Obj((0..100).rev().map(|key| (str(format!("key {key}")), Value::Int(key))).collect());
    let tree = Value::Arr((0..50).map(|_| map.clone()).collect());
    let (small, large) = (etf::payload(&Value::Bin(vec![7; 200])), etf::payload(&tree));
    let packed = compressed(&large[1..], large.len() - 1);
    let lifecycle = |event| Notification::Lifecycle { machine_id: b"2Ab3", event };
    let notifications = [
        event(&small),
        event(&large),
        event(&packed),
        lifecycle(Lifecycle::Created),
        lifecycle(Lifecycle::Failed { reason: b"why" }),
    ];
    let mut encoder = encoding::build(encoding::Kind::MgProto, "default/default", DEFAULT_LIMITS);
    let mut out = Vec::new();
    let mut encode_all = || {
        out.clear();
        for notification in &notifications {
            encoder.encode(&TRANSACTION, notification, &mut out).unwrap();
        }
    };
    encode_all();
    let warm = measure(|| (0..100).for_each(|_| encode_all()));
    assert_eq!((warm.count_total, warm.bytes_total), (0, 0));
}

/// What became of a payload, and the most that encoding it once has held at a time, the output included.
pub(crate) fn encoded(payload: &[u8], limits: Limits) -> (Result<usize, InvalidRow>, u64) {
    let mut encoder = encoding::build(encoding::Kind::MgProto, "n", limits);
    let notification = event(payload);
    let mut out = Vec::new();
    let mut result = Ok(0);
    let held = measure(|| result = encoder.encode(&TRANSACTION, &notification, &mut out).map(|_| out.len())).bytes_max;
    (result, held)
}

fn held(payload: &[u8], limits: Limits) -> u64 {
    encoded(payload, limits).1
}

#[test]
fn announced_sizes_allocate_nothing() {
    let small = 64 * 1024;
    for hex in [
        // Counts and lengths of 2^32 - 1.
        "83680277036172726cffffffff",
        "83680277036f626a74ffffffff",
        "83680277036f626a74ffffffff6802770169610168027701696101",
        "836802770362696e6dffffffff00",
        "8369ffffffff",
        "8368027701696fffffffff00",
        "83680277026e6c69ffffffff770e6d675f6d73677061636b5f4e696c",
    ] {
        assert!(held(&hex::decode(hex).unwrap(), DEFAULT_LIMITS) < small, "{hex}");
    }
    let bomb = compressed(&vec![0; 8 << 20], 16 << 20);
    assert!(held(&bomb, DEFAULT_LIMITS) < (17 << 20) + small);
    let bomb = compressed(&vec![0; 8 << 20], 1000);
    assert!(held(&bomb, DEFAULT_LIMITS) < 4 * small);
}

#[test]
fn the_worst_of_a_full_size() {
    let limits = Limits { max_payload_size: 1 << 20, ..DEFAULT_LIMITS };
    let full = |value: &dyn Fn(i64) -> Value| {
        let mut count = 1_i64 << 17;
        loop {
            let term = etf::payload(&value(count)).split_off(1);
            if term.len() < 1 << 20 {
                return compressed(&term, term.len());
            }
            count -= count / 16;
        }
    };
    for (what, payload) in [
        ("integers", full(&|count| Value::Arr(vec![Value::Int(1); usize::try_from(count).unwrap()]))),
        (
            "unsorted map",
            full(&|count| Value::Obj((0..count).rev().map(|key| (Value::Int(key), Value::Bool(true))).collect())),
        ),
    ] {
        let mut encoder = encoding::build(encoding::Kind::MgProto, "n", limits);
        let mut out = Vec::with_capacity(2 << 20);
        let scratch = measure(|| {
            encoder.encode(&TRANSACTION, &event(&payload), &mut out).unwrap();
        });
        assert!(scratch.bytes_max < 5 << 20, "{what}: {}", scratch.bytes_max);
        assert!(scratch.bytes_current < 2 << 20, "{what}: keeps {}", scratch.bytes_current);
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_hold_little(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for start in [&[][..], &[131], &[131, 104, 2, 119, 3, b'o', b'b', b'j', 116], &[131, 80]] {
            prop_assert!(held(&[start, &bytes].concat(), DEFAULT_LIMITS) < 128 * 1024);
        }
    }
}
