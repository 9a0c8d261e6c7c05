//! The numbers at the end.

use std::time::Duration;

use super::{message::Counts, screen::Screen, writer::Written};
use crate::{change::Lsn, cli::exit};

/// What the three sides have counted.
pub(super) struct Summary {
    /// By the writer.
    pub(super) written: Written,
    /// By the service: messages that the broker has confirmed.
    pub(super) confirmed: u64,
    /// By the consumer.
    pub(super) seen: Counts,
    /// From commit to confirmation: median and 99th percentile.
    pub(super) latency: (Duration, Duration),
    /// What PostgreSQL was told.
    pub(super) acknowledged: Lsn,
    /// The end of PostgreSQL's log.
    pub(super) server: Lsn,
}

impl Summary {
    /// Whether everything that was written has arrived, and PostgreSQL knows.
    fn complete(&self) -> bool {
        let due = &self.written.due;
        self.seen.covers(due) && self.confirmed >= due.total() && self.acknowledged >= self.server
    }

    /// Shows it; returns the exit code.
    pub(super) fn show(&self, screen: &mut Screen) -> u8 {
        let Written { rows, transactions, due } = &self.written;
        let behind = match self.server.since(self.acknowledged) {
            0 => format!("the server's is {}: nothing is left to send", self.server),
            bytes => format!("the server's is {}: {bytes} bytes behind", self.server),
        };
        let (median, most) = (milliseconds(self.latency.0), milliseconds(self.latency.1));
        screen.counts_heading("Summary");
        screen.counts("messages due", Some(due), due.total());
        screen.counts("messages confirmed", None, self.confirmed);
        screen.counts("messages seen", Some(&self.seen), self.seen.total());
        screen.text("");
        screen.entry("rows written", &rows.to_string(), &format!("in {transactions} transactions"));
        let latency = format!("p50 {median}, p99 {most}");
        screen.entry("commit to confirmed", &latency, "of an in-process broker on this machine");
        screen.entry("acknowledged LSN", &self.acknowledged.to_string(), &behind);
        if self.complete() {
            return exit::DONE;
        }
        screen.text("\nNot everything that was written has arrived in time; see the messages of the service above.");
        exit::FOUND
    }
}

/// Two digits that mean something.
fn milliseconds(duration: Duration) -> String {
    let value = duration.as_secs_f64() * 1000.0;
    if value < 9.95 { format!("{value:.1} ms") } else { format!("{value:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::message::Kind;

    #[test]
    fn complete_means_everywhere() {
        let mut due = Counts::default();
        due.add(Kind::Event, 3);
        let complete = || Summary {
            written: Written { rows: 5, transactions: 2, due: due.clone() },
            confirmed: 3,
            seen: due.clone(),
            latency: (Duration::ZERO, Duration::ZERO),
            acknowledged: Lsn::new(9),
            server: Lsn::new(9),
        };
        assert!(complete().complete());
        assert!(!Summary { confirmed: 2, ..complete() }.complete());
        assert!(!Summary { seen: Counts::default(), ..complete() }.complete());
        assert!(!Summary { acknowledged: Lsn::new(8), ..complete() }.complete());
    }

    #[test]
    fn times_are_short() {
        for (micros, expected) in [(0, "0.0 ms"), (3_240, "3.2 ms"), (9_990, "10 ms"), (123_400, "123 ms")] {
            assert_eq!(milliseconds(Duration::from_micros(micros)), expected);
        }
    }
}
