//! PostgreSQL's values, in text under the pinned session settings or in the type's binary send format.

use std::borrow::Cow;

use crate::change::{InvalidRow, Value};

/// A text, varchar or enum: the same bytes in both formats. `None` for SQL NULL and for what is not in the message.
pub(super) const fn text(value: Value<'_>) -> Option<&[u8]> {
    match value {
        Value::Text(text) | Value::Binary(text) => Some(text),
        Value::Null | Value::Unchanged => None,
    }
}

/// A text, varchar or enum that must be there.
pub(super) fn required_text<'a>(column: &'static str, value: Value<'a>) -> Result<&'a [u8], InvalidRow> {
    text(value).ok_or_else(|| absent(column, value))
}

/// What to say of a value that must be there and is not.
pub(super) fn absent(column: &'static str, value: Value<'_>) -> InvalidRow {
    let unchanged = matches!(value, Value::Unchanged);
    InvalidRow::new(column, if unchanged { "it is unchanged TOAST and not in the message" } else { "it is NULL" })
}

/// An int2, int4 or int8.
pub(super) fn integer(column: &'static str, value: Value<'_>) -> Result<i64, InvalidRow> {
    let number = match value {
        Value::Binary(bytes) => match bytes.len() {
            2 => bytes.try_into().ok().map(i16::from_be_bytes).map(i64::from),
            4 => bytes.try_into().ok().map(i32::from_be_bytes).map(i64::from),
            _ => bytes.try_into().ok().map(i64::from_be_bytes),
        },
        Value::Text(text) => std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
        Value::Null | Value::Unchanged => return Err(absent(column, value)),
    };
    number.ok_or_else(|| InvalidRow::new(column, "it is no 64-bit integer"))
}

/// A bytea; in text it is hexadecimal (`bytea_output = hex`).
pub(super) fn bytea<'a>(column: &'static str, value: Value<'a>) -> Result<Cow<'a, [u8]>, InvalidRow> {
    match value {
        Value::Binary(bytes) => Ok(Cow::Borrowed(bytes)),
        Value::Text(text) => text
            .strip_prefix(b"\\x")
            .and_then(unhex)
            .map(Cow::Owned)
            .ok_or_else(|| InvalidRow::new(column, "it is no bytea in hexadecimal text")),
        Value::Null | Value::Unchanged => Err(absent(column, value)),
    }
}

fn unhex(digits: &[u8]) -> Option<Vec<u8>> {
    let (pairs, []) = digits.as_chunks::<2>() else { return None };
    let mut seen = 0;
    let bytes = pairs.iter().map(|[high, low]| {
        let (high, low) = (nibble(*high), nibble(*low));
        seen |= high | low;
        high << 4 | low & 15
    });
    let bytes = bytes.collect();
    (seen <= 15).then_some(bytes)
}

/// The value of a hexadecimal digit; above 15 if it is none.
const fn nibble(digit: u8) -> u8 {
    // Without branches, so that many are done at a time.
    let (decimal, letter) = (digit.wrapping_sub(b'0'), (digit | 0x20).wrapping_sub(b'a'));
    if decimal < 10 {
        decimal
    } else if letter < 6 {
        letter + 10
    } else {
        128
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        let read = |value: Value<'_>| integer("event_id", value).ok();
        assert_eq!(read(Value::Binary(&(-2_i16).to_be_bytes())), Some(-2));
        assert_eq!(read(Value::Binary(&(-70_000_i32).to_be_bytes())), Some(-70_000));
        assert_eq!(read(Value::Binary(&i64::MIN.to_be_bytes())), Some(i64::MIN));
        assert_eq!(read(Value::Text(b"-9223372036854775808")), Some(i64::MIN));
        for wrong in ["", "1.0", "1 ", "9223372036854775808", "0x1", "\u{661}"] {
            assert_eq!(read(Value::Text(wrong.as_bytes())), None, "{wrong}");
        }
        for wrong in [&[][..], &[1], &[0; 3], &[0; 9]] {
            assert_eq!(read(Value::Binary(wrong)), None, "{wrong:?}");
        }
        assert_eq!(read(Value::Text(&[0xff])), None);
        assert_eq!(integer("event_id", Value::Null).unwrap_err().to_string(), "column event_id: it is NULL");
    }

    #[test]
    fn bytea_is_hexadecimal_text_or_raw() {
        let read = |value: Value<'_>| bytea("payload", value).ok().map(Cow::into_owned);
        assert_eq!(read(Value::Text(b"\\x")), Some(vec![]));
        assert_eq!(read(Value::Text(b"\\x00fFaB09")), Some(vec![0, 0xff, 0xab, 9]));
        assert_eq!(read(Value::Binary(b"\\x00")), Some(b"\\x00".to_vec()));
        for wrong in ["", "\\", "00", "\\x0", "\\xg0", "\\x0g", "\\x 0", "\\336\\255", "\\x00 "] {
            assert_eq!(read(Value::Text(wrong.as_bytes())), None, "{wrong}");
        }
        assert_eq!(read(Value::Null), None);
        assert_eq!(read(Value::Unchanged), None);
    }
}
