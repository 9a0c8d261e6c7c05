//! Exit codes of the process; 64 and above as in `sysexits.h`.

/// Done, or stopped as asked.
pub const DONE: u8 = 0;

/// A check or a verification found something.
pub const FOUND: u8 = 1;

/// Bad command line.
pub const USAGE: u8 = 64;

/// Gave up: an actor crashed past its restart intensity.
pub const GAVE_UP: u8 = 70;

/// Bad configuration.
pub const CONFIG: u8 = 78;
