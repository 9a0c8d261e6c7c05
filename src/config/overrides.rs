//! What flags and the environment say over the file: flag, then environment, then file.

use super::{
    environment::Environment,
    error::{KeyPath, Place},
};

/// The environment variable that names the configuration file, as `--config` does.
pub const CONFIG_VARIABLE: &str = "CDC_NOTIFIER_CONFIG";

const LOG_LEVEL: (&str, &str) = ("--log-level", "CDC_NOTIFIER_LOG_LEVEL");
const LOG_FORMAT: (&str, &str) = ("--log-format", "CDC_NOTIFIER_LOG_FORMAT");
const ADMIN_LISTEN: (&str, &str) = ("--admin-listen", "CDC_NOTIFIER_ADMIN_LISTEN");

/// The flags that stand over the environment, which stands over the file. `None`: not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--log-level`, over `log.level`.
    pub log_level: Option<String>,
    /// `--log-format`, over `log.format`.
    pub log_format: Option<String>,
    /// `--admin-listen`, over `admin.listen`; empty switches it off.
    pub admin_listen: Option<String>,
}

/// A text and where it was said.
pub(super) struct Said {
    pub(super) text: String,
    pub(super) place: Place,
}

impl Overrides {
    /// An empty variable counts as not set: nothing empty is a level.
    pub(super) fn log_level(&self, environment: Environment<'_>, file: Option<String>) -> Option<Said> {
        let variable = environment(LOG_LEVEL.1).filter(|level| !level.is_empty());
        said(LOG_LEVEL, self.log_level.clone(), variable, file, ["log", "level"])
    }

    /// An empty variable counts as not set: nothing empty is a format.
    pub(super) fn log_format(&self, environment: Environment<'_>, file: Option<String>) -> Option<Said> {
        let variable = environment(LOG_FORMAT.1).filter(|format| !format.is_empty());
        said(LOG_FORMAT, self.log_format.clone(), variable, file, ["log", "format"])
    }

    /// An empty variable switches the admin address off, as an empty text in the file does.
    pub(super) fn admin_listen(&self, environment: Environment<'_>, file: Option<String>) -> Option<Said> {
        said(ADMIN_LISTEN, self.admin_listen.clone(), environment(ADMIN_LISTEN.1), file, ["admin", "listen"])
    }
}

fn said(
    (flag_name, variable_name): (&'static str, &'static str),
    flag: Option<String>,
    variable: Option<String>,
    file: Option<String>,
    key: [&str; 2],
) -> Option<Said> {
    let outside = |text, name| Said { text, place: Place::Outside(name) };
    flag.map(|text| outside(text, flag_name))
        .or_else(|| variable.map(|text| outside(text, variable_name)))
        .or_else(|| file.map(|text| Said { text, place: Place::Key(KeyPath::of(key)) }))
}
