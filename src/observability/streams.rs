//! What each slot is doing, written by its actor and session, read by HTTP.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use hdrhistogram::Histogram;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    change::{Lsn, PgTimestamp, Spill, Trouble},
    config::{Admin, Config},
};

/// An LSN that one writes and others read.
#[derive(Debug, Default)]
pub struct AtomicLsn(AtomicU64);

impl AtomicLsn {
    /// The position.
    #[must_use]
    pub fn get(&self) -> Lsn {
        Lsn::new(self.0.load(Ordering::Acquire))
    }

    /// Sets the position.
    pub fn set(&self, lsn: Lsn) {
        self.0.store(lsn.get(), Ordering::Release);
    }
}

/// A namespace of a slot.
#[derive(Debug)]
pub struct NamespaceStatus {
    name: String,
    eventsink_topic: String,
    lifecycle_topic: String,
    /// Messages that Kafka has confirmed since the process began.
    pub messages_confirmed: AtomicU64,
}

#[derive(Debug)]
struct Shown {
    state: &'static str,
    last_error: Option<(Timestamp, Trouble)>,
}

/// What is asked of a slot from outside.
pub type Resume = Box<dyn Fn() + Send + Sync>;

/// A slot, as operators see it.
pub struct SlotStatus {
    database: String,
    slot: String,
    /// Its namespaces, in the configuration's order.
    pub namespaces: Vec<NamespaceStatus>,
    /// Up to where the stream was received.
    pub received: AtomicLsn,
    /// Up to where all messages are confirmed.
    pub confirmed: AtomicLsn,
    /// What was last reported to PostgreSQL as flushed.
    pub acknowledged: AtomicLsn,
    /// The server's current end of the log; asked by SQL.
    pub server_wal: AtomicLsn,
    /// What the server moved to its disk, if it tells; asked by SQL.
    spill: Mutex<Option<Spill>>,
    /// Commit time of the oldest unconfirmed transaction in microseconds since 1970, 0 when none.
    oldest_commit: AtomicU64,
    waiting: AtomicBool,
    moved: Mutex<Instant>,
    shown: Mutex<Shown>,
    /// Microseconds from commit to confirmation.
    latency: Mutex<Option<Histogram<u64>>>,
    resume: Mutex<Option<Resume>>,
}

/// Takes the latencies of transactions that are confirmed at one moment: one look at the clock for all of them.
pub struct Latencies<'a> {
    histogram: MutexGuard<'a, Option<Histogram<u64>>>,
    now: i64,
}

