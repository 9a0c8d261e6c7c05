//! The service around the pure core: what the slot's actor, its publishers and the settling of its producer do, one step at a time.
//! Follows `actors/slot.rs`, `actors/publisher.rs`, `actors/outlet.rs` and `actors/shared.rs`.

use std::{collections::VecDeque, time::Duration};

use cdc_notifier::{
    change::{Class, Lsn, PgTimestamp, Token, Transaction, Trouble},
    delivery::{
        Account, Effect, Ended, Input, Judgement, Known, Ledger, Pool, RECORD_OVERHEAD, RetryTimes, SlotMachine, State,
    },
    pipeline::Batch,
};

use super::{
    Planted,
    kafka::{Producer, Record},
    oracle::Oracle,
    postgres::Postgres,
    session::{Command, Session},
};
use crate::{random::Random, rows};

/// What comes to the slot's actor.
#[derive(Debug)]
pub(super) enum Mail {
    Streaming(u64),
    Halting(u64, Trouble),
    Ended(u64, Ended),
    SendFailed(Trouble),
    Settled,
    Timer(u64),
    Input(Input),
}

pub(super) struct Parcel {
    pub(super) batch: Batch,
    pub(super) session: u64,
    pub(super) sent: usize,
}

pub(super) enum Post {
    Open,
    Parcel(Parcel),
    Close,
}

/// A publisher: its mailbox, and whether it may hand over.
#[derive(Default)]
pub(super) struct Publisher {
    pub(super) mailbox: VecDeque<Post>,
    line: bool,
    refused: bool,
}

pub(super) struct Service {
    pub(super) now: Duration,
    pub(super) planted: Option<Planted>,
    pub(super) machine: SlotMachine,
    pub(super) ledger: Ledger,
    pub(super) known: Known,
    pub(super) account: Account,
    pub(super) mailbox: VecDeque<Mail>,
    pub(super) session: Option<Session>,
    pub(super) publishers: [Publisher; 2],
    pub(super) producer: Option<Producer>,
    /// A broken producer that is being closed.
    closing: Option<Producer>,
    settling: usize,
    sessions: u64,
    timers: Vec<(Duration, u64)>,
    confirmed_before: Lsn,
    remembered: usize,
    /// Highest position of any stream, for a planted fault.
    pub(super) highest: Lsn,
    pub(super) stopped: bool,
    /// The producer is to give up what it has queued.
    pub(super) purging: bool,
}

pub(super) fn times() -> RetryTimes {
    RetryTimes {
        resend_timeout: Duration::from_secs(3),
        max_retries: 3,
        reconnect_timeout: Duration::from_secs(5),
        send_timeout: Duration::from_secs(30),
    }
}

pub(super) fn cost(bytes: usize) -> usize {
    bytes + RECORD_OVERHEAD
}

impl Service {
    /// A process begins; its sessions have numbers above `sessions`.
    pub(super) fn new(random: &mut Random, sessions: u64, now: Duration, planted: Option<Planted>) -> Self {
        let remembered = if random.one_in(3) { 1 + random.below(4) } else { 65_536 };
        let mut service = Self {
            now,
            planted,
            machine: SlotMachine::new(times()),
            ledger: Ledger::new(remembered),
            known: Known::default(),
            account: Account::new(Pool::new([2_000, 8_000, 1_000_000][random.below(3)], 1)),
            mailbox: VecDeque::new(),
            session: None,
            publishers: Default::default(),
            producer: None,
            closing: None,
            settling: 0,
            sessions,
            timers: Vec::new(),
            confirmed_before: Lsn::ZERO,
            remembered,
            highest: Lsn::ZERO,
            stopped: false,
            purging: false,
        };
        service.mailbox.push_back(Mail::Input(Input::Start));
        service
    }

    pub(super) const fn sessions(&self) -> u64 {
        self.sessions
    }

    pub(super) fn is_halted(&self) -> bool {
        *self.machine.state() == State::Halted
    }

