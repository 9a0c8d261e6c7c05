//! Looks all the time at what is acknowledged and at what Kafka has.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use postgres::{Client, Config, Error, NoTls};

use crate::{
    bed::Bed,
    kafka::{Admin, high_watermarks},
    lanes::Lane,
    oracle::Sample,
    world::config,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(150);

/// A thread of its own, until it is stopped.
pub struct Sampler {
    stop: Arc<AtomicBool>,
    samples: Arc<Mutex<BTreeMap<String, Vec<Sample>>>>,
    thread: Option<JoinHandle<()>>,
}

struct Looker {
    config: Config,
    admin: Admin,
    lanes: Vec<Lane>,
    partitions: Arc<AtomicI32>,
    /// What of a slot's acknowledged position follows: transactions with a lower number had ended before this position.
    milestones: Vec<(i64, u32)>,
    samples: Arc<Mutex<BTreeMap<String, Vec<Sample>>>>,
}

impl Sampler {
    pub fn start(bed: &Bed, lanes: &[Lane], partitions: Arc<AtomicI32>) -> Self {
        let (stop, samples) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let admin = Admin { bootstrap: bed.cluster.bootstrap.clone(), replication: bed.cluster.replication };
        let mut looker = Looker {
            config: config(&bed.postgres, "postgres"),
            admin,
            lanes: lanes.to_vec(),
            partitions,
            milestones: Vec::new(),
            samples: Arc::clone(&samples),
        };
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A server that crashes may give the numbers of transactions away again that nobody has seen the end of.
                looker.milestones.clear();
                drop(looker.look_while_connected(&stopped));
                thread::sleep(PAUSE);
            }
        });
        Self { stop, samples, thread: Some(thread) }
    }

    /// The samples of each slot, the oldest first.
    pub fn stop(mut self) -> BTreeMap<String, Vec<Sample>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().expect("the sampler has looked");
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Looker {
    fn look_while_connected(&mut self, stop: &AtomicBool) -> Result<(), Error> {
        let mut sql = self.config.connect(NoTls)?;
        let consumer = self.admin.consumer();
        while !stop.load(Ordering::Relaxed) {
            self.milestone(&mut sql)?;
            for (slot, horizon) in self.acknowledged(&mut sql)? {
                let topics = self.lanes.iter().filter(|lane| lane.slot == slot);
                let mut ends = BTreeMap::new();
                for topic in topics.flat_map(|lane| lane.namespace.topics()) {
                    // A partition without a leader tells nothing now.
                    let count = self.partitions.load(Ordering::Relaxed);
                    if let Ok(found) = high_watermarks(&consumer, topic, count) {
                        ends.insert(topic.clone(), found);
                    }
                }
                let mut samples = self.samples.lock().unwrap();
                let of_slot = samples.entry(slot).or_default();
                let horizon = horizon.max(of_slot.last().map_or(0, |last| last.horizon));
                of_slot.push(Sample { horizon, ends });
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn milestone(&mut self, sql: &mut Client) -> Result<(), Error> {
        // The statement's snapshot is older than the position.
        let row = sql.query_one(
            "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint, (pg_current_wal_insert_lsn() - '0/0')::bigint",
            &[],
        )?;
        self.milestones.push((row.get(1), u32::try_from(row.get::<_, i64>(0)).unwrap()));
        Ok(())
    }

    fn acknowledged(&self, sql: &mut Client) -> Result<Vec<(String, u32)>, Error> {
        let rows = sql.query(
            "SELECT slot_name::text, (confirmed_flush_lsn - '0/0')::bigint FROM pg_replication_slots
             WHERE confirmed_flush_lsn IS NOT NULL",
            &[],
        )?;
        let of = |row: &postgres::Row| {
            let acknowledged: i64 = row.get(1);
            let passed = self.milestones.partition_point(|(lsn, _)| *lsn <= acknowledged);
            let horizon = passed.checked_sub(1).map_or(0, |last| self.milestones[last].1);
            (row.get(0), horizon)
        };
        Ok(rows.iter().map(of).collect())
    }
}
