//! What must hold, whatever happens.

use std::collections::BTreeMap;

use cdc_notifier::{
    change::{Class, Topic},
    pipeline::Position,
};

use super::postgres::{Commit, Postgres, Row};

/// What a consumer sees of a message: all its bytes, for the value is the mark and the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) key: u8,
    pub(super) topic: Topic,
    pub(super) mark: u8,
    /// Its headers.
    pub(super) position: Position,
}

/// How history was changed behind the service's back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tampering {
    /// Nothing with a number above this one may be published before a person has decided; `None`: the service need not know.
    pub(super) forbidden: Option<u64>,
}

/// What has become of a message.
#[derive(Debug, Default)]
struct Fate {
    /// The message of the same key and topic before it, at the time of its commit.
    before: Option<u64>,
    /// As it first came into its topic.
    stored: Option<Message>,
    /// Whoever sent it was told that it is stored.
    confirmed: bool,
    /// It need not be delivered: committed before the first start, or taken by somebody else.
    excused: bool,
    /// Copies that are with a producer of this process.
    unsettled: usize,
}

/// Keys times topics.
const CHAINS: usize = 8;

const fn chain(key: u8, topic: Topic) -> usize {
    key as usize * 2 + matches!(topic, Topic::Eventsink) as usize
}

pub(super) struct Oracle {
    fates: BTreeMap<u64, Fate>,
    /// The last message of each key in each topic, and the session that brought it.
    last: [Option<(u64, u64)>; CHAINS],
    /// Up to this commit everything is confirmed or excused.
    done: u64,
    /// A row was committed that nobody could deliver before it was mended.
    bad: bool,
    pub(super) tampering: Option<Tampering>,
    /// Somebody else has had the slot since this session and all before it: what they left comes late.
    overtaken: u64,
    violation: Option<String>,
    pub(super) messages: u64,
    /// What has happened, and how often.
    pub(super) seen: BTreeMap<&'static str, u64>,
    trace: bool,
}

impl Oracle {
    pub(super) fn new(trace: bool) -> Self {
        Self {
            fates: BTreeMap::new(),
            last: [None; CHAINS],
            done: 0,
            bad: false,
            tampering: None,
            overtaken: 0,
            violation: None,
            messages: 0,
            seen: BTreeMap::new(),
            trace,
        }
    }

    pub(super) fn violation(&self) -> Option<String> {
        self.violation.clone()
    }

    pub(super) fn violated(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert_with(|| what.into());
    }

    /// A line of the trace.
    pub(super) fn note(&self, what: impl FnOnce() -> String) {
        if self.trace {
            println!("    {}", what());
        }
    }

