//! The command line.

mod arguments;
pub mod exit;

pub use arguments::{Command, DemoArgs, Refusal, RunArgs, parse};
