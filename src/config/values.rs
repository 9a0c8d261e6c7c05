//! Kinds of values that TOML does not have: durations, sizes, secrets.

use std::{fmt, marker::PhantomData, time::Duration};

use secrecy::SecretString;
use serde::de::{self, Deserialize, Deserializer, Unexpected, Visitor};

/// A duration: `"500ms"`, `"3s"`, `"5m"`, `"1h"`, or whole milliseconds. At most [`Time::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl Time {
    /// A week. Above it, additions to a point in time might overflow, and nothing here waits so long on purpose.
    const MAX: Duration = Duration::from_hours(7 * 24);

    fn of(count: u64, unit: &str) -> Option<Self> {
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            _ => return None,
        };
        let duration = Duration::from_millis(count.checked_mul(milliseconds)?);
        (duration <= Self::MAX).then_some(Self(duration))
    }
}

/// A number of bytes: `"64MiB"`, or an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) usize);

impl Size {
    fn of(count: u64, unit: &str) -> Option<Self> {
        let bytes = match unit {
            "B" => 1,
            "kB" | "KB" => 1000,
            "MB" => 1000 * 1000,
            "GB" => 1000 * 1000 * 1000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return None,
        };
        count.checked_mul(bytes)?.try_into().ok().map(Self)
    }
}

/// Something written as a whole number and a unit, or as a whole number alone.
trait Measure: Sized {
    /// What an operator may write.
    const EXPECTED: &'static str;
    /// The unit of a number alone.
    const UNIT: &'static str;

    fn of(count: u64, unit: &str) -> Option<Self>;
}

impl Measure for Time {
    const EXPECTED: &'static str =
        r#"a duration such as "500ms", "3s", "5m", "1h", or whole milliseconds, at most "168h""#;
    const UNIT: &'static str = "ms";

    fn of(count: u64, unit: &str) -> Option<Self> {
        Self::of(count, unit)
    }
}

impl Measure for Size {
    const EXPECTED: &'static str = r#"a size such as "64KiB", "32MiB", "1GiB", "10MB", or whole bytes"#;
    const UNIT: &'static str = "B";

    fn of(count: u64, unit: &str) -> Option<Self> {
        Self::of(count, unit)
    }
}

struct MeasureVisitor<M>(PhantomData<M>);

impl<M: Measure> Visitor<'_> for MeasureVisitor<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(M::EXPECTED)
    }

    fn visit_i64<E: de::Error>(self, count: i64) -> Result<M, E> {
        let value = u64::try_from(count).ok().and_then(|count| M::of(count, M::UNIT));
        value.ok_or_else(|| E::invalid_value(Unexpected::Signed(count), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<M, E> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let value =
            text.split_at_checked(digits).and_then(|(count, unit)| M::of(count.parse().ok()?, unit.trim_start()));
        value.ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeasureVisitor(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MeasureVisitor(PhantomData))
    }
}

/// A secret: text only. YAML would have turned an unquoted `0123` into another password.
pub(super) struct Secret(pub(super) SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(text.into()))
    }
}

/// The value of a property of librdkafka.
pub(super) struct Property {
    /// As librdkafka takes it.
    pub(super) text: SecretString,
    /// Whether it stood there as text; a number or a boolean may have been rewritten by the format.
    pub(super) verbatim: bool,
}

struct PropertyVisitor;

impl Visitor<'_> for PropertyVisitor {
    type Value = Property;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in quotes, a whole number, or true or false")
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Property, E> {
        Ok(Property { text: value.to_string().into(), verbatim: false })
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Property, E> {
        Ok(Property { text: value.to_string().into(), verbatim: false })
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Property, E> {
        Ok(Property { text: value.into(), verbatim: true })
    }
}

impl<'de> Deserialize<'de> for Property {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PropertyVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tree::Tree, *};

    fn time(text: &str) -> Option<u128> {
        Time::deserialize(Tree::Text(text.to_owned())).ok().map(|time| time.0.as_millis())
    }

    fn size(text: &str) -> Option<usize> {
        Size::deserialize(Tree::Text(text.to_owned())).ok().map(|size| size.0)
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("500ms", 500),
            ("3s", 3000),
            ("3 s", 3000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
            ("168h", 604_800_000),
        ] {
            assert_eq!(time(text), Some(milliseconds), "{text}");
        }
        for text in [
            "",
            "5",
            "s",
            "5M",
            "5d",
            "-5s",
            "1.5s",
            "1h30m",
            "5s ",
            "169h",
            "18446744073709551616ms",
            "9999999999999999999h",
        ] {
            assert_eq!(time(text), None, "{text}");
        }
        assert_eq!(Time::deserialize(Tree::Integer(1500)), Ok(Time(Duration::from_millis(1500))));
        assert!(Time::deserialize(Tree::Integer(-1)).is_err());
        assert!(Time::deserialize(Tree::Integer(i64::MAX.into())).is_err());
        assert!(Time::deserialize(Tree::Integer(u64::MAX.into())).is_err());
    }

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("64KiB", 65536), ("32MiB", 33_554_432), ("1GiB", 1 << 30), ("10MB", 10_000_000), ("7B", 7)]
        {
            assert_eq!(size(text), Some(bytes), "{text}");
        }
        for text in ["", "64", "64M", "64mib", "-1B", "1.5MiB", "99999999999GiB"] {
            assert_eq!(size(text), None, "{text}");
        }
        assert_eq!(Size::deserialize(Tree::Integer(65536)), Ok(Size(65536)));
        assert!(Size::deserialize(Tree::Integer(-1)).is_err());
    }
}
