//! A publisher, in the order of `actors/publisher.rs`.

use std::collections::VecDeque;

use cdc_notifier::{
    change::{Class, Token},
    delivery::{Alone, Lane},
    pipeline::Batch,
};

use super::{
    Planted,
    kafka::{Record, Refused},
    oracle::{Message, Oracle},
    service::{Service, cost},
};
use crate::rows;

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

/// A publisher: its mailbox, and its way to the producer of the session.
#[derive(Default)]
pub(super) struct Publisher {
    pub(super) mailbox: VecDeque<Post>,
    pub(super) line: Option<Lane>,
    /// The report of this record is waited for: it was sent alone.
    alone: Option<(Token, bool)>,
}

/// What a publisher did with a record.
enum Outcome {
    HandedOver,
    /// Not yet.
    Waits,
    Closing,
    Failed(Class),
}

impl Service {
    /// A publisher takes its next record, or goes on waiting.
    pub(super) fn publish(&mut self, place: usize, oracle: &mut Oracle) {
        let publisher = &mut self.publishers[place];
        let Some(Post::Parcel(parcel)) = publisher.mailbox.front() else {
            match publisher.mailbox.pop_front() {
                Some(Post::Open) => publisher.line = Some(Lane::default()),
                Some(Post::Close) => publisher.line = None,
                Some(Post::Parcel(_)) | None => {}
            }
            return;
        };
        if parcel.sent == parcel.batch.len() && publisher.alone.is_none() {
            publisher.mailbox.pop_front();
            return;
        }
        if !publisher.line.as_ref().is_some_and(Lane::is_open) {
            self.drop_parcel(place);
            return;
        }
        let outcome = if self.publishers[place].alone.is_some() {
            self.await_alone(place, oracle)
        } else if self.closed {
            Outcome::Closing
        } else if self.is_alone() {
            self.hand_over_alone(place, oracle)
        } else {
            self.offer(place, oracle)
        };
        match outcome {
            Outcome::HandedOver | Outcome::Waits => return,
            Outcome::Closing => {}
            Outcome::Failed(class) => {
                if let Some(producer) = &mut self.producer {
                    producer.told = true;
                }
                self.send_failed(class);
            }
        }
        if let Some(lane) = &mut self.publishers[place].line {
            lane.refuse();
        }
        self.drop_parcel(place);
    }

    fn offer(&mut self, place: usize, oracle: &mut Oracle) -> Outcome {
        let publisher = &mut self.publishers[place];
        let (Some(lane), Some(Post::Parcel(parcel)), Some(producer)) =
            (&mut publisher.line, publisher.mailbox.front_mut(), &mut self.producer)
        else {
            return Outcome::Closing;
        };
        let Some(record) = parcel.batch.records().nth(parcel.sent) else { return Outcome::HandedOver };
        let (token, mark) = (record.token, record.value[0]);
        let in_flight = || if self.planted == Some(Planted::PlacedAnew) { 0 } else { producer.in_flight(token) };
        let partitions = lane.partitions(token.topic(), self.partitions, in_flight);
        let (id, key, position) = (rows::id(record.value), record.key[0], record.position);
        let message = Message { id, key, topic: token.topic(), mark, position };
        let cost = cost(record.key.len() + record.value.len());
        let record = Record { message, token, cost, session: parcel.session, large: mark == b'l' };
        let sent = partitions.ok_or(Refused::Full).and_then(|count| producer.send(record, count));
        let failure = producer.broken();
        match (sent, failure) {
            (Ok(()), _) => {
                parcel.sent += 1;
                oracle.handed_over(id);
                if self.planted == Some(Planted::AcknowledgedAtSend) {
                    self.ledger.confirm(token.sequence(), self.now, |_| {});
                }
                Outcome::HandedOver
            }
            (Err(_), Some(class)) => Outcome::Failed(class),
            (Err(_), None) => Outcome::Waits,
        }
    }

    /// Sends a record when everything before it is confirmed and nobody else sends alone.
    fn hand_over_alone(&mut self, place: usize, oracle: &mut Oracle) -> Outcome {
        let Some(Post::Parcel(parcel)) = self.publishers[place].mailbox.front() else { return Outcome::Closing };
        let Some(record) = parcel.batch.records().nth(parcel.sent) else { return Outcome::HandedOver };
        let (token, large) = (record.token, record.value[0] == b'l');
        if !self.ledger.is_oldest(token.sequence()) {
            let failure = self.producer.as_ref().and_then(super::kafka::Producer::broken);
            return failure.map_or(Outcome::Waits, Outcome::Failed);
        }
        if *self.turn.get_or_insert(place) != place {
            return Outcome::Waits;
        }
        oracle.saw("a record sent alone");
        let outcome = self.offer(place, oracle);
        match outcome {
            Outcome::HandedOver => self.publishers[place].alone = Some((token, large)),
            Outcome::Waits => {}
            Outcome::Closing | Outcome::Failed(_) => self.turn = None,
        }
        outcome
    }

    /// Waits for the confirmation of a record that was sent alone. One that is refused alone is an invalid row.
    fn await_alone(&mut self, place: usize, oracle: &mut Oracle) -> Outcome {
        let now = self.now;
        let producer = self.closing.as_ref().map(|(producer, _)| producer).or(self.producer.as_ref());
        let (Some((token, large)), Some(producer)) = (self.publishers[place].alone, producer) else {
            return Outcome::Closing;
        };
        if producer.in_flight(token) > 0 && !producer.broken_for(super::service::REPORT, now) {
            return Outcome::Waits;
        }
        let (failure, first) = (producer.broken(), producer.given_up == Some(token));
        (self.publishers[place].alone, self.turn) = (None, None);
        let Some(class) = failure else { return Outcome::HandedOver };
        if !Alone::is_culprit(class, first) {
            return Outcome::Failed(class);
        }
        if !large {
            oracle.violated("a message is called too large that is not");
        }
        Outcome::Failed(Class::InvalidRow)
    }
}
