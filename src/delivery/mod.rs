//! The decisions: what may be acknowledged, what follows from an event, who may read on.
//!
//! Pure: no async, no I/O, no clock (time is an argument: the duration since any fixed moment). Must not know rows, sockets or Kafka.

mod credit;
mod history;
mod intake;
mod ledger;
mod mode;
mod policy;
mod publishing;
mod replay;
mod restart;
mod slot;

pub use credit::{Account, Pool, RECORD_OVERHEAD};
pub use history::{Continuation, Known, Server};
pub use intake::{Fault, Intake};
pub use ledger::{Ledger, Op, Waiting};
pub use mode::Mode;
pub use policy::{Disposition, Flow, Phase, RetryTimes, disposition, flow, may_borrow};
pub use publishing::{Alone, Lane};
pub use replay::{Commits, Judgement, Replay};
pub use restart::{Intensity, Restart};
pub use slot::{Effect, Ended, Input, SlotMachine, State, Then};
