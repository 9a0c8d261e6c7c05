//! A round: everything new but the servers, a load, faults, quiet, and the checker's verdict.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;

use crate::{
    bed::Bed,
    fault::{Fault, Halt},
    kafka::Cluster,
    lanes::{self, Lane},
    oracle::{self, Objection, Tally, Wrong},
    proxy::Weather,
    sampler::Sampler,
    scene::{Configuration, Namespace},
    service::{PATIENCE, Service, eventually},
    world::text,
    writer::{Load, Random, Writer},
};

/// Transactions a second that the writer strives for; each has two to three rows on an average.
const RATE: u32 = 1_000;
/// Partitions of each topic, at first.
const PARTITIONS: i32 = 4;

/// A database of its own with two slots and three namespaces, and the service.
pub struct Round<'a> {
    // In the order in which they are to end.
    pub service: Service,
    writer: Option<Writer>,
    sampler: Option<Sampler>,
    pub bed: &'a mut Bed,
    pub lanes: Vec<Lane>,
    folder: TempDir,
    counts: Vec<i32>,
    /// How many partitions there are, for the sampler.
    partitions: Arc<AtomicI32>,
    /// When a process first died with messages under way, in milliseconds since 1970.
    killed: Option<i64>,
    numbers: u32,
    began: Instant,
    /// Under a name of its own for what is left of a round that failed.
    name: String,
}

/// What a round has come to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    pub tally: Tally,
    /// Looks at acknowledged positions.
    pub samples: usize,
    /// While the load ran, whoever was away.
    pub rows_per_second: u64,
}

impl<'a> Round<'a> {
    /// Everything streams under load.
    pub fn start(bed: &'a mut Bed, name: &str, random: &mut Random) -> Self {
        bed.clear();
        let database = format!("round_{name}");
        bed.sql("postgres").batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
        let mut sql = bed.sql(&database);
        sql.batch_execute(oracle::SCHEMA).unwrap();
        let lane = |(slot, namespace): (&str, &str)| Lane {
            database: database.clone(),
            slot: format!("{slot}_{name}"),
            namespace: Namespace::new(namespace),
        };
        let lanes = [("a", "default/default"), ("a", "orders/v1"), ("b", "quiet")].map(lane).to_vec();
        // Short times, so that faults show and heal; how short, and how much memory there is, changes from round to round.
        let send_timeout = ["2s", "5s", "20s"][random.place(3)];
        let memory = ["2MiB", "32MiB"][random.place(2)];
        let general = format!(
            "resend_timeout = \"200ms\"\nreconnect_timeout = \"300ms\"\nsend_timeout = \"{send_timeout}\"\n[limits]\nmemory = \"{memory}\"\n"
        );
        let mut configuration = Configuration::new(&general, &bed.cluster.advertised).database_at(
            "progressor",
            "127.0.0.1",
            bed.to_postgres.port(),
            &database,
        );
        for Lane { slot, namespace, .. } in &lanes {
            namespace.create_topics(&bed.cluster, PARTITIONS);
            lanes::create_tables(&mut sql, namespace);
            configuration = configuration.stream("progressor", slot, namespace);
        }
        let service = Service::start(configuration.text());
        let partitions = Arc::new(AtomicI32::new(PARTITIONS));
        let mut round = Self {
            service,
            writer: None,
            sampler: None,
            bed,
            lanes,
            folder: tempfile::tempdir().unwrap(),
            counts: vec![PARTITIONS],
            partitions: Arc::clone(&partitions),
            killed: None,
            numbers: 0,
            began: Instant::now(),
            name: name.to_owned(),
        };
        round.wait_for_all("streaming");
        round.sampler = Some(Sampler::start(round.bed, &round.lanes, partitions));
        let namespaces = round.lanes.iter().map(|lane| lane.namespace.name.clone()).collect();
        let load = Load { rate: RATE, seed: random.below(1 << 30) };
        round.writer = Some(Writer::start(&round.bed.postgres, &[(database, namespaces)], load));
        round.began = Instant::now();
        round
    }

    pub fn slots(&self) -> Vec<String> {
        let mut slots: Vec<_> = self.lanes.iter().map(|lane| lane.slot.clone()).collect();
        slots.dedup();
        slots
    }

