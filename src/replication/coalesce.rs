//! How long to let the socket fill before the next read.
//!
//! A walsender pays a `send` and a wake-up for every message that its client reads at once; a client that waits a little while
//! the stream runs fast halves the walsender's work, which is the limit of a drain (measured). At rest it must not wait at all.

use std::time::Duration;

/// Longest wait, and the latency that a fast stream pays.
const LONGEST: Duration = Duration::from_millis(5);
/// What one read should bring; waiting for more would only fill the server's side.
const ENOUGH: usize = 512 * 1024;
/// A stream that brings less than this in the longest wait is not fast.
const FAST: usize = 64 * 1024;

/// Decides from the reads so far.
#[derive(Debug, Default)]
pub struct Coalesce {
    last: Duration,
    fast_reads: u32,
}

impl Coalesce {
    /// A read that ended at `now` brought this many bytes. Returns how long to wait before the next one.
    pub fn read(&mut self, now: Duration, bytes: usize) -> Option<Duration> {
        let nanos = now.saturating_sub(self.last).max(Duration::from_micros(1)).as_nanos();
        self.last = now;
        let in_longest = (bytes as u128 * LONGEST.as_nanos()) / nanos;
        if in_longest < FAST as u128 {
            self.fast_reads = 0;
            return None;
        }
        self.fast_reads += 1;
        // Two in a row: a single burst after rest is handed on at once.
        if self.fast_reads < 2 || bytes >= ENOUGH {
            return None;
        }
        let wanted = nanos * ENOUGH as u128 / bytes.max(1) as u128;
        Some(LONGEST.min(Duration::from_nanos(u64::try_from(wanted).unwrap_or(u64::MAX))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_stream_at_rest_never_waits() {
        let mut coalesce = Coalesce::default();
        for n in 1..100 {
            assert_eq!(coalesce.read(MS * n, 1_500), None, "5,000 rows of 300 bytes a second");
        }
    }

    #[test]
    fn a_burst_after_rest_does_not_wait() {
        let mut coalesce = Coalesce::default();
        assert_eq!(coalesce.read(MS * 1000, 60_000), None);
        assert_eq!(coalesce.read(MS * 1001, 60_000), None);
    }

    #[test]
    fn a_fast_stream_waits_for_a_large_read_and_no_longer() {
        let mut coalesce = Coalesce::default();
        let mut now = MS * 1000;
        let mut waits = vec![];
        for _ in 0..4 {
            now += MS / 10;
            waits.push(coalesce.read(now, 8 * 1024));
        }
        assert_eq!(waits, [None, None, Some(LONGEST), Some(LONGEST)]);
        assert_eq!(coalesce.read(now + LONGEST, 600 * 1024), None, "enough came");
        assert_eq!(coalesce.read(now + LONGEST * 2, 256 * 1024), Some(LONGEST));
    }
}
