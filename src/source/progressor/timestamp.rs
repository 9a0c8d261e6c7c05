//! A timestamptz.

use jiff::civil::Date;

use super::value::absent;
use crate::change::{InvalidRow, PgTimestamp, Value};

const SECOND: i64 = 1_000_000;
const UNIX_EPOCH: Date = Date::constant(1970, 1, 1);
/// 0001-01-01 00:00:00 UTC in microseconds since 1970.
const FIRST: i64 = -62_135_596_800 * SECOND;
/// 10000-01-01 00:00:00 UTC in microseconds since 1970.
const END: i64 = 253_402_300_800 * SECOND;

/// A timestamptz within the years 1 to 9999 (UTC), the ones that have a text that every consumer can read.
pub(super) fn timestamp(column: &'static str, value: Value<'_>) -> Result<PgTimestamp, InvalidRow> {
    let at = match value {
        Value::Binary(micros) => micros.try_into().ok().map(|micros| PgTimestamp(i64::from_be_bytes(micros))),
        Value::Text(text) => parse(text).map(PgTimestamp::from_unix_micros),
        Value::Null | Value::Unchanged => return Err(absent(column, value)),
    };
    at.filter(|at| at.unix_micros().is_some_and(|micros| (FIRST..END).contains(&micros)))
        .ok_or_else(|| InvalidRow::new(column, "it is no time within the years 1 to 9999"))
}

/// Microseconds since 1970 of a text in DateStyle ISO: `2024-03-22 06:12:27.123456+05:30:15`.
fn parse(text: &[u8]) -> Option<i64> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(rest.strip_prefix(b"-")?, 2)?;
    let (day, rest) = number(rest.strip_prefix(b"-")?, 2)?;
    let (clock, rest) = clock(rest.strip_prefix(b" ")?)?;
    let (micros, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    let (offset, rest) = offset(rest)?;
    // `2024-03-22 06:12:27+00 BC`
    if !rest.is_empty() {
        return None;
    }
    let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
    let midnight = date.duration_since(UNIX_EPOCH).as_secs();
    Some((midnight + clock - offset) * SECOND + micros)
}

/// `06:12:27` in seconds.
fn clock(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hours, rest) = number(text, 2)?;
    let (minutes, rest) = number(rest.strip_prefix(b":")?, 2)?;
    let (seconds, rest) = number(rest.strip_prefix(b":")?, 2)?;
    (hours < 24 && minutes < 60 && seconds < 60).then_some((hours * 3600 + minutes * 60 + seconds, rest))
}

/// One to six digits, in microseconds.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (mut micros, rest) = (1..=6).contains(&digits).then(|| number(text, digits)).flatten()?;
    for _ in digits..6 {
        micros *= 10;
    }
    Some((micros, rest))
}

/// `+05`, `-05:30` or `+00:19:32` in seconds east of UTC.
fn offset(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, rest) = text.split_first()?;
    let sign = match sign {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (mut seconds, mut rest) = number(rest, 2).map(|(hours, rest)| (hours * 3600, rest))?;
    for unit in [60, 1] {
        let Some(more) = rest.strip_prefix(b":") else { break };
        let (part, more) = number(more, 2)?;
        if part > 59 {
            return None;
        }
        (seconds, rest) = (seconds + part * unit, more);
    }
    Some((sign * seconds, rest))
}

/// A number of exactly so many digits.
fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (number, rest) = text.split_at_checked(digits)?;
    let number = number
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0')))?;
    Some((number, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<i64> {
        timestamp("timestamp", Value::Text(text.as_bytes())).ok().and_then(PgTimestamp::unix_micros)
    }

    #[test]
    fn text_as_postgresql_prints_it() {
        assert_eq!(read("1970-01-01 00:00:00+00"), Some(0));
        assert_eq!(read("2000-01-01 00:00:01.5+00"), Some(946_684_801_500_000));
        assert_eq!(read("1969-12-31 23:59:59.999999+00"), Some(-1));
        assert_eq!(read("1970-01-01 05:30:15.000001+05:30:15"), Some(1));
        assert_eq!(read("1969-12-31 18:30:00-05:30"), Some(0));
        assert_eq!(read("0001-01-01 00:00:00+00"), Some(FIRST));
        assert_eq!(read("9999-12-31 23:59:59.999999+00"), Some(END - 1));
    }

    #[test]
    fn anything_else_is_refused() {
        for wrong in [
            "",
            "infinity",
            "-infinity",
            "0001-01-01 00:00:00+01",
            "9999-12-31 23:59:59-01",
            "0044-03-15 00:00:00+00 BC",
            "0000-01-01 00:00:00+00",
            "10000-01-01 00:00:00+00",
            "2024-02-30 00:00:00+00",
            "2023-02-29 00:00:00+00",
            "2024-01-01 24:00:00+00",
            "2024-01-01 23:59:60+00",
            "2024-01-01 00:00:00",
            "2024-01-01 00:00:00.+00",
            "2024-01-01 00:00:00.1234567+00",
            "2024-01-01 00:00:00+0",
            "2024-01-01 00:00:00+00:60",
            "2024-01-01 00:00:00+00:00:00:00",
            "2024-01-01T00:00:00Z",
            "01.01.2024 00:00:00 UTC",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn binary_is_microseconds_since_2000() {
        let read = |micros: i64| timestamp("timestamp", Value::Binary(&micros.to_be_bytes())).ok();
        assert_eq!(read(0), Some(PgTimestamp(0)));
        assert_eq!(read(-1), Some(PgTimestamp(-1)));
        let epoch = 946_684_800 * SECOND;
        for (edge, inside) in [(FIRST - epoch, true), (FIRST - epoch - 1, false), (END - epoch - 1, true)] {
            assert_eq!(read(edge).is_some(), inside, "{edge}");
        }
        for outside in [END - epoch, i64::MAX, i64::MIN] {
            assert_eq!(read(outside), None, "{outside}");
        }
        assert!(timestamp("timestamp", Value::Binary(&[0; 4])).is_err());
        assert!(timestamp("timestamp", Value::Null).is_err());
    }
}
