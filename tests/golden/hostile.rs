//! Payloads that are made to hurt.

use std::time::{Duration, Instant};

use cdc_notifier::encoding::{
    Limits,
    mg_proto::read::{self, MAX_DEPTH, Value},
};

use crate::{
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

#[test]
fn sorting_is_bounded_in_time() {
    let reversed = |keys: i64| Value::Obj((0..keys).rev().map(|key| (Value::Int(key), Value::Nil)).collect());
    let long = |key: u32| Value::Str([&*vec![b'x'; 20_000], &key.to_be_bytes()].concat());
    let unsorted_around = |value: Value, levels: usize| {
        (0..levels)
            .fold(value, |inner, _| Value::Obj(vec![(Value::Str(vec![1]), Value::Nil), (Value::Bin(vec![1]), inner)]))
    };
    for (what, value, accepted) in [
        ("many keys", reversed(400_000), Some(true)),
        ("long equal beginnings", Value::Obj((0..700).rev().map(|key| (long(key), Value::Nil)).collect()), Some(true)),
        ("deep keys", maps_as_keys(5, 900), None),
        ("wide and deep keys", maps_as_keys(40, 500), None),
        // Moved at each level.
        ("a large value inside", unsorted_around(Value::Bin(vec![0; 15 << 20]), 20), Some(true)),
        ("a large value deep inside", unsorted_around(Value::Bin(vec![0; 15 << 20]), 1000), Some(false)),
    ] {
        let payload = etf::payload(&value);
        assert!(payload.len() <= DEFAULT_LIMITS.max_payload_size, "{what}: {}", payload.len());
        let started = Instant::now();
        let is_accepted = accepts(&payload, DEFAULT_LIMITS);
        let took = started.elapsed();
        assert!(accepted.is_none_or(|accepted| accepted == is_accepted), "{what}: {is_accepted}");
        assert!(took < Duration::from_secs(20), "{what}: {took:?}");
    }
}
