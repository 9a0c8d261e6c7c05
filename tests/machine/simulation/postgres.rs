//! A model of PostgreSQL: a log of transactions, one slot, one walsender.

use std::{collections::VecDeque, rc::Rc, time::Duration};

use cdc_notifier::{
    change::{Lsn, PgTimestamp, Topic, Transaction},
    delivery::Server,
    pipeline::Position,
    replication::StatusUpdate,
};

use super::oracle::{Message, Oracle};
use crate::{random::Random, rows::Meaning};

/// `wal_sender_timeout`.
pub(super) const TIMEOUT: Duration = Duration::from_mins(1);
/// A session that is looked after less often than this may well be cut off.
const ATTENTION: Duration = Duration::from_secs(25);

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

    /// Nobody can deliver it before a person has done something.
    pub(super) const fn is_bad(&self) -> bool {
        matches!(self.meaning, Meaning::Poison | Meaning::Unwritable | Meaning::Large)
    }

    pub(super) const fn topic(&self) -> Topic {
        if matches!(self.meaning, Meaning::Event) { Topic::Eventsink } else { Topic::Lifecycle }
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

    /// What must become of the row at this place.
    fn message(&self, place: usize) -> Message {
        let row = self.rows[place];
        let ordinal = self.rows[..place].iter().filter(|other| other.namespace == row.namespace).count();
        let position = Position { transaction: self.transaction, lsn: Lsn::new(row.id), ordinal: ordinal as u32 };
        let mark = if row.topic() == Topic::Eventsink { b'e' } else { b'm' };
        Message { id: row.id, key: row.key, topic: row.topic(), mark, position }
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
    uplink: VecDeque<StatusUpdate>,
    /// When the client was last heard.
    heard: Duration,
    /// When the session last had its turn, and the longest time between two turns.
    turn: Duration,
    gap: Duration,
}

/// Another consumer, which has the slot.
struct Holder {
    session: u64,
    next: usize,
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
    holder: Option<Holder>,
    holders: u64,
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
            holder: None,
            holders: 0,
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
                2 if faults => Meaning::Large,
                3..12 => Meaning::Nothing,
                12..30 => Meaning::Event,
                _ => Meaning::Message,
            };
            // A key belongs to one namespace.
            Row { id: number * 10 + place as u64, key, namespace: u32::from(key) % 2, meaning }
        };
        let rows = (0..rows).map(row).collect();
        let start = self.wal_end + random.between(0, 3) * 8;
        let transaction = Transaction {
            xid: 700 + number as u32,
            commit_lsn: Lsn::new(start),
            commit_time: PgTimestamp(number.cast_signed()),
        };
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
    pub(super) fn start(&mut self, session: u64, position: u64, now: Duration) {
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
            heard: now,
            turn: now,
            gap: Duration::ZERO,
        });
    }

    /// A session has its turn.
    pub(super) fn turn(&mut self, now: Duration) {
        if let Some(link) = &mut self.link {
            link.gap = link.gap.max(now.saturating_sub(link.turn));
            link.turn = now;
        }
    }

    /// A session sends a status.
    pub(super) fn hear(&mut self, update: StatusUpdate, now: Duration) {
        if let Some(link) = &mut self.link {
            link.heard = now;
            link.uplink.push_back(update);
        }
    }

    /// A client that says nothing is cut off, which must not happen to one that has its turns.
    pub(super) fn tick(&mut self, now: Duration, oracle: &mut Oracle) {
        self.turn_is_late(now);
        if let Some(link) = self.link.take_if(|link| now.saturating_sub(link.heard) > TIMEOUT) {
            oracle.saw("cut off for its silence");
            if link.gap < ATTENTION {
                oracle.violated(format!("session {} has said nothing for {TIMEOUT:?}", link.session));
            }
        }
    }

    fn turn_is_late(&mut self, now: Duration) {
        if let Some(link) = &mut self.link {
            link.gap = link.gap.max(now.saturating_sub(link.turn));
        }
    }

    pub(super) const fn is_taken(&self) -> bool {
        self.holder.is_some()
    }

    /// Another consumer takes the slot.
    pub(super) fn take(&mut self) {
        self.link = None;
        self.holders += 1;
        let next = self.log.partition_point(|commit| commit.start() < self.confirmed);
        self.holder = Some(Holder { session: 1_000_000 + self.holders, next });
    }

    /// It lets go of it.
    pub(super) fn let_go(&mut self) {
        self.holder = None;
    }

    /// It delivers a transaction, or a part of one, and acknowledges the whole ones.
    pub(super) fn deliver_elsewhere(&mut self, random: &mut Random, oracle: &mut Oracle) {
        let Some(holder) = &mut self.holder else { return };
        let session = holder.session;
        let Some(commit) = self.log.get(holder.next).cloned() else { return };
        holder.next += 1;
        for (place, row) in commit.rows.iter().enumerate() {
            if row.is_bad() || random.one_in(8) {
                self.holder = None;
                return;
            }
            if row.is_message() {
                oracle.stored_elsewhere(self, commit.message(place), session);
            }
        }
        self.acknowledge(commit.end);
    }

    fn acknowledge(&mut self, flush: u64) {
        if flush > self.confirmed {
            self.confirmed = flush;
            self.since.push(flush);
        }
    }

    /// What must become of the row with this id, if it is in this history.
    pub(super) fn row(&self, id: u64) -> Option<Message> {
        let place = self.log.partition_point(|commit| commit.number < id / 10);
        let commit = self.log.get(place).filter(|commit| commit.number == id / 10)?;
        ((id % 10) < commit.rows.len() as u64).then(|| commit.message((id % 10) as usize))
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
        for update in std::mem::take(&mut link.uplink) {
            self.acknowledge(update.flush.get());
        }
    }

    pub(super) fn checkpoint(&mut self) {
        self.saved = self.confirmed;
        self.since.clear();
    }

    /// The slot falls back to what was saved, or to something acknowledged since.
    pub(super) fn crash(&mut self, random: &mut Random) {
        self.disconnect();
        self.up = false;
        if random.one_in(2) {
            self.confirmed = *self.since.get(random.below(self.since.len() + 1)).unwrap_or(&self.saved);
        }
        self.checkpoint();
    }

    /// Nobody streams any more.
    fn disconnect(&mut self) {
        self.link = None;
        self.holder = None;
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
        self.disconnect();
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
        self.disconnect();
        self.system += 1;
        self.log.clear();
        self.next += 1_000;
        self.checkpoint();
    }

    /// Another consumer moves the slot to the end of the log.
    pub(super) fn advance(&mut self) {
        self.disconnect();
        self.confirmed = self.wal_end;
        self.checkpoint();
    }
}
