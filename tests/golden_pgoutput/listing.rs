//! Messages as lines that a person can check: without what differs from run to run (LSNs, xids, OIDs given by the database).

use std::collections::HashMap;

use cdc_notifier::{
    change::{Change, Old, Relation, Tuple, Value},
    pgoutput::Message,
};

use super::scenario::LARGE;

const BYTEA: u32 = 17;
const INT8: u32 = 20;
const INT2: u32 = 21;
const TIMESTAMPTZ: u32 = 1184;
const JSONB: u32 = 3802;

/// OIDs from here on are given by the database.
const FIRST_GIVEN: u32 = 16_384;

#[derive(Default)]
pub(crate) struct Listing {
    relations: HashMap<u32, Relation>,
    types: HashMap<u32, String>,
}

impl Listing {
    /// One message as one line.
    pub(crate) fn line(&mut self, message: &Message<'_>) -> String {
        match message {
            Message::Begin(_) => "begin".to_owned(),
            Message::Commit { .. } => "commit".to_owned(),
            Message::Origin { commit_lsn, name } => format!("origin {} at {commit_lsn}", utf8(name)),
            Message::Type { oid, schema, name } => {
                let name = format!("{}.{}", utf8(schema), utf8(name));
                self.types.insert(*oid, name.clone());
                format!("type {name}")
            }
            Message::Relation(relation) => {
                let known = self.relations.insert(relation.oid, relation.clone()).map(|r| r.name);
                let columns: Vec<_> = relation.columns.iter().map(|c| self.column(c)).collect();
                let renamed = known.filter(|name| *name != relation.name).map(|name| format!(" (was {name})"));
                let Relation { schema, name, identity, .. } = relation;
                format!("relation {schema}.{name}{} {identity:?}: {}", renamed.unwrap_or_default(), columns.join(" "))
            }
            Message::Change { relation, change } => {
                let relation = &self.relations[relation];
                let row = |row: Tuple<'_>| show(relation, row);
                let rows = match change {
                    Change::Insert { new } | Change::Update { old: None, new } => row(*new),
                    Change::Update { old: Some(Old::Key(old)), new } => format!("key {} new {}", row(*old), row(*new)),
                    Change::Update { old: Some(Old::Full(old)), new } => format!("old {} new {}", row(*old), row(*new)),
                    Change::Delete { old: Old::Key(old) } => format!("key {}", row(*old)),
                    Change::Delete { old: Old::Full(old) } => format!("old {}", row(*old)),
                };
                format!("{} {} {rows}", change.operation(), short(&relation.name))
            }
            Message::Truncate { relations, cascade, restart_identity } => {
                let mut names: Vec<_> = relations.oids().map(|oid| short(&self.relations[&oid].name)).collect();
                names.sort_unstable();
                format!("truncate {} cascade={cascade} restart_identity={restart_identity}", names.join(" "))
            }
            Message::LogicalMessage { transactional, prefix, content, .. } => {
                format!("message transactional={transactional} {} {}", utf8(prefix), hex::encode(content))
            }
        }
    }

    fn column(&self, column: &cdc_notifier::change::Column) -> String {
        let oid = column.type_oid;
        let kind = if oid < FIRST_GIVEN { oid.to_string() } else { self.types[&oid].clone() };
        format!("{}{}:{kind}", column.name, if column.identity { "*" } else { "" })
    }
}

fn short(name: &str) -> &str {
    name.rsplit('_').next().unwrap()
}

fn utf8(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn show(relation: &Relation, row: Tuple<'_>) -> String {
    assert_eq!(relation.columns.len(), row.len());
    let values: Vec<_> =
        relation.columns.iter().zip(row.values()).map(|(c, value)| show_value(c.type_oid, value)).collect();
    format!("({})", values.join(", "))
}

/// The same for both formats, so that both are held to one listing.
fn show_value(type_oid: u32, value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Unchanged => "unchanged".to_owned(),
        Value::Text(bytes) => match type_oid {
            BYTEA => bytea(&hex::decode(utf8(bytes).strip_prefix(r"\x").unwrap()).unwrap()),
            INT2 | INT8 => utf8(bytes).parse::<i64>().unwrap().to_string(),
            TIMESTAMPTZ => {
                assert_eq!(utf8(bytes), "2026-01-02 03:04:05.678901+00");
                "T".to_owned()
            }
            _ => text(bytes),
        },
        Value::Binary(bytes) => match type_oid {
            BYTEA => bytea(bytes),
            INT2 => i16::from_be_bytes(bytes.try_into().unwrap()).to_string(),
            INT8 => i64::from_be_bytes(bytes.try_into().unwrap()).to_string(),
            JSONB => text(bytes.strip_prefix(&[1]).unwrap()),
            TIMESTAMPTZ => {
                let days = 26 * 365 + 7 + 1;
                let seconds = days * 86_400 + 3 * 3_600 + 4 * 60 + 5;
                assert_eq!(i64::from_be_bytes(bytes.try_into().unwrap()), seconds * 1_000_000 + 678_901);
                "T".to_owned()
            }
            _ => text(bytes),
        },
    }
}

fn text(bytes: &[u8]) -> String {
    repeated(bytes).unwrap_or_else(|| format!("'{}'", utf8(bytes)))
}

fn bytea(bytes: &[u8]) -> String {
    repeated(bytes).unwrap_or_else(|| format!("x{}", hex::encode(bytes)))
}

fn repeated(bytes: &[u8]) -> Option<String> {
    let first = char::from(*bytes.first()?);
    let same = bytes.len() == LARGE && bytes.iter().all(|byte| char::from(*byte) == first);
    same.then(|| format!("{first}..."))
}