    /// Counts what shall not be missing in a run of many schedules.
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.seen.entry(what).or_default() += 1;
        self.note(|| what.to_owned());
    }

    pub(super) fn committed(&mut self, postgres: &Postgres, new: &Commit) {
        self.bad |= new.rows.iter().any(Row::is_bad);
        for (place, row) in new.rows.iter().enumerate().filter(|(_, row)| row.is_message()) {
            let earlier = postgres.log.iter().rev().filter(|commit| commit.number < new.number);
            let mut before = new.rows[..place].iter().rev().chain(earlier.flat_map(|commit| commit.rows.iter().rev()));
            let is_same = |other: &&Row| other.is_message() && (other.key, other.topic()) == (row.key, row.topic());
            let before = before.find(is_same).map(|other| other.id);
            self.fates.insert(row.id, Fate { before, ..Fate::default() });
        }
        self.note(|| format!("commit {} at {}: {:?}", new.number, new.start(), new.rows));
    }

    /// Whatever the log holds so far below this position need not be delivered.
    pub(super) fn excuse(&mut self, postgres: &Postgres, position: u64) {
        let passed = postgres.log.iter().filter(|commit| commit.start() < position);
        for row in passed.flat_map(|commit| &commit.rows) {
            self.fates.entry(row.id).or_default().excused = true;
        }
    }

    pub(super) fn handed_over(&mut self, id: u64) {
        self.note(|| format!("{id} is handed over"));
        self.messages += 1;
        let fate = self.fates.entry(id).or_default();
        fate.unsettled += 1;
        if fate.unsettled > 1 {
            self.violated(format!("message {id} is handed over while an earlier copy is unsettled"));
        }
        if let Some(Tampering { forbidden: Some(number) }) = self.tampering
            && id / 10 > number
        {
            self.violated(format!("message {id} is published although history contradicts"));
        }
    }

    /// Somebody else takes the slot after this session.
    pub(super) fn overtaken_after(&mut self, session: u64) {
        self.overtaken = session;
        self.last = [None; CHAINS];
    }

    /// Stored in its topic, which need not be known to anybody yet.
    pub(super) fn stored(&mut self, postgres: &Postgres, message: Message, session: u64) {
        if session <= self.overtaken {
            return self.stored_late(postgres, message);
        }
        let id = message.id;
        self.note(|| format!("{id} is stored, sent by session {session}"));
        let new = self.store(postgres, message);
        let last = self.last[chain(message.key, message.topic)].replace((id, session));
        let last = last.filter(|(last, _)| postgres.row(*last).is_some());
        let (Some(before), Some((last, of))) = (self.before(postgres, id), last) else { return };
        if new && last != before {
            self.violated(format!("message {id} follows {last}: the repeat is no suffix that ends before it"));
        }
        if of == session && last != before {
            self.violated(format!("message {id} follows {last} instead of {before}"));
        }
    }

    /// Stored although its producer has given it up or died, or somebody else goes on already: identical, late, and still no first occurrence before its turn.
    pub(super) fn stored_late(&mut self, postgres: &Postgres, message: Message) {
        self.saw("a late repeat");
        self.note(|| format!("{} is stored late", message.id));
        self.store(postgres, message);
    }

    /// Returns whether it is the first occurrence.
    fn store(&mut self, postgres: &Postgres, message: Message) -> bool {
        let id = message.id;
        let Some(first) = self.fates.entry(id).or_default().stored else {
            self.fates.entry(id).or_default().stored = Some(message);
            if postgres.row(id).is_some_and(|truth| truth != message) {
                self.violated(format!("message {id} is not what was committed: {message:?}"));
            }
            if let Some(before) = self.before(postgres, id)
                && self.fates[&before].stored.is_none()
            {
                self.violated(format!("message {id} comes first, but {before} comes before it"));
            }
            return true;
        };
        if first != message {
            self.violated(format!("the repeat differs: {first:?} and {message:?}"));
        }
        false
    }

    /// What must come before this message; nothing, if it is not in this history any more: then it has no order in it.
    fn before(&self, postgres: &Postgres, id: u64) -> Option<u64> {
        postgres.row(id)?;
        self.fates[&id].before.filter(|before| !self.fates[before].excused)
    }

    pub(super) fn settled(&mut self, id: u64, confirmed: bool) {
        self.note(|| format!("{id} is {}", if confirmed { "confirmed" } else { "given up" }));
        let fate = self.fates.entry(id).or_default();
        fate.unsettled = fate.unsettled.saturating_sub(1);
        fate.confirmed |= confirmed;
    }

    /// Sent by somebody else, who saw that it is stored. What we skip, because we remember it, need not follow that one's repeats.
    pub(super) fn stored_elsewhere(&mut self, postgres: &Postgres, message: Message, session: u64) {
        self.stored(postgres, message, session);
        self.last[chain(message.key, message.topic)] = None;
        self.fates.entry(message.id).or_default().confirmed = true;
    }

    /// A process has died, and what it had handed over with it.
    pub(super) fn died(&mut self) {
        self.fates.values_mut().for_each(|fate| fate.unsettled = 0);
        self.tampering = None;
    }

    /// The service tells the server that everything before this position is done.
    pub(super) fn acknowledged(&mut self, postgres: &Postgres, flush: u64) {
        self.note(|| format!("{flush} is acknowledged"));
        let first = postgres.log.partition_point(|commit| commit.number <= self.done);
        for commit in postgres.log[first..].iter().take_while(|commit| commit.start() < flush) {
            for row in commit.rows.iter().filter(|row| row.is_message()) {
                let fate = &self.fates[&row.id];
                if !fate.confirmed && !fate.excused {
                    self.violated(format!("{flush} is acknowledged, but message {} is not confirmed", row.id));
                    return;
                }
            }
            self.done = commit.number;
        }
    }

    /// The slot has halted.
    pub(super) fn halted(&mut self, class: Class) {
        let reason = match class {
            Class::HistoryChanged => self.tampering.is_some(),
            Class::InvalidRow => self.bad,
            Class::Bug => true,
            _ => false,
        };
        if !reason {
            self.violated(format!("halted without a reason: {class}"));
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
