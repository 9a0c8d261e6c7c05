//! The path from a row as it lies in a replication message to key and value.

use cdc_notifier::{
    change::{Change, Column, InvalidRow, Lsn, Old, PgTimestamp, Relation, ReplicaIdentity, Transaction, Tuple},
    encoding::{self, Encoder, Limits},
    source::{self, Table},
};

/// The defaults of the configuration.
pub(crate) const DEFAULT_LIMITS: Limits = Limits { max_payload_size: 16 << 20, max_payload_depth: 1024 };

/// How PostgreSQL sends values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

pub(crate) const FORMATS: [Format; 2] = [Format::Text, Format::Binary];

/// A namespace with its tables and its encoder.
pub(crate) struct Namespace {
    events: Box<dyn Table>,
    processes: Box<dyn Table>,
    encoder: Box<dyn Encoder>,
}

/// A row of the events table.
pub(crate) struct Event<'a> {
    pub(crate) process_id: &'a str,
    pub(crate) number: i64,
    /// As PostgreSQL prints it.
    pub(crate) timestamp: &'a str,
    pub(crate) metadata: Option<&'a str>,
    pub(crate) payload: &'a [u8],
}

impl<'a> Event<'a> {
    /// A row of which only the payload matters.
    pub(crate) fn with(payload: &'a [u8]) -> Self {
        let timestamp = "2024-03-22 06:12:27+00";
        Self { process_id: "2Ab3", number: 1, timestamp, metadata: Some(r#"{"format_version": 1}"#), payload }
    }
}

/// Key and value.
pub(crate) type Record = (Vec<u8>, Vec<u8>);

impl Namespace {
    pub(crate) fn new(name: &str, limits: Limits) -> Self {
        let source = source::build(source::Kind::Progressor, name);
        let bind = |kind: &str, columns: &[(&str, u32)]| {
            let column = |(name, type_oid): &(&str, u32)| Column {
                name: (*name).to_owned(),
                identity: true,
                type_oid: *type_oid,
            };
            let relation = Relation {
                oid: 1,
                schema: "public".into(),
                name: format!("{name}_{kind}"),
                identity: ReplicaIdentity::Full,
                columns: columns.iter().map(column).collect(),
            };
            source.bind(&relation).unwrap().unwrap()
        };
        Self {
            events: bind(
                "events",
                &[
                    ("process_id", 1043),
                    ("task_id", 20),
                    ("event_id", 20),
                    ("timestamp", 1184),
                    ("metadata", 3802),
                    ("payload", 17),
                ],
            ),
            processes: bind("processes", &[("process_id", 1043), ("status", 16_500), ("detail", 25)]),
            encoder: encoding::build(encoding::Kind::MgProto, name, limits),
        }
    }

    /// The record of an inserted event.
    pub(crate) fn event(&mut self, event: &Event<'_>, format: Format) -> Result<Record, InvalidRow> {
        let row = row(&columns(event, format));
        let change = Change::Insert { new: tuple(&row) };
        record(&*self.events, &mut *self.encoder, &change, PgTimestamp::default()).transpose().unwrap()
    }

    /// The record of a change of a process: its rows (id, status, detail) before and after.
    pub(crate) fn process(
        &mut self,
        before: Option<[Option<&str>; 3]>,
        after: Option<[Option<&str>; 3]>,
        format: Format,
        committed: PgTimestamp,
    ) -> Result<Option<Record>, InvalidRow> {
        let bytes = |values: [Option<&str>; 3]| row(&values.map(|value| value.map(|text| (format, text.into()))));
        let (before, after) = (before.map(bytes), after.map(bytes));
        let old = before.as_deref().map(tuple).map(Old::Full);
        let change = match (old, after.as_deref().map(tuple)) {
            (None, Some(new)) => Change::Insert { new },
            (old, Some(new)) => Change::Update { old, new },
            (Some(old), None) => Change::Delete { old },
            (None, None) => panic!("nothing has changed"),
        };
        record(&*self.processes, &mut *self.encoder, &change, committed)
    }
}

fn record(
    table: &dyn Table,
    encoder: &mut dyn Encoder,
    change: &Change<'_>,
    commit_time: PgTimestamp,
) -> Result<Option<Record>, InvalidRow> {
    let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time };
    let Some(notification) = table.interpret(change)? else { return Ok(None) };
    let before = b"what was there".to_vec();
    let mut out = before.clone();
    match encoder.encode(&transaction, &notification, &mut out) {
        Ok(key) => {
            assert!(out.starts_with(&before));
            let mut record = out.split_off(before.len());
            let value = record.split_off(key);
            assert!(record.ends_with(table.key(change).unwrap()));
            Ok(Some((record, value)))
        }
        Err(invalid) => {
            assert_eq!(out, before, "a refused row must leave nothing behind");
            Err(invalid)
        }
    }
}

fn columns(event: &Event<'_>, format: Format) -> [Option<(Format, Vec<u8>)>; 6] {
    let value = |text: String, binary: Vec<u8>| match format {
        Format::Text => Some((format, text.into_bytes())),
        Format::Binary => Some((format, binary)),
    };
    let number = event.number;
    let smallest = i16::try_from(number)
        .map(|number| number.to_be_bytes().to_vec())
        .or_else(|_| i32::try_from(number).map(|number| number.to_be_bytes().to_vec()))
        .unwrap_or_else(|_| number.to_be_bytes().to_vec());
    [
        value(event.process_id.into(), event.process_id.into()),
        value("1".into(), 1_i64.to_be_bytes().into()),
        value(number.to_string(), smallest),
        match format {
            Format::Text => Some((format, event.timestamp.into())),
            Format::Binary => Some((format, micros(event.timestamp).to_be_bytes().into())),
        },
        event.metadata.and_then(|json| value(json.into(), [b"\x01", json.as_bytes()].concat())),
        value(format!("\\x{}", hex::encode(event.payload)), event.payload.into()),
    ]
}

/// Microseconds since 2000, by another way than the code under test.
pub(crate) fn micros(text: &str) -> i64 {
    if text == "infinity" {
        return i64::MAX;
    }
    let (civil, offset) = text.split_at(text.rfind(['+', '-']).unwrap());
    // jiff knows no year 10000.
    let (civil, later) = match civil.strip_prefix("10000-01-01") {
        Some(rest) => (format!("9999-12-31{rest}"), 86_400_000_000),
        None => (civil.to_owned(), 0),
    };
    let civil: jiff::civil::DateTime = civil.parse().unwrap();
    let mut parts = offset[1..].split(':').map(|part| part.parse::<i64>().unwrap());
    let seconds = [3600, 60, 1].into_iter().map(|unit| unit * parts.next().unwrap_or(0)).sum::<i64>();
    let east = if offset.starts_with('-') { -seconds } else { seconds };
    let epoch = jiff::civil::datetime(2000, 1, 1, 0, 0, 0, 0);
    let since = civil.duration_since(epoch).as_micros();
    i64::try_from(since).unwrap() + later - east * 1_000_000
}

fn row(values: &[Option<(Format, Vec<u8>)>]) -> Vec<u8> {
    let mut row = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => row.push(b'n'),
            Some((format, bytes)) => {
                row.push(if *format == Format::Text { b't' } else { b'b' });
                row.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
                row.extend(bytes);
            }
        }
    }
    row
}

fn tuple(row: &[u8]) -> Tuple<'_> {
    let (tuple, rest) = Tuple::parse(row).unwrap();
    assert!(rest.is_empty());
    tuple
}
