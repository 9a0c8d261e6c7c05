//! Payloads that are made to hurt.

use std::time::{Duration, Instant};

use cdc_notifier::encoding::{
    Limits,
    mg_proto::read::{self, MAX_DEPTH, Value},
};

use crate::{
    allocation::{compressed, encoded},
    etf,
    namespace::{DEFAULT_LIMITS, Event, FORMATS, Format, Namespace},
    vectors::{bytes, load, text},
};

const RAISED: Limits = Limits { max_payload_size: 128 << 20, max_payload_depth: 2_000_000 };

/// Payloads that the Erlang service accepts: under the default limits they are refused or right, under raised ones right.
#[test]
fn accepted_by_erlang() {
    let (mut refused, mut right) = (0, 0);
    for line in load("accepted_hostile") {
        let payload = bytes(&line, "payload_hex");
        for limits in [DEFAULT_LIMITS, RAISED] {
            let mut namespace = Namespace::new("invoice", limits);
            for format in FORMATS {
                let started = Instant::now();
                match namespace.event(&Event::with(&payload), format) {
                    Ok((_, value)) => {
                        assert_eq!(Some(value.len() as u64), line["value_len"].as_u64(), "{}", line["name"]);
                        let sha256 = hex::encode(openssl::sha::sha256(&value));
                        assert_eq!(sha256, text(&line, "value_sha256"), "{}", line["name"]);
                        right += 1;
                    }
                    Err(invalid) => {
                        assert_eq!(invalid.column, "payload");
                        assert_eq!(limits, DEFAULT_LIMITS, "{}: {invalid}", line["name"]);
                        refused += 1;
                    }
                }
                assert!(started.elapsed() < Duration::from_secs(20), "{}: {:?}", line["name"], started.elapsed());
            }
        }
    }
    assert!(refused >= 2 && right >= 8, "{refused} {right}");
}

fn accepts(payload: &[u8], limits: Limits) -> bool {
    Namespace::new("n", limits).event(&Event::with(payload), Format::Binary).is_ok()
}

fn nested(levels: usize, obj: bool) -> Value {
    (0..levels).fold(
        Value::Int(1),
        |inner, _| {
            if obj { Value::Obj(vec![(Value::Nil, inner)]) } else { Value::Arr(vec![inner]) }
        },
    )
}

#[test]
fn depth_counts_containers() {
    let limits = |max_payload_depth| Limits { max_payload_depth, ..DEFAULT_LIMITS };
    for levels in [0, 1, 2, 64, 65, 1024] {
        for obj in [false, true] {
            let payload = etf::payload(&nested(levels, obj));
            assert!(accepts(&payload, limits(levels)), "{levels}");
            assert!(levels == 0 || !accepts(&payload, limits(levels - 1)), "{levels}");
        }
    }
    // An empty list is one too.
    assert!(!accepts(&etf::payload(&Value::Arr(vec![])), limits(0)));
    // As a key.
    let key = Value::Obj(vec![(nested(3, true), Value::Nil)]);
    assert!(accepts(&etf::payload(&key), limits(4)) && !accepts(&etf::payload(&key), limits(3)));
}

#[test]
fn the_reading_side_has_a_bound_of_its_own() {
    let limits = Limits { max_payload_depth: 10_000, ..DEFAULT_LIMITS };
    for (levels, readable) in [(65, true), (MAX_DEPTH, true), (MAX_DEPTH + 1, false), (5_000, false)] {
        for obj in [false, true] {
            let mut payload = vec![131];
            for _ in 0..levels {
                payload.extend(if obj {
                    &b"h\x02w\x03objt\0\0\0\x01h\x02w\x01ia\x01"[..]
                } else {
                    b"h\x02w\x03arrl\0\0\0\x01"
                });
            }
            payload.extend(b"h\x02w\x01ia\x01");
            if !obj {
                payload.extend(vec![106; levels]);
            }
            let (_, value) = Namespace::new("n", limits).event(&Event::with(&payload), Format::Binary).unwrap();
            let event = read::sink_event(&value);
            assert_eq!(event.is_ok(), readable, "{levels}");
            if let Ok(event) = event {
                assert!(event.clone() == event && !event.to_json().is_null());
            }
        }
    }
}

#[test]
fn size_is_exact() {
    let payload = etf::payload(&Value::Bin(vec![7; 1000]));
    let limits = |max_payload_size| Limits { max_payload_size, ..DEFAULT_LIMITS };
    assert!(accepts(&payload, limits(payload.len())));
    assert!(!accepts(&payload, limits(payload.len() - 1)));
}

