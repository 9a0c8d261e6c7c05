//! One heap for all threads, which gives back what it does not need.
//!
//! glibc gives each thread a heap of its own, up to eight for each core. A record is allocated by the thread that hands it over and
//! freed by the one that hears of its delivery; what is free in one heap is of no use to a thread with another. Under load 32 MiB
//! of records took 85 MiB so, and 36 MiB in one heap (`docs/performance.md`).
//!
//! glibc also learns from the first large block that is freed to keep such blocks in the heap, between the small ones. Told at which size
//! the heap is to shrink it no longer does: large blocks come from the system and go back to it. With 32 MiB of 10 KiB records
//! on their way that was 47 MiB instead of 52.

use std::{
    env,
    ffi::{CString, OsString},
    io,
    os::unix::ffi::OsStringExt as _,
};

use nix::unistd::execve;

/// glibc reads it before `main`.
const ARENAS: &str = "MALLOC_ARENA_MAX";
/// From how much free memory at its end the heap shrinks, and by how much it grows, in bytes: often enough not to keep a peak, seldom
/// enough not to be felt.
const SHRINKS: (&str, &str) = ("MALLOC_TRIM_THRESHOLD_", "1048576");
const GROWS: (&str, &str) = ("MALLOC_TOP_PAD_", "262144");
/// The process has begun anew.
const ANEW: &str = "CDC_NOTIFIER_BEGAN_ANEW";

/// Begins the process anew, under the same id, with one heap, unless the operator has chosen a number of them.
///
/// # Errors
/// If the program cannot be executed again, or that was in vain: the process goes on as it is.
pub fn one() -> io::Result<()> {
    if env::var_os(ARENAS).is_some_and(|arenas| !arenas.is_empty()) {
        return Ok(());
    }
    if env::var_os(ANEW).is_some() {
        // Newer versions do so in a process with raised privileges.
        return Err(io::Error::other(format!("the C library has taken {ARENAS} away")));
    }
    let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
    let program = text(env::current_exe()?.into_os_string())?;
    let arguments: Vec<_> = env::args_os().map(text).collect::<io::Result<_>>()?;
    let ours = [(ARENAS, "1"), SHRINKS, GROWS, (ANEW, "1")];
    // Of these the operator's own values stay.
    let ours = ours.map(|(name, value)| {
        (OsString::from(name), env::var_os(name).filter(|own| !own.is_empty()).unwrap_or_else(|| value.into()))
    });
    let others = env::vars_os().filter(|(name, _)| ours.iter().all(|(our, _)| name != our)).collect::<Vec<_>>();
    let environment = others.into_iter().chain(ours).map(|(mut name, value)| {
        name.push("=");
        name.push(value);
        text(name)
    });
    let environment: Vec<_> = environment.collect::<io::Result<_>>()?;
    // Not through `std::process`, which sets signals back to their defaults before it tries.
    execve(&program, &arguments, &environment)?;
    Ok(())
}
