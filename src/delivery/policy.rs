//! What follows from a trouble: the one table.

use std::time::Duration;

use super::ledger::Waiting;
use crate::change::Class;

/// The times of the configuration that decide here.
#[derive(Clone, Copy, Debug)]
pub struct RetryTimes {
    /// Before a failed send is tried again.
    pub resend_timeout: Duration,
    /// Failed sends in a row before `reconnect_timeout` is waited for.
    pub max_retries: u32,
    /// Before a closed connection is opened again.
    pub reconnect_timeout: Duration,
    /// A message not confirmed for this long is a failed send.
    pub send_timeout: Duration,
}

/// When a trouble shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Before the stream has begun.
    Start,
    /// While it runs.
    Running,
}

/// What the slot does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// An operator or time can mend it outside the process: try again after `reconnect_timeout`, for ever.
    Wait,
    /// Kafka did not take a message: settle, replace the producer, send the unconfirmed suffix again after `resend_timeout`.
    Resend,
    /// Going on would lose or falsify data: stop this slot until a person decides.
    Halt,
}

/// From the kind of a trouble to what the slot does.
#[must_use]
pub const fn disposition(class: Class, phase: Phase) -> Disposition {
    match class {
        Class::PostgresUnavailable
        | Class::PostgresLogin
        | Class::PostgresPrivilege
        | Class::PostgresSetting
        | Class::SlotBusy
        | Class::SlotMissing
        | Class::SlotMismatch
        | Class::TableMissing
        | Class::KafkaUnavailable
        | Class::KafkaLogin => Disposition::Wait,
        // Found wrong at the start nothing has been lost; while running, changes may have gone by unseen or without a column.
        Class::Publication | Class::Schema => match phase {
            Phase::Start => Disposition::Wait,
            Phase::Running => Disposition::Halt,
        },
        Class::TopicMissing | Class::TopicPrivilege => match phase {
            Phase::Start => Disposition::Wait,
            Phase::Running => Disposition::Resend,
        },
        Class::SendFailed | Class::MessageTooLarge => Disposition::Resend,
        Class::SlotLost
        | Class::HistoryChanged
        | Class::InvalidRow
        | Class::Undecodable
        | Class::TopicRecreated
        | Class::Bug => Disposition::Halt,
    }
}

/// What the reader does while messages wait for their confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Read on.
    Read,
    /// Stop reading; PostgreSQL still gets its status updates.
    Pause,
    /// Close the connection; the producer keeps what it has.
    Close,
}

/// What follows from the time without a confirmation.
#[must_use]
pub fn flow(waiting: Option<Waiting>, times: &RetryTimes) -> Flow {
    let further = times.resend_timeout.saturating_mul(times.max_retries);
    match waiting {
        // A Kafka that is only slow confirms something: nobody is helped if its slot reconnects.
        Some(Waiting { oldest, any }) if oldest >= times.send_timeout.saturating_add(further) && any >= further => {
            Flow::Close
        }
        Some(Waiting { oldest, .. }) if oldest >= times.send_timeout => Flow::Pause,
        Some(_) | None => Flow::Read,
    }
}

/// How long the oldest message of a slot may wait while it still borrows memory.
const NO_MORE_BORROWING: Duration = Duration::from_secs(1);

/// Whether a slot may borrow memory: one whose Kafka is away may not.
#[must_use]
pub fn may_borrow(waiting: Option<Waiting>) -> bool {
    waiting.is_none_or(|waiting| waiting.oldest < NO_MORE_BORROWING)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_whose_kafka_is_away_borrows_nothing() {
        let waiting = |millis| Some(Waiting { oldest: Duration::from_millis(millis), any: Duration::ZERO });
        assert_eq!([None, waiting(999), waiting(1_000)].map(may_borrow), [true, true, false]);
    }

    #[test]
    fn time_without_confirmation_first_pauses_then_closes() {
        let times = RetryTimes {
            resend_timeout: Duration::from_secs(3),
            max_retries: 3,
            reconnect_timeout: Duration::from_secs(5),
            send_timeout: Duration::from_secs(30),
        };
        let seconds = Duration::from_secs;
        let after = |oldest, any| flow(Some(Waiting { oldest: seconds(oldest), any: seconds(any) }), &times);
        assert_eq!(flow(None, &times), Flow::Read);
        assert_eq!([after(29, 29), after(30, 30), after(38, 38)], [Flow::Read, Flow::Pause, Flow::Pause]);
        assert_eq!([after(39, 39), after(39, 9), after(39, 8)], [Flow::Close, Flow::Close, Flow::Pause]);
    }

    #[test]
    fn publications_and_tables_are_waited_for_at_the_start_and_halt_while_running() {
        for class in [Class::Publication, Class::Schema] {
            assert_eq!(disposition(class, Phase::Start), Disposition::Wait);
            assert_eq!(disposition(class, Phase::Running), Disposition::Halt);
        }
        assert_eq!(disposition(Class::InvalidRow, Phase::Start), Disposition::Halt);
    }
}
