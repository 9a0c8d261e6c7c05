//! What must hold for any bytes that come from outside, one function for each decoder.
//!
//! `tests/fuzz` runs them over seeds and mutants of seeds, the targets of `fuzz/` over what libFuzzer finds. A function panics
//! when its property does not hold.

pub mod admin;
pub mod configuration;
pub mod copy_data;
pub mod external_term;
pub mod pgoutput;
pub mod pipeline;
pub mod server;
pub mod thrift;

#[path = "../../golden_pgoutput/encoder.rs"]
pub mod encoder;
#[path = "../../golden/etf.rs"]
pub mod etf;

/// A secret that nothing may show.
pub const CANARY: &str = "canary-7Kq2";

/// The most that `work` holds of memory at a time, in bytes.
fn held(work: impl FnOnce()) -> usize {
    usize::try_from(allocation_counter::measure(work).bytes_max).unwrap()
}