impl Latencies<'_> {
    /// A transaction that was committed then.
    pub fn record(&mut self, commit: PgTimestamp) {
        let latency = self.now.saturating_sub(commit.unix_micros().unwrap_or(0));
        if let Some(histogram) = self.histogram.as_mut() {
            histogram.saturating_record(u64::try_from(latency).unwrap_or(0));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SlotStatus {
    /// Shows another state; a trouble becomes the last error.
    pub fn show(&self, state: &'static str, error: Option<Trouble>) {
        let mut shown = lock(&self.shown);
        shown.state = state;
        if let Some(trouble) = error {
            shown.last_error = Some((Timestamp::now(), trouble));
        }
    }

    /// The state that is shown.
    #[must_use]
    pub fn state(&self) -> &'static str {
        lock(&self.shown).state
    }

    /// Whether something waits for acknowledgement, and whether the acknowledged position has just moved.
    pub fn progress(&self, waiting: bool, moved: bool) {
        if moved || !waiting || !self.waiting.load(Ordering::Acquire) {
            *lock(&self.moved) = Instant::now();
        }
        self.waiting.store(waiting, Ordering::Release);
    }

    /// When the oldest unconfirmed transaction was committed.
    pub fn set_oldest_commit(&self, commit: Option<PgTimestamp>) {
        let micros = commit.and_then(PgTimestamp::unix_micros).and_then(|micros| u64::try_from(micros).ok());
        self.oldest_commit.store(micros.unwrap_or(0), Ordering::Release);
    }

    /// What the server says it moved to its disk while it decoded for this slot.
    pub fn set_spill(&self, spill: Option<Spill>) {
        *lock(&self.spill) = spill;
    }

    /// For transactions that are confirmed now.
    pub fn latencies(&self) -> Latencies<'_> {
        let mut histogram = lock(&self.latency);
        if histogram.is_none() {
            *histogram = Histogram::new_with_max(600_000_000, 2).ok();
        }
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Latencies { histogram, now: i64::try_from(now.as_micros()).unwrap_or(i64::MAX) }
    }

    /// Time from commit to confirmation at this quantile (0 to 1), by the clocks of both machines.
    #[must_use]
    pub fn latency(&self, quantile: f64) -> Duration {
        let micros = lock(&self.latency).as_ref().map_or(0, |histogram| histogram.value_at_quantile(quantile));
        Duration::from_micros(micros)
    }

    /// Messages of all its namespaces that Kafka has confirmed since the process began.
    #[must_use]
    pub fn messages_confirmed(&self) -> u64 {
        self.namespaces.iter().map(|namespace| namespace.messages_confirmed.load(Ordering::Relaxed)).sum()
    }

    /// Says how the slot is resumed.
    pub fn on_resume(&self, resume: Resume) {
        *lock(&self.resume) = Some(resume);
    }

    fn lag_seconds(&self) -> f64 {
        match self.oldest_commit.load(Ordering::Acquire) {
            0 => 0.0,
            micros => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
                since.elapsed().unwrap_or_default().as_secs_f64()
            }
        }
    }

    fn why_not_ready(&self, stall_timeout: Duration) -> Option<String> {
        let shown = lock(&self.shown);
        if shown.state != "streaming" {
            let error = shown.last_error.as_ref().map(|(_, trouble)| trouble.message.clone());
            return Some(error.unwrap_or_else(|| format!("the slot is {}", shown.state)));
        }
        let still = lock(&self.moved).elapsed();
        (self.waiting.load(Ordering::Acquire) && still >= stall_timeout).then(|| {
            format!(
                "something waits for acknowledgement, and the acknowledged LSN has not moved for {} s",
                still.as_secs()
            )
        })
    }

    fn json(&self) -> Value {
        let shown = lock(&self.shown);
        let namespaces: Vec<_> = self.namespaces.iter().map(NamespaceStatus::json).collect();
        json!({
            "database": self.database,
            "slot": self.slot,
            "state": shown.state,
            "received_lsn": self.received.get().to_string(),
            "confirmed_lsn": self.confirmed.get().to_string(),
            "acknowledged_lsn": self.acknowledged.get().to_string(),
            "lag_bytes": self.server_wal.get().since(self.acknowledged.get()),
            "lag_seconds": self.lag_seconds(),
            "spill": lock(&self.spill).map(spill_json),
            "namespaces": namespaces,
            "last_error": shown.last_error.as_ref().map(|(at, trouble)| json!({
                "at": at.to_string(),
                "class": trouble.class.name(),
                "message": trouble.message,
                "remedy": trouble.remedy,
            })),
        })
    }
}

fn spill_json(Spill { transactions, count, bytes }: Spill) -> Value {
    json!({ "transactions": transactions, "count": count, "bytes": bytes })
}

impl NamespaceStatus {
    fn json(&self) -> Value {
        json!({
            "namespace": self.name,
            "eventsink_topic": self.eventsink_topic,
            "lifecycle_topic": self.lifecycle_topic,
            "messages_confirmed": self.messages_confirmed.load(Ordering::Relaxed),
        })
    }
}

/// All slots of the process.
pub struct Streams {
    slots: Vec<Arc<SlotStatus>>,
    alive: AtomicBool,
    stall_timeout: Duration,
}

/// One slot's part in the readiness.
#[derive(Debug, Serialize)]
pub struct Readiness {
    database: String,
    slot: String,
    state: &'static str,
    ready: bool,
    reason: Option<String>,
}

