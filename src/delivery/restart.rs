//! How often a crashed actor is started again (OTP's restart intensity), and after which delay.

use std::{collections::VecDeque, time::Duration};

use backon::{BackoffBuilder, ExponentialBuilder};

/// What to do about a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restart {
    /// Start it again after this delay.
    After(Duration),
    /// It crashed too often.
    GiveUp,
}

/// At most `intensity` crashes within `period`, as OTP's supervisors count.
#[derive(Debug)]
pub struct Intensity {
    crashes_allowed: usize,
    period: Duration,
    crashes: VecDeque<Duration>,
}

impl Default for Intensity {
    fn default() -> Self {
        Self::new(5, Duration::from_mins(1))
    }
}

impl Intensity {
    /// At most this many crashes within this period.
    #[must_use]
    pub const fn new(intensity: usize, period: Duration) -> Self {
        Self { crashes_allowed: intensity, period, crashes: VecDeque::new() }
    }

    /// A crash at this time.
    pub fn crashed(&mut self, now: Duration) -> Restart {
        while self.crashes.front().is_some_and(|then| now.saturating_sub(*then) >= self.period) {
            self.crashes.pop_front();
        }
        self.crashes.push_back(now);
        if self.crashes.len() > self.crashes_allowed {
            return Restart::GiveUp;
        }
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(Duration::from_secs(5))
            .with_max_times(self.crashes_allowed)
            .build();
        Restart::After(delays.nth(self.crashes.len() - 1).unwrap_or(Duration::from_secs(5)))
    }

    /// A person decided to go on: earlier crashes do not count any more.
    pub fn forgive(&mut self) {
        self.crashes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_crashes_within_the_period_give_up() {
        let mut intensity = Intensity::new(2, Duration::from_secs(10));
        let at = Duration::from_secs;
        assert_eq!(intensity.crashed(at(0)), Restart::After(Duration::from_millis(100)));
        assert!(matches!(intensity.crashed(at(1)), Restart::After(delay) if delay.as_millis() == 200));
        assert_eq!(intensity.crashed(at(9)), Restart::GiveUp);
    }

    #[test]
    fn old_crashes_do_not_count() {
        let mut intensity = Intensity::new(1, Duration::from_secs(10));
        let at = Duration::from_secs;
        assert!(matches!(intensity.crashed(at(0)), Restart::After(_)));
        assert!(matches!(intensity.crashed(at(10)), Restart::After(_)));
        assert_eq!(intensity.crashed(at(11)), Restart::GiveUp);
        intensity.forgive();
        assert!(matches!(intensity.crashed(at(12)), Restart::After(_)));
    }
}
