//! `format_version` of a metadata column (jsonb).

use std::fmt;

use serde::de::{Deserialize, Deserializer as _, Error, IgnoredAny, MapAccess, Visitor};

use crate::change::{InvalidRow, Value};

const COLUMN: &str = "metadata";

/// `format_version`, if the metadata has one. SQL NULL is no metadata.
///
/// The rest of the metadata is users' input of any size and depth: it is stepped over, not read.
pub(super) fn format_version(metadata: Value<'_>) -> Result<Option<i32>, InvalidRow> {
    let json = match metadata {
        Value::Null => return Ok(None),
        Value::Unchanged => return Err(super::value::absent(COLUMN, metadata)),
        Value::Text(json) => json,
        // jsonb_send: one byte of version, then the text.
        Value::Binary(jsonb) => match jsonb.split_first() {
            Some((1, json)) => json,
            _ => return Err(InvalidRow::new(COLUMN, "it is no jsonb of version 1")),
        },
    };
    if let Some(version) = alone(json) {
        return Ok(Some(version));
    }
    let mut json = serde_json::Deserializer::from_slice(json);
    let version = json.deserialize_map(Object).and_then(|version| json.end().map(|()| version));
    // The parser's message may quote what the row holds.
    version.map_err(|_| InvalidRow::new(COLUMN, "it is no object with a 32-bit integer as format_version"))
}

/// The version where there is nothing else, as jsonb prints it: `{"format_version": 1}`. Nearly every row is so, and
/// the parser costs more than all else of it.
fn alone(json: &[u8]) -> Option<i32> {
    let digits = json.strip_prefix(b"{\"format_version\": ")?.strip_suffix(b"}")?;
    let canonical = matches!(digits, [b'0'] | [b'1'..=b'9', ..]) && digits.len() <= 9;
    let number = |sum, digit: &u8| digit.is_ascii_digit().then(|| sum * 10 + i32::from(digit - b'0'));
    canonical.then(|| digits.iter().try_fold(0, number)).flatten()
}

/// A JSON object of which one key is wanted.
struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Option<i32>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut version = None;
        while let Some(Key { wanted }) = object.next_key()? {
            if wanted {
                version = Some(object.next_value()?);
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        Ok(version)
    }
}

/// Whether a key is the wanted one; it is not kept.
struct Key {
    wanted: bool,
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<Key, E> {
                Ok(Key { wanted: name == "format_version" })
            }
        }
        deserializer.deserialize_str(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_or_none() {
        for (json, expected) in [
            ("{}", None),
            (r#"{"a": {"format_version": 7}}"#, None),
            (r#"{"format_version": 0}"#, Some(0)),
            (r#"{"format_version": 123456789}"#, Some(123_456_789)),
            (r#"{"format_version": 2147483647}"#, Some(i32::MAX)),
            (r#"{"format_version": -2147483648}"#, Some(i32::MIN)),
            (r#"{"a": [1, {"b": null}], "format_version": 2, "z": "}"}"#, Some(2)),
            (r#"{"format_version":3}"#, Some(3)),
            (r#"{"format\u005fversion": 4}"#, Some(4)),
            (r#"{"format_version": 5, "format_version": 6}"#, Some(6)),
        ] {
            assert_eq!(format_version(Value::Text(json.as_bytes())), Ok(expected), "{json}");
            let binary = [b"\x01", json.as_bytes()].concat();
            assert_eq!(format_version(Value::Binary(&binary)), Ok(expected), "{json}");
        }
        assert_eq!(format_version(Value::Null), Ok(None));
    }

    #[test]
    fn anything_else_is_refused_without_quoting_it() {
        for json in [
            "",
            "null",
            "[]",
            "[1]",
            "1",
            "\"secret\"",
            "{",
            "{}{}",
            r#"{"format_version": null}"#,
            r#"{"format_version": "secret"}"#,
            r#"{"format_version": 1.0}"#,
            r#"{"format_version": 1e0}"#,
            r#"{"format_version": true}"#,
            r#"{"format_version": [1]}"#,
            r#"{"format_version": 2147483648}"#,
            r#"{"format_version": -2147483649}"#,
            r#"{"format_version": 99999999999999999999999}"#,
            r#"{"format_version": 01}"#,
            r#"{"format_version": }"#,
        ] {
            let error = format_version(Value::Text(json.as_bytes())).unwrap_err();
            assert!(error.column == COLUMN && !error.reason.contains("secret"), "{json}: {error}");
        }
        for jsonb in [&b""[..], b"{}", b"\x02{}"] {
            assert!(format_version(Value::Binary(jsonb)).is_err());
        }
        assert!(format_version(Value::Unchanged).is_err());
    }

    #[test]
    fn depth_costs_no_stack() {
        let deep = |n: usize| format!(r#"{{"a": {}{}, "format_version": 1}}"#, "[".repeat(n), "]".repeat(n));
        assert_eq!(format_version(Value::Text(deep(1_000_000).as_bytes())), Ok(Some(1)));
        assert!(format_version(Value::Text("[".repeat(1_000_000).as_bytes())).is_err());
        assert!(format_version(Value::Text(r#"{"a":"#.repeat(1_000_000).as_bytes())).is_err());
    }
}
