//! Arguments to a command.

use std::{ffi::OsString, fmt, io::Write as _, path::PathBuf};

use clap::{Args, Parser, Subcommand, error::ErrorKind};

use super::exit;
use crate::config::{CONFIG_VARIABLE, Overrides};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The service.
    Run(RunArgs),
    /// Everything on this machine.
    Demo(DemoArgs),
}

/// Arguments of `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunArgs {
    /// The configuration file.
    pub config: PathBuf,
    /// The flags that stand over it.
    pub overrides: Overrides,
}

/// Arguments of `demo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DemoArgs {
    /// Stop after so many seconds; `None`: run until stopped.
    pub seconds: Option<u64>,
}

/// No command to carry out: a bad command line, or a text that was asked for (`--help`, `--version`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The process's exit code: [`exit::USAGE`], or [`exit::DONE`] for a text that was asked for.
    pub exit: u8,
    text: String,
}

impl Refusal {
    /// Writes the text to stdout when it was asked for, else to stderr. A closed pipe is no trouble.
    pub fn print(&self) {
        let written = if self.exit == exit::DONE {
            std::io::stdout().write_all(self.text.as_bytes())
        } else {
            std::io::stderr().write_all(self.text.as_bytes())
        };
        drop(written);
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Self {
        let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
        Self { exit: if asked { exit::DONE } else { exit::USAGE }, text: error.render().to_string() }
    }
}

/// Reads progressor's changes from PostgreSQL's logical replication and publishes them to Kafka
#[derive(Parser)]
#[command(name = "cdc-notifier", version, disable_help_subcommand = true)]
struct Line {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// The service
    Run(RunLine),
    /// Everything on this machine, nothing to prepare
    Demo(DemoLine),
}

#[derive(Args)]
struct RunLine {
    /// Configuration file: .toml, .yaml, .yml or .json [env: CDC_NOTIFIER_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// error, warn, info, debug, trace, or tracing directives [env: CDC_NOTIFIER_LOG_LEVEL]
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, text, json or logfmt [env: CDC_NOTIFIER_LOG_FORMAT]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
    /// Admin address; empty switches it off [env: CDC_NOTIFIER_ADMIN_LISTEN]
    #[arg(long, value_name = "HOST:PORT")]
    admin_listen: Option<String>,
}

#[derive(Args)]
struct DemoLine {
    /// Stop after so many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: Option<u64>,
}

/// Reads the command line; its first argument is the program's name. `environment` gives `CDC_NOTIFIER_CONFIG` when
/// `--config` is not there.
///
/// # Errors
/// A bad command line, or a text that was asked for: print it and exit with its code.
pub fn parse<I>(arguments: I, environment: &dyn Fn(&str) -> Option<String>) -> Result<Command, Refusal>
where
    I: IntoIterator,
    I::Item: Into<OsString> + Clone,
{
    match Line::try_parse_from(arguments)?.command {
        Subcommands::Demo(DemoLine { seconds }) => Ok(Command::Demo(DemoArgs { seconds })),
        Subcommands::Run(RunLine { config, log_level, log_format, admin_listen }) => {
            let variable = || environment(CONFIG_VARIABLE).filter(|file| !file.is_empty()).map(PathBuf::from);
            let config = config.or_else(variable).ok_or_else(|| Refusal {
                exit: exit::USAGE,
                text: "error: run: no configuration file\nadd --config FILE, or set CDC_NOTIFIER_CONFIG\n".to_owned(),
            })?;
            Ok(Command::Run(RunArgs { config, overrides: Overrides { log_level, log_format, admin_listen } }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_with(arguments: &[&str], config: Option<&str>) -> Result<Command, Refusal> {
        let arguments = std::iter::once("cdc-notifier").chain(arguments.iter().copied());
        parse(arguments, &|name| config.filter(|_| name == "CDC_NOTIFIER_CONFIG").map(str::to_owned))
    }

    fn run(config: &str, overrides: Overrides) -> Command {
        Command::Run(RunArgs { config: config.into(), overrides })
    }

    #[test]
    fn commands() {
        assert_eq!(parse_with(&["run", "--config", "a.toml"], None), Ok(run("a.toml", Overrides::default())));
        assert_eq!(parse_with(&["run", "--config=a.toml"], Some("b.toml")), Ok(run("a.toml", Overrides::default())));
        assert_eq!(parse_with(&["run"], Some("b.toml")), Ok(run("b.toml", Overrides::default())));
        let overrides = Overrides {
            log_level: Some("debug".to_owned()),
            log_format: Some("json".to_owned()),
            admin_listen: Some(String::new()),
        };
        let flags = ["run", "--config", "a.toml", "--log-level", "debug", "--log-format", "json", "--admin-listen", ""];
        assert_eq!(parse_with(&flags, None), Ok(run("a.toml", overrides)));
        assert_eq!(parse_with(&["demo"], None), Ok(Command::Demo(DemoArgs { seconds: None })));
        assert_eq!(parse_with(&["demo", "--seconds", "5"], None), Ok(Command::Demo(DemoArgs { seconds: Some(5) })));
    }

    #[test]
    fn bad_command_lines_are_64() {
        for line in [
            &[][..],
            &["run"],
            &["run", "--config"],
            &["run", "--config", "a", "--no-such-flag"],
            &["run", "--config", "a", "extra"],
            &["check", "--config", "a"],
            &["help"],
            &["demo", "--seconds", "0"],
            &["demo", "--seconds", "x"],
            &["--log-level", "debug"],
        ] {
            let refusal = parse_with(line, None).unwrap_err();
            assert_eq!(refusal.exit, exit::USAGE, "{line:?}");
            assert!(!refusal.to_string().trim().is_empty(), "{line:?}");
        }
        assert_eq!(parse_with(&["run"], Some("")).unwrap_err().exit, exit::USAGE);
    }

    #[test]
    fn texts_that_were_asked_for_are_0() {
        let help = parse_with(&["--help"], None).unwrap_err();
        assert_eq!(help.exit, exit::DONE);
        for word in ["run", "demo"] {
            assert!(help.to_string().contains(word), "{help}");
        }
        for word in ["check", "convert", "replay"] {
            assert!(!help.to_string().contains(word), "{help}");
        }
        let version = parse_with(&["--version"], None).unwrap_err();
        assert_eq!(
            (version.exit, version.to_string()),
            (exit::DONE, concat!("cdc-notifier ", env!("CARGO_PKG_VERSION"), "\n").to_owned())
        );
        let run = parse_with(&["run", "--help"], None).unwrap_err();
        assert_eq!(run.exit, exit::DONE);
        for word in ["--config", "--log-level", "--log-format", "--admin-listen", "CDC_NOTIFIER_ADMIN_LISTEN"] {
            assert!(run.to_string().contains(word), "{run}");
        }
    }
}
