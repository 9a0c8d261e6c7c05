//! What happened, in the words of the business, before it becomes bytes.

use std::borrow::Cow;

use super::PgTimestamp;

/// Which of a namespace's two topics a message belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Topic {
    /// Events of machines.
    Eventsink,
    /// Creation, failure, repair and removal of machines.
    Lifecycle,
}

/// What a change of a row means to consumers. Ids are borrowed from the read buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notification<'a> {
    /// A process has recorded an event.
    MachineEvent {
        /// `process_id`.
        machine_id: &'a [u8],
        /// `event_id`.
        event_id: i64,
        /// The event's own time.
        created_at: PgTimestamp,
        /// `metadata.format_version`.
        format_version: Option<i32>,
        /// Erlang external term format; owned only if it came as hexadecimal text.
        payload: Cow<'a, [u8]>,
    },
    /// A process has begun, failed, recovered or ended. It happened when its transaction was committed.
    Lifecycle {
        /// `process_id`.
        machine_id: &'a [u8],
        /// What happened to it.
        event: Lifecycle<'a>,
    },
}

/// A step in the life of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifecycle<'a> {
    /// The process was inserted.
    Created,
    /// Its status became `error`.
    Failed {
        /// `detail`; `unknown` where there is none.
        reason: &'a [u8],
    },
    /// Its status is no longer `error`.
    Working,
    /// The process was deleted.
    Removed,
}

impl Notification<'_> {
    /// The topic it belongs to.
    #[must_use]
    pub const fn topic(&self) -> Topic {
        match self {
            Self::MachineEvent { .. } => Topic::Eventsink,
            Self::Lifecycle { .. } => Topic::Lifecycle,
        }
    }

    /// The id of the process, the last part of the message's key.
    #[must_use]
    pub const fn machine_id(&self) -> &[u8] {
        match self {
            Self::MachineEvent { machine_id, .. } | Self::Lifecycle { machine_id, .. } => machine_id,
        }
    }
}
