//! A model of one producer and its brokers: stores in order within a partition, reports when and in which order it likes, and fails as a
//! whole.

use std::{collections::VecDeque, time::Duration};

use cdc_notifier::change::{Class, Token, Topic};

use super::{
    Planted,
    oracle::{Message, Oracle},
    postgres::Postgres,
};
use crate::random::Random;

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) message: Message,
    pub(super) token: Token,
    pub(super) cost: usize,
    pub(super) session: u64,
    /// The broker takes nothing of this size.
    pub(super) large: bool,
}

const TOPICS: usize = 4;
pub(super) const MOST_PARTITIONS: i32 = 3;
const QUEUES: usize = TOPICS * MOST_PARTITIONS.unsigned_abs() as usize;

/// A topic of one of the two namespaces.
const fn topic(token: Token) -> usize {
    token.namespace() * 2 + matches!(token.topic(), Topic::Eventsink) as usize
}

/// The brokers.
pub(super) struct Kafka {
    pub(super) partitions: i32,
    hangs_until: Duration,
    /// What has left a producer that does not know of it any more, in its order.
    late: Vec<VecDeque<Message>>,
}

impl Kafka {
    pub(super) const fn new(partitions: i32) -> Self {
        Self { partitions, hangs_until: Duration::ZERO, late: Vec::new() }
    }

    pub(super) fn hang(&mut self, until: Duration) {
        self.hangs_until = until;
    }

    pub(super) fn hangs(&self, now: Duration) -> bool {
        now < self.hangs_until
    }

    /// Something that nobody waits for any more arrives, or is lost with all that is behind it.
    pub(super) fn arrive(&mut self, random: &mut Random, postgres: &Postgres, oracle: &mut Oracle) {
        if self.late.is_empty() {
            return;
        }
        let place = random.below(self.late.len());
        match self.late[place].pop_front().filter(|_| !random.one_in(10)) {
            Some(message) => oracle.stored_late(postgres, message),
            None => drop(self.late.swap_remove(place)),
        }
    }
}

/// How a producer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// A record is given up, and with it all later ones; each is reported.
    GivenUp,
    /// A batch is refused for its size.
    TooLarge,
    /// Of some records there is never a report.
    Fatal,
    /// Its process has died.
    Died,
}

/// Why a record is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Failed,
}

pub(super) struct Producer {
    failure: Option<Failure>,
    /// The failure shows: by a fatal error at once, else by the first report of it.
    shown: Option<Duration>,
    /// The slot knows that it is broken.
    pub(super) told: bool,
    /// The first record whose failure was reported.
    pub(super) given_up: Option<Token>,
    capacity: usize,
    planted: Option<Planted>,
    /// By topic and partition.
    queues: [VecDeque<Record>; QUEUES],
    /// Not reported yet: whether it is stored.
    reports: Vec<(Record, bool)>,
    silent: Vec<Record>,
    in_flight: [usize; TOPICS],
}

impl Producer {
    pub(super) fn new(capacity: usize, planted: Option<Planted>) -> Self {
        Self {
            failure: None,
            shown: None,
            told: false,
            given_up: None,
            capacity,
            planted,
            queues: Default::default(),
            reports: Vec::new(),
            silent: Vec::new(),
            in_flight: [0; TOPICS],
        }
    }

    pub(super) fn send(&mut self, record: Record, partitions: i32) -> Result<(), Refused> {
        if self.shown.is_some() {
            return Err(Refused::Failed);
        }
        if self.in_flight.iter().sum::<usize>() >= self.capacity {
            return Err(Refused::Full);
        }
        let topic = topic(record.token);
        self.in_flight[topic] += 1;
        if self.failure.is_some() {
            self.reports.push((record, false));
            return Ok(());
        }
        let partition = (usize::from(record.message.key / 2) + 2) % partitions.unsigned_abs() as usize;
        self.queues[topic * QUEUES / TOPICS + partition].push_back(record);
        Ok(())
    }