    pub fn wait_for_all(&self, state: &str) {
        for slot in self.slots() {
            self.service.wait_for_state(&slot, state);
        }
    }

    /// Waits until the load has gone on by this many transactions.
    pub fn write_on(&self, transactions: u64) {
        self.writer.as_ref().expect("a load").go_on(transactions);
    }

    /// kill -9.
    pub fn kill_service(&mut self) {
        self.may_be_late();
        self.service.kill();
    }

    /// From now on, what a dead process has handed to the network may come late.
    pub fn may_be_late(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        self.killed.get_or_insert(i64::try_from(now.as_millis()).unwrap());
    }

    /// Nobody streams from PostgreSQL any more.
    pub fn close_postgres(&self) {
        self.bed.to_postgres.set(Weather::Closed);
        self.bed.to_postgres.cut();
        eventually("nobody streams", PATIENCE, || {
            self.terminate("walsender");
            let left = text(
                &mut self.bed.sql("postgres"),
                "SELECT count(*)::text FROM pg_replication_slots WHERE active_pid IS NOT NULL",
            );
            if left == "0" { Ok(()) } else { Err(left) }
        });
    }

    /// Ends PostgreSQL's connections of this kind but ours.
    pub fn terminate(&self, backend_type: &str) {
        let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE backend_type = $1 AND pid <> pg_backend_pid()";
        self.bed.sql("postgres").execute(sql, &[&backend_type]).unwrap();
    }

    pub fn every_topic(&self, act: impl Fn(&Cluster, &str)) {
        for topic in self.topics() {
            act(&self.bed.cluster, &topic);
        }
    }

    fn topics(&self) -> Vec<String> {
        self.lanes.iter().flat_map(|lane| lane.namespace.topics()).cloned().collect()
    }