    /// Whether what is remembered reaches from the slot's position to beyond this one, so that another history must be noticed.
    pub(super) fn remembers(&self, slot: u64, position: u64) -> bool {
        let commits = self.ledger.commits();
        // A small ring may forget it all until the session begins.
        let for_long = self.remembered > 100;
        let other = Transaction { xid: 0, commit_lsn: Lsn::new(slot), commit_time: PgTimestamp(0) };
        for_long
            && commits.last().is_some_and(|last| last.get() >= position)
            && commits.replay(Lsn::new(slot)).judge(&other) != Judgement::Deliver
    }

    /// The actor takes one message.
    pub(super) fn act(&mut self, postgres: &mut Postgres, oracle: &mut Oracle) {
        let Some(mail) = self.mailbox.pop_front() else { return };
        let is_current = |number| self.session.as_ref().is_some_and(|session: &Session| session.number == number);
        let input = match mail {
            Mail::Streaming(number) if is_current(number) => Input::Streaming,
            Mail::Halting(number, trouble) if is_current(number) => Input::Halting(trouble),
            Mail::Ended(number, ended) if is_current(number) => {
                self.session = None;
                Input::Ended(ended)
            }
            Mail::Streaming(_) | Mail::Halting(..) | Mail::Ended(..) => return,
            Mail::SendFailed(trouble) => {
                let progressed = self.session.is_some() && self.ledger.position() > self.confirmed_before;
                Input::SendFailed { trouble, progressed }
            }
            Mail::Settled => Input::Settled,
            Mail::Timer(generation) => Input::Timer(generation),
            Mail::Input(input) => {
                if input == Input::Resume {
                    self.forgive(oracle, postgres);
                }
                input
            }
        };
        for effect in self.machine.handle(input) {
            self.carry_out(effect, postgres);
        }
        if self.is_halted() {
            let class = self.machine.last_error().map(|trouble| trouble.class);
            if class == Some(Class::HistoryChanged) && oracle.tampering.is_none() {
                oracle.violated(format!("halted without a reason: {:?}", self.machine.last_error()));
            }
        }
    }

    fn forgive(&mut self, oracle: &mut Oracle, postgres: &Postgres) {
        if self.is_halted() && self.machine.last_error().is_some_and(|trouble| trouble.class == Class::HistoryChanged) {
            self.known = Known::default();
            self.ledger.forget();
            oracle.tampering = None;
            oracle.excuse(postgres, postgres.confirmed);
        }
    }

    fn carry_out(&mut self, effect: Effect, postgres: &mut Postgres) {
        match effect {
            Effect::Open => {
                self.sessions += 1;
                self.confirmed_before = self.ledger.position();
                self.session = Some(Session::new(self.sessions, self.now));
            }
            Effect::Abort => {
                if let Some(session) = &mut self.session
                    && !session.over
                {
                    session.over = true;
                    postgres.link = None;
                    self.mailbox.push_back(Mail::Ended(session.number, Ended::Closed));
                }
            }
            Effect::Drain { bound } => self.command(Command::Drain(bound.unwrap_or(Duration::from_secs(10)))),
            Effect::Halt(trouble) => self.command(Command::Halt(trouble)),
            Effect::Settle => {
                self.close_publishers();
                self.settling += 1;
            }
            Effect::Purge => self.purging = true,
            Effect::Arm { after, generation } => self.timers.push((self.now + after, generation)),
            Effect::Stopped => self.stopped = true,
        }
    }

    fn command(&mut self, command: Command) {
        if let Some(session) = &mut self.session {
            session.commands.push_back(command);
        }
    }

    fn close_publishers(&mut self) {
        for publisher in &mut self.publishers {
            publisher.mailbox.push_back(Post::Close);
        }
    }

    pub(super) fn send_failed(&mut self) {
        self.mailbox.push_back(Mail::SendFailed(Trouble::new(Class::SendFailed, "given up", "")));
    }

    /// Timers that are over.
    pub(super) fn tick(&mut self) {
        let now = self.now;
        for (_, generation) in self.timers.extract_if(.., |(at, _)| *at <= now) {
            self.mailbox.push_back(Mail::Timer(generation));
        }
    }

