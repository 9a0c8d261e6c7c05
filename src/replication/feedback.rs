//! When the server is told how far we are, and what.
//!
//! The server cuts a client off that says nothing for `wal_sender_timeout`, answers some status updates with a keepalive, and forgets what
//! was acknowledged. So: a status goes out on our own timer whether or not anything is read; only an explicit request is answered out of turn;
//! and what is flushed only grows. Time is an argument: the duration since any fixed moment.

use std::time::Duration;

use super::copy_data::StatusUpdate;
use crate::change::Lsn;

/// Longest time between two status updates.
const LONGEST_INTERVAL: Duration = Duration::from_secs(10);
/// Shortest time between two status updates that nobody asked for.
const ACKNOWLEDGEMENT_GAP: Duration = Duration::from_millis(100);
/// Shortest time between two answers. A server that shuts down asks again after each answer until all is acknowledged.
const ANSWER_GAP: Duration = Duration::from_millis(10);

/// The server has not answered for half its timeout, though we have read, after saying nothing for the first half: the connection is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("PostgreSQL has sent nothing for {} ms, not even an answer to a status update", .after.as_millis())]
pub struct Silent {
    /// How long it has been silent.
    pub after: Duration,
}

/// The feedback of one stream, from its START_REPLICATION on.
#[derive(Debug)]
pub struct Feedback {
    /// `None`: the server has no timeout, and its silence means nothing.
    timeout: Option<Duration>,
    interval: Duration,
    received: Lsn,
    acknowledged: Lsn,
    /// The flush position of the last status.
    reported: Lsn,
    /// When the last status was taken.
    sent_at: Duration,
    /// When the server's last bytes arrived, or reading was taken up again; `None` while nothing is read.
    heard_at: Option<Duration>,
    /// Whether the server wants an answer.
    owed: bool,
    /// When the server was asked for an answer, if it was not heard since.
    asked_at: Option<Duration>,
}

impl Feedback {
    /// Begins where everything before `start` is already acknowledged: the slot's confirmed LSN or a later start of the stream, never 0/0.
    /// `wal_sender_timeout` is the server's setting for this session; `None` or zero if it is off.
    #[must_use]
    pub fn new(start: Lsn, wal_sender_timeout: Option<Duration>, now: Duration) -> Self {
        let timeout = wal_sender_timeout.filter(|timeout| !timeout.is_zero());
        Self {
            timeout,
            interval: timeout.map_or(LONGEST_INTERVAL, |timeout| LONGEST_INTERVAL.min(timeout / 3)),
            received: start,
            acknowledged: start,
            reported: start,
            sent_at: now,
            heard_at: Some(now),
            owed: false,
            asked_at: None,
        }
    }

    /// Bytes have arrived, be it part of a message.
    pub const fn heard(&mut self, now: Duration) {
        if self.heard_at.is_some() {
            self.heard_at = Some(now);
        }
        self.asked_at = None;
    }

    /// The server has sent this position: of an XLogData, the end of a commit, a keepalive's `wal_end`.
    pub fn received(&mut self, lsn: Lsn) {
        self.received = self.received.max(lsn);
    }

    /// Everything before this position is confirmed.
    pub fn acknowledged(&mut self, lsn: Lsn) {
        self.acknowledged = self.acknowledged.max(lsn);
    }

    /// A keepalive asks for an answer.
    pub const fn reply_requested(&mut self) {
        self.owed = true;
    }

    /// Nothing is read for a while: the server's silence means nothing.
    pub const fn pause_reading(&mut self) {
        self.heard_at = None;
        self.asked_at = None;
    }

    /// Reading is taken up again; the server has its whole timeout to be heard. Does nothing if reading was not paused.
    pub const fn resume_reading(&mut self, now: Duration) {
        if self.heard_at.is_none() {
            self.heard_at = Some(now);
        }
    }

    /// The status to send now, if one is due; it counts as sent.
    ///
    /// # Errors
    /// If the server is silent: the connection is to be closed.
    pub fn due(&mut self, now: Duration) -> Result<Option<StatusUpdate>, Silent> {
        if self.silent_at().is_some_and(|at| now >= at) {
            return Err(Silent { after: now.saturating_sub(self.heard_at.unwrap_or(now)) });
        }
        Ok((now >= self.status_at()).then(|| self.status(now)))
    }

    /// When [`Self::due`] has to be asked again, at the latest; not after `now` if it is due.
    #[must_use]
    pub fn next_due(&self) -> Duration {
        let status = self.status_at();
        self.silent_at().map_or(status, |silent| silent.min(status))
    }

    /// The status as it is, whether or not it is due: the last word before the end of the stream. It counts as sent.
    pub fn status(&mut self, now: Duration) -> StatusUpdate {
        let reply_requested = self.ask_at().is_some_and(|at| now >= at);
        if reply_requested {
            self.asked_at.get_or_insert(now);
        }
        self.owed = false;
        self.sent_at = now;
        self.reported = self.flush();
        StatusUpdate { write: self.received, flush: self.reported, reply_requested }
    }

