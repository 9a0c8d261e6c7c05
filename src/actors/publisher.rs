//! One namespace's way to Kafka.
//!
//! # Owns
//! The partition counts that its records are placed by.
//!
//! # Bounds
//! The mailbox holds parcels, whose credits are a part of the slot's share of `limits.memory`.
//!
//! # Supervision
//! A child of its slot, which crashes with it: what a dead publisher held is unknown.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::{
    failpoint::failpoint,
    outlet::{Outlet, REPORT},
    parcel::Parcel,
    shared::SlotShared,
};
use crate::{
    change::{Class, Topic, Trouble},
    config::Namespace,
    delivery::{Alone, Lane},
    pipeline::{Position, Record},
    sink::{
        Refused,
        kafka::{PartitionCount, PartitionCounts, partition},
    },
};

/// How often a condition is looked at that no wake-up announces: a full queue, an empty partition.
const LOOK: Duration = Duration::from_millis(5);

pub(super) struct Publisher;

pub(super) enum PublisherMessage {
    /// A session begins: records go through this outlet.
    Open {
        outlet: Arc<Outlet>,
        counts: Arc<PartitionCounts>,
    },
    Parcel(Parcel),
    /// The session has ended, and what it brought before this has been handed over: let the outlet go.
    Close,
}

pub(super) struct PublisherArguments {
    pub(super) shared: Arc<SlotShared>,
    pub(super) number: usize,
    pub(super) namespace: Arc<Namespace>,
}

struct Line {
    outlet: Arc<Outlet>,
    /// Partitions of the eventsink and the lifecycle topic.
    counts: [PartitionCount; 2],
    lane: Lane,
}

pub(super) struct PublisherState {
    shared: Arc<SlotShared>,
    number: usize,
    namespace: Arc<Namespace>,
    line: Option<Line>,
}

