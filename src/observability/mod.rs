//! What an operator sees of the running process: its log.

pub mod logging;