    /// Waits until every replica of every topic is in sync.
    pub fn wait_in_sync(&self) {
        eventually("all replicas are in sync", PATIENCE, || match self.bed.cluster.out_of_sync(&self.topics()) {
            Ok(behind) if behind.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }

    pub fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// So many partitions more for each topic.
    pub fn add_partitions(&mut self, more: usize) {
        let total = usize::try_from(self.partitions()).unwrap() + more;
        self.every_topic(|cluster, topic| cluster.add_partitions(topic, total));
        self.counts.push(i32::try_from(total).unwrap());
        self.partitions.store(i32::try_from(total).unwrap(), Ordering::Relaxed);
    }

    /// Another number each time.
    pub fn number(&mut self) -> u32 {
        self.numbers += 1;
        self.numbers
    }

    /// A directory of its own.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The fault lasts for as long as `pause`; in its middle there may be another one.
    pub fn suffer(&mut self, fault: &Fault, pause: Duration, another: Option<&Fault>, random: &mut Random) {
        let undo = fault.begin(self, random);
        sleep(pause / 2);
        if let Some(another) = another {
            let undo = another.begin(self, random);
            sleep(pause / 4);
            undo(self);
        }
        sleep(pause / 2);
        undo(self);
        assert!(!self.service.has_ended(), "the service ended by itself");
    }

    /// No more faults: everything arrives, and is held against the tables.
    pub fn verdict(mut self) -> Verdict {
        let took = self.quiet();
        self.wait_in_sync();
        let slots = self.slots();
        self.wait_for_acknowledgement(&slots);
        let mut verdict = self.check(&[], None);
        verdict.rows_per_second = verdict.tally.distinct as u64 / took.as_secs().max(1);
        self.clear_away();
        verdict
    }

    /// The first slot, or all, must halt and say why; what is confirmed of it is right, and the others deliver everything.
    pub fn halts(mut self, halt: &Halt, random: &mut Random) -> Verdict {
        self.write_on(500);
        (halt.strike)(&mut self, random);
        self.bed.clear();
        let victims: Vec<_> = self.slots().into_iter().take(if halt.all { usize::MAX } else { 1 }).collect();
        for slot in &victims {
            // The publications are looked at every minute.
            let seen = eventually(&format!("slot {slot} halts"), 3 * PATIENCE, || {
                let seen = self.service.slot(slot);
                if seen["state"] == "halted" { Ok(seen) } else { Err(seen.to_string()) }
            });
            let said = &seen["last_error"];
            let message = said["message"].as_str().unwrap_or_default();
            assert_eq!(said["class"], halt.class, "{seen}");
            assert!(message.contains(halt.words), "{message}");
            println!("  {slot}: {message}");
        }
        let took = self.quiet();
        self.wait_in_sync();
        let others: Vec<_> = self.slots().into_iter().filter(|slot| !victims.contains(slot)).collect();
        self.wait_for_acknowledgement(&others);
        let emptied = halt.emptied.then(|| self.lanes[0].namespace.eventsink.clone());
        let mut verdict = self.check(&victims, emptied.as_ref());
        verdict.rows_per_second = verdict.tally.distinct as u64 / took.as_secs().max(1);
        self.clear_away();
        verdict
    }

    /// Ends the load; returns how long it ran.
    fn quiet(&mut self) -> Duration {
        self.bed.clear();
        self.write_on(100);
        let took = self.began.elapsed();
        self.writer.take().expect("a load").stop();
        took
    }

    fn wait_for_acknowledgement(&self, slots: &[String]) {
        let mut sql = self.bed.sql("postgres");
        let lsn = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
        eventually(&format!("everything up to {lsn} is acknowledged"), 3 * PATIENCE, || {
            for slot in slots {
                let seen = self.service.slot(slot);
                assert_ne!(seen["state"], "halted", "{seen}");
            }
            lanes::acknowledged(&mut sql, slots, &lsn)
        });
    }

    /// Holds the topics against the tables, and what was acknowledged against what was there. Of the slots in `halted` the end may be
    /// missing, also that of a repeat, and others than the service had a hand in their positions. `emptied`: a topic that is not what it was.
    fn check(&mut self, halted: &[String], emptied: Option<&String>) -> Verdict {
        let samples = self.sampler.take().expect("a sampler").stop();
        let mut verdict = Verdict::default();
        for lane in &self.lanes {
            let halted = halted.contains(&lane.slot);
            let expected = lanes::expected(&mut self.bed.sql(&lane.database), &lane.namespace);
            let samples = samples.get(&lane.slot).map_or(&[][..], Vec::as_slice);
            for (topic, (expected, transactions)) in lane.namespace.topics().into_iter().zip(expected) {
                if emptied == Some(topic) {
                    continue;
                }
                let records = self.bed.cluster.consume_all(topic);
                match oracle::check(&expected, &records, &self.counts, self.killed) {
                    Ok(found) => verdict.tally += found,
                    Err(objections) => {
                        let end = |objection: &Objection| {
                            matches!(objection.what, Wrong::Missing { .. } | Wrong::Unfinished { .. })
                        };
                        assert!(halted && objections.iter().all(end), "{}", lanes::shown(topic, &objections));
                    }
                }
                if !halted {
                    let early = oracle::too_early(topic, &transactions, &records, samples);
                    assert!(
                        early.is_empty(),
                        "{topic}: {} too early\n{:#?}",
                        early.len(),
                        &early[..early.len().min(5)]
                    );
                    verdict.samples += samples.iter().filter(|sample| sample.ends.contains_key(topic)).count();
                }
            }
        }
        verdict
    }

    /// Nothing of the round is left on the servers.
    fn clear_away(mut self) {
        self.service.stop();
        let mut sql = self.bed.sql("postgres");
        for slot in self.slots() {
            eventually("the slot is dropped", PATIENCE, || {
                let drop = format!("SELECT pg_drop_replication_slot('{slot}')");
                sql.batch_execute(&drop).map_err(|error| error.to_string())
            });
        }
        sql.batch_execute(&format!("DROP DATABASE {} (FORCE)", self.lanes[0].database)).unwrap();
        self.every_topic(|cluster, topic| cluster.delete_topic(topic));
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/chaos/{}.log", self.name));
            let kept =
                fs::create_dir_all(log.parent().unwrap()).and_then(|()| fs::write(&log, self.service.all_logs()));
            eprintln!("--- the service's log: {}: {kept:?}", log.display());
        }
    }
}
