//! What is drained: rows of progressor's events table, and how they come to be.

use std::time::Instant;

use clap::ValueEnum;
use postgres::Client;

use crate::scene::{self, Namespace};

/// The slot that is copied for each run, so that each drains the same.
pub(crate) const SOURCE: &str = "source";

/// A backlog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// 500,000 rows of 200 bytes, one row per transaction.
    One,
    /// 600,000 rows of 200 bytes, ten rows per transaction.
    Ten,
    /// 600,000 rows of 200 bytes in one transaction.
    Big,
    /// 30,000 rows of 10 KiB that do not compress, one row per transaction.
    Wide,
    /// What progressor does with 20,000 processes: each is created, works five times (two events and an update of its state
    /// that means no message), and every tenth fails and is repaired. 224,000 messages of 324,000 rows.
    Mix,
    /// No backlog: rows at steady rates, from the INSERT to a consumer.
    Latency,
    /// Memory over time: 2 GB in one transaction, rows of 10 MiB, 100,000 processes, Kafka away.
    Memory,
    /// 100 rows a second, alone and beside a slot that is two million one-row transactions behind.
    Fair,
    /// Many slots and many namespaces that have nothing to do.
    Streams,
}

/// The size of a backlog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Messages; of all workloads but one, one for each row.
    pub(crate) rows: u64,
    pub(crate) rows_per_transaction: u64,
    pub(crate) payload: u64,
}

/// Messages of ten processes of the mix.
const MESSAGES_OF_TEN: u64 = 112;

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Ten => "ten",
            Self::Big => "big",
            Self::Wide => "wide",
            Self::Mix => "mix",
            Self::Latency => "latency",
            Self::Memory => "memory",
            Self::Fair => "fair",
            Self::Streams => "streams",
        }
    }

    /// Its size, with another number of rows if one is given.
    pub(crate) fn size(self, rows: Option<u64>) -> Size {
        let (usual, rows_per_transaction, payload) = match self {
            Self::One => (500_000, 1, 200),
            Self::Ten => (600_000, 10, 200),
            Self::Big => (600_000, u64::MAX, 200),
            Self::Wide => (30_000, 1, 10 * 1024),
            Self::Mix => (2_000 * MESSAGES_OF_TEN, 1, 200),
            Self::Fair => (2_000_000, 1, 200),
            Self::Latency | Self::Memory | Self::Streams => (0, 1, 200),
        };
        let rows = rows.unwrap_or(usual);
        let rows = if self == Self::Mix { rows.div_ceil(MESSAGES_OF_TEN) * MESSAGES_OF_TEN } else { rows };
        Size { rows, rows_per_transaction, payload }
    }
}

/// Creates tables, publication and slot, as a service that is not there yet will want them.
pub(crate) fn prepare(sql: &mut Client, namespace: &Namespace) {
    scene::create_tables(sql, &[namespace]);
    let name = &namespace.name;
    sql.batch_execute(&format!(
        "ALTER TABLE \"{name}_processes\" REPLICA IDENTITY FULL;
         -- TOAST would compress nothing of a random payload, and try all the same.
         ALTER TABLE \"{name}_events\" ALTER COLUMN payload SET STORAGE EXTERNAL;
         CREATE PUBLICATION \"{name}\" FOR TABLE \"{name}_processes\", \"{name}_events\""
    ))
    .unwrap();
    create_slot(sql, SOURCE);
}