impl Actor for Publisher {
    type Msg = PublisherMessage;
    type State = PublisherState;
    type Arguments = PublisherArguments;

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let PublisherArguments { shared, number, namespace } = arguments;
        Ok(PublisherState { shared, number, namespace, line: None })
    }

    async fn handle(
        &self,
        _myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            PublisherMessage::Open { outlet, counts } => {
                let topics = [&state.namespace.eventsink_topic, &state.namespace.lifecycle_topic];
                let counts = topics.map(|topic| counts.of(topic));
                state.line = Some(Line { outlet, counts, lane: Lane::default() });
            }
            PublisherMessage::Close => state.line = None,
            PublisherMessage::Parcel(mut parcel) => {
                failpoint("publisher");
                // The records borrow the batch while the parcel counts what was handed over.
                let batch = std::mem::take(&mut parcel.batch);
                for record in batch.records() {
                    if !state.publish(&record, &mut parcel).await {
                        break;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Why a record was not handed over.
enum Refusal {
    /// Its session has ended, or is about to for another's sake.
    Closing,
    /// Its producer has failed, or the row is not to be delivered.
    Failed(Trouble),
}

impl PublisherState {
    /// Hands one record over. False: nothing more may be handed over.
    async fn publish(&mut self, record: &Record<'_>, parcel: &mut Parcel) -> bool {
        let Some(line) = self.line.as_mut().filter(|line| line.lane.is_open()) else { return false };
        let (shared, namespace) = (&self.shared, &self.namespace);
        let outcome = if shared.is_closing() {
            Err(Refusal::Closing)
        } else if shared.alone() {
            alone(shared, namespace, self.number, line, record, parcel).await
        } else {
            // Nearly always: no future is made for it.
            match line.offer(shared, namespace, self.number, record, parcel) {
                Ok(()) => return true,
                Err(_) => hand_over(shared, namespace, self.number, line, record, parcel).await,
            }
        };
        let Err(refusal) = outcome else { return true };
        line.lane.refuse();
        if let Refusal::Failed(trouble) = refusal {
            let trouble = line.cause(trouble).await;
            self.shared.send_failed(trouble);
        }
        false
    }
}

async fn hand_over(
    shared: &SlotShared,
    namespace: &Namespace,
    number: usize,
    line: &mut Line,
    record: &Record<'_>,
    parcel: &mut Parcel,
) -> Result<(), Refusal> {
    loop {
        match line.offer(shared, namespace, number, record, parcel) {
            Ok(()) => return Ok(()),
            Err(Refused::Full) => line.wait(shared, LOOK).await?,
            Err(Refused::Failed(trouble)) => return Err(Refusal::Failed(trouble)),
        }
    }
}

impl Line {
    /// Hands a record over with its credits, if that can be done now.
    fn offer(
        &mut self,
        shared: &SlotShared,
        namespace: &Namespace,
        number: usize,
        record: &Record<'_>,
        parcel: &mut Parcel,
    ) -> Result<(), Refused> {
        let (topic, place) = match record.token.topic() {
            Topic::Eventsink => (&namespace.eventsink_topic, 0),
            Topic::Lifecycle => (&namespace.lifecycle_topic, 1),
        };
        let latest = self.counts.get(place).map_or(0, PartitionCount::get);
        let in_flight = || self.outlet.in_flight(record.token);
        let count = self.lane.partitions(record.token.topic(), latest, in_flight).ok_or(Refused::Full)?;
        let partition = partition(namespace.partitioner, record.key, count);
        let cost = shared.cost(number, record.key.len() + record.value.len());
        let texts = namespace.headers.then(|| headers(&record.position));
        let headers = texts.as_ref().map(|texts| texts.each_ref().map(|(name, text)| (*name, text.as_bytes())));
        let headers = headers.as_ref().map_or(&[][..], <[_; 5]>::as_slice);
        self.outlet.send(topic, partition, record, headers, cost)?;
        parcel.handed_over(cost);
        Ok(())
    }

    /// Why nothing more can be handed over: a producer that has failed tells it with the report of the record at fault.
    async fn cause(&self, trouble: Trouble) -> Trouble {
        while self.outlet.broken().is_some() && !self.outlet.producer().has_told() {
            self.outlet.tell_if_silent();
            tokio::time::sleep(LOOK).await;
        }
        match self.outlet.broken() {
            // What is known of a record is more than what is known of its producer.
            Some(cause) if trouble.class == Class::SendFailed => cause,
            _ => trouble,
        }
    }

    /// Waits for what no wake-up announces, unless it cannot come any more.
    async fn wait(&self, shared: &SlotShared, time: Duration) -> Result<(), Refusal> {
        if let Some(trouble) = self.outlet.broken() {
            return Err(Refusal::Failed(trouble));
        }
        // The record of another producer may be what is waited for; whose it is tells why it failed.
        if shared.is_closing() || shared.broken().is_some() {
            return Err(Refusal::Closing);
        }
        tokio::time::sleep(time).await;
        Ok(())
    }
}

/// Sends a record when everything before it is confirmed, and waits for its confirmation. One that is refused alone is an invalid
/// row.
async fn alone(
    shared: &SlotShared,
    namespace: &Namespace,
    number: usize,
    line: &mut Line,
    record: &Record<'_>,
    parcel: &mut Parcel,
) -> Result<(), Refusal> {
    // What other namespaces have before it goes first: a refusal ends this producer, and the slot halts before this record.
    while !shared.ledger().is_oldest(record.token.sequence()) {
        line.wait(shared, Duration::from_millis(1)).await?;
    }
    let _turn = shared.turn().await;
    hand_over(shared, namespace, number, line, record, parcel).await?;
    let mut patience = REPORT;
    while line.outlet.in_flight(record.token) > 0 && !patience.is_zero() {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if shared.is_closing() {
            // Whoever settles waits for it.
            return Err(Refusal::Closing);
        }
        if line.outlet.broken().is_some() {
            patience = patience.saturating_sub(Duration::from_millis(1));
        }
    }
    match line.outlet.broken() {
        None => Ok(()),
        Some(trouble) if Alone::is_culprit(trouble.class, line.outlet.given_up() == Some(record.token)) => {
            Err(Refusal::Failed(too_large(namespace, record, &trouble)))
        }
        Some(trouble) => Err(Refusal::Failed(trouble)),
    }
}

fn too_large(namespace: &Namespace, record: &Record<'_>, trouble: &Trouble) -> Trouble {
    let Position { transaction, ordinal, .. } = record.position;
    Trouble::new(
        Class::InvalidRow,
        format!(
            "Kafka refuses a message of namespace \"{}\" for its size, {} bytes, also when it is sent alone (key \"{}\", commit \
             LSN {}, xid {}, ordinal {ordinal}): {}",
            namespace.name,
            record.key.len() + record.value.len(),
            String::from_utf8_lossy(record.key).escape_debug().take(256).collect::<String>(),
            transaction.commit_lsn,
            transaction.xid,
            trouble.message,
        ),
        trouble.remedy.clone(),
    )
}

/// The position of a record as Kafka headers: decimal text, LSNs as PostgreSQL writes them, the commit time in microseconds since
/// 1970-01-01 UTC.
fn headers(position: &Position) -> [(&'static str, String); 5] {
    let transaction = &position.transaction;
    [
        ("lsn", position.lsn.to_string()),
        ("commit_lsn", transaction.commit_lsn.to_string()),
        ("xid", transaction.xid.to_string()),
        ("commit_time", transaction.commit_time.unix_micros().unwrap_or(i64::MAX).to_string()),
        ("ordinal", position.ordinal.to_string()),
    ]
}
