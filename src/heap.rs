//! One heap for all threads.
//!
//! glibc gives each thread a heap of its own, up to eight for each core. A record is allocated by the thread that hands it over and
//! freed by the one that hears of its delivery; what is free in one heap is of no use to a thread with another. Under load 32 MiB
//! of records took 85 MiB so, and 36 MiB in one heap (`docs/performance.md`).

use std::{env, io, os::unix::process::CommandExt as _, process::Command};

/// glibc reads it before `main`.
const ARENAS: &str = "MALLOC_ARENA_MAX";

/// Begins the process anew, under the same id, with one heap, unless the operator has chosen a number of them.
///
/// # Errors
/// If the program cannot be executed again; the process goes on as it is.
pub fn one() -> io::Result<()> {
    if env::var_os(ARENAS).is_some() {
        return Ok(());
    }
    let mut arguments = env::args_os();
    let mut command = Command::new(env::current_exe()?);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    Err(command.args(arguments).env(ARENAS, "1").exec())
}
