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
    /// No backlog: 1,000 rows a second for ten seconds, from the INSERT to a consumer.
    Latency,
}

/// The size of a backlog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) rows: u64,
    pub(crate) rows_per_transaction: u64,
    pub(crate) payload: u64,
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Ten => "ten",
            Self::Big => "big",
            Self::Wide => "wide",
            Self::Latency => "latency",
        }
    }

    /// Its size, with another number of rows if one is given.
    pub(crate) fn size(self, rows: Option<u64>) -> Size {
        let (usual, rows_per_transaction, payload) = match self {
            Self::One => (500_000, 1, 200),
            Self::Ten => (600_000, 10, 200),
            Self::Big => (600_000, u64::MAX, 200),
            Self::Wide => (30_000, 1, 10 * 1024),
            Self::Latency => (10_000, 1, 200),
        };
        Size { rows: rows.unwrap_or(usual), rows_per_transaction, payload }
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
    sql.execute("SELECT pg_create_logical_replication_slot($1::text::name, 'pgoutput')", &[&SOURCE]).unwrap();
}

/// The expression of a payload of this many bytes, different in each row `i`: `{bin, Bytes}` as Erlang writes it.
pub(crate) fn payload(bytes: u64) -> String {
    const HEADER: u64 = 13;
    const DIGEST: u64 = 16;
    let data = bytes.saturating_sub(HEADER);
    let header = format!("decode('83680277036269{}6d{data:08x}', 'hex')", "6e");
    format!("{header} || decode(md5(i::text), 'hex') || substr(filler, 1, {})", data.saturating_sub(DIGEST))
}

/// Writes the backlog as fast as one server process can. Returns the position after it.
pub(crate) fn load(sql: &mut Client, namespace: &Namespace, size: Size) -> String {
    let begun = Instant::now();
    let Size { rows, rows_per_transaction, payload: bytes } = size;
    let name = &namespace.name;
    let rows_per_transaction = rows_per_transaction.min(rows);
    // As a replica it checks no foreign keys: what is measured is the reading.
    sql.batch_execute("SET session_replication_role = replica; SET synchronous_commit = off").unwrap();
    sql.batch_execute(&format!(
        "CREATE OR REPLACE PROCEDURE load() LANGUAGE plpgsql AS $$
         DECLARE filler bytea := (SELECT string_agg(decode(md5(random()::text), 'hex'), '') FROM generate_series(0, {bytes} / 16));
         BEGIN
             FOR i IN 0..{rows} - 1 LOOP
                 INSERT INTO \"{name}_events\" (process_id, task_id, event_id, timestamp, metadata, payload) VALUES
                     ('process-' || i % 5000, 1, i / 5000, now(), '{{\"format_version\": 1}}', {payload});
                 IF (i + 1) % {rows_per_transaction} = 0 THEN COMMIT; END IF;
             END LOOP;
         END $$",
        payload = payload(bytes),
    ))
    .unwrap();
    sql.batch_execute("CALL load()").unwrap();
    // Makes all of it durable, so that the walsenders send all of it.
    sql.batch_execute("SET synchronous_commit = on; CREATE TABLE last_word (); DROP TABLE last_word").unwrap();
    let end = sql.query_one("SELECT pg_current_wal_flush_lsn()::text", &[]).unwrap().get(0);
    eprintln!("{rows} rows written in {:.1} s", begun.elapsed().as_secs_f64());
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
