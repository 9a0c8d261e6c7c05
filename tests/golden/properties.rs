//! What must hold for any value and any bytes.

use std::cmp::Ordering;

use cdc_notifier::encoding::{
    Limits,
    mg_proto::read::{self, Value},
};
use proptest::prelude::*;

use crate::{
    etf::{self, Style},
    namespace::{DEFAULT_LIMITS, Event, Format, Namespace},
};

/// Erlang's term order of values, told plainly: the tag as text, then what it holds.
fn term_order(one: &Value, other: &Value) -> Ordering {
    let tag = |value: &Value| match value {
        Value::Nil => "nl",
        Value::Bool(_) => "b",
        Value::Int(_) => "i",
        Value::Float(_) => "flt",
        Value::Str(_) => "str",
        Value::Bin(_) => "bin",
        Value::Obj(_) => "obj",
        Value::Arr(_) => "arr",
    };
    let all = |one: &mut dyn Iterator<Item = (&Value, &Value)>| {
        one.map(|(one, other)| term_order(one, other)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
    };
    tag(one).cmp(tag(other)).then_with(|| match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::Float(one), Value::Float(other)) => one.total_cmp(other),
        (Value::Str(one), Value::Str(other)) | (Value::Bin(one), Value::Bin(other)) => one.cmp(other),
        (Value::Arr(one), Value::Arr(other)) => all(&mut one.iter().zip(other)).then(one.len().cmp(&other.len())),
        (Value::Obj(one), Value::Obj(other)) => {
            let keys = &mut one.iter().zip(other).map(|((one, _), (other, _))| (one, other));
            let values = &mut one.iter().zip(other).map(|((_, one), (_, other))| (one, other));
            one.len().cmp(&other.len()).then_with(|| all(keys)).then_with(|| all(values))
        }
        _ => Ordering::Equal,
    })
}

/// The value with its maps in term order and without repeated keys.
fn ordered(value: Value) -> Value {
    match value {
        Value::Arr(values) => Value::Arr(values.into_iter().map(ordered).collect()),
        Value::Obj(entries) => {
            let mut entries: Vec<_> = entries.into_iter().map(|(key, value)| (ordered(key), ordered(value))).collect();
            entries.sort_by(|(one, _), (other, _)| term_order(one, other));
            entries.dedup_by(|(one, _), (other, _)| term_order(one, other).is_eq());
            Value::Obj(entries)
        }
        scalar => scalar,
    }
}

fn shuffled(value: &Value, seed: &mut u64) -> Value {
    let mut random = |below: usize| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(*seed >> 33).unwrap() % below
    };
    match value {
        Value::Arr(values) => Value::Arr(values.iter().map(|value| shuffled(value, seed)).collect()),
        Value::Obj(entries) => {
            let mut order: Vec<_> = entries.iter().collect();
            for last in (1..order.len()).rev() {
                order.swap(last, random(last + 1));
            }
            let entries = order.into_iter().map(|(key, value)| (shuffled(key, seed), shuffled(value, seed)));
            Value::Obj(entries.collect())
        }
        scalar => scalar.clone(),
    }
}

/// Scalars of few kinds, so that equal ones and common beginnings come often.
fn scalar() -> impl Strategy<Value = Value> {
    let number = prop_oneof![-3..300_i64, Just(i64::MIN), Just(i64::MAX), any::<i64>()];
    let float = prop_oneof![Just(0.0), Just(-0.0), any::<f64>().prop_filter("finite", |float| float.is_finite())];
    let bytes = || prop_oneof![prop::collection::vec(0..2_u8, 0..4), prop::collection::vec(any::<u8>(), 0..80)];
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        number.prop_map(Value::Int),
        float.prop_map(Value::Float),
        bytes().prop_map(Value::Str),
        bytes().prop_map(Value::Bin),
    ]
}

/// Values with maps in term order, some of them with more than 32 keys.
fn value() -> impl Strategy<Value = Value> {
    let tree = scalar().prop_recursive(5, 120, 6, |inner| {
        let entries = prop::collection::vec((inner.clone(), inner.clone()), 0..6);
        prop_oneof![prop::collection::vec(inner, 0..6).prop_map(Value::Arr), entries.prop_map(Value::Obj)]
    });
    let wide = prop::collection::vec((scalar(), scalar()), 30..70).prop_map(Value::Obj);
    prop_oneof![4 => tree, 1 => wide].prop_map(ordered)
}

fn encode(payload: &[u8], limits: Limits) -> Option<Vec<u8>> {
    let (_, value) = Namespace::new("n", limits).event(&Event::with(payload), Format::Binary).ok()?;
    Some(value)
}

/// Bytes of the event around its data: fields of `Namespace::new("n")` and `Event::with`.
const AROUND: usize = 76;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_value_comes_back_in_term_order(value in value(), choices: u32, mut seed: u64) {
        let payload = etf::styled(&shuffled(&value, &mut seed), Style { choices });
        let bytes = encode(&payload, DEFAULT_LIMITS).unwrap();
        // Debug text, since 0.0 equals -0.0.
        prop_assert_eq!(format!("{:?}", read::sink_event(&bytes).unwrap().data), format!("{value:?}"));
        prop_assert!(bytes.len() <= AROUND + payload.len() * 12 / 7);
        prop_assert_eq!(bytes, encode(&etf::payload(&value), DEFAULT_LIMITS).unwrap());
    }

    #[test]
    fn a_key_twice_is_refused(mut value in value(), copy: prop::sample::Index, place: prop::sample::Index, choices: u32) {
        let Value::Obj(entries) = &mut value else { return Ok(()) };
        prop_assume!(!entries.is_empty());
        let twice = (entries[copy.index(entries.len())].0.clone(), Value::Nil);
        entries.insert(place.index(entries.len() + 1), twice);
        let payload = etf::styled(&value, Style { choices });
        prop_assert!(encode(&payload, DEFAULT_LIMITS).is_none());
    }

    #[test]
    fn bytes_of_any_kind_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for start in [&[][..], &[131], &[131, 104, 2], &[131, 80, 0, 0, 0, 50, 0x78, 0x9c]] {
            let payload = [start, &bytes].concat();
            if let Some(value) = encode(&payload, DEFAULT_LIMITS) {
                prop_assert!(read::sink_event(&value).is_ok());
            }
        }
        let _either = (read::sink_event(&bytes), read::lifecycle_event(&bytes));
    }

    #[test]
    fn damaged_payloads_do_no_harm(
        value in value(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut: prop::sample::Index,
        choices: u32,
    ) {
        let mut payload = etf::styled(&value, Style { choices });
        let whole = encode(&payload, DEFAULT_LIMITS).unwrap();
        prop_assert!(encode(&payload[..cut.index(payload.len())], DEFAULT_LIMITS).is_none());
        prop_assert!(read::sink_event(&whole[..cut.index(whole.len())]).is_err());
        let mut message = whole;
        for (at, byte) in &damage {
            let (at, place) = (at.index(payload.len()), at.index(message.len()));
            payload[at] = *byte;
            message[place] = *byte;
        }
        if let Some(value) = encode(&payload, DEFAULT_LIMITS) {
            prop_assert!(read::sink_event(&value).is_ok());
            prop_assert!(value.len() <= AROUND + payload.len() * 12 / 7);
        }
        let _either = read::sink_event(&message);
    }
}
