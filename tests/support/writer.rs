//! A load like progressor's, which survives restarts of PostgreSQL. It remembers nothing that counts: what must arrive is in the
//! tables.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use cdc_notifier::demo::postgres::TemporaryPostgres;
use postgres::{Client, Config, Error, NoTls};

use crate::service::{PATIENCE, eventually};

/// Processes that live at a time in a namespace.
const LIVING: usize = 12;

/// Numbers that follow from a seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Less than `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % end
    }

    /// A place in something that is this long.
    pub fn place(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }
}

/// How much and which.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Transactions a second in each database.
    pub rate: u32,
    pub seed: u64,
}

impl Default for Load {
    fn default() -> Self {
        Self { rate: 100, seed: 1 }
    }
}

/// A thread per database that writes until it is stopped.
pub struct Writer {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Writer {
    /// `databases`: each with its namespaces.
    pub fn start(server: &TemporaryPostgres, databases: &[(String, Vec<String>)], load: Load) -> Self {
        let (stop, committed) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = databases.iter().enumerate().map(|(number, (database, namespaces))| {
            let mut config = Config::new();
            config.host(server.host()).port(server.port()).user("postgres").dbname(database);
            let mut hand = Hand {
                config,
                random: Random::new(load.seed * 1000 + number as u64),
                pause: Duration::from_secs(1) / load.rate,
                born: 0,
                counter: 0,
                places: namespaces.iter().map(|name| Place { namespace: name.clone(), living: Vec::new() }).collect(),
            };
            let (stop, committed) = (Arc::clone(&stop), Arc::clone(&committed));
            thread::spawn(move || hand.write(&stop, &committed))
        });
        let threads = threads.collect();
        Self { stop, committed, threads }
    }

    /// Transactions so far, those that were rolled back on purpose too.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::Relaxed)
    }

    /// Waits until the load has gone on by this many transactions.
    pub fn go_on(&self, transactions: u64) {
        let goal = self.committed() + transactions;
        eventually("the load goes on", PATIENCE, || match self.committed() {
            committed if committed >= goal => Ok(()),
            committed => Err(format!("{committed} of {goal}")),
        });
    }

