//! Why the demo cannot be shown.

use std::fmt;

use super::postgres::StartError;
use crate::{change::Trouble, cli::exit, config::ConfigError};

/// What is wrong, what mends it, and the exit code that says so.
#[derive(Debug)]
pub(super) struct Failure {
    /// [`exit::CONFIG`] if the machine or the environment lacks something, else [`exit::GAVE_UP`].
    pub(super) code: u8,
    message: String,
    remedy: String,
}

impl Failure {
    /// A defect of this program.
    pub(super) fn defect(message: impl fmt::Display) -> Self {
        Self { code: exit::GAVE_UP, message: message.to_string(), remedy: "start again, and report it".to_owned() }
    }

    /// The system refuses something.
    pub(super) fn system(doing: &str, error: &std::io::Error) -> Self {
        let remedy = "see that the machine has memory, threads and ports left".to_owned();
        Self { code: exit::GAVE_UP, message: format!("{doing}: {error}"), remedy }
    }

    /// A setting of the environment that cannot be used.
    pub(super) fn environment(message: impl fmt::Display, remedy: &str) -> Self {
        Self { code: exit::CONFIG, message: message.to_string(), remedy: remedy.to_owned() }
    }

    /// A trouble that the service does not get over.
    pub(super) fn trouble(message: String, remedy: String) -> Self {
        Self { code: exit::GAVE_UP, message, remedy }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "demo: {}\n{}", self.message, self.remedy)
    }
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        let unprepared = matches!(error, StartError::NotInstalled | StartError::NoAccount);
        let code = if unprepared { exit::CONFIG } else { exit::GAVE_UP };
        Self { code, message: error.to_string(), remedy: error.remedy() }
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::trouble(trouble.message, trouble.remedy)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::environment(&error, error.remedy())
    }
}
