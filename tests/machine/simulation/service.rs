//! The slot's actor and what its parts share, in the order of `actors/slot.rs`, `actors/shared.rs` and `actors/database.rs`.

use std::{collections::VecDeque, time::Duration};

use cdc_notifier::{
    change::{Class, Lsn, PgTimestamp, Token, Transaction, Trouble},
    delivery::{
        Account, Alone, Effect, Ended, Input, Intensity, Judgement, Known, Ledger, Pool, RECORD_OVERHEAD, Restart,
        RetryTimes, SlotMachine, State,
    },
};

use super::{
    Planted,
    kafka::{Kafka, Producer, Record},
    oracle::Oracle,
    postgres::Postgres,
    publisher::{Post, Publisher},
    session::{Command, Session},
};
use crate::random::Random;

/// How often the database's connection looks who has the slot.
const WATCH: Duration = Duration::from_secs(5);
/// How long a broken producer may keep its reason to itself.
pub(super) const REPORT: Duration = Duration::from_secs(1);

/// What comes to the slot's actor.
#[derive(Debug)]
pub(super) enum Mail {
    Streaming(u64),
    Halting(u64, Trouble),
    Ended(u64, Ended),
    SendFailed(Trouble),
    Timer(u64),
    Input(Input),
}

/// Somebody waits until nothing is with Kafka any more, to tell an actor of this number.
struct Settling {
    actor: u64,
    then: Input,
}

pub(super) struct Service {
    pub(super) now: Duration,
    pub(super) planted: Option<Planted>,
    pub(super) machine: SlotMachine,
    pub(super) ledger: Ledger,
    pub(super) known: Known,
    pub(super) account: Account,
    pub(super) alone: Alone,
    pub(super) mailbox: VecDeque<Mail>,
    pub(super) session: Option<Session>,
    pub(super) publishers: [Publisher; 2],
    /// Who sends alone now.
    pub(super) turn: Option<usize>,
    pub(super) producer: Option<Producer>,
    /// A broken producer that is being closed, and until when its reports are waited for.
    pub(super) closing: Option<(Producer, Duration)>,
    /// No session runs.
    pub(super) closed: bool,
    /// Of the topics, as they were last looked at.
    pub(super) partitions: i32,
    capacity: usize,
    settling: Vec<Settling>,
    sessions: u64,
    /// The actor's number; `None` while it has crashed, and is started again at this time.
    actor: u64,
    starts_at: Option<Duration>,
    intensity: Intensity,
    timers: Vec<(Duration, u64)>,
    looks_at: Duration,
    confirmed_before: Lsn,
    remembered: usize,
    /// Highest position of any stream, for a planted fault.
    pub(super) highest: Lsn,
    pub(super) stopped: bool,
    /// The producer is to give up what it has queued.
    pub(super) purging: bool,
}

pub(super) const fn times() -> RetryTimes {
    RetryTimes {
        resend_timeout: Duration::from_secs(3),
        max_retries: 3,
        reconnect_timeout: Duration::from_secs(5),
        send_timeout: Duration::from_secs(30),
    }
}

pub(super) const fn cost(bytes: usize) -> usize {
    bytes + RECORD_OVERHEAD
}

impl Service {
    /// A process begins; its sessions have numbers above `sessions`.
    pub(super) fn new(random: &mut Random, sessions: u64, now: Duration, planted: Option<Planted>) -> Self {
        let remembered = if random.one_in(3) { 1 + random.below(4) } else { 65_536 };
        Self {
            now,
            planted,
            machine: SlotMachine::new(times()),
            ledger: Ledger::new(remembered),
            known: Known::default(),
            account: Account::new(Pool::new([2_000, 8_000, 1_000_000][random.below(3)], 1)),
            alone: Alone::default(),
            mailbox: VecDeque::new(),
            session: None,
            publishers: Default::default(),
            turn: None,
            producer: None,
            closing: None,
            closed: true,
            partitions: 0,
            capacity: [2, 8, 1_000][random.below(3)],
            settling: vec![Settling { actor: 0, then: Input::Start }],
            sessions,
            actor: 0,
            starts_at: None,
            intensity: Intensity::default(),
            timers: Vec::new(),
            looks_at: now,
            confirmed_before: Lsn::ZERO,
            remembered,
            highest: Lsn::ZERO,
            stopped: false,
            purging: false,
        }
    }

    pub(super) const fn sessions(&self) -> u64 {
        self.sessions
    }