    /// Ends the load after the transactions that are running.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().expect("the writer wrote what it wanted to");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A process that lives.
#[derive(Clone, Debug)]
struct Process {
    id: String,
    status: String,
    last_event: i16,
    /// It has gone back to work once: twice within a second would make two equal messages.
    recovered: bool,
}

struct Place {
    namespace: String,
    living: Vec<Process>,
}

struct Hand {
    config: Config,
    random: Random,
    pause: Duration,
    born: i64,
    counter: u64,
    places: Vec<Place>,
}

/// Whether the server or the connection went away, which is no mistake of ours.
fn is_outage(error: &Error) -> bool {
    match error.code() {
        None => true,
        Some(code) => ["57P", "08", "53300"].iter().any(|class| code.code().starts_with(class)),
    }
}

impl Hand {
    fn write(&mut self, stop: &AtomicBool, committed: &AtomicU64) {
        while !stop.load(Ordering::Relaxed) {
            if let Err(error) = self.session(stop, committed) {
                assert!(is_outage(&error), "{error}: {:?}", error.as_db_error());
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn session(&mut self, stop: &AtomicBool, committed: &AtomicU64) -> Result<(), Error> {
        let mut client = self.config.connect(NoTls)?;
        let mut other = self.config.connect(NoTls)?;
        for place in &mut self.places {
            place.living = living(&mut client, &place.namespace)?;
        }
        // Names are not used again, not those of processes that are gone either.
        let highest = "SELECT max(substr(process_id, 2)::bigint) FROM oracle_steps";
        let highest: Option<i64> = client.query_one(highest, &[])?.get(0);
        self.born = self.born.max(highest.unwrap_or(0));
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            self.transaction(&mut client, &mut other)?;
            committed.fetch_add(1, Ordering::Relaxed);
            thread::sleep(self.pause.saturating_sub(began.elapsed()));
        }
        Ok(())
    }

    fn transaction(&mut self, client: &mut Client, other: &mut Client) -> Result<(), Error> {
        let place = self.random.place(self.places.len());
        if self.places[place].living.len() < LIVING {
            let id = self.next_id();
            let status = if self.random.below(3) == 0 { "init" } else { "running" };
            let sql = self.create(place, &id, status);
            let events = self.events(place, &id, 1, 2);
            client.batch_execute(&format!("BEGIN; {sql} {events} COMMIT;"))?;
            let process = Process { id, status: status.to_owned(), last_event: 2, recovered: false };
            self.places[place].living.push(process);
            return Ok(());
        }
        let chosen = self.random.place(LIVING);
        match self.random.below(20) {
            0 | 1 => self.change_status(client, place, chosen),
            2 => self.remove(client, place, chosen),
            3 => self.abort(client, place, chosen),
            4 => self.savepoint(client, place, chosen),
            5 => self.many(client, 20),
            6 | 7 => self.overlap(client, other, place, chosen),
            8 => self.nothing_to_tell(client, place, chosen),
            _ => self.append(client, place, chosen),
        }
    }

    fn next_id(&mut self) -> String {
        self.born += 1;
        format!("p{}", self.born)
    }

    /// Statements that insert events, the first with this number.
    fn events(&mut self, place: usize, id: &str, first: i16, count: i16) -> String {
        let namespace = &self.places[place].namespace;
        let mut sql = String::new();
        for event in first..first + count {
            self.counter += 1;
            // Now and then one that is compressed.
            let filler = if self.random.below(50) == 0 { 12_000 } else { self.random.below(200) };
            let data = format!("{namespace} {id} {event} {} ", self.counter);
            let length = usize::try_from(filler).unwrap() + data.len();
            let data = format!("{data:.<length$}");
            let payload = term(data.as_bytes());
            let metadata = if event % 3 == 0 { "NULL" } else { "'{\"format_version\": 1}'" };
            let values = format!("'{id}', 1, {event}, clock_timestamp(), {metadata}, '{payload}'");
            write!(sql, "INSERT INTO \"{namespace}_events\" VALUES ({values});").unwrap();
        }
        sql
    }

    fn create(&self, place: usize, id: &str, status: &str) -> String {
        let namespace = &self.places[place].namespace;
        format!(
            "INSERT INTO \"{namespace}_processes\" (process_id, status) VALUES ('{id}', '{status}');{}",
            self.step(place, id, "created")
        )
    }

    fn step(&self, place: usize, id: &str, step: &str) -> String {
        let namespace = &self.places[place].namespace;
        format!("INSERT INTO oracle_steps (namespace, process_id, step) VALUES ('{namespace}', '{id}', '{step}');")
    }

    fn append(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let Process { id, last_event, .. } = self.places[place].living[chosen].clone();
        let count = 1 + i16::try_from(self.random.below(2)).unwrap();
        let events = self.events(place, &id, last_event + 1, count);
        client.batch_execute(&format!("BEGIN; {events} COMMIT;"))?;
        self.places[place].living[chosen].last_event += count;
        Ok(())
    }

    fn change_status(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let Process { id, status, recovered, .. } = self.places[place].living[chosen].clone();
        if status == "error" && recovered {
            return self.remove(client, place, chosen);
        }
        self.counter += 1;
        let reason = format!("reason {}", self.counter);
        let (new, step, detail) = if status == "error" {
            ("running", "working".to_owned(), "NULL".to_owned())
        } else {
            ("error", format!("failed: {reason}"), format!("'{reason}'"))
        };
        let namespace = &self.places[place].namespace;
        let update = format!(
            "UPDATE \"{namespace}_processes\" SET status = '{new}', detail = {detail}, previous_status = status,
             status_changed_at = now() WHERE process_id = '{id}';"
        );
        client.batch_execute(&format!("BEGIN; {update} {} COMMIT;", self.step(place, &id, &step)))?;
        let process = &mut self.places[place].living[chosen];
        process.recovered |= status == "error";
        new.clone_into(&mut process.status);
        Ok(())
    }

    fn remove(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let namespace = &self.places[place].namespace;
        let id = &self.places[place].living[chosen].id;
        let columns = "process_id, event_id, timestamp, metadata, payload";
        client.batch_execute(&format!(
            "BEGIN;
             INSERT INTO oracle_archive SELECT '{namespace}', {columns}, xmin FROM \"{namespace}_events\" WHERE process_id = '{id}';
             DELETE FROM \"{namespace}_events\" WHERE process_id = '{id}';
             DELETE FROM \"{namespace}_processes\" WHERE process_id = '{id}'; {} COMMIT;",
            self.step(place, id, "removed")
        ))?;
        self.places[place].living.remove(chosen);
        Ok(())
    }

    /// Nothing of it may arrive.
    fn abort(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let Process { id, last_event, .. } = self.places[place].living[chosen].clone();
        let born = self.next_id();
        let (events, create) = (self.events(place, &id, last_event + 1, 3), self.create(place, &born, "running"));
        client.batch_execute(&format!("BEGIN; {create} {events} ROLLBACK;"))
    }

    /// What was rolled back to a savepoint does not arrive, what took its place does.
    fn savepoint(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let Process { id, last_event, .. } = self.places[place].living[chosen].clone();
        let first = self.events(place, &id, last_event + 1, 1);
        let (undone, done) = (self.events(place, &id, last_event + 2, 2), self.events(place, &id, last_event + 2, 1));
        client.batch_execute(&format!(
            "BEGIN; {first} SAVEPOINT a; {undone} ROLLBACK TO a; SAVEPOINT b; {done} RELEASE b; COMMIT;"
        ))?;
        self.places[place].living[chosen].last_event += 2;
        Ok(())
    }

    /// Many rows over all namespaces of the database in one transaction.
    fn many(&mut self, client: &mut Client, rows: u64) -> Result<(), Error> {
        let (mut sql, mut touched) = (String::new(), Vec::new());
        for _ in 0..rows {
            let place = self.random.place(self.places.len());
            let living = self.places[place].living.len();
            if living > 0 {
                let chosen = self.random.place(living);
                let Process { id, last_event, .. } = self.places[place].living[chosen].clone();
                let before = touched.iter().filter(|other| **other == (place, chosen)).count();
                sql.push_str(&self.events(place, &id, last_event + 1 + i16::try_from(before).unwrap(), 1));
                touched.push((place, chosen));
            }
        }
        client.batch_execute(&format!("BEGIN; {sql} COMMIT;"))?;
        for (place, chosen) in touched {
            self.places[place].living[chosen].last_event += 1;
        }
        Ok(())
    }

    /// Two transactions at a time: the one that began first commits last, and both write events of one process.
    fn overlap(&mut self, early: &mut Client, late: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let shared = self.places[place].living[chosen].clone();
        let own = self.places[place].living[(chosen + 1) % LIVING].clone();
        let first = self.events(place, &own.id, own.last_event + 1, 1);
        early.batch_execute(&format!("BEGIN; {first}"))?;
        let between = self.events(place, &shared.id, shared.last_event + 1, 2);
        late.batch_execute(&format!("BEGIN; {between} COMMIT;"))?;
        // From here on, only what is known to have been committed counts as written.
        self.places[place].living[chosen].last_event += 2;
        let last = self.events(place, &shared.id, shared.last_event + 3, 1);
        early.batch_execute(&format!("{last} COMMIT;"))?;
        self.places[place].living[chosen].last_event += 1;
        self.places[place].living[(chosen + 1) % LIVING].last_event += 1;
        Ok(())
    }

    /// An update that means nothing to anybody.
    fn nothing_to_tell(&mut self, client: &mut Client, place: usize, chosen: usize) -> Result<(), Error> {
        let namespace = &self.places[place].namespace;
        let id = &self.places[place].living[chosen].id;
        client.batch_execute(&format!(
            "UPDATE \"{namespace}_processes\" SET aux_state = sha256(random()::text::bytea) WHERE process_id = '{id}';
             INSERT INTO oracle_archive VALUES ('', '', 0, NULL, NULL, '');"
        ))
    }
}

/// The processes as they are. Their rows are locked, so that a commit whose outcome was not heard of is waited for.
fn living(client: &mut Client, namespace: &str) -> Result<Vec<Process>, Error> {
    let sql = format!(
        "SELECT process_id, status::text,
           (SELECT coalesce(max(event_id), 0::smallint) FROM \"{namespace}_events\" AS e WHERE e.process_id = p.process_id),
           EXISTS (SELECT FROM oracle_steps AS s WHERE s.process_id = p.process_id AND s.namespace = $1 AND step = 'working')
         FROM \"{namespace}_processes\" AS p WHERE process_id LIKE 'p%' FOR UPDATE"
    );
    let rows = client.query(&sql, &[&namespace])?;
    let rows = rows.iter().map(|row| Process {
        id: row.get(0),
        status: row.get(1),
        last_event: row.get(2),
        recovered: row.get(3),
    });
    Ok(rows.collect())
}

/// The Erlang term `{bin, <<...>>}` as a literal of PostgreSQL's.
fn term(data: &[u8]) -> String {
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    format!("\\x{}", hex::encode([&crate::oracle::BIN[..], &length, data].concat()))
}
