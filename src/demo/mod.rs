//! `cdc-notifier demo`: everything on one machine, nothing to prepare.
//!
//! ```text
//! Writer ─▶ TemporaryPostgres ─▶ the service (app::Service) ─▶ InProcessBroker ─▶ Reader ─▶ Screen
//! ```
//!
//! Owns the processes and directories that it makes and leaves nothing behind; must not be used by the service itself. Tests start
//! their servers with [`postgres`] and [`progressor`].

mod account;
mod directory;
mod etf;
mod failure;
mod installation;
mod life;
mod message;
pub mod postgres;
pub mod progressor;
mod reader;
mod screen;
mod show;
mod signals;
mod stage;
mod summary;
mod writer;

use std::time::Duration;

use self::failure::Failure;
use crate::{app, cli::DemoArgs};

/// Shows the service at work until a signal comes or the time is up. Returns the exit code:
///
/// | code | |
/// | --- | --- |
/// | [`DONE`](crate::cli::exit::DONE) | all that was written has arrived; or stopped before there was anything to count |
/// | [`FOUND`](crate::cli::exit::FOUND) | not all of it has arrived in time |
/// | [`CONFIG`](crate::cli::exit::CONFIG) | there is no PostgreSQL on this machine, or the environment holds a setting that cannot be used |
/// | [`GAVE_UP`](crate::cli::exit::GAVE_UP) | one of the servers, or the service, did not start or has ended |
#[must_use]
#[expect(clippy::print_stderr, reason = "the last word of a command is no log line")]
pub fn run(arguments: &DemoArgs) -> u8 {
    let result = match app::runtime() {
        Ok(runtime) => {
            let result = runtime.block_on(show::show(arguments.seconds.map(Duration::from_secs)));
            runtime.shutdown_timeout(Duration::from_millis(100));
            result
        }
        Err(error) => Err(Failure::system("starting the runtime", &error)),
    };
    result.unwrap_or_else(|failure| {
        eprintln!("{failure}");
        failure.code
    })
}
