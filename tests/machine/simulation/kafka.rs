//! A model of one producer and its brokers: confirms in order within a partition, and fails as a whole.

use std::collections::VecDeque;

use cdc_notifier::change::Token;

use super::{oracle::Oracle, postgres::Postgres};
use crate::random::Random;

#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) id: u64,
    pub(super) key: u8,
    pub(super) token: Token,
    pub(super) cost: usize,
    pub(super) session: u64,
}

const PARTITIONS: usize = 2;

#[derive(Default)]
pub(super) struct Producer {
    pub(super) broken: bool,
    partitions: [VecDeque<Record>; PARTITIONS],
    /// Given up and not reported yet; of some there is never a report.
    given_up: VecDeque<Record>,
}

impl Producer {
    pub(super) fn send(&mut self, record: Record) {
        self.partitions[usize::from(record.key) / 2 % PARTITIONS].push_back(record);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.partitions.iter().all(VecDeque::is_empty) && self.given_up.is_empty()
    }

    /// The next record of some partition is stored.
    pub(super) fn confirm(&mut self, random: &mut Random, postgres: &Postgres, oracle: &mut Oracle) -> Option<Record> {
        if self.broken {
            return None;
        }
        let place = random.below(PARTITIONS);
        let record = self.partitions[place].pop_front().or_else(|| self.partitions[1 - place].pop_front())?;
        oracle.appended(postgres, record.key, record.id, record.session);
        Some(record)
    }

    /// One record is given up, and with it all later ones. Some were stored all the same.
    pub(super) fn fail(&mut self, random: &mut Random, postgres: &Postgres, oracle: &mut Oracle) {
        self.broken = true;
        for partition in &mut self.partitions {
            for record in partition.drain(..random.below(partition.len() + 1)) {
                oracle.appended(postgres, record.key, record.id, record.session);
                self.given_up.push_back(record);
            }
            self.given_up.extend(partition.drain(..));
        }
    }

    /// A record that was given up is reported.
    pub(super) fn report(&mut self) -> Option<Record> {
        self.given_up.pop_front()
    }

    /// Purged: what was not reported.
    pub(super) fn close(&mut self) -> Vec<Record> {
        self.given_up.drain(..).collect()
    }
}
