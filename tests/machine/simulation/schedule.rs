//! A schedule: what happens next is drawn by lot, until in the end nothing fails any more and all must come right.

use std::time::Duration;

use cdc_notifier::{
    change::{Class, Lsn, Trouble},
    delivery::{Input, State},
};

use super::{
    Planted,
    oracle::{Oracle, Tampering},
    postgres::Postgres,
    service::{Mail, Service},
};
use crate::{random::Random, rows::Meaning};

const STEPS: usize = 350;

pub(super) struct Schedule {
    random: Random,
    postgres: Postgres,
    service: Service,
    oracle: Oracle,
    planted: Option<Planted>,
    /// How often things fail: once in so many steps.
    rare: usize,
    trace: bool,
}

impl Schedule {
    pub(super) fn new(seed: u64, planted: Option<Planted>) -> Self {
        let mut random = Random::new(seed);
        let mut postgres = Postgres::new(&mut random);
        let mut oracle = Oracle::default();
        // What was committed before this process began; the slot may have fallen behind some of it by a crash.
        for _ in 0..random.below(4) {
            let commit = postgres.commit(&mut random, false);
            oracle.committed(&postgres, &commit);
            if random.one_in(2) {
                postgres.confirmed = postgres.wal_end;
            }
        }
        oracle.excuse(&postgres, postgres.confirmed);
        let service = Service::new(&mut random, 0, Duration::from_secs(1), planted);
        let rare = [30, 100, 1_000][random.below(3)];
        Self { random, postgres, service, oracle, planted, rare, trace: super::seed().is_some() }
    }

