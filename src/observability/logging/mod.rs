//! The log: to stderr, one line an event, times in RFC 3339 and UTC.
//!
//! stdout stays free for what a command was asked to print, and a container's runtime collects both.

mod directives;
mod json;

use std::io::IsTerminal as _;

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use crate::config::{Log, LogFormat};

/// Why the log cannot begin. The process ends with exit code 78.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LogError {
    message: String,
    remedy: String,
}

impl LogError {
    /// What is allowed.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Sets the process's log up, on stderr. Once in a process.
///
/// # Errors
/// The level is neither a level nor directives, or a log is there already.
pub fn init(log: &Log) -> Result<(), LogError> {
    subscriber(log, std::io::stderr, std::io::stderr().is_terminal())?.try_init().map_err(|_| LogError {
        message: "the log was already set up".to_owned(),
        remedy: "this is a defect of the program; report it".to_owned(),
    })
}

type Filtered = tracing_subscriber::layer::Layered<EnvFilter, Registry>;

/// The log as it would be on another writer.
///
/// # Errors
/// The level is neither a level nor directives.
pub fn subscriber<W>(
    log: &Log,
    writer: W,
    terminal: bool,
) -> Result<impl tracing::Subscriber + Send + Sync + use<W>, LogError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = directives::filter(&log.level)?;
    let format = match log.format {
        LogFormat::Auto if terminal => LogFormat::Text,
        LogFormat::Auto => LogFormat::Json,
        format => format,
    };
    let layer: Box<dyn Layer<Filtered> + Send + Sync> = match format {
        LogFormat::Json => json::layer(writer),
        // Names of spans would be noise; their fields are there.
        LogFormat::Logfmt => {
            Box::new(tracing_logfmt::builder().with_span_name(false).with_span_path(false).layer().with_writer(writer))
        }
        LogFormat::Text | LogFormat::Auto => {
            Box::new(tracing_subscriber::fmt::layer().with_ansi(terminal).with_writer(writer))
        }
    };
    Ok(tracing_subscriber::registry().with(filter).with(layer))
}
