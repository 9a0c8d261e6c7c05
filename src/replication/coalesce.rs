//! How long to let the socket fill before the next read.
//!
//! A walsender pays a `send` and a wake-up for every message that its client reads at once, and Kafka pays for every batch that
//! is cut from so little: a client that waits a little while it is behind drains several times faster than one that does not
//! (measured, and all the more on a busy machine). A client that is not behind must not wait at all.
//!
//! The age decides: how long ago a change was committed when PostgreSQL sent it, both by the server's clock. A pause of a
//! small part of that is never felt.

use std::time::Duration;

/// Longest pause. It is that long only where little comes in that time, because processors are busy with something else; pauses
/// of less than 5 ms leave the server's congestion control (seen with BBR) sending message by message.
const LONGEST: Duration = Duration::from_millis(20);
/// Shorter pauses bring nothing.
const SHORTEST: Duration = Duration::from_micros(500);
/// The part of its age by which a change may become older.
const PART: u32 = 8;
/// What one read should bring; waiting for more would only fill the server's side.
const ENOUGH: usize = 512 * 1024;

/// How long to wait before the next read, after one that brought so many bytes so long after the one before, the last of them of
/// a transaction that was committed `behind` ago.
#[must_use]
pub fn pause(bytes: usize, since_last: Duration, behind: Duration) -> Option<Duration> {
    if bytes >= ENOUGH {
        return None;
    }
    let wanted = since_last.as_nanos() * ENOUGH as u128 / bytes.max(1) as u128;
    let wanted = Duration::from_nanos(u64::try_from(wanted).unwrap_or(u64::MAX));
    let pause = LONGEST.min(behind / PART).min(wanted);
    (pause >= SHORTEST).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn who_keeps_up_never_waits() {
        for bytes in [100, 1_500, 60_000, 600_000] {
            assert_eq!(pause(bytes, MS, Duration::ZERO), None, "{bytes}");
            assert_eq!(pause(bytes, MS, MS * 3), None, "{bytes}");
        }
    }

    #[test]
    fn a_pause_is_a_small_part_of_the_age() {
        assert_eq!(pause(1_500, MS, MS * 4), Some(MS / 2));
        assert_eq!(pause(1_500, MS, MS * 8), Some(MS));
        assert_eq!(pause(1_500, MS, MS * 20), Some(MS * 5 / 2));
        assert_eq!(pause(1_500, MS, MS * 160), Some(LONGEST));
        assert_eq!(pause(1_500, MS, Duration::from_hours(24)), Some(LONGEST));
    }

    #[test]
    fn what_comes_fast_enough_is_not_waited_for() {
        let day = Duration::from_hours(24);
        assert_eq!(pause(ENOUGH, MS * 5, day), None, "there is more already");
        assert_eq!(pause(ENOUGH / 2, MS / 5, day), None);
        assert_eq!(pause(ENOUGH / 4, MS / 2, day), Some(MS * 2));
        assert_eq!(pause(ENOUGH / 2, MS * 5, day), Some(MS * 10));
        assert_eq!(pause(0, day, day), Some(LONGEST), "a read without bytes");
    }
}
