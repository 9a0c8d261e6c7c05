//! A model of PostgreSQL: a log of transactions, one slot, one walsender.

use std::{collections::VecDeque, rc::Rc};

use cdc_notifier::{
    change::{Lsn, PgTimestamp, Transaction},
    delivery::Server,
    replication::StatusUpdate,
};

use crate::{random::Random, rows::Meaning};

/// A row that a transaction changed. Its id is unique and rises in the order of the commits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) id: u64,
    pub(super) key: u8,
    pub(super) namespace: u32,
    pub(super) meaning: Meaning,
}

impl Row {
    pub(super) fn is_message(&self) -> bool {
        self.meaning != Meaning::Nothing
    }
}

#[derive(Debug)]
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) transaction: Transaction,
    pub(super) end: u64,
    pub(super) rows: Vec<Row>,
}

impl Commit {
    pub(super) const fn start(&self) -> u64 {
        self.transaction.commit_lsn.get()
    }
}

#[derive(Debug)]
pub(super) enum Frame {
    Keepalive { wal_end: u64, reply_requested: bool },
    Begin(Transaction),
    Row(Row),
    Commit { commit_lsn: Lsn, end: u64 },
}

/// One connection of a session.
pub(super) struct Link {
    pub(super) session: u64,
    next: usize,
    /// Rows of the open transaction that were sent.
    inside: Option<usize>,
    sent: u64,
    greeted: bool,
    pub(super) wire: VecDeque<Frame>,
    pub(super) uplink: VecDeque<StatusUpdate>,
}

pub(super) struct Postgres {
    pub(super) system: u32,
    pub(super) timeline: u32,
    history: Vec<(u32, Lsn)>,
    pub(super) log: Vec<Rc<Commit>>,
    pub(super) wal_end: u64,
    pub(super) confirmed: u64,
    /// What a crash leaves of `confirmed`, and what has come since.
    saved: u64,
    since: Vec<u64>,
    pub(super) up: bool,
    /// Empty transactions are sent (13 and 14).
    empty: bool,
    next: u64,
    pub(super) link: Option<Link>,
}

impl Postgres {
    pub(super) fn new(random: &mut Random) -> Self {
        Self {
            system: 7,
            timeline: 1,
            history: Vec::new(),
            log: Vec::new(),
            wal_end: 100,
            confirmed: 100,
            saved: 100,
            since: Vec::new(),
            up: true,
            empty: random.one_in(2),
            next: 1,
            link: None,
        }
    }

    pub(super) fn commit(&mut self, random: &mut Random, faults: bool) -> Rc<Commit> {
        let number = self.next;
        self.next += 1;
        let rows = if random.one_in(5) { 0 } else { random.below(5) };
        let row = |place| {
            let key = random.below(4) as u8;
            let meaning = match random.below(60) {
                0 if faults => Meaning::Poison,
                1 if faults => Meaning::Unwritable,
                2..12 => Meaning::Nothing,
                _ => Meaning::Message,
            };
            // A key belongs to one namespace.
            Row { id: number * 10 + place as u64, key, namespace: u32::from(key) % 2, meaning }
        };
        let rows = (0..rows).map(row).collect();
        let start = self.wal_end + random.between(0, 3) * 8;
        let transaction =
            Transaction { xid: 700 + number as u32, commit_lsn: Lsn::new(start), commit_time: PgTimestamp(0) };
        let commit = Rc::new(Commit { number, transaction, end: start + 8, rows });
        self.wal_end = commit.end;
        self.log.push(Rc::clone(&commit));
        commit
    }

    /// Number of the newest commit of any history.
    pub(super) const fn newest(&self) -> u64 {
        self.next - 1
    }

    pub(super) fn write_elsewhere(&mut self, random: &mut Random) {
        self.wal_end += random.between(1, 4) * 8;
    }

    pub(super) fn identify(&self) -> Server {
        Server {
            system_identifier: self.system.to_string(),
            timeline: self.timeline,
            wal_position: Lsn::new(self.wal_end),
            history: self.history.clone(),
        }
    }

    /// START_REPLICATION.
    pub(super) fn start(&mut self, session: u64, position: u64) {
        let start = position.max(self.confirmed);
        let next = self.log.partition_point(|commit| commit.start() < start);
        self.link = Some(Link {
            session,
            next,
            inside: None,
            sent: start,
            greeted: false,
            wire: VecDeque::new(),
            uplink: VecDeque::new(),
        });
    }

