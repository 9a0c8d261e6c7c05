//! A producer with what it holds: where delivery reports become confirmations and credits.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::shared::SlotShared;
use crate::{
    change::{Class, Token, Topic, Trouble},
    config::KafkaClient,
    sink::{Delivery, Outcome, Refused, Settlement, Sink as _, kafka::Producer},
};

/// How often is looked whether a producer is done.
const LOOK: Duration = Duration::from_millis(5);
/// How long the report of a record may take once its producer has failed; of some it never comes.
pub(super) const REPORT: Duration = Duration::from_secs(1);

/// Settles records on librdkafka's poll thread: short, and without blocking.
struct Confirmations {
    shared: Arc<SlotShared>,
    /// Bytes of credit with the producer.
    held: AtomicUsize,
    /// Records with the producer, per namespace and topic.
    in_flight: Vec<[AtomicUsize; 2]>,
    /// The first record that was given up.
    given_up: OnceLock<Token>,
}

const fn place(topic: Topic) -> usize {
    match topic {
        Topic::Eventsink => 0,
        Topic::Lifecycle => 1,
    }
}

impl Confirmations {
    fn in_flight(&self, token: Token) -> Option<&AtomicUsize> {
        self.in_flight.get(token.namespace())?.get(place(token.topic()))
    }

    fn taken(&self, token: Token, cost: usize) {
        self.held.fetch_add(cost, Ordering::AcqRel);
        if let Some(count) = self.in_flight(token) {
            count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn left(&self, token: Token, cost: usize) {
        self.held.fetch_sub(cost, Ordering::AcqRel);
        if let Some(count) = self.in_flight(token) {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn confirm(&self, token: Token) {
        if let Some(namespace) = self.shared.status.namespaces.get(token.namespace()) {
            namespace.messages_confirmed.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.shared.coarse_now();
        let mut ledger = self.shared.ledger();
        let mut latencies = None;
        let moved = ledger.confirm(token.sequence(), now, |transaction| {
            latencies.get_or_insert_with(|| self.shared.status.latencies()).record(transaction.commit_time);
        });
        if moved {
            self.shared.status.confirmed.set(ledger.position());
        }
    }
}

impl Settlement for Confirmations {
    fn settled(&self, delivery: Delivery) {
        let token = Token::from_bits(delivery.token);
        match delivery.outcome {
            Outcome::Confirmed { .. } => self.confirm(token),
            Outcome::Failed => {
                self.given_up.get_or_init(|| token);
            }
        }
        let cost = self.shared.cost(token.namespace(), delivery.bytes);
        self.left(token, cost);
        if self.shared.account.release(cost) {
            self.shared.wake.notify_one();
        }
    }

    fn failed(&self, trouble: &Trouble) {
        // The publisher that sends alone tells itself: it knows which record this is.
        if trouble.class == Class::MessageTooLarge && self.shared.alone() {
            return;
        }
        self.shared.send_failed(trouble.clone());
    }
}

/// One producer of a slot.
pub(super) struct Outlet {
    producer: Producer,
    confirmations: Arc<Confirmations>,
    /// When it was first seen that the producer has failed without a word.
    silent_since: OnceLock<Instant>,
}

impl Outlet {
    /// Blocks while certificates are read.
    pub(super) fn open(client: &KafkaClient, shared: &Arc<SlotShared>) -> Result<Arc<Self>, Trouble> {
        let namespaces = shared.slot.namespaces.iter();
        let confirmations = Arc::new(Confirmations {
            shared: Arc::clone(shared),
            held: AtomicUsize::new(0),
            in_flight: namespaces.map(|_| [AtomicUsize::new(0), AtomicUsize::new(0)]).collect(),
            given_up: OnceLock::new(),
        });
        let settlement: Arc<dyn Settlement> = Arc::<Confirmations>::clone(&confirmations);
        let offsets = shared.offsets(&client.name);
        let producer = Producer::open(client, shared.limits.memory, offsets, settlement)?;
        Ok(Arc::new(Self { producer, confirmations, silent_since: OnceLock::new() }))
    }

    pub(super) const fn producer(&self) -> &Producer {
        &self.producer
    }

    pub(super) fn broken(&self) -> Option<Trouble> {
        self.producer.broken()
    }

    /// Sees to it that a producer which has failed tells why, also if the report of the record at fault never comes.
    pub(super) fn tell_if_silent(&self) {
        if self.producer.broken().is_some() && !self.producer.has_told() {
            let since = self.silent_since.get_or_init(Instant::now);
            if since.elapsed() >= REPORT {
                self.producer.tell();
            }
        }
    }

    /// Records of this namespace and topic that are not settled.
    pub(super) fn in_flight(&self, token: Token) -> usize {
        self.confirmations.in_flight(token).map_or(0, |count| count.load(Ordering::Acquire))
    }

    /// The first record that was given up.
    pub(super) fn given_up(&self) -> Option<Token> {
        self.confirmations.given_up.get().copied()
    }

    /// Hands a record over; its credits go with it.
    pub(super) fn send(
        &self,
        topic: &str,
        partition: i32,
        record: &crate::pipeline::Record<'_>,
        headers: &[(&str, &[u8])],
        cost: usize,
    ) -> Result<(), Refused> {
        let sent = crate::sink::Record {
            topic,
            partition,
            key: Some(record.key),
            value: record.value,
            headers,
            token: record.token.bits(),
        };
        // Before the hand-over: the report may come before `send` returns.
        self.confirmations.taken(record.token, cost);
        let sent = self.producer.send(&sent);
        if sent.is_err() {
            self.confirmations.left(record.token, cost);
        }
        sent
    }

    /// Closes the producer. What is on its way to the broker is waited for at most this long, so that its successor does not
    /// overtake it; the rest is given up. After a fatal error some records never get a report: their credits come back here, when
    /// none can come any more. The publishers have been told to let it go.
    pub(super) async fn close(mut self: Arc<Self>, patience: Duration) {
        let until = Instant::now() + patience;
        if !patience.is_zero() {
            self.producer.purge_queue();
        }
        while self.producer.settles() && self.producer.in_flight() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
        let Self { producer, confirmations, .. } = loop {
            match Arc::try_unwrap(self) {
                Ok(outlet) => break outlet,
                Err(held) => self = held,
            }
            tokio::time::sleep(LOOK).await;
        };
        if let Err(error) = tokio::task::spawn_blocking(move || producer.purge_and_close()).await {
            tracing::error!(%error, "closing a producer failed");
        }
        let left = confirmations.held.swap(0, Ordering::AcqRel);
        if left > 0 {
            confirmations.shared.account.release(left);
        }
        confirmations.shared.wake.notify_one();
    }
}
