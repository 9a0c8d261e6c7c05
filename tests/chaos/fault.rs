//! What can happen: kinds of faults by side, drawn by weight.

use crate::{round::Round, writer::Random};

/// Takes a fault back.
pub type Undo = Box<dyn FnOnce(&mut Round<'_>)>;

type Begin = Box<dyn Fn(&mut Round<'_>, &mut Random) -> Undo>;

/// A kind of fault: nothing of it may be seen afterwards.
pub struct Fault {
    pub name: String,
    /// How often, beside the others.
    pub weight: u64,
    begin: Begin,
    /// Why it cannot be had on this machine.
    pub missing: Option<String>,
    /// The service is not killed in its middle.
    pub alone: bool,
}

impl Fault {
    pub fn new(
        name: impl Into<String>,
        weight: u64,
        begin: impl Fn(&mut Round<'_>, &mut Random) -> Undo + 'static,
    ) -> Self {
        Self { name: name.into(), weight, begin: Box::new(begin), missing: None, alone: false }
    }

    /// Only where this is so.
    pub fn needs(mut self, there: Result<(), String>) -> Self {
        self.missing = there.err();
        self
    }

    /// Without another fault in its middle.
    pub fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    pub fn begin(&self, round: &mut Round<'_>, random: &mut Random) -> Undo {
        (self.begin)(round, random)
    }
}

/// A kind of fault after which a slot must halt and say why.
pub struct Halt {
    pub name: &'static str,
    pub strike: fn(&mut Round<'_>, &mut Random),
    /// What the slot says.
    pub class: &'static str,
    pub words: &'static str,
    /// Whether all slots halt, or only the first.
    pub all: bool,
    /// Whether the first topic has lost what it had.
    pub emptied: bool,
}

/// One of them, by weight.
pub fn draw<'a>(faults: &[&'a Fault], random: &mut Random) -> &'a Fault {
    let total = faults.iter().map(|fault| fault.weight).sum();
    let mut left = random.below(total);
    for fault in faults {
        match left.checked_sub(fault.weight) {
            Some(less) => left = less,
            None => return fault,
        }
    }
    unreachable!("less than the sum of all weights")
}

/// Nothing to take back.
pub fn nothing() -> Undo {
    Box::new(|_| {})
}

/// Every kind, with those that this machine cannot have.
pub fn all() -> Vec<Fault> {
    [crate::link::faults(), crate::brokers::faults(), crate::database::faults(), crate::process::faults()]
        .into_iter()
        .flatten()
        .collect()
}