/// Creates a slot that begins here.
pub(crate) fn create_slot(sql: &mut Client, name: &str) {
    sql.execute("SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&name]).unwrap();
}

/// The expression of a payload of this many bytes, different in each row `i`: `{bin, Bytes}` as Erlang writes it.
pub(crate) fn payload(bytes: u64) -> String {
    const HEADER: u64 = 13;
    const DIGEST: u64 = 16;
    let data = bytes.saturating_sub(HEADER);
    let header = format!("decode('83680277036269{}6d{data:08x}', 'hex')", "6e");
    format!("{header} || decode(md5(i::text), 'hex') || substr(filler, 1, {})", data.saturating_sub(DIGEST))
}

/// The rows of a backlog of events.
fn events(name: &str, size: Size) -> String {
    let Size { rows, rows_per_transaction, payload: bytes } = size;
    format!(
        "FOR i IN 0..{rows} - 1 LOOP
             INSERT INTO \"{name}_events\" (process_id, task_id, event_id, timestamp, metadata, payload) VALUES
                 ('process-' || i % 5000, 1, i / 5000, now(), '{{\"format_version\": 1}}', {payload});
             IF (i + 1) % {rows_per_transaction} = 0 THEN COMMIT; END IF;
         END LOOP;",
        rows_per_transaction = rows_per_transaction.min(rows),
        payload = payload(bytes),
    )
}

/// The processes of the mix, a hundred at a time side by side.
fn lives(name: &str, size: Size) -> String {
    format!(
        "FOR hundred IN 0..{processes} / 100 LOOP
             FOR step IN 0..7 LOOP
                 FOR i IN hundred * 100..least(hundred * 100 + 99, {processes} - 1) LOOP
                     CASE
                     WHEN step = 0 THEN
                         INSERT INTO \"{name}_processes\" (process_id, status, aux_state, metadata) VALUES
                             ('process-' || i, 'running', substr(filler, 1, 100), '{{\"a\": 1}}');
                     WHEN step <= 5 THEN
                         INSERT INTO \"{name}_events\" (process_id, task_id, event_id, timestamp, metadata, payload)
                             SELECT 'process-' || i, 1, step * 2 + place, now(), '{{\"format_version\": 1}}', {payload}
                             FROM generate_series(0, 1) AS place;
                         UPDATE \"{name}_processes\" SET aux_state = substr(filler, step, 100) WHERE process_id = 'process-' || i;
                     WHEN i % 10 = 0 THEN
                         UPDATE \"{name}_processes\"
                             SET status = (CASE step WHEN 6 THEN 'error' ELSE 'running' END)::process_status, detail = 'timeout'
                             WHERE process_id = 'process-' || i;
                     ELSE
                     END CASE;
                     COMMIT;
                 END LOOP;
             END LOOP;
         END LOOP;",
        processes = size.rows / MESSAGES_OF_TEN * 10,
        payload = payload(size.payload),
    )
}

/// Writes the backlog as fast as one server process can. Returns the position after it.
pub(crate) fn load(sql: &mut Client, namespace: &Namespace, workload: Workload, size: Size) -> String {
    let begun = Instant::now();
    let name = &namespace.name;
    // As a replica it checks no foreign keys: what is measured is the reading.
    sql.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off").unwrap();
    sql.batch_execute(&format!(
        "CREATE OR REPLACE PROCEDURE load() LANGUAGE plpgsql AS $$
         DECLARE filler bytea := (SELECT string_agg(decode(md5(random()::text), 'hex'), '') FROM generate_series(0, {bytes} / 16));
         BEGIN {rows} END $$",
        bytes = size.payload,
        rows = if workload == Workload::Mix { lives(name, size) } else { events(name, size) },
    ))
    .unwrap();
    sql.batch_execute("CALL load()").unwrap();
    // Makes all of it durable, so that the walsenders send all of it.
    sql.batch_execute("SET synchronous_commit = on; CREATE TABLE last_word (); DROP TABLE last_word").unwrap();
    let end = sql.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).unwrap().get(0);
    eprintln!("a backlog of {} messages written in {:.1} s", size.rows, begun.elapsed().as_secs_f64());
    end
}

/// Gives a run a slot of its own, at the beginning of the backlog.
pub(crate) fn copy_slot(sql: &mut Client, name: &str) {
    sql.execute("SELECT pg_copy_logical_replication_slot($1::text::name, $2::text::name)", &[&SOURCE, &name]).unwrap();
}

/// The process that streams from a slot, once there is one.
pub(crate) fn walsender(sql: &mut Client, slot: &str) -> Option<i32> {
    let query = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1::text::name";
    sql.query_one(query, &[&slot]).unwrap().get(0)
}
