//! Why bytes are not a message.

use std::fmt;

use crate::change::{Class, Trouble, TupleError};

/// Bytes that are no pgoutput message of protocol version 1. Says where, never what a row holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeError {
    /// The message's first byte; `None` if there is none.
    pub tag: Option<u8>,
    /// Bytes from the message's first byte to what is wrong.
    pub offset: usize,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It has no byte at all.
    #[error("it is empty")]
    Empty,
    /// No such message exists.
    #[error("its kind is unknown")]
    UnknownKind,
    /// A message of `streaming`, which we never ask for.
    #[error("{0} belongs to the streaming of open transactions, which was not asked for")]
    Streaming(&'static str),
    /// A message of `two_phase`, which is sticky: a slot that was once read so stays so.
    #[error("{0} belongs to two-phase commit, which was not asked for: the slot has two_phase switched on")]
    TwoPhase(&'static str),
    /// It ends before or within this part.
    #[error("it ends before the end of the {0}")]
    EndsIn(&'static str),
    /// There are so many bytes more than it should have.
    #[error("{0} bytes are left over")]
    LeftOver(usize),
    /// This part has a value that protocol version 1 does not know.
    #[error("an unknown value of the {0}")]
    Unknown(&'static str),
    /// This name is not UTF-8, though `client_encoding` is.
    #[error("the {0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A row is malformed.
    #[error("{0}")]
    Tuple(#[from] TupleError),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("pgoutput message")?;
        if let Some(tag) = self.tag {
            write!(f, " '{}'", tag.escape_ascii())?;
        }
        write!(f, " cannot be decoded at byte {}: {}", self.offset, self.reason)
    }
}

impl std::error::Error for DecodeError {}

impl DecodeError {
    /// What mends it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.reason {
            Reason::TwoPhase(_) => {
                "stop the service, then on PostgreSQL 18 send ALTER_REPLICATION_SLOT <slot> (TWO_PHASE false) on a replication \
                 connection (psql \"dbname=<database> replication=database\"); before 18 only a new slot without two_phase helps"
            }
            Reason::NotUtf8(_) => {
                "give the schema, the table and its columns names that are valid UTF-8 (ALTER TABLE ... RENAME)"
            }
            _ => {
                "see that no proxy stands between the service and PostgreSQL and that its version is supported (13 to 18); report this message"
            }
        }
    }
}

impl From<DecodeError> for Trouble {
    fn from(error: DecodeError) -> Self {
        Self::new(Class::Undecodable, error.to_string(), error.remedy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_where_and_how_to_mend_it() {
        let error = DecodeError { tag: Some(b'P'), offset: 0, reason: Reason::TwoPhase("Prepare") };
        assert_eq!(
            error.to_string(),
            "pgoutput message 'P' cannot be decoded at byte 0: Prepare belongs to two-phase commit, which was not asked for: \
             the slot has two_phase switched on"
        );
        let trouble = Trouble::from(error);
        assert_eq!(trouble.class, Class::Undecodable);
        assert!(trouble.remedy.contains("TWO_PHASE false"));
        let error = DecodeError { tag: Some(0), offset: 0, reason: Reason::UnknownKind };
        assert_eq!(error.to_string(), "pgoutput message '\\x00' cannot be decoded at byte 0: its kind is unknown");
        let error = DecodeError { tag: None, offset: 0, reason: Reason::Empty };
        assert_eq!(error.to_string(), "pgoutput message cannot be decoded at byte 0: it is empty");
    }
}
