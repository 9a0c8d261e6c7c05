//! What the parts of one slot share, and what outlives a crash of its actor.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use nix::time::{ClockId, clock_gettime};
use ractor::ActorRef;
use tokio::sync::{Notify, Semaphore};

use super::{outlet::Outlet, parcel::Mailed, slot::SlotMessage};
use crate::{
    change::{Lsn, Trouble},
    config::{Database, KafkaClient, Limits, Retry, Slot},
    delivery::{Account, Alone, Known, Ledger, Pool, RetryTimes},
    observability::{AtomicLsn, SlotStatus},
    replication::Joining,
    sink::kafka::{
        OffsetWatch, PartitionCounts,
        durability::{self, Risk},
        topics::TopicState,
    },
};

/// Confirmed transactions that are remembered, to skip exactly those if they come again.
const REMEMBERED: usize = 65_536;

/// What the Kafka headers of a record cost beside its key and value.
const HEADERS: usize = 256;

/// One slot's shared state.
pub(super) struct SlotShared {
    pub(super) database: Arc<Database>,
    pub(super) slot: Arc<Slot>,
    pub(super) retry: Retry,
    pub(super) limits: Limits,
    pub(super) status: Arc<SlotStatus>,
    pub(super) account: Account,
    pub(super) mailed: Mailed,
    /// Bounds the sessions of a database that begin at the same time.
    pub(super) starts: Arc<Semaphore>,
    /// Wakes a session that waits for credit or for confirmations.
    pub(super) wake: Notify,
    /// No session runs: what is not with Kafka yet is not handed over any more.
    closing: AtomicBool,
    /// Up to where records are sent alone, because one of them was refused for its size.
    pub(super) alone: Alone,
    ledger: Mutex<Ledger>,
    turn: tokio::sync::Mutex<()>,
    settling: tokio::sync::Mutex<()>,
    /// How often somebody has begun to settle.
    settlers: AtomicU64,
    known: Mutex<Known>,
    outlets: Mutex<HashMap<String, Arc<Outlet>>>,
    counts: Mutex<HashMap<String, Arc<PartitionCounts>>>,
    offsets: Mutex<HashMap<String, Arc<OffsetWatch>>>,
    /// Namespaces whose publication is younger than the slot.
    joining: Mutex<Vec<Joining>>,
    /// Namespaces that a stream of this process carries, with their confirmed messages when it began to.
    carried: Mutex<HashMap<String, u64>>,
    /// Up to where the publications were right when last looked at.
    last_good: AtomicLsn,
    /// The server's process of the last session.
    walsender: AtomicI32,
    actor: Mutex<Option<ActorRef<SlotMessage>>>,
    began: Instant,
    began_coarse: Duration,
}