    /// A publisher hands its next record over.
    pub(super) fn publish(&mut self, place: usize, oracle: &mut Oracle) {
        let publisher = &mut self.publishers[place];
        let Some(Post::Parcel(parcel)) = publisher.mailbox.front_mut() else {
            match publisher.mailbox.pop_front() {
                Some(Post::Open) => (publisher.line, publisher.refused) = (true, false),
                Some(Post::Close) => publisher.line = false,
                Some(Post::Parcel(_)) | None => {}
            }
            return;
        };
        let producer = self.producer.as_mut().filter(|_| publisher.line && !publisher.refused);
        let refused = match (parcel.batch.records().nth(parcel.sent), producer) {
            (Some(record), Some(producer)) if !producer.broken => {
                parcel.sent += 1;
                let cost = cost(record.key.len() + record.value.len());
                let (id, key, token) = (rows::id(record.value), record.key[0], record.token);
                let record = Record { id, key, token, cost, session: parcel.session };
                oracle.handed_over(id);
                if self.planted == Some(Planted::AcknowledgedAtSend) {
                    self.ledger.confirm(token.sequence(), self.now, |_| {});
                }
                producer.send(record);
                return;
            }
            (Some(_), Some(_)) => true,
            (Some(_), None) | (None, _) => false,
        };
        // At its end, or nothing more may be handed over: the rest gives its credits back.
        let left = parcel.batch.records().skip(parcel.sent).map(|record| cost(record.key.len() + record.value.len()));
        let left: usize = left.sum();
        if left > 0 {
            self.account.release(left);
        }
        publisher.mailbox.pop_front();
        if refused {
            publisher.refused = true;
            self.send_failed();
        }
    }

    /// A delivery report.
    pub(super) fn settled(&mut self, record: Record, confirmed: bool, oracle: &mut Oracle) {
        oracle.settled(record.id, confirmed);
        let taken = self.planted == Some(Planted::AcknowledgedAtSend);
        if (confirmed && !taken) || self.planted == Some(Planted::FailureTakenForSuccess) {
            self.confirm(record.token);
        }
        self.account.release(record.cost);
    }

    fn confirm(&mut self, token: Token) {
        if self.planted == Some(Planted::MaximumAcknowledged) {
            // Whatever comes before it is called confirmed, too.
            let mut older = token.sequence();
            while let Some(sequence) = older.checked_sub(1)
                && self.ledger.transaction(sequence).is_some()
            {
                older = sequence;
            }
            for sequence in older..token.sequence() {
                while self.ledger.transaction(sequence).is_some() && !self.ledger.confirm(sequence, self.now, |_| {}) {
                    if self.ledger.waiting(self.now).is_none() {
                        break;
                    }
                }
            }
        }
        self.ledger.confirm(token.sequence(), self.now, |_| {});
    }

    /// Settling goes one step on.
    pub(super) fn settle(&mut self, oracle: &mut Oracle) {
        if self.settling == 0 {
            return;
        }
        if self.closing.is_none() && self.producer.as_ref().is_some_and(|producer| producer.broken) {
            self.closing = self.producer.take();
        }
        if self.closing.is_some() {
            // The publishers still hold it.
            if self.publishers.iter().any(|publisher| publisher.line) {
                return;
            }
            for record in self.closing.take().map(|mut producer| producer.close()).unwrap_or_default() {
                oracle.settled(record.id, false);
                if self.planted == Some(Planted::LostTakenForSuccess) {
                    self.ledger.confirm(record.token.sequence(), self.now, |_| {});
                }
                self.account.release(record.cost);
            }
        }
        if self.account.used() == 0 || self.planted == Some(Planted::HandedOverWhileUnsettled) {
            self.settling -= 1;
            self.mailbox.push_back(Mail::Settled);
        }
    }

    /// A report of a producer that is broken.
    pub(super) fn report(&mut self, oracle: &mut Oracle) {
        let producer = self.closing.as_mut().or(self.producer.as_mut());
        if let Some(record) = producer.and_then(Producer::report) {
            self.settled(record, false, oracle);
        }
    }

    /// Nothing is on its way between the parts, and no timer will ring.
    pub(super) fn is_quiet(&self) -> bool {
        self.mailbox.is_empty()
            && self.publishers.iter().all(|publisher| publisher.mailbox.is_empty())
            && self.producer.as_ref().is_none_or(Producer::is_idle)
            && self.ledger.is_settled()
    }
}
