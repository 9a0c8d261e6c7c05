//! The lives of the processes that the demo plays: a small shop, the same every time.

use serde_json::{Value as Json, json};

/// The namespaces, each with what its topics' names begin with.
pub(super) const NAMESPACES: [(&str, &str); 2] = [("shop/orders", "orders"), ("shop/bills", "bills")];

/// What progressor does with a process in one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A new process and its first event.
    Create,
    /// So many further events.
    Work(i16),
    /// The process cannot go on.
    Fail,
    /// A person has repaired it.
    Repair,
    /// It is removed: its events, then itself.
    End,
}

const SMOOTH: &[Step] = &[Step::Create, Step::Work(1), Step::Work(2), Step::End];
const TROUBLED: &[Step] = &[Step::Create, Step::Work(2), Step::Fail, Step::Repair, Step::Work(1), Step::End];

/// One process.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Its number among all processes of the demo, from 0.
    number: u32,
    /// The steps to come.
    steps: &'static [Step],
    /// Events so far.
    events: i16,
}

impl Life {
    /// The process of this number. Every third one fails on its way.
    pub(super) const fn new(number: u32) -> Self {
        let steps = if number.is_multiple_of(3) { TROUBLED } else { SMOOTH };
        Self { number, steps, events: 0 }
    }

    /// Its namespace.
    pub(super) const fn namespace(&self) -> &'static str {
        let [(orders, _), (bills, _)] = NAMESPACES;
        if self.is_order() { orders } else { bills }
    }

    /// Its process id.
    pub(super) fn id(&self) -> String {
        (1001 + self.number).to_string()
    }

    /// Why it fails.
    pub(super) const fn failure(&self) -> &'static str {
        if self.is_order() { "timeout: no answer from the warehouse" } else { "timeout: no answer from the bank" }
    }

    /// Takes the next step; `None` after the last.
    pub(super) fn step(&mut self) -> Option<Step> {
        let (step, rest) = self.steps.split_first()?;
        self.steps = rest;
        Some(*step)
    }

    /// The number and the content of its next event.
    pub(super) fn event(&mut self) -> (i16, Json) {
        self.events += 1;
        let amount = 990 + self.number * 1370 % 9000;
        let content = match (self.is_order(), self.events) {
            (true, 1) => json!({"change": "placed", "amount": amount}),
            (true, 2) => json!({"change": "paid", "by": "card"}),
            (true, 3) => json!({"change": "packed", "parcels": [1, 2]}),
            (true, _) => json!({"change": "shipped", "note": null}),
            (false, 1) => json!({"change": "written", "amount": amount}),
            (false, 2) => json!({"change": "sent", "to": {"city": "Riga"}}),
            (false, 3) => json!({"change": "paid", "discount": 0.03}),
            (false, _) => json!({"change": "closed"}),
        };
        (self.events, content)
    }

    const fn is_order(&self) -> bool {
        self.number.is_multiple_of(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_begins_and_ends() {
        for number in 0..12 {
            let mut life = Life::new(number);
            let steps: Vec<_> = std::iter::from_fn(|| life.step()).collect();
            assert_eq!(steps.first(), Some(&Step::Create));
            assert_eq!(steps.last(), Some(&Step::End));
            let failed = steps.iter().position(|step| *step == Step::Fail);
            let repaired = steps.iter().position(|step| *step == Step::Repair);
            assert_eq!(repaired, failed.map(|at| at + 1));
            assert_eq!(failed.is_some(), number % 3 == 0);
        }
        assert_ne!(Life::new(0).namespace(), Life::new(1).namespace());
    }
}
