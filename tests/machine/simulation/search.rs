//! Many schedules, on all processors; and of one that fails the steps that matter.

use std::{
    any::Any,
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    Planted,
    schedule::{Plan, Schedule},
};

/// What came of many schedules.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) schedules: u64,
    pub(crate) messages: u64,
    /// In how many schedules something was seen.
    pub(crate) seen: BTreeMap<&'static str, u64>,
    /// The first one that failed.
    pub(crate) failed: Option<(u64, String)>,
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("no text"))
}

/// Runs one schedule. `trace`: prints what happens.
pub(crate) fn run(plan: &Plan, trace: bool) -> Result<(u64, BTreeMap<&'static str, u64>), String> {
    let run = AssertUnwindSafe(|| Schedule::new(plan, trace).run());
    let oracle = catch_unwind(run).unwrap_or_else(|panic| Err(text(panic.as_ref())))?;
    Ok((oracle.messages, oracle.seen))
}

/// Runs schedules from this seed on, until one fails.
pub(crate) fn search(first: u64, count: u64, planted: Option<Planted>) -> Tally {
    let (next, tally) = (AtomicU64::new(0), Mutex::new(Tally::default()));
    let work = || {
        let mut own = Tally::default();
        while own.failed.is_none() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count {
                break;
            }
            match run(&Plan::whole(first.wrapping_add(number), planted), false) {
                Ok((messages, seen)) => {
                    own.schedules += 1;
                    own.messages += messages;
                    for what in seen.into_keys() {
                        *own.seen.entry(what).or_default() += 1;
                    }
                }
                // Nobody begins another one.
                Err(violation) => {
                    next.store(count, Ordering::Relaxed);
                    own.failed = Some((number, violation));
                }
            }
        }
        tally.lock().unwrap().add(own);
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut tally = tally.into_inner().unwrap();
    if let Some((number, _)) = &mut tally.failed {
        *number = first.wrapping_add(*number);
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.messages += other.messages;
        for (what, count) in other.seen {
            *self.seen.entry(what).or_default() += count;
        }
        let failed = [self.failed.take(), other.failed].into_iter().flatten();
        self.failed = failed.min_by_key(|(number, _)| *number);
    }
}

/// Leaves out of a schedule that fails whatever it fails without: halves first, single steps last.
pub(crate) fn minimise(mut plan: Plan) -> Plan {
    let mut size = plan.steps.len().div_ceil(2);
    loop {
        let before = plan.steps.len();
        let mut at = 0;
        while at < plan.steps.len() {
            let mut less = plan.clone();
            less.steps.drain(at..(at + size).min(plan.steps.len()));
            if run(&less, false).is_err() {
                plan = less;
            } else {
                at += size;
            }
        }
        if size == 1 && plan.steps.len() == before {
            return plan;
        }
        size = size.div_ceil(2);
    }
}
