//! The binary: command line, then the library does the work.

use std::process::ExitCode;

use cdc_notifier::{
    app,
    cli::{self, Command},
    demo,
};

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let code = match cli::parse(std::env::args_os(), &environment) {
        Ok(Command::Run(arguments)) => app::run(&arguments),
        Ok(Command::Demo(arguments)) => demo::run(&arguments),
        Err(refusal) => {
            refusal.print();
            refusal.exit
        }
    };
    ExitCode::from(code)
}
