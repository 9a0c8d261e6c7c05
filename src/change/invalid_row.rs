//! Why a row cannot become a message.

use std::borrow::Cow;

/// A row that cannot become a message ("poison"). Says where and why, never what the row holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {reason}")]
pub struct InvalidRow {
    /// The column at fault.
    pub column: &'static str,
    /// What is wrong with it, without its content.
    pub reason: Cow<'static, str>,
}

impl InvalidRow {
    /// A fault in this column.
    pub fn new(column: &'static str, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { column, reason: reason.into() }
    }
}