/// A clock of some milliseconds' resolution, which costs a tenth of the exact one.
fn coarse_clock() -> Duration {
    // Every Linux has it.
    clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SlotShared {
    pub(super) fn new(
        database: Arc<Database>,
        slot: Arc<Slot>,
        retry: Retry,
        limits: Limits,
        status: Arc<SlotStatus>,
        pool: Arc<Pool>,
        starts: Arc<Semaphore>,
    ) -> Arc<Self> {
        Arc::new(Self {
            database,
            slot,
            retry,
            limits,
            status,
            account: Account::new(pool),
            mailed: Mailed::default(),
            starts,
            wake: Notify::new(),
            closing: AtomicBool::new(false),
            alone: Alone::default(),
            ledger: Mutex::new(Ledger::new(REMEMBERED)),
            turn: tokio::sync::Mutex::new(()),
            settling: tokio::sync::Mutex::new(()),
            settlers: AtomicU64::new(0),
            known: Mutex::new(Known::default()),
            outlets: Mutex::new(HashMap::new()),
            counts: Mutex::new(HashMap::new()),
            offsets: Mutex::new(HashMap::new()),
            joining: Mutex::new(Vec::new()),
            carried: Mutex::new(HashMap::new()),
            last_good: AtomicLsn::default(),
            walsender: AtomicI32::new(0),
            actor: Mutex::new(None),
            began: Instant::now(),
            began_coarse: coarse_clock(),
        })
    }

    /// Time since a fixed moment: the clock of the pure core.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The same, some milliseconds early or late: for what happens with every record.
    pub(super) fn coarse_now(&self) -> Duration {
        coarse_clock().saturating_sub(self.began_coarse)
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// What this process knows of the slot from earlier sessions.
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }

    pub(super) const fn times(&self) -> RetryTimes {
        RetryTimes {
            resend_timeout: self.retry.resend_timeout,
            max_retries: self.retry.max_retries,
            reconnect_timeout: self.retry.reconnect_timeout,
            send_timeout: self.retry.send_timeout,
        }
    }

    /// Bytes that a record of this namespace holds while it is not settled.
    pub(super) fn cost(&self, namespace: usize, key_and_value: usize) -> usize {
        let headers = self.slot.namespaces.get(namespace).is_some_and(|namespace| namespace.headers);
        key_and_value + crate::delivery::RECORD_OVERHEAD + if headers { HEADERS } else { 0 }
    }

    pub(super) fn set_actor(&self, actor: ActorRef<SlotMessage>) {
        *lock(&self.actor) = Some(actor);
    }

    /// Tells the slot's actor.
    pub(super) fn tell(&self, message: SlotMessage) {
        if let Some(actor) = lock(&self.actor).as_ref() {
            // An actor that has stopped needs no news.
            let _stopped = actor.cast(message);
        }
    }

    /// Tells the slot's actor that Kafka did not take a message.
    pub(super) fn send_failed(&self, trouble: Trouble) {
        self.tell(SlotMessage::SendFailed(trouble));
        self.wake.notify_one();
    }

    pub(super) fn outlet(&self, client: &str) -> Option<Arc<Outlet>> {
        lock(&self.outlets).get(client).cloned()
    }

    pub(super) fn outlets(&self) -> Vec<Arc<Outlet>> {
        lock(&self.outlets).values().cloned().collect()
    }

    pub(super) fn add_outlet(&self, client: String, outlet: Arc<Outlet>) {
        lock(&self.outlets).insert(client, outlet);
    }

    pub(super) fn named_outlets(&self) -> Vec<(String, Arc<Outlet>)> {
        lock(&self.outlets).iter().map(|(name, outlet)| (name.clone(), Arc::clone(outlet))).collect()
    }

    /// The partition counts of a client's topics, kept over sessions; `found` begins them.
    pub(super) fn counts(&self, client: &KafkaClient, found: &HashMap<String, TopicState>) -> Arc<PartitionCounts> {
        let mut counts = lock(&self.counts);
        let begin = || {
            let (of, topics) = (client.clone(), found.clone());
            tokio::spawn(async move {
                for Risk { message, remedy } in durability::risks(&of, &topics).await {
                    tracing::warn!(client = of.name, remedy, "{message}");
                }
            });
            Arc::new(PartitionCounts::new(client, found))
        };
        Arc::clone(counts.entry(client.name.clone()).or_insert_with(begin))
    }

    pub(super) fn known_counts(&self, client: &str) -> Option<Arc<PartitionCounts>> {
        lock(&self.counts).get(client).cloned()
    }

    /// The highest offsets of a client's topics, kept over producers.
    pub(super) fn offsets(&self, client: &str) -> Arc<OffsetWatch> {
        Arc::clone(lock(&self.offsets).entry(client.to_owned()).or_default())
    }

    pub(super) fn joining(&self) -> Vec<Joining> {
        lock(&self.joining).clone()
    }

    /// The namespaces that the stream carries: all but those that wait to join.
    pub(super) fn streamed(&self) -> Vec<&str> {
        let joining = lock(&self.joining);
        let names = self.slot.namespaces.iter().map(|namespace| namespace.name.as_str());
        names.filter(|name| !joining.iter().any(|joining| joining.namespace == *name)).collect()
    }

    pub(super) fn add_joining(&self, new: Vec<Joining>) {
        let mut joining = lock(&self.joining);
        joining.retain(|old| !new.iter().any(|new| new.namespace == old.namespace));
        joining.extend(new);
    }

    /// The slot has passed the position from which these namespaces can be decoded. Of what is remembered to be confirmed, theirs
    /// is not.
    pub(super) fn joined(&self, lsn: Lsn) {
        self.ledger().forget_commits();
        for joining in lock(&self.joining).drain(..) {
            let (database, slot, namespace) = (&self.database.name, &self.slot.name, &joining.namespace);
            tracing::warn!(database, slot, namespace, %lsn, "namespace joins the slot: its delivery begins at this LSN");
        }
    }

    /// The stream has begun with all namespaces but those that wait to join.
    pub(super) fn carry(&self) {
        let streamed = self.streamed();
        let mut carried = lock(&self.carried);
        for namespace in streamed {
            carried.entry(namespace.to_owned()).or_insert_with(|| self.messages_confirmed(namespace));
        }
    }

    /// The namespaces whose publications have been there in this process: they must not vanish.
    pub(super) fn carried(&self) -> Vec<String> {
        lock(&self.carried).keys().cloned().collect()
    }

    /// Whether messages of a namespace were delivered since it is carried.
    pub(super) fn has_delivered(&self, namespace: &str) -> bool {
        let before = lock(&self.carried).get(namespace).copied();
        before.is_some_and(|before| self.messages_confirmed(namespace) > before)
    }

    fn messages_confirmed(&self, namespace: &str) -> u64 {
        let place = self.slot.namespaces.iter().position(|other| other.name == namespace);
        let status = place.and_then(|place| self.status.namespaces.get(place));
        status.map_or(0, |status| status.messages_confirmed.load(Ordering::Relaxed))
    }

    /// The publications are taken as they are now: what is missing is created and joins, what was recreated joins again.
    pub(super) fn forget_publications(&self) {
        lock(&self.carried).clear();
    }

    pub(super) fn last_good(&self) -> Lsn {
        self.last_good.get()
    }

    pub(super) fn set_last_good(&self, lsn: Lsn) {
        self.last_good.set(lsn);
    }

    /// The server's history is taken as it is now.
    pub(super) fn forget_history(&self) {
        *self.known() = Known::default();
        self.forget_publications();
        self.ledger().forget();
    }

    /// The topics are taken as they are now.
    pub(super) fn forget_topics(&self) {
        lock(&self.counts).clear();
        // In place: a producer that works goes on with its own.
        lock(&self.offsets).values().for_each(|offsets| offsets.forget());
    }

    /// Sees to it that producers which have failed tell why.
    pub(super) fn tell_if_silent(&self) {
        self.outlets().iter().for_each(|outlet| outlet.tell_if_silent());
    }

    pub(super) fn broken(&self) -> Option<Trouble> {
        self.outlets().iter().find_map(|outlet| outlet.broken())
    }

    /// Waits until nothing is with Kafka any more. A producer that is broken is closed, and what it held given up.
    ///
    /// A working producer keeps what it has and is waited for, however long its Kafka is away: handing a message over again
    /// while an earlier copy is unsettled could reorder.
    ///
    /// False: somebody has begun to settle after this, which ends without waiting any more. A settler that lived on into the next
    /// session would take its wake-ups, and its producers.
    pub(super) async fn settle(&self) -> bool {
        let own = self.settlers.fetch_add(1, Ordering::AcqRel) + 1;
        let _one_at_a_time = self.settling.lock().await;
        loop {
            if self.settlers.load(Ordering::Acquire) != own {
                return false;
            }
            let broken: Vec<_> = {
                let mut outlets = lock(&self.outlets);
                outlets.extract_if(|_, outlet| outlet.broken().is_some()).map(|(_, outlet)| outlet).collect()
            };
            for outlet in broken {
                outlet.close(self.retry.send_timeout).await;
            }
            // The report that came last may have told that its producer is broken.
            if self.account.used() == 0 && self.broken().is_none() {
                return true;
            }
            // Woken by the last delivery report; the time-out is for a producer that breaks meanwhile.
            let _elapsed = tokio::time::timeout(Duration::from_millis(100), self.wake.notified()).await;
        }
    }

    /// Whether messages of an earlier session are still with Kafka while none runs.
    pub(super) fn is_unsettled(&self) -> bool {
        self.is_closing() && self.account.used() > 0
    }

    /// Gives up what has not left for Kafka. The producers are broken by it: whoever settles replaces them.
    pub(super) fn purge_queues(&self) {
        self.outlets().iter().for_each(|outlet| outlet.producer().purge_queue());
    }

    /// The server's process that streams to us, or did so last.
    pub(super) fn walsender(&self) -> i32 {
        self.walsender.load(Ordering::Acquire)
    }

    pub(super) fn set_walsender(&self, pid: i32) {
        self.walsender.store(pid, Ordering::Release);
    }

    /// A session begins or has ended.
    pub(super) fn set_closing(&self, closing: bool) {
        self.closing.store(closing, Ordering::Release);
    }

    /// Whether no session runs: what comes of an earlier one is not handed over any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Closes all producers.
    pub(super) async fn close(&self) {
        let outlets: Vec<_> = lock(&self.outlets).drain().map(|(_, outlet)| outlet).collect();
        for outlet in outlets {
            outlet.close(Duration::ZERO).await;
        }
        *lock(&self.actor) = None;
    }

    /// The turn to send a record alone.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Whether records are to be sent one at a time now.
    pub(super) fn alone(&self) -> bool {
        self.alone.holds(self.status.confirmed.get())
    }
}