    /// Records of this one's namespace and topic that are not settled.
    pub(super) const fn in_flight(&self, token: Token) -> usize {
        self.in_flight[topic(token)]
    }

    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.iter().all(|count| *count == 0)
    }

    /// Why it is broken, if that shows.
    pub(super) fn broken(&self) -> Option<Class> {
        self.shown?;
        Some(if self.failure == Some(Failure::TooLarge) { Class::MessageTooLarge } else { Class::SendFailed })
    }

    /// Whether it has been broken for so long.
    pub(super) fn broken_for(&self, time: Duration, now: Duration) -> bool {
        self.shown.is_some_and(|since| now.saturating_sub(since) >= time)
    }

    /// Whether reports will still come.
    pub(super) fn settles(&self) -> bool {
        self.failure != Some(Failure::Fatal) && !self.is_idle()
    }

    /// A broker stores the next batch of some partition, or refuses it.
    pub(super) fn store(
        &mut self,
        now: Duration,
        random: &mut Random,
        kafka: &mut Kafka,
        postgres: &Postgres,
        oracle: &mut Oracle,
    ) {
        let first = random.below(self.queues.len());
        let places = (first..self.queues.len()).chain(0..first);
        let Some(place) = places.into_iter().find(|place| !self.queues[*place].is_empty()) else { return };
        if self.failure.is_some() || kafka.hangs(now) {
            return;
        }
        if self.planted == Some(Planted::RetryOvertakes) && random.one_in(4) {
            // It failed and is sent again, behind what was on its way already.
            self.queues[place].rotate_left(1);
            return;
        }
        let batch = (1 + random.below(3)).min(self.queues[place].len());
        if self.queues[place].iter().take(batch).any(|record| record.large) {
            // Nothing that was on its way behind it is stored: its number would be missing.
            self.reports.extend(self.queues[place].drain(..).map(|record| (record, false)));
            self.fail(Failure::TooLarge, now, random, kafka, postgres, oracle);
            return;
        }
        for record in self.queues[place].drain(..batch) {
            oracle.stored(postgres, record.message, record.session);
            self.reports.push((record, true));
        }
    }

    /// It works no more. Of what was on its way some is stored all the same, reported or not, some comes late, and some never.
    pub(super) fn fail(
        &mut self,
        failure: Failure,
        now: Duration,
        random: &mut Random,
        kafka: &mut Kafka,
        postgres: &Postgres,
        oracle: &mut Oracle,
    ) {
        if self.failure.is_some() {
            return;
        }
        self.failure = Some(failure);
        let hangs = kafka.hangs(now);
        for queue in &mut self.queues {
            let mut next = |n: usize| random.below(n + 1).min(random.below(n + 1));
            let sound = if hangs { 0 } else { queue.iter().take_while(|record| !record.large).count() };
            let confirmed = next(sound);
            let unknown = next(sound - confirmed);
            for (place, record) in queue.drain(..confirmed + unknown).enumerate() {
                oracle.stored(postgres, record.message, record.session);
                self.reports.push((record, place < confirmed));
            }
            if failure == Failure::Fatal || failure == Failure::Died || hangs {
                let late = queue.iter().take_while(|record| !record.large).take(next(queue.len()));
                kafka.late.push(late.map(|record| record.message).collect());
            }
            self.reports.extend(queue.drain(..).map(|record| (record, false)));
        }
        if failure == Failure::Fatal {
            self.shown = Some(now);
            let silent = self.reports.extract_if(.., |_| random.one_in(2)).map(|(record, _)| record);
            self.silent.extend(silent);
        } else if self.reports.iter().all(|(_, confirmed)| *confirmed) {
            // Nothing was given up.
            self.failure = None;
        }
    }

    /// A report, of whichever record it likes; that of a refused batch's first one comes before the others of the batch.
    pub(super) fn report(&mut self, now: Duration, random: &mut Random) -> Option<(Record, bool)> {
        if self.reports.is_empty() {
            return None;
        }
        let place = if self.failure == Some(Failure::TooLarge) { 0 } else { random.below(self.reports.len()) };
        let (record, confirmed) = self.reports.remove(place);
        self.in_flight[topic(record.token)] -= 1;
        if !confirmed {
            self.given_up.get_or_insert(record.token);
            self.shown.get_or_insert(now);
        }
        Some((record, confirmed))
    }

    /// Purged: what was not reported.
    pub(super) fn close(&mut self) -> Vec<Record> {
        let unreported = self.reports.drain(..).map(|(record, _)| record);
        unreported.chain(self.silent.drain(..)).collect()
    }
}