/// A map whose keys are maps, `width` of each at each of `depth` levels, in falling order.
fn maps_as_keys(width: i64, depth: usize) -> Value {
    let leaf = |number: i64| Value::Int(number);
    let mut key = leaf(0);
    for _ in 0..depth {
        let entries = (0..width).rev().map(|number| {
            let inner = if number == 0 { key.clone() } else { Value::Obj(vec![(leaf(number), Value::Nil)]) };
            (inner, leaf(1))
        });
        key = Value::Obj(entries.collect());
    }
    key
}

/// Each with what becomes of it (a part of the reason) and the most it may hold, in MiB. What sorting may take is counted in steps,
/// 16 for each byte; the time is printed for `docs/security.md`.
#[test]
fn the_worst_payloads_are_bounded() {
    let reversed = |keys: i64| Value::Obj((0..keys).rev().map(|key| (Value::Int(key), Value::Nil)).collect());
    let long = |key: u32| Value::Str([&*vec![b'x'; 20_000], &key.to_be_bytes()].concat());
    let unsorted_around = |value: Value, levels: usize| {
        (0..levels)
            .fold(value, |inner, _| Value::Obj(vec![(Value::Str(vec![1]), Value::Nil), (Value::Bin(vec![1]), inner)]))
    };
    let packed = |value: &Value| {
        let term = etf::payload(value).split_off(1);
        compressed(&term, term.len())
    };
    let deep = [&[131][..], &b"h\x02w\x03arrl\0\0\0\x01".repeat(1_000_000)].concat();
    let announced =
        |tag: u8| [&b"\x83h\x02w\x03"[..], if tag == b'm' { b"bin" } else { b"arr" }, &[tag], &[0xff; 4]].concat();
    let (depth, work, size, corrupt) = ("max_payload_depth", "too much work", "max_payload_size", "corrupt");
    println!("| payload | bytes | becomes | time, ms | held, MiB |\n| --- | --- | --- | --- | --- |");
    for (what, payload, refusal, most) in [
        ("a list of 1.2 million small integers", etf::payload(&Value::Arr(vec![Value::Int(1); 1_200_000])), None, 49),
        ("an unordered map of 400,000 keys", etf::payload(&reversed(400_000)), None, 63),
        ("the same, compressed", packed(&reversed(400_000)), None, 79),
        (
            "700 keys of 20 kB that differ at their ends",
            etf::payload(&Value::Obj((0..700).rev().map(|key| (long(key), Value::Nil)).collect())),
            None,
            79,
        ),
        (
            "15 MiB inside 20 unordered maps",
            etf::payload(&unsorted_around(Value::Bin(vec![0; 15 << 20]), 20)),
            None,
            79,
        ),
        (
            "15 MiB inside 1,000 unordered maps",
            etf::payload(&unsorted_around(Value::Bin(vec![0; 15 << 20]), 1000)),
            Some(work),
            79,
        ),
        ("maps as keys, 40 wide and 500 deep", etf::payload(&maps_as_keys(40, 500)), None, 79),
        ("a million lists inside each other", deep, Some(depth), 1),
        ("a list that announces 4 billion values", announced(b'l'), Some("ends too early"), 1),
        ("a string that announces 4 GB", announced(b'm'), Some("ends too early"), 1),
        ("compressed, announces 4 GB", compressed(&[0; 1000], 0xffff_ffff), Some(size), 1),
        ("16 MB of zeros in 16 kB", compressed(&vec![0; 16 << 20], 16 << 20), Some("must be"), 33),
        ("64 MB of zeros that announce 1 kB", compressed(&vec![0; 64 << 20], 1000), Some(corrupt), 1),
    ] {
        assert!(payload.len() <= DEFAULT_LIMITS.max_payload_size, "{what}: {}", payload.len());
        let started = Instant::now();
        let (result, held) = encoded(&payload, DEFAULT_LIMITS);
        let took = started.elapsed().as_secs_f64() * 1e3;
        let became = match (&result, refusal) {
            (Ok(bytes), None) => format!("{bytes} bytes"),
            (Err(row), Some(reason)) if row.reason.contains(reason) => format!("refused: {}", row.reason),
            _ => panic!("{what}: {result:?}"),
        };
        println!(
            "| {what} | {} | {became} | {took:.1} | {:.1} |",
            payload.len(),
            f64::from(u32::try_from(held >> 10).unwrap()) / 1024.0
        );
        assert!(held <= most << 20, "{what}: {held}");
    }
}
