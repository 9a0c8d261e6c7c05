//! A schedule: what happens next is drawn by lot, until in the end nothing fails any more and all must come right.

use std::time::Duration;

use cdc_notifier::delivery::{Input, State};

use super::{
    Planted,
    kafka::{Failure, Kafka},
    oracle::{Oracle, Tampering},
    postgres::Postgres,
    service::{Mail, Service},
};
use crate::{random::Random, rows::Meaning};

/// Steps of a whole schedule.
pub(super) const STEPS: u64 = 350;
/// Steps in which all must come right, of 20 ms.
const CALM: u64 = 6_000;

/// A schedule, or what is left of it when it is minimised: each step draws from numbers of its own, so that it does the same whatever
/// other steps are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) planted: Option<Planted>,
    pub(crate) steps: Vec<u64>,
}

impl Plan {
    pub(crate) fn whole(seed: u64, planted: Option<Planted>) -> Self {
        Self { seed, planted, steps: (0..STEPS).collect() }
    }
}

pub(super) struct Schedule<'a> {
    plan: &'a Plan,
    pub(super) random: Random,
    pub(super) postgres: Postgres,
    pub(super) kafka: Kafka,
    pub(super) service: Service,
    pub(super) oracle: Oracle,
    /// How often things fail: once in so many steps.
    rare: usize,
    /// Milliseconds that a step takes at most.
    pace: u64,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(plan: &'a Plan, trace: bool) -> Self {
        let mut random = Random::of_step(plan.seed, u64::MAX);
        let mut postgres = Postgres::new(&mut random);
        let kafka = Kafka::new(if random.one_in(2) { 1 } else { 2 });
        let mut oracle = Oracle::new(trace);
        // What was committed before this process began; the slot may have fallen behind some of it by a crash.
        for _ in 0..random.below(4) {
            let commit = postgres.commit(&mut random, false);
            oracle.committed(&postgres, &commit);
            if random.one_in(2) {
                postgres.confirmed = postgres.wal_end;
            }
        }
        oracle.excuse(&postgres, postgres.confirmed);
        let service = Service::new(&mut random, 0, Duration::from_secs(1), plan.planted);
        let rare = [30, 100, 1_000][random.below(3)];
        let pace = [40, 40, 400, 3_000][random.below(4)];
        Self { plan, random, postgres, kafka, service, oracle, rare, pace }
    }

    /// Returns the oracle, which has counted what was seen.
    pub(super) fn run(mut self) -> Result<Oracle, String> {
        for step in &self.plan.steps {
            self.random = Random::of_step(self.plan.seed, *step);
            self.step(*step);
            self.look()?;
        }
        self.mend();
        for step in 0..CALM {
            self.random = Random::of_step(self.plan.seed, STEPS + step);
            self.calm_step();
            self.look()?;
            if self.is_done() {
                self.oracle.complete(&self.postgres);
                self.look()?;
                return Ok(self.oracle);
            }
        }
        Err(format!(
            "no end: {:?}, {:?}, slot at {} of {}, {} bytes in use",
            self.service.machine.state(),
            self.service.machine.last_error(),
            self.postgres.confirmed,
            self.postgres.wal_end,
            self.service.account.used()
        ))
    }

    fn look(&self) -> Result<(), String> {
        self.oracle.violation().map_or(Ok(()), Err)
    }

    fn is_done(&self) -> bool {
        *self.service.machine.state() == State::Streaming
            && self.service.is_quiet()
            && self.postgres.is_idle()
            && self.postgres.confirmed == self.postgres.wal_end
    }

    fn commit(&mut self) {
        let commit = self.postgres.commit(&mut self.random, true);
        self.oracle.committed(&self.postgres, &commit);
    }

    fn step(&mut self, number: u64) {
        let longest = if self.kafka.hangs(self.service.now) { self.pace.max(2_000) } else { self.pace };
        self.service.now += Duration::from_millis(self.random.between(0, longest));
        let Self { service, postgres, oracle, .. } = self;
        oracle.note(|| {
            let (state, confirmed) = (service.machine.state(), postgres.confirmed);
            format!("-- step {number}, {:?}: {state:?}, slot at {confirmed}, {:?}", service.now, service.ledger)
        });
        postgres.tick(service.now, oracle);
        if self.random.one_in(self.rare) {
            self.fail();
        }
        match self.random.below(108) {
            0..8 => self.commit(),
            8..10 => self.postgres.write_elsewhere(&mut self.random),
            10..35 => self.postgres.send(&mut self.random, false),
            35..40 => self.postgres.listen(),
            40..60 => self.session(),
            60..68 => self.act(),
            68..80 => {
                let place = self.random.below(2);
                self.service.publish(place, &mut self.oracle);
            }
            80..88 => self.store(),
            88..96 => self.service.report(&mut self.random, &mut self.oracle),
            96..99 => self.service.settle(&mut self.oracle),
            99 => {
                self.service.now += Duration::from_secs(self.random.between(1, 6));
                self.service.tick(&self.postgres);
            }
            100 => self.postgres.checkpoint(),
            101 => self.postgres.up = true,
            102 => self.service.tick(&self.postgres),
            103 => self.kafka.arrive(&mut self.random, &self.postgres, &mut self.oracle),
            104 => self.service.partitions = self.kafka.partitions,
            105..107 => self.deliver_elsewhere(),
            _ => self.resume(),
        }
        if self.service.stopped {
            self.restart();
        }
    }

    fn session(&mut self) {
        self.service.run(&self.kafka, &mut self.postgres, &mut self.oracle);
    }

    /// The slot's actor takes one message.
    fn act(&mut self) {
        self.service.act(&mut self.postgres, &mut self.oracle);
        if std::mem::take(&mut self.service.purging) {
            self.oracle.saw("a purge");
            self.break_producer(Failure::GivenUp);
        }
    }

    pub(super) fn break_producer(&mut self, failure: Failure) {
        let Self { service, kafka, postgres, oracle, random, .. } = self;
        if let Some(producer) = &mut service.producer {
            producer.fail(failure, service.now, random, kafka, postgres, oracle);
        }
    }

    fn store(&mut self) {
        let Self { service, kafka, postgres, oracle, random, .. } = self;
        if let Some(producer) = &mut service.producer {
            producer.store(service.now, random, kafka, postgres, oracle);
        }
    }

    /// Another consumer, which has the slot, goes on. If it comes further than this process, that may halt.
    fn deliver_elsewhere(&mut self) {
        let before = self.postgres.confirmed;
        self.postgres.deliver_elsewhere(&mut self.random, &mut self.oracle);
        if self.postgres.confirmed > before {
            self.oracle.tampering = Some(Tampering { forbidden: None });
        }
    }

    /// A person looks at a halted slot: what was wrong with its rows, or too large, is mended.
    fn resume(&mut self) {
        if self.service.is_halted() {
            self.mend_rows();
            self.service.tell(Mail::Input(Input::Resume));
        }
    }

    fn mend_rows(&mut self) {
        for commit in &mut self.postgres.log {
            if commit.rows.iter().any(super::postgres::Row::is_bad) {
                let mut mended = super::postgres::Commit { rows: commit.rows.clone(), ..**commit };
                for row in mended.rows.iter_mut().filter(|row| row.is_bad()) {
                    row.meaning = Meaning::Message;
                }
                *commit = mended.into();
            }
        }
    }

    /// The process ends, and another one begins.
    pub(super) fn restart(&mut self) {
        self.oracle.saw("a process that ends");
        self.postgres.link = None;
        self.break_producer(Failure::Died);
        self.oracle.died();
        let (sessions, now) = (self.service.sessions(), self.service.now);
        self.service = Service::new(&mut self.random, sessions, now, self.plan.planted);
    }

    /// From here on nothing fails.
    fn mend(&mut self) {
        self.oracle.note(|| "-- nothing fails any more".to_owned());
        self.postgres.up = true;
        self.postgres.let_go();
        self.kafka.hang(Duration::ZERO);
        if self.service.machine.state() == &State::Draining {
            self.restart();
        }
    }

    fn calm_step(&mut self) {
        self.service.now += Duration::from_millis(20);
        self.service.tick(&self.postgres);
        self.postgres.tick(self.service.now, &mut self.oracle);
        for _ in 0..4 {
            self.postgres.send(&mut self.random, true);
        }
        self.session();
        self.postgres.listen();
        while !self.service.mailbox.is_empty() {
            self.act();
        }
        for place in 0..2 {
            for _ in 0..4 {
                self.service.publish(place, &mut self.oracle);
            }
        }
        self.kafka.arrive(&mut self.random, &self.postgres, &mut self.oracle);
        for _ in 0..4 {
            self.store();
            self.service.report(&mut self.random, &mut self.oracle);
        }
        self.service.settle(&mut self.oracle);
        self.resume();
        if self.service.stopped {
            self.restart();
        }
    }
}