    pub(super) fn run(mut self) -> Result<usize, String> {
        for _ in 0..STEPS {
            self.step();
            self.look()?;
        }
        self.mend();
        for _ in 0..3_000 {
            self.calm_step();
            self.look()?;
            if self.is_done() {
                self.oracle.complete(&self.postgres);
                self.look()?;
                return Ok(self.oracle.messages);
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

    fn step(&mut self) {
        self.service.now += Duration::from_millis(self.random.between(0, 40));
        if self.random.one_in(self.rare) {
            self.fail();
        }
        let choice = self.random.below(100);
        if self.trace {
            println!(
                "{choice:2} {:?}, slot {}, {:?}",
                self.service.machine.state(),
                self.postgres.confirmed,
                self.service.ledger
            );
        }
        match choice {
            0..8 => self.commit(),
            8..10 => self.postgres.write_elsewhere(&mut self.random),
            10..35 => self.postgres.send(&mut self.random, false),
            35..40 => self.postgres.listen(),
            40..60 => self.service.run(&mut self.postgres, &mut self.oracle),
            60..68 => self.act(),
            68..80 => {
                let place = self.random.below(2);
                self.service.publish(place, &mut self.oracle);
            }
            80..90 => self.confirm(),
            90..93 => self.service.settle(&mut self.oracle),
            93..95 => self.service.report(&mut self.oracle),
            95 => {
                self.service.now += Duration::from_secs(self.random.between(1, 6));
                self.service.tick();
            }
            96 => self.postgres.checkpoint(),
            97 => self.postgres.up = true,
            98 => self.service.tick(),
            _ => self.resume(),
        }
        if self.service.stopped {
            self.restart();
        }
    }

    /// The slot's actor takes one message.
    fn act(&mut self) {
        self.service.act(&mut self.postgres, &mut self.oracle);
        if std::mem::take(&mut self.service.purging) {
            self.give_up();
        }
    }

    /// The producer gives up what it has, some of which is stored all the same.
    fn give_up(&mut self) {
        if let Some(producer) = self.service.producer.as_mut().filter(|producer| !producer.broken) {
            producer.fail(&mut self.random, &self.postgres, &mut self.oracle);
            self.service.send_failed();
        }
    }

    fn confirm(&mut self) {
        let producer = self.service.producer.as_mut();
        let stored = producer.and_then(|p| p.confirm(&mut self.random, &self.postgres, &mut self.oracle));
        if let Some(record) = stored {
            self.service.settled(record, true, &mut self.oracle);
        }
    }

    /// A person looks at a halted slot: what was wrong with its rows is mended.
    fn resume(&mut self) {
        if self.service.is_halted() {
            self.mend_rows();
            self.service.mailbox.push_back(Mail::Input(Input::Resume));
        }
    }

    fn mend_rows(&mut self) {
        for commit in &mut self.postgres.log {
            let is_bad = |meaning| matches!(meaning, Meaning::Poison | Meaning::Unwritable);
            if commit.rows.iter().any(|row| is_bad(row.meaning)) {
                let mut mended = super::postgres::Commit { rows: commit.rows.clone(), ..**commit };
                for row in mended.rows.iter_mut().filter(|row| is_bad(row.meaning)) {
                    row.meaning = Meaning::Message;
                }
                *commit = mended.into();
            }
        }
    }

    /// The process ends, and another one begins.
    fn restart(&mut self) {
        self.postgres.link = None;
        if let Some(producer) = &mut self.service.producer {
            producer.fail(&mut self.random, &self.postgres, &mut self.oracle);
        }
        self.oracle.died();
        self.service = Service::new(&mut self.random, self.service.sessions(), self.service.now, self.planted);
    }

    fn fail(&mut self) {
        let (postgres, random) = (&mut self.postgres, &mut self.random);
        let choice = random.below(15);
        if self.trace {
            println!("fault {choice}: wal {}, {:?}", postgres.wal_end, self.service.known);
        }
        match choice {
            0..3 => postgres.link = None,
            3..5 => postgres.crash(random),
            5..8 => self.give_up(),
            8 => self.service.now += Duration::from_secs(random.between(10, 70)),
            9 => self.service.mailbox.push_back(Mail::Input(Input::ServerStopping)),
            10 => self.service.mailbox.push_back(Mail::Input(Input::Drain)),
            11 => self.restart(),
            12 => {
                if self.oracle.tampering.is_none() && postgres.fail_over(random) {
                    // Whoever has seen the other timeline halts.
                    self.oracle.tampering = Some(Tampering { forbidden: None });
                }
            }
            13 => {
                let busy = Trouble::new(Class::SlotBusy, "somebody else streams", "");
                self.service.mailbox.push_back(Mail::Input(Input::Taken(busy)));
            }
            _ => self.tamper(),
        }
    }

    /// History is changed behind the service's back.
    fn tamper(&mut self) {
        let (postgres, random, service) = (&mut self.postgres, &mut self.random, &self.service);
        // Only once at a time, and only what the service can know.
        let seen = service.known.server.as_ref().is_some_and(|(_, timeline)| *timeline == postgres.timeline);
        if self.oracle.tampering.is_some() || !seen || service.known.acknowledged == Lsn::ZERO {
            return;
        }
        let number = postgres.newest();
        let choice = random.below(3);
        if self.trace {
            println!("tampering {choice}");
        }
        let forbidden = match choice {
            0 => {
                postgres.replace();
                Some(number)
            }
            1 => {
                self.oracle.excuse(postgres, postgres.wal_end);
                postgres.advance();
                (postgres.wal_end > service.known.acknowledged.get()).then_some(number)
            }
            _ => {
                let end = postgres.restore(random);
                service.remembers(postgres.confirmed, end).then_some(number)
            }
        };
        self.oracle.tampering = Some(Tampering { forbidden });
    }

    /// From here on nothing fails.
    fn mend(&mut self) {
        self.postgres.up = true;
        if self.service.machine.state() == &State::Draining {
            self.restart();
        }
    }

    fn calm_step(&mut self) {
        if self.trace {
            println!(
                "calm {:?}, slot {}, {:?}",
                self.service.machine.state(),
                self.postgres.confirmed,
                self.service.ledger
            );
        }
        let Self { random, postgres, service, oracle, .. } = self;
        service.now += Duration::from_millis(20);
        service.tick();
        for _ in 0..4 {
            postgres.send(random, true);
        }
        service.run(postgres, oracle);
        postgres.listen();
        while !self.service.mailbox.is_empty() {
            self.act();
        }
        let Self { service, oracle, .. } = self;
        for place in 0..2 {
            while !service.publishers[place].mailbox.is_empty() {
                service.publish(place, oracle);
            }
        }
        for _ in 0..4 {
            self.confirm();
            self.service.report(&mut self.oracle);
        }
        self.service.settle(&mut self.oracle);
        self.resume();
        if self.service.stopped {
            self.restart();
        }
    }
}