/// What came of the wish to resume a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It goes on.
    Yes,
    /// It is not halted.
    NotHalted,
    /// There is no such slot.
    Unknown,
}

impl Streams {
    /// The slots of a configuration, all connecting.
    #[must_use]
    pub fn new(config: &Config) -> Arc<Self> {
        let slots = config.databases.iter().flat_map(|database| {
            database.slots.iter().map(|slot| {
                let namespaces = slot.namespaces.iter().map(|namespace| NamespaceStatus {
                    name: namespace.name.clone(),
                    eventsink_topic: namespace.eventsink_topic.clone(),
                    lifecycle_topic: namespace.lifecycle_topic.clone(),
                    messages_confirmed: AtomicU64::new(0),
                });
                Arc::new(SlotStatus {
                    database: database.name.clone(),
                    slot: slot.name.clone(),
                    namespaces: namespaces.collect(),
                    received: AtomicLsn::default(),
                    confirmed: AtomicLsn::default(),
                    acknowledged: AtomicLsn::default(),
                    server_wal: AtomicLsn::default(),
                    spill: Mutex::new(None),
                    oldest_commit: AtomicU64::new(0),
                    waiting: AtomicBool::new(false),
                    moved: Mutex::new(Instant::now()),
                    shown: Mutex::new(Shown { state: "connecting", last_error: None }),
                    latency: Mutex::new(None),
                    resume: Mutex::new(None),
                })
            })
        });
        let Admin { stall_timeout, .. } = config.admin;
        Arc::new(Self { slots: slots.collect(), alive: AtomicBool::new(true), stall_timeout })
    }

    /// The status of one slot.
    #[must_use]
    pub fn slot(&self, database: &str, slot: &str) -> Option<&Arc<SlotStatus>> {
        self.slots.iter().find(|status| status.database == database && status.slot == slot)
    }

    /// All slots.
    #[must_use]
    pub fn slots(&self) -> &[Arc<SlotStatus>] {
        &self.slots
    }

    /// The process cannot do its work any more.
    pub fn give_up(&self) {
        self.alive.store(false, Ordering::Release);
    }

    /// Whether the process can do its work.
    #[must_use]
    pub fn alive(&self) -> bool {
        self.alive.load(Ordering::Acquire)
    }

    /// Each slot's readiness.
    #[must_use]
    pub fn readiness(&self) -> Vec<Readiness> {
        let ready = self.slots.iter().map(|status| {
            let reason = status.why_not_ready(self.stall_timeout);
            Readiness {
                database: status.database.clone(),
                slot: status.slot.clone(),
                state: status.state(),
                ready: reason.is_none(),
                reason,
            }
        });
        ready.collect()
    }

    /// Whether every slot is ready.
    #[must_use]
    pub fn ready(readiness: &[Readiness]) -> bool {
        readiness.iter().all(|slot| slot.ready)
    }

    /// `GET /api/v1/streams`.
    #[must_use]
    pub fn json(&self) -> Value {
        let streams: Vec<_> = self.slots.iter().map(|slot| slot.json()).collect();
        json!({ "version": env!("CARGO_PKG_VERSION"), "streams": streams })
    }

    /// A person wants a halted slot to go on.
    #[must_use]
    pub fn resume(&self, database: &str, slot: &str) -> Resumed {
        let Some(status) = self.slot(database, slot) else { return Resumed::Unknown };
        if status.state() != "halted" {
            return Resumed::NotHalted;
        }
        match lock(&status.resume).as_ref() {
            Some(resume) => {
                resume();
                Resumed::Yes
            }
            None => Resumed::NotHalted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spilling_is_shown_by_its_names() {
        let shown = spill_json(Spill { transactions: 1, count: 2, bytes: 3 });
        assert_eq!(shown, json!({ "transactions": 1, "count": 2, "bytes": 3 }));
    }
}