    /// Never beyond what was received: the server believes everything, and would skip what we have not seen.
    fn flush(&self) -> Lsn {
        self.acknowledged.min(self.received)
    }

    fn status_at(&self) -> Duration {
        let after = |gap: Duration| self.sent_at.saturating_add(gap.min(self.interval));
        let answer = self.owed.then(|| after(ANSWER_GAP));
        let news = (self.flush() > self.reported).then(|| after(ACKNOWLEDGEMENT_GAP));
        let question = self.ask_at().filter(|_| self.asked_at.is_none());
        [answer, news, question].into_iter().flatten().fold(after(self.interval), Duration::min)
    }

    /// When the silence has lasted half the timeout: then the server is asked, which leaves it the other half to answer.
    fn ask_at(&self) -> Option<Duration> {
        Some(self.heard_at?.saturating_add(self.timeout? / 2))
    }

    /// Counted from the question, not from when we last heard: we may have been asleep ourselves.
    fn silent_at(&self) -> Option<Duration> {
        Some(self.asked_at?.saturating_add(self.timeout? / 2))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Lsn = Lsn::new(1_000);

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn lsn(bytes: u64) -> Lsn {
        Lsn::new(bytes)
    }

    /// A stream with a timeout of 60 s that begins at 0 ms.
    fn feedback() -> Feedback {
        Feedback::new(START, Some(ms(60_000)), ms(0))
    }

    fn flushed(feedback: &mut Feedback, at: u64) -> Option<Lsn> {
        feedback.due(ms(at)).unwrap().map(|status| status.flush)
    }

    #[test]
    fn the_interval_is_a_third_of_the_timeout_and_at_most_ten_seconds() {
        let cases = [
            (Some(60_000), 10_000),
            (Some(3_000), 1_000),
            (Some(90), 30),
            (Some(86_400_000), 10_000),
            (None, 10_000),
            (Some(0), 10_000),
        ];
        for (timeout, interval) in cases {
            let mut feedback = Feedback::new(START, timeout.map(ms), ms(5));
            assert_eq!(feedback.next_due(), ms(5 + interval), "{timeout:?}");
            assert_eq!(feedback.due(ms(4 + interval)), Ok(None), "{timeout:?}");
            let first = feedback.due(ms(5 + interval)).unwrap().expect("due");
            assert_eq!(first, StatusUpdate { write: START, flush: START, reply_requested: false }, "{timeout:?}");
            feedback.heard(ms(5 + interval));
            assert_eq!(feedback.due(ms(4 + 2 * interval)), Ok(None), "{timeout:?}");
            assert!(feedback.due(ms(5 + 2 * interval)).unwrap().is_some(), "{timeout:?}");
        }
    }

    #[test]
    fn only_a_request_is_answered_at_once_and_with_what_is_acknowledged() {
        let mut feedback = feedback();
        feedback.received(lsn(5_000));
        assert_eq!(feedback.due(ms(1_000)), Ok(None), "a keepalive without a request waits for the timer");
        feedback.reply_requested();
        assert!(feedback.next_due() <= ms(1_000));
        let answer = StatusUpdate { write: lsn(5_000), flush: START, reply_requested: false };
        assert_eq!(feedback.due(ms(1_000)), Ok(Some(answer)));
        assert_eq!(feedback.next_due(), ms(11_000), "one request, one answer");
        feedback.reply_requested();
        assert_eq!(feedback.due(ms(1_009)), Ok(None), "no storm while the server shuts down");
        assert_eq!(feedback.due(ms(1_010)), Ok(Some(answer)));
    }

    #[test]
    fn news_goes_out_at_most_ten_times_a_second() {
        let mut feedback = feedback();
        feedback.received(lsn(9_000));
        feedback.acknowledged(lsn(2_000));
        assert_eq!(flushed(&mut feedback, 99), None);
        assert_eq!(feedback.next_due(), ms(100));
        assert_eq!(flushed(&mut feedback, 100), Some(lsn(2_000)));
        feedback.acknowledged(lsn(3_000));
        assert_eq!(flushed(&mut feedback, 199), None);
        feedback.acknowledged(lsn(4_000));
        assert_eq!(flushed(&mut feedback, 200), Some(lsn(4_000)));
        assert_eq!(flushed(&mut feedback, 10_199), None, "nothing new: back to the interval");
        assert_eq!(flushed(&mut feedback, 10_200), Some(lsn(4_000)));
    }

    #[test]
    fn flush_never_goes_back_nor_beyond_what_was_received() {
        let mut feedback = feedback();
        feedback.acknowledged(lsn(500));
        feedback.received(lsn(10));
        let status = StatusUpdate { write: START, flush: START, reply_requested: false };
        assert_eq!(feedback.status(ms(0)), status);
        feedback.received(lsn(2_000));
        feedback.acknowledged(lsn(7_000));
        let status = StatusUpdate { write: lsn(2_000), flush: lsn(2_000), reply_requested: false };
        assert_eq!(feedback.status(ms(0)), status);
        feedback.acknowledged(lsn(1_500));
        feedback.received(lsn(8_000));
        let status = StatusUpdate { write: lsn(8_000), flush: lsn(7_000), reply_requested: false };
        assert_eq!(feedback.status(ms(0)), status);
    }

    #[test]
    fn a_silent_server_is_asked_at_half_and_given_up_at_the_whole_timeout() {
        let mut feedback = feedback();
        for at in [10_000, 20_000] {
            assert!(!feedback.due(ms(at)).unwrap().expect("regular").reply_requested);
        }
        feedback.heard(ms(25_000));
        assert!(!feedback.due(ms(30_000)).unwrap().expect("regular").reply_requested);
        for at in [40_000, 50_000] {
            assert!(!feedback.due(ms(at)).unwrap().expect("regular").reply_requested);
        }
        assert_eq!(feedback.next_due(), ms(55_000));
        assert!(feedback.due(ms(55_000)).unwrap().expect("half the timeout").reply_requested);
        assert!(feedback.due(ms(65_000)).unwrap().expect("regular").reply_requested);
        assert_eq!(feedback.due(ms(65_001)), Ok(None));
        assert!(feedback.due(ms(75_000)).unwrap().is_some());
        assert_eq!(feedback.next_due(), ms(85_000));
        assert_eq!(feedback.due(ms(84_999)), Ok(None));
        assert_eq!(feedback.due(ms(85_000)), Err(Silent { after: ms(60_000) }));
        feedback.heard(ms(85_001));
        assert!(!feedback.due(ms(85_001)).unwrap().expect("overdue").reply_requested, "it answered after all");
        assert_eq!(feedback.next_due(), ms(95_001));
    }

    #[test]
    fn whoever_was_asleep_asks_before_giving_up() {
        let mut feedback = feedback();
        assert!(feedback.due(ms(500_000)).unwrap().expect("overdue").reply_requested);
        assert!(feedback.due(ms(529_999)).unwrap().expect("overdue").reply_requested);
        assert_eq!(feedback.due(ms(530_000)), Err(Silent { after: ms(530_000) }));
    }

    #[test]
    fn silence_means_nothing_while_we_do_not_read_nor_without_a_timeout() {
        let mut paused = feedback();
        paused.due(ms(31_000)).unwrap().expect("asked");
        paused.pause_reading();
        paused.heard(ms(32_000));
        for at in (40_000..400_000).step_by(10_000) {
            let status = paused.due(ms(at)).unwrap();
            assert!(status.is_none_or(|status| !status.reply_requested), "{at}");
        }
        paused.resume_reading(ms(400_000));
        paused.resume_reading(ms(410_000));
        assert!(!paused.due(ms(429_999)).unwrap().expect("regular").reply_requested);
        assert!(paused.due(ms(430_000)).unwrap().expect("half").reply_requested);

        let mut endless = Feedback::new(START, None, ms(0));
        for at in (10_000..900_000).step_by(10_000) {
            assert!(!endless.due(ms(at)).unwrap().expect("regular").reply_requested);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whatever happens: a due status comes at the moment that was announced and not before, never too late for the server, no two
        /// within 10 ms unless the second is our own question, with a flush that only grows, is never 0, and is never beyond the write.
        #[test]
        fn the_rules_hold_in_any_order(events in proptest::collection::vec((0..6_u8, 0..5_000_u64), 1..200)) {
            let mut feedback = feedback();
            let (mut now, mut last_sent, mut last_flush) = (ms(0), ms(0), START);
            for (event, number) in events {
                match event {
                    0 => feedback.received(lsn(number)),
                    1 => feedback.acknowledged(lsn(number)),
                    2 => feedback.reply_requested(),
                    3 => feedback.heard(now),
                    4 => feedback.pause_reading(),
                    _ => feedback.resume_reading(now),
                }
                let next = feedback.next_due();
                let later = now + ms(number / 10);
                if later < next {
                    now = later;
                    prop_assert_eq!(feedback.due(now), Ok(None));
                    continue;
                }
                now = now.max(next);
                match feedback.due(now) {
                    Ok(Some(status)) => {
                        let gap = now.saturating_sub(last_sent);
                        prop_assert!(gap <= ms(10_000) && (status.reply_requested || gap >= ms(10)));
                        prop_assert!(status.flush >= last_flush && status.flush <= status.write && status.flush > Lsn::ZERO);
                        (last_sent, last_flush) = (now, status.flush);
                    }
                    Err(_) => break,
                    Ok(None) => prop_assert!(false, "announced, but not due"),
                }
                prop_assert!(feedback.next_due() > now);
            }
        }
    }
}
