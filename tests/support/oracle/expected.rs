//! The messages that the tables ask for.

use std::collections::HashMap;

use postgres::Client;

use super::{Expected, Message};

/// What the writer fills beside progressor's tables: each step of a process's life in the transaction that makes it, and the
/// events of processes that it deletes. Not published.
pub const SCHEMA: &str = "
    CREATE TABLE oracle_steps (
      sequence bigserial PRIMARY KEY,
      namespace text NOT NULL,
      process_id text NOT NULL,
      step text NOT NULL,
      xid xid NOT NULL DEFAULT pg_current_xact_id()::xid
    );
    CREATE INDEX ON oracle_steps (process_id, step);
    CREATE TABLE oracle_archive (
      namespace text NOT NULL,
      process_id text NOT NULL,
      event_id smallint NOT NULL,
      timestamp timestamptz,
      metadata jsonb,
      payload bytea NOT NULL,
      xid xid
    );";

/// The transaction that wrote a message, as far as it is known.
pub type Transactions = HashMap<Message, u32>;

/// What precedes the data in the Erlang term `{bin, <<...>>}`: version, tuple of two, atom; then the binary's tag and length.
pub const BIN: [u8; 9] = [131, 104, 2, 119, 3, b'b', b'i', b'n', 109];

fn key(namespace: &str, process: &str) -> Vec<u8> {
    [namespace.as_bytes(), b" ", process.as_bytes()].concat()
}

/// The messages of an eventsink topic: every row of the table, and those of deleted processes.
pub fn events(client: &mut Client, namespace: &str) -> (Expected, Transactions) {
    let columns = "process_id, event_id, timestamp, metadata, payload";
    let sql = format!(
        "SELECT process_id, event_id, to_char(timestamp AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           (metadata->>'format_version')::int, payload, xid::text::bigint
         FROM (SELECT {columns}, xmin AS xid FROM \"{namespace}_events\"
               UNION ALL SELECT {columns}, xid FROM oracle_archive WHERE namespace = '{namespace}') AS all_events
         ORDER BY process_id, event_id"
    );
    let (mut expected, mut transactions) = (Expected::new(), Transactions::new());
    for row in client.query(&sql, &[]).unwrap() {
        let (process, payload): (String, Vec<u8>) = (row.get(0), row.get(4));
        let data = payload.strip_prefix(&BIN).expect("a payload of the writer's");
        let (length, data) = data.split_first_chunk().unwrap();
        assert_eq!(u32::from_be_bytes(*length) as usize, data.len());
        let message = Message::Event {
            namespace: namespace.to_owned(),
            process: process.clone(),
            event_id: row.get::<_, i16>(1).into(),
            created_at: row.get(2),
            format_version: row.get(3),
            data: data.to_vec(),
        };
        transactions.extend(xid(row.get(5)).map(|xid| (message.clone(), xid)));
        expected.entry(key(namespace, &process)).or_default().push(message);
    }
    (expected, transactions)
}

/// The messages of a lifecycle topic.
pub fn lifecycle(client: &mut Client, namespace: &str) -> (Expected, Transactions) {
    let sql = format!(
        "SELECT process_id, step, to_char(pg_xact_commit_timestamp(xid) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'),
           xid::text::bigint
         FROM oracle_steps WHERE namespace = '{namespace}' ORDER BY sequence"
    );
    let (mut expected, mut transactions) = (Expected::new(), Transactions::new());
    for row in client.query(&sql, &[]).unwrap() {
        let process: String = row.get(0);
        let message = Message::Lifecycle {
            namespace: namespace.to_owned(),
            process: process.clone(),
            created_at: row.get(2),
            step: row.get(1),
        };
        transactions.extend(xid(row.get(3)).map(|xid| (message.clone(), xid)));
        expected.entry(key(namespace, &process)).or_default().push(message);
    }
    (expected, transactions)
}

fn xid(number: Option<i64>) -> Option<u32> {
    number.map(|number| u32::try_from(number).unwrap())
}