    pub(super) fn is_halted(&self) -> bool {
        *self.machine.state() == State::Halted && self.starts_at.is_none()
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

    /// A message to the actor; nobody takes it while it has crashed.
    pub(super) fn tell(&mut self, mail: Mail) {
        if self.starts_at.is_none() {
            self.mailbox.push_back(mail);
        }
    }

    /// The actor takes one message.
    pub(super) fn act(&mut self, postgres: &mut Postgres, oracle: &mut Oracle) {
        let Some(mail) = self.mailbox.pop_front() else { return };
        oracle.note(|| format!("{:?} takes {mail:?}", self.machine.state()));
        let is_current = |number| self.session.as_ref().is_some_and(|session: &Session| session.number == number);
        let input = match mail {
            Mail::Streaming(number) if is_current(number) => Input::Streaming,
            Mail::Halting(number, trouble) if is_current(number) => Input::Halting(trouble),
            Mail::Ended(number, ended) if is_current(number) => {
                self.session = None;
                self.closed = true;
                Input::Ended(ended)
            }
            Mail::Streaming(_) | Mail::Halting(..) | Mail::Ended(..) => return,
            Mail::SendFailed(trouble) => {
                if trouble.class == Class::MessageTooLarge {
                    oracle.saw("a batch refused for its size");
                    self.alone.suspect(&self.ledger);
                }
                let progressed = self.session.is_some() && self.ledger.position() > self.confirmed_before;
                Input::SendFailed { trouble, progressed }
            }
            Mail::Timer(generation) => Input::Timer(generation),
            Mail::Input(input) => {
                if input == Input::Resume {
                    self.forgive(oracle, postgres);
                }
                input
            }
        };
        let (was_halted, is_taken) = (self.is_halted(), matches!(input, Input::Taken(_)));
        for effect in self.machine.handle(input) {
            self.carry_out(effect, postgres);
        }
        if is_taken && self.session.is_none() && self.account.used() > 0 && !self.purging && !self.stopped {
            oracle.violated("somebody else has the slot, and what is queued for Kafka is not given up");
        }
        if self.is_halted() && !was_halted {
            oracle.saw("a halt");
            oracle.halted(self.machine.last_error().map_or(Class::Bug, |trouble| trouble.class));
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
                self.closed = false;
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
                self.settling.push(Settling { actor: self.actor, then: Input::Settled });
            }
            Effect::Purge => self.purging = self.planted != Some(Planted::KeptThoughTaken),
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

    /// The actor crashes, and with it its session and its publishers; what is shared stays.
    pub(super) fn crash(&mut self, postgres: &mut Postgres, oracle: &mut Oracle) {
        if self.starts_at.is_some() {
            return;
        }
        oracle.saw("a crash of the slot's actor");
        postgres.link = None;
        self.session = None;
        self.turn = None;
        self.mailbox.clear();
        self.timers.clear();
        for publisher in std::mem::take(&mut self.publishers) {
            publisher.mailbox.into_iter().for_each(|post| self.give_back(post));
        }
        self.actor += 1;
        match self.intensity.crashed(self.now) {
            Restart::After(delay) => {
                self.machine = SlotMachine::new(times());
                self.starts_at = Some(self.now + delay);
            }
            Restart::GiveUp => {
                oracle.saw("crashed too often");
                self.intensity.forgive();
                let trouble = Trouble::new(Class::Bug, "it crashed too often", "");
                self.machine = SlotMachine::halted(times(), trouble);
                self.start();
            }
        }
    }

    /// It crashes again and again, each time as soon as it is there.
    pub(super) fn crash_again(&mut self, postgres: &mut Postgres, oracle: &mut Oracle) {
        while let Some(at) = self.starts_at {
            self.now = self.now.max(at);
            self.tick(postgres);
            self.crash(postgres, oracle);
        }
    }

    /// An actor begins after a crash: what the one before had handed to Kafka is settled first.
    fn start(&mut self) {
        self.closed = true;
        if self.planted == Some(Planted::StartedUnsettled) {
            self.tell(Mail::Input(Input::Start));
        } else {
            self.settling.push(Settling { actor: self.actor, then: Input::Start });
        }
    }

    /// Whether the actor has crashed and is not there yet.
    pub(super) const fn is_away(&self) -> bool {
        self.starts_at.is_some()
    }

    fn give_back(&self, post: Post) {
        if let Post::Parcel(parcel) = post {
            let left = parcel.batch.records().skip(parcel.sent);
            let left = left.map(|record| cost(record.key.len() + record.value.len())).sum();
            if left > 0 {
                self.account.release(left);
            }
        }
    }

    /// A parcel is dropped.
    pub(super) fn drop_parcel(&mut self, place: usize) {
        if let Some(post) = self.publishers[place].mailbox.pop_front() {
            self.give_back(post);
        }
    }

    /// Timers that are over, and what is looked at from time to time.
    pub(super) fn tick(&mut self, postgres: &Postgres) {
        let now = self.now;
        let over: Vec<_> = self.timers.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, generation) in over {
            self.tell(Mail::Timer(generation));
        }
        if self.starts_at.take_if(|at| *at <= now).is_some() {
            self.start();
        }
        if now >= self.looks_at {
            self.looks_at = now + WATCH;
            if self.closed && self.account.used() > 0 && postgres.is_taken() {
                self.tell(Mail::Input(Input::Taken(Trouble::new(Class::SlotBusy, "somebody else streams", ""))));
            }
        }
    }

    /// Whether records are sent one at a time.
    pub(super) fn is_alone(&self) -> bool {
        self.alone.holds(self.ledger.position())
    }

    /// A delivery report.
    pub(super) fn report(&mut self, random: &mut Random, oracle: &mut Oracle) {
        let now = self.now;
        let producer = self.closing.as_mut().map(|(producer, _)| producer).or(self.producer.as_mut());
        let Some((record, confirmed)) = producer.and_then(|producer| producer.report(now, random)) else { return };
        if !confirmed {
            self.tell_failure(Duration::ZERO);
        }
        self.settled(record, confirmed, oracle);
    }

    /// Tells why a producer has failed, if that was long enough ago and not told yet.
    pub(super) fn tell_failure(&mut self, patience: Duration) {
        let now = self.now;
        let producer = self.closing.as_mut().map(|(producer, _)| producer).or(self.producer.as_mut());
        let Some(producer) = producer.filter(|producer| !producer.told && producer.broken_for(patience, now)) else {
            return;
        };
        producer.told = true;
        let Some(class) = producer.broken() else { return };
        // The publisher that sends alone tells itself: it knows which record this is.
        if class != Class::MessageTooLarge || !self.is_alone() {
            self.send_failed(class);
        }
    }

    pub(super) fn tell_if_silent(&mut self) {
        self.tell_failure(REPORT);
    }

    pub(super) fn send_failed(&mut self, class: Class) {
        self.tell(Mail::SendFailed(Trouble::new(class, "given up", "")));
    }

    fn settled(&mut self, record: Record, confirmed: bool, oracle: &mut Oracle) {
        oracle.settled(record.message.id, confirmed);
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
        if self.settling.is_empty() {
            return;
        }
        if self.closing.is_none() {
            let broken = self.producer.take_if(|producer| producer.broken().is_some());
            self.closing = broken.map(|producer| (producer, self.now + times().send_timeout));
        }
        // The publishers may still hold it, and what is on its way is waited for.
        let held = self.publishers.iter().any(|publisher| publisher.line.is_some());
        let now = self.now;
        if let Some((mut producer, _)) =
            self.closing.take_if(|(producer, until)| !held && (!producer.settles() || now >= *until))
        {
            for record in producer.close() {
                oracle.saw("a record without a report");
                oracle.settled(record.message.id, false);
                if self.planted == Some(Planted::LostTakenForSuccess) {
                    self.ledger.confirm(record.token.sequence(), self.now, |_| {});
                }
                self.account.release(record.cost);
            }
        }
        if self.closing.is_some() {
            return;
        }
        let broken = self.producer.as_ref().is_some_and(|producer| producer.broken().is_some());
        if (self.account.used() == 0 && !broken) || self.planted == Some(Planted::HandedOverWhileUnsettled) {
            let Settling { actor, then } = self.settling.remove(0);
            if actor == self.actor {
                self.tell(Mail::Input(then));
            }
        }
    }

    /// The producer that a session opens.
    pub(super) fn open_producer(&mut self, kafka: &Kafka) {
        self.partitions = kafka.partitions;
        let (capacity, planted) = (self.capacity, self.planted);
        self.producer.get_or_insert_with(|| Producer::new(capacity, planted));
        for publisher in &mut self.publishers {
            publisher.mailbox.push_back(Post::Open);
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
