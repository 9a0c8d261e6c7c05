//! What is wrong, as an operator at night needs to read it.

use std::fmt;

/// The kind of a trouble. What follows from it stands in one table, `delivery::policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// PostgreSQL cannot be reached, starts up, shuts down, or cut the connection.
    PostgresUnavailable,
    /// PostgreSQL refuses the login: password, role, database, `pg_hba.conf`, TLS.
    PostgresLogin,
    /// The role lacks a privilege.
    PostgresPrivilege,
    /// A setting of the server does not allow logical replication (`wal_level`, no free slot or sender).
    PostgresSetting,
    /// Another session streams from the slot.
    SlotBusy,
    /// The slot is missing and may not be created.
    SlotMissing,
    /// The slot is of another plugin, database or kind.
    SlotMismatch,
    /// The slot was invalidated: PostgreSQL has removed what it needs.
    SlotLost,
    /// The slot was dropped, recreated or moved behind our back, or the history of the server is another one.
    HistoryChanged,
    /// A table of a namespace is missing.
    TableMissing,
    /// A publication does not publish what it must, or a replica identity does not carry it.
    Publication,
    /// A table has not the columns that it must have.
    Schema,
    /// A row cannot become a message.
    InvalidRow,
    /// PostgreSQL sent something that cannot be decoded.
    Undecodable,
    /// Kafka cannot be reached.
    KafkaUnavailable,
    /// Kafka refuses the connection: TLS, password, protocol.
    KafkaLogin,
    /// A topic is missing.
    TopicMissing,
    /// Kafka refuses to let us write to a topic.
    TopicPrivilege,
    /// A topic has fewer partitions than before, or offsets went back: it was recreated or its data was lost.
    TopicRecreated,
    /// A message was not confirmed in time, or the producer gave it up.
    SendFailed,
    /// Kafka refuses a message for its size.
    MessageTooLarge,
    /// The slot crashed too often: a defect of this program.
    Bug,
}

impl Class {
    /// The name that logs, metrics and HTTP show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PostgresUnavailable => "postgres_unavailable",
            Self::PostgresLogin => "postgres_login",
            Self::PostgresPrivilege => "postgres_privilege",
            Self::PostgresSetting => "postgres_setting",
            Self::SlotBusy => "slot_busy",
            Self::SlotMissing => "slot_missing",
            Self::SlotMismatch => "slot_mismatch",
            Self::SlotLost => "slot_lost",
            Self::HistoryChanged => "history_changed",
            Self::TableMissing => "table_missing",
            Self::Publication => "publication",
            Self::Schema => "schema",
            Self::InvalidRow => "invalid_row",
            Self::Undecodable => "undecodable",
            Self::KafkaUnavailable => "kafka_unavailable",
            Self::KafkaLogin => "kafka_login",
            Self::TopicMissing => "topic_missing",
            Self::TopicPrivilege => "topic_privilege",
            Self::TopicRecreated => "topic_recreated",
            Self::SendFailed => "send_failed",
            Self::MessageTooLarge => "message_too_large",
            Self::Bug => "bug",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One trouble: what is wrong and where, and the statement or setting that mends it. Never a row's content, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// Its kind.
    pub class: Class,
    /// What is wrong and where, in one sentence.
    pub message: String,
    /// What mends it.
    pub remedy: String,
}

impl Trouble {
    /// A trouble of this kind.
    pub fn new(class: Class, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { class, message: message.into(), remedy: remedy.into() }
    }
}
