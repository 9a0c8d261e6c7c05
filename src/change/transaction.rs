//! What is known of a transaction when its first change arrives (pgoutput's Begin).

use std::time::Duration;

use super::Lsn;

/// Microseconds since 2000-01-01 00:00:00 UTC, as PostgreSQL sends a timestamptz in binary.
/// `i64::MAX` and `i64::MIN` are `infinity` and `-infinity`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PgTimestamp(pub i64);

impl PgTimestamp {
    /// Seconds from 1970-01-01 to 2000-01-01.
    const EPOCH: i64 = 946_684_800;

    /// Microseconds since 1970-01-01 00:00:00 UTC, if they fit.
    #[must_use]
    pub const fn unix_micros(self) -> Option<i64> {
        self.0.checked_add(Self::EPOCH * 1_000_000)
    }

    /// How long before this moment another one of the same clock was; zero if it was not before.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        let micros = self.0.saturating_sub(earlier.0);
        if micros > 0 { Duration::from_micros(micros.unsigned_abs()) } else { Duration::ZERO }
    }

    /// The timestamp of this many microseconds since 1970-01-01 00:00:00 UTC.
    #[must_use]
    pub const fn from_unix_micros(micros: i64) -> Self {
        Self(micros.saturating_sub(Self::EPOCH * 1_000_000))
    }
}

/// A committed transaction, as its Begin message announces it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The 32-bit transaction id; unique only together with the position.
    pub xid: u32,
    /// Start of the commit record (`final_lsn` of Begin). To be acknowledged is its end, never this.
    pub commit_lsn: Lsn,
    /// When it was committed, by the server's clock.
    pub commit_time: PgTimestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_was_not_before_is_no_time_ago() {
        let at = PgTimestamp;
        assert_eq!(at(5).since(at(2)), Duration::from_micros(3));
        assert_eq!(at(2).since(at(5)), Duration::ZERO, "a clock that was set back");
        assert_eq!(at(i64::MAX).since(at(i64::MIN)), Duration::from_micros(i64::MAX.unsigned_abs()));
    }
}
