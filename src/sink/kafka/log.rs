//! librdkafka's own log lines: to tracing, without the repetition.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rdkafka::config::RDKafkaLogLevel as Level;

/// A line of the same kind is shown once in this time.
const QUIET: Duration = Duration::from_secs(30);
/// Kinds of lines remembered; more of them are forgotten, and shown again.
const KINDS: usize = 256;

/// Which lines were shown lately.
#[derive(Debug, Default)]
pub(super) struct Repeats(Mutex<HashMap<u64, (Instant, u64)>>);

impl Repeats {
    /// Whether to show this line now; with it, how many of its kind were left out since the last one.
    fn admit(&self, facility: &str, text: &str, now: Instant) -> Option<u64> {
        // Lines of one kind differ in times, ports and counts.
        let mut hasher = DefaultHasher::new();
        facility.hash(&mut hasher);
        text.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| byte.hash(&mut hasher));
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= KINDS {
            seen.clear();
        }
        let (shown, left_out) = seen.entry(hasher.finish()).or_insert((now, 0));
        if *shown != now && now.duration_since(*shown) < QUIET {
            *left_out += 1;
            return None;
        }
        *shown = now;
        Some(std::mem::take(left_out))
    }

    /// Passes a line on. `text` holds no secret.
    pub(super) fn pass(&self, client: &str, level: Level, facility: &str, text: &str) {
        let Some(left_out) = self.admit(facility, text, Instant::now()) else { return };
        // What matters to an operator is told as a trouble; librdkafka goes on by itself after most of its errors.
        match level {
            Level::Emerg | Level::Alert | Level::Critical => {
                tracing::error!(client, facility, left_out, "librdkafka: {text}");
            }
            Level::Error | Level::Warning => tracing::warn!(client, facility, left_out, "librdkafka: {text}"),
            Level::Notice | Level::Info => tracing::info!(client, facility, left_out, "librdkafka: {text}"),
            Level::Debug => tracing::debug!(client, facility, left_out, "librdkafka: {text}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_line_is_shown_once_in_a_while() {
        let (repeats, start) = (Repeats::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(repeats.admit("FAIL", "refused after 3 ms", at(0)), Some(0));
        assert_eq!(repeats.admit("FAIL", "refused after 14 ms", at(1)), None);
        assert_eq!(repeats.admit("FAIL", "another", at(1)), Some(0));
        assert_eq!(repeats.admit("ERROR", "refused after 3 ms", at(1)), Some(0));
        assert_eq!(repeats.admit("FAIL", "refused after 5 ms", at(29)), None);
        assert_eq!(repeats.admit("FAIL", "refused after 6 ms", at(30)), Some(2));
        assert_eq!(repeats.admit("FAIL", "refused after 6 ms", at(31)), None);
    }

    #[test]
    fn kinds_are_bounded() {
        let (repeats, now) = (Repeats::default(), Instant::now());
        for kind in 0..10 * KINDS {
            assert_eq!(repeats.admit("FAIL", &"x".repeat(kind), now), Some(0));
        }
        assert!(repeats.0.lock().unwrap().len() <= KINDS);
    }
}
