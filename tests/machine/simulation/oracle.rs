//! What must hold, whatever happens.

use std::collections::{HashMap, HashSet};

use super::postgres::{Commit, Postgres};

/// How history was changed behind the service's back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tampering {
    /// Nothing with a number above this one may be published before a person has decided; `None`: the service cannot know.
    pub(super) forbidden: Option<u64>,
}

#[derive(Default)]
pub(super) struct Oracle {
    /// In a topic.
    stored: HashSet<u64>,
    /// In a topic, and the service was told so.
    confirmed: HashSet<u64>,
    /// The last message of each key in its topic, and the session that brought it.
    last: HashMap<u8, (u64, u64)>,
    /// The message of the same key before it, at the time of its commit.
    before: HashMap<u64, Option<u64>>,
    /// Messages that need not be delivered: committed before the first start, or taken by somebody else.
    excused: HashSet<u64>,
    unsettled: HashMap<u64, usize>,
    pub(super) tampering: Option<Tampering>,
    violation: Option<String>,
    pub(super) messages: usize,
}

impl Oracle {
    pub(super) fn violation(&self) -> Option<String> {
        self.violation.clone()
    }

    pub(super) fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| what.into());
    }

    pub(super) fn committed(&mut self, postgres: &Postgres, new: &Commit) {
        let mut before = HashMap::new();
        for commit in postgres.log.iter().filter(|commit| commit.number <= new.number) {
            for row in commit.rows.iter().filter(|row| row.is_message()) {
                let earlier = before.insert(row.key, row.id);
                if commit.number == new.number {
                    self.before.insert(row.id, earlier);
                }
            }
        }
    }

    /// Whatever the log holds so far below this position need not be delivered.
    pub(super) fn excuse(&mut self, postgres: &Postgres, position: u64) {
        let passed = postgres.log.iter().filter(|commit| commit.start() < position);
        self.excused.extend(passed.flat_map(|commit| &commit.rows).map(|row| row.id));
    }

    pub(super) fn handed_over(&mut self, id: u64) {
        self.messages += 1;
        let copies = self.unsettled.entry(id).or_default();
        *copies += 1;
        if *copies > 1 {
            self.violated(format!("message {id} is handed over while an earlier copy is unsettled"));
        }
        if let Some(Tampering { forbidden: Some(number) }) = self.tampering
            && id / 10 > number
        {
            self.violated(format!("message {id} is published although history contradicts"));
        }
    }

    /// Stored in its topic, which need not be known to anybody yet.
    pub(super) fn appended(&mut self, postgres: &Postgres, key: u8, id: u64, session: u64) {
        let is_there = |id: u64| postgres.log.iter().any(|commit| commit.number == id / 10);
        let new = self.stored.insert(id);
        let last = self.last.insert(key, (id, session));
        // What is not in this history any more has no order in it.
        if !is_there(id) {
            return;
        }
        let before = self.before[&id].filter(|before| !self.excused.contains(before));
        let last = last.filter(|(last, _)| is_there(*last));
        let Some(before) = before else { return };
        if new && !self.stored.contains(&before) {
            self.violated(format!("key {key}: message {id} comes first, but {before} comes before it"));
        }
        match last {
            Some((last, _)) if new && last != before => {
                self.violated(format!("key {key}: message {id} follows {last}: the repeat is no suffix"));
            }
            Some((last, of)) if of == session && last != before => {
                self.violated(format!("key {key}: message {id} follows {last} instead of {before}"));
            }
            _ => {}
        }
    }

    pub(super) fn settled(&mut self, id: u64, confirmed: bool) {
        if let Some(copies) = self.unsettled.get_mut(&id) {
            *copies -= 1;
        }
        if confirmed {
            self.confirmed.insert(id);
        }
    }

    /// A process has died, and what it had handed over with it.
    pub(super) fn died(&mut self) {
        self.unsettled.clear();
        self.tampering = None;
    }

    /// The service tells the server that everything before this position is done.
    pub(super) fn acknowledged(&mut self, postgres: &Postgres, flush: u64) {
        for commit in postgres.log.iter().filter(|commit| commit.start() < flush) {
            for row in commit.rows.iter().filter(|row| row.is_message()) {
                if !self.confirmed.contains(&row.id) && !self.excused.contains(&row.id) {
                    self.violated(format!("{flush} is acknowledged, but message {} is not confirmed", row.id));
                    return;
                }
            }
        }
    }

    /// All that had to be delivered is.
    pub(super) fn complete(&mut self, postgres: &Postgres) {
        self.acknowledged(postgres, u64::MAX);
        if postgres.confirmed != postgres.wal_end {
            self.violated(format!("the slot stands at {} of {}", postgres.confirmed, postgres.wal_end));
        }
    }
}
