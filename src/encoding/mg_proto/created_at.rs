//! The text of a time: `2024-03-22T06:12:27Z`, UTC, the fraction cut (towards the past, before 1970 too).

use jiff::{Span, civil::Date};

use super::Fault;
use crate::change::PgTimestamp;

const UNIX_EPOCH: Date = Date::constant(1970, 1, 1);
const MICROS_OF_A_DAY: i64 = 86_400_000_000;
/// 0001-01-01 and 9999-12-31 in days since 1970-01-01.
const DAYS: std::ops::RangeInclusive<i64> = -719_162..=2_932_896;

/// Writes times. Most are of the same day as the one before, so its date is kept.
pub(super) struct CreatedAt {
    /// Days since 1970-01-01.
    day: i64,
    /// `2024-03-22T`.
    date: [u8; 11],
}

impl Default for CreatedAt {
    fn default() -> Self {
        Self { day: 0, date: *b"1970-01-01T" }
    }
}

impl CreatedAt {
    /// Appends a time as a Thrift string.
    ///
    /// # Errors
    /// If it is outside the years 1 to 9999.
    pub(super) fn put(&mut self, at: PgTimestamp, out: &mut Vec<u8>) -> Result<(), Fault> {
        let outside = "it is no time within the years 1 to 9999";
        let micros = at.unix_micros().ok_or(outside)?;
        let day = micros.div_euclid(MICROS_OF_A_DAY);
        if day != self.day {
            self.date = date(day).ok_or(outside)?;
            self.day = day;
        }
        let second = micros.rem_euclid(MICROS_OF_A_DAY) / 1_000_000;
        let (hour, minute, second) = (two(second / 3600), two(second / 60 % 60), two(second % 60));
        out.extend_from_slice(&[0, 0, 0, 20]);
        out.extend_from_slice(&self.date);
        out.extend_from_slice(&[hour[0], hour[1], b':', minute[0], minute[1], b':', second[0], second[1], b'Z']);
        Ok(())
    }
}

fn date(day: i64) -> Option<[u8; 11]> {
    let days = DAYS.contains(&day).then(|| Span::new().try_days(day).ok()).flatten()?;
    let date = UNIX_EPOCH.checked_add(days).ok()?;
    let year = i64::from(date.year());
    let (century, year) = (two(year / 100), two(year % 100));
    let (month, day) = (two(date.month().into()), two(date.day().into()));
    Some([century[0], century[1], year[0], year[1], b'-', month[0], month[1], b'-', day[0], day[1], b'T'])
}

/// Two decimal digits of a number below 100.
fn two(number: i64) -> [u8; 2] {
    let digit = |number: i64| u8::try_from(number % 10).map_or(b'?', |digit| b'0' + digit);
    [digit(number / 10), digit(number)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(writer: &mut CreatedAt, micros: i64) -> Result<String, Fault> {
        let mut out = Vec::new();
        writer.put(PgTimestamp::from_unix_micros(micros), &mut out)?;
        assert_eq!(out[..4], [0, 0, 0, 20]);
        Ok(String::from_utf8(out.split_off(4)).unwrap())
    }

    #[test]
    fn times_of_any_day_in_any_order() {
        let mut writer = CreatedAt::default();
        for (micros, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59Z"),
            (951_782_399_999_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (951_782_400_999_999, "2000-02-29T00:00:00Z"),
            (-2_203_891_200_000_000, "1900-03-01T00:00:00Z"),
            (1_711_087_947_000_000, "2024-03-22T06:12:27Z"),
        ] {
            assert_eq!(text(&mut writer, micros).as_deref(), Ok(expected));
        }
        for outside in [-62_135_596_800_000_001, 253_402_300_800_000_000, i64::MIN] {
            assert!(text(&mut writer, outside).is_err());
        }
        let mut out = vec![1];
        assert!(writer.put(PgTimestamp(i64::MAX), &mut out).is_err());
        assert!(writer.put(PgTimestamp(i64::MIN), &mut out).is_err());
        assert_eq!(text(&mut writer, 1_711_087_947_000_000).as_deref(), Ok("2024-03-22T06:12:27Z"));
    }
}
