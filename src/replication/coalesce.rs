//! How long to let the socket fill before the next read.
//!
//! A walsender pays a `send` and a wake-up for every message that its client reads at once, and Kafka pays for every batch that
//! is cut from so little: a client that waits a little while it is behind drains several times faster than one that does not
//! (measured, and all the more on a busy machine). A client that is not behind must not wait at all.
//!
//! The age decides: how long ago a change was committed when PostgreSQL sent it, both by the server's clock. A pause of a
//! small part of that is never felt.

use std::time::Duration;

/// Longest pause. Shorter ones leave the server's congestion control (seen with BBR) sending message by message; after longer ones
/// the socket has been full for a while (measured, `docs/performance.md`).
const LONGEST: Duration = Duration::from_millis(8);
/// Messages of this many bytes fill a segment by themselves: all that a pause can do for them is to fill a read.
const LARGE: usize = 2 * 1024;
/// Longest pause for those.
const LONGEST_FOR_LARGE: Duration = Duration::from_millis(1);
/// Shorter pauses bring nothing.
const SHORTEST: Duration = Duration::from_micros(500);
/// The part of its age by which a change may become older.
const PART: u32 = 8;
/// What one read should bring; waiting for more would only fill the server's side.
const ENOUGH: usize = 512 * 1024;

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub struct Brought {
    /// Bytes.
    pub bytes: usize,
    /// Messages that they completed.
    pub messages: usize,
    /// How long after the read before.
    pub after: Duration,
    /// How long ago the newest of them was committed when the server sent it.
    pub age: Duration,
}

/// How long to wait before the next read.
#[must_use]
pub fn pause(brought: Brought) -> Option<Duration> {
    let Brought { bytes, messages, after, age } = brought;
    if bytes >= ENOUGH {
        return None;
    }
    let longest = if bytes / messages.max(1) < LARGE { LONGEST } else { LONGEST_FOR_LARGE };
    let wanted = after.as_nanos() * ENOUGH as u128 / bytes.max(1) as u128;
    let wanted = Duration::from_nanos(u64::try_from(wanted).unwrap_or(u64::MAX));
    let pause = longest.min(age / PART).min(wanted);
    (pause >= SHORTEST).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_hours(24);

    /// Of messages of 100 bytes.
    fn of(bytes: usize, after: Duration, age: Duration) -> Option<Duration> {
        pause(Brought { bytes, messages: bytes / 100, after, age })
    }

    #[test]
    fn who_keeps_up_never_waits() {
        for bytes in [100, 1_500, 60_000, 600_000] {
            assert_eq!(of(bytes, MS, Duration::ZERO), None, "{bytes}");
            assert_eq!(of(bytes, MS, MS * 3), None, "{bytes}");
        }
    }

    #[test]
    fn a_pause_is_a_small_part_of_the_age() {
        assert_eq!(of(1_500, MS, MS * 4), Some(MS / 2));
        assert_eq!(of(1_500, MS, MS * 8), Some(MS));
        assert_eq!(of(1_500, MS, MS * 20), Some(MS * 5 / 2));
        assert_eq!(of(1_500, MS, MS * 64), Some(LONGEST));
        assert_eq!(of(1_500, MS, DAY), Some(LONGEST));
    }

    #[test]
    fn what_comes_fast_enough_is_not_waited_for() {
        assert_eq!(of(ENOUGH, MS * 5, DAY), None, "there is more already");
        assert_eq!(of(ENOUGH / 2, MS / 5, DAY), None);
        assert_eq!(of(ENOUGH / 4, MS / 2, DAY), Some(MS * 2));
        assert_eq!(of(ENOUGH / 2, MS * 3, DAY), Some(MS * 6));
        assert_eq!(of(0, DAY, DAY), Some(LONGEST), "a read without bytes");
    }

    #[test]
    fn large_messages_need_no_long_pause() {
        let of = |messages| pause(Brought { bytes: 100_000, messages, after: MS * 5, age: DAY });
        assert_eq!([of(1_000), of(49), of(48), of(1), of(0)], [LONGEST, LONGEST, MS, MS, MS].map(Some));
    }
}