    /// The walsender does one thing.
    pub(super) fn send(&mut self, random: &mut Random, quiet: bool) {
        let Some(link) = &mut self.link else { return };
        let reply_requested = random.one_in(4);
        if !link.greeted {
            link.greeted = true;
            link.wire.push_back(Frame::Keepalive { wal_end: link.sent, reply_requested });
            return;
        }
        let keepalive = !quiet && random.one_in(6);
        let Some(commit) = self.log.get(link.next) else {
            link.sent = self.wal_end;
            link.wire.push_back(Frame::Keepalive { wal_end: self.wal_end, reply_requested });
            return;
        };
        let Some(row) = link.inside else {
            if keepalive {
                link.sent = random.between(link.sent, commit.start().max(link.sent));
                link.wire.push_back(Frame::Keepalive { wal_end: link.sent, reply_requested });
            } else if self.empty || !commit.rows.is_empty() {
                link.wire.push_back(Frame::Begin(commit.transaction));
                link.inside = Some(0);
            } else {
                link.next += 1;
                link.sent = commit.end;
            }
            return;
        };
        if keepalive {
            link.wire.push_back(Frame::Keepalive { wal_end: commit.start(), reply_requested });
        } else if let Some(row) = commit.rows.get(row) {
            link.wire.push_back(Frame::Row(*row));
            link.inside = link.inside.map(|row| row + 1);
        } else {
            link.wire.push_back(Frame::Commit { commit_lsn: commit.transaction.commit_lsn, end: commit.end });
            link.inside = None;
            link.next += 1;
            link.sent = commit.end;
        }
    }

    /// Whether the walsender has nothing left to say.
    pub(super) fn is_idle(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.greeted && link.next == self.log.len() && link.sent == self.wal_end)
    }

    /// The walsender takes the statuses that have arrived.
    pub(super) fn listen(&mut self) {
        let Some(link) = &mut self.link else { return };
        for update in link.uplink.drain(..) {
            if update.flush.get() > self.confirmed {
                self.confirmed = update.flush.get();
                self.since.push(self.confirmed);
            }
        }
    }

    pub(super) fn checkpoint(&mut self) {
        self.saved = self.confirmed;
        self.since.clear();
    }

    /// The slot falls back to what was saved, or to something acknowledged since.
    pub(super) fn crash(&mut self, random: &mut Random) {
        self.link = None;
        self.up = false;
        if random.one_in(2) {
            self.confirmed = *self.since.get(random.below(self.since.len() + 1)).unwrap_or(&self.saved);
        }
        self.checkpoint();
    }

    /// A standby is promoted that has the log up to some place, and the slot as it once was. Returns whether it is one that had not
    /// followed the last promotion.
    pub(super) fn fail_over(&mut self, random: &mut Random) -> bool {
        self.crash(random);
        let fork = random.between(self.confirmed, self.wal_end);
        let fork = self.log.iter().map(|commit| commit.end).filter(|end| *end <= fork).max().unwrap_or(self.confirmed);
        let fork = fork.max(self.confirmed);
        let new = self.timeline + 1;
        let mut stray = false;
        while let Some((id, _)) = self.history.pop_if(|(_, left)| left.get() > fork) {
            (self.timeline, stray) = (id, true);
        }
        self.history.push((self.timeline, Lsn::new(fork)));
        self.timeline = new;
        self.cut(fork);
        stray
    }

    /// The log ends here now.
    pub(super) fn cut(&mut self, end: u64) {
        self.log.retain(|commit| commit.end <= end);
        self.wal_end = end;
    }

    /// A backup is restored, on the same timeline. Returns where its log ends.
    pub(super) fn restore(&mut self, random: &mut Random) -> u64 {
        self.link = None;
        let end = random.between(self.saved, self.wal_end);
        let end = self.log.iter().map(|commit| commit.end).filter(|lsn| *lsn <= end).max().unwrap_or(self.saved);
        let end = end.max(self.saved);
        self.confirmed = self.saved;
        self.since.clear();
        self.cut(end);
        // What is written afterwards has other transaction ids.
        self.next += 1_000;
        end
    }

    /// Another cluster has taken the place of this one.
    pub(super) fn replace(&mut self) {
        self.link = None;
        self.system += 1;
        self.log.clear();
        self.next += 1_000;
        self.checkpoint();
    }

    /// Another consumer moves the slot to the end of the log.
    pub(super) fn advance(&mut self) {
        self.link = None;
        self.confirmed = self.wal_end;
        self.checkpoint();
    }
}
