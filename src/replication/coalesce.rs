//! How long to let the socket fill before the next read.
//!
//! A walsender pays a `send` and a wake-up for every message that its client reads at once, and Kafka pays for every batch that
//! is cut from so little: a client that waits a little while it is behind drains several times faster than one that does not
//! (measured, and all the more on a busy machine). A client that is not behind must not wait at all.
//!
//! The age decides: how long ago a change was committed when PostgreSQL sent it, both by the server's clock. A pause of a
//! small part of that is never felt.

use std::time::Duration;

/// Longest pause. Shorter ones leave the server's congestion control (seen with BBR) sending message by message (measured,
/// `docs/performance.md`); mostly a pause ends before, because enough is there or nothing more comes.
const LONGEST: Duration = Duration::from_millis(20);
/// Shorter pauses bring nothing, and last longer than they should: timers count milliseconds.
const SHORTEST: Duration = Duration::from_millis(2);
/// The part of its age by which a change may become older.
const PART: u32 = 8;
/// What should have arrived of small messages before they are read: the more, the fewer wake-ups and the fuller Kafka's batches.
const ENOUGH: usize = 1024 * 1024;
/// The same of large ones: a batch is full with a few of them, and with more on its way the heap becomes fragmented.
const ENOUGH_LARGE: usize = 512 * 1024;
/// Average length from which messages are large.
const LARGE: usize = 2048;
/// How often is looked at what has arrived.
const LOOK: Duration = Duration::from_millis(1);
/// Looks in a row at which nothing more had arrived: the socket is full, or the server has nothing to say.
const STILL: u8 = 2;

/// A pause between two reads.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    until: Duration,
    /// What it should bring.
    enough: usize,
    /// The next look, not before.
    look_at: Duration,
    /// Bytes that had arrived at the last look.
    arrived: usize,
    /// Looks at which they had not become more.
    still: u8,
}

impl Pause {
    /// The pause after a read that brought so many bytes in so many messages, the newest of which was committed so long ago when the
    /// server sent it.
    #[must_use]
    pub fn begin(now: Duration, bytes: usize, messages: usize, age: Duration) -> Option<Self> {
        let pause = LONGEST.min(age / PART);
        let enough = if bytes / messages.max(1) < LARGE { ENOUGH } else { ENOUGH_LARGE };
        let paused = bytes < enough && pause >= SHORTEST;
        paused.then(|| Self { until: now + pause, enough, look_at: now + LOOK, arrived: 0, still: 0 })
    }

    /// Whether to read now that so much has arrived; asked for only when there is something to look at.
    pub fn is_over(&mut self, now: Duration, arrived: impl FnOnce() -> usize) -> bool {
        if now >= self.until {
            return true;
        }
        if now < self.look_at {
            return false;
        }
        let arrived = arrived();
        self.still = if arrived > self.arrived { 0 } else { self.still + 1 };
        self.arrived = arrived;
        self.look_at = now + LOOK;
        arrived >= self.enough || self.still >= STILL
    }

    /// When to ask again.
    #[must_use]
    pub fn next_look(&self) -> Duration {
        self.until.min(self.look_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const DAY: Duration = Duration::from_hours(24);

    /// How long the pause lasts if this much has arrived at each look.
    fn lasts(age: Duration, arrived: impl Fn(u32) -> usize) -> Option<Duration> {
        let begin = MS * 100;
        let mut pause = Pause::begin(begin, 1_000, 10, age)?;
        let (mut now, mut looks) = (begin, 0);
        while !pause.is_over(now, || {
            looks += 1;
            arrived(looks)
        }) {
            assert!(pause.next_look() > now, "it would be asked for ever");
            now = pause.next_look();
        }
        Some(now.saturating_sub(begin))
    }

    const fn growing(look: u32) -> usize {
        look as usize * 100
    }

    #[test]
    fn who_keeps_up_never_waits() {
        assert_eq!(lasts(Duration::ZERO, growing), None);
        assert_eq!(lasts(MS * 15, growing), None);
    }

    #[test]
    fn a_pause_is_a_small_part_of_the_age() {
        assert_eq!(lasts(MS * 16, growing), Some(MS * 2));
        assert_eq!(lasts(MS * 20, growing), Some(MS * 5 / 2));
        assert_eq!(lasts(MS * 160, growing), Some(LONGEST));
        assert_eq!(lasts(DAY, growing), Some(LONGEST));
    }

    #[test]
    fn what_is_enough_is_not_waited_for() {
        assert!(Pause::begin(MS, ENOUGH, ENOUGH, DAY).is_none(), "there is more already");
        assert!(Pause::begin(MS, ENOUGH - 1, ENOUGH, DAY).is_some());
        assert_eq!(lasts(DAY, |look| look as usize * ENOUGH / 3), Some(MS * 3));
        assert_eq!(lasts(DAY, |look| look as usize * (ENOUGH - 1) / 3), Some(MS * 4));
    }

    #[test]
    fn of_large_messages_less_is_enough() {
        assert!(Pause::begin(MS, ENOUGH_LARGE, ENOUGH_LARGE / LARGE, DAY).is_none());
        assert!(Pause::begin(MS, ENOUGH_LARGE - LARGE, ENOUGH_LARGE / LARGE - 1, DAY).is_some());
        assert!(Pause::begin(MS, ENOUGH_LARGE, ENOUGH_LARGE / LARGE + 1, DAY).is_some(), "they are small");
        let mut pause = Pause::begin(MS, LARGE, 1, DAY).unwrap();
        assert!(pause.is_over(MS * 2, || ENOUGH_LARGE));
        assert!(Pause::begin(MS, 0, 0, DAY).is_some(), "none is none");
    }

    #[test]
    fn a_socket_that_is_full_or_silent_is_read() {
        assert_eq!(lasts(DAY, |_| 0), Some(MS * 2), "nothing comes");
        assert_eq!(lasts(DAY, |look| growing(look.min(5))), Some(MS * 7), "nothing more comes");
        assert_eq!(lasts(DAY, |look| growing(look / 2 + 1)), Some(LONGEST), "one look without news is none");
    }

    #[test]
    fn between_two_looks_nothing_is_looked_at() {
        let mut pause = Pause::begin(Duration::ZERO, 0, 0, DAY).unwrap();
        assert!(!pause.is_over(MS / 2, || panic!("too early")));
    }
}
