//! The other direction, written from PostgreSQL's documentation: messages to bytes.

use cdc_notifier::{
    change::{Change, Old, Relation, ReplicaIdentity, Transaction, Tuple, Value},
    pgoutput::Message,
};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Field {
    Null,
    Unchanged,
    Text(Vec<u8>),
    Binary(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum OldRow {
    Key(Vec<Field>),
    Full(Vec<Field>),
}

/// A message that owns its parts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Sent {
    Begin { commit_lsn: u64, commit_time: i64, xid: u32 },
    Commit { commit_lsn: u64, end_lsn: u64, commit_time: i64 },
    Origin { commit_lsn: u64, name: Vec<u8> },
    Relation(Relation),
    Type { oid: u32, schema: Vec<u8>, name: Vec<u8> },
    Insert { relation: u32, new: Vec<Field> },
    Update { relation: u32, old: Option<OldRow>, new: Vec<Field> },
    Delete { relation: u32, old: OldRow },
    Truncate { relations: Vec<u32>, cascade: bool, restart_identity: bool },
    Logical { transactional: bool, lsn: u64, prefix: Vec<u8>, content: Vec<u8> },
}

impl Sent {
    pub(crate) fn of(message: &Message<'_>) -> Self {
        match message {
            Message::Begin(Transaction { xid, commit_lsn, commit_time }) => {
                Self::Begin { commit_lsn: commit_lsn.get(), commit_time: commit_time.0, xid: *xid }
            }
            Message::Commit { commit_lsn, end_lsn, commit_time } => {
                Self::Commit { commit_lsn: commit_lsn.get(), end_lsn: end_lsn.get(), commit_time: commit_time.0 }
            }
            Message::Origin { commit_lsn, name } => Self::Origin { commit_lsn: commit_lsn.get(), name: name.to_vec() },
            Message::Relation(relation) => Self::Relation(relation.clone()),
            Message::Type { oid, schema, name } => {
                Self::Type { oid: *oid, schema: schema.to_vec(), name: name.to_vec() }
            }
            Message::Change { relation, change: Change::Insert { new } } => {
                Self::Insert { relation: *relation, new: fields(*new) }
            }
            Message::Change { relation, change: Change::Update { old, new } } => {
                Self::Update { relation: *relation, old: old.map(old_row), new: fields(*new) }
            }
            Message::Change { relation, change: Change::Delete { old } } => {
                Self::Delete { relation: *relation, old: old_row(*old) }
            }
            Message::Truncate { relations, cascade, restart_identity } => Self::Truncate {
                relations: relations.oids().collect(),
                cascade: *cascade,
                restart_identity: *restart_identity,
            },
            Message::LogicalMessage { transactional, lsn, prefix, content } => Self::Logical {
                transactional: *transactional,
                lsn: lsn.get(),
                prefix: prefix.to_vec(),
                content: content.to_vec(),
            },
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Out::default();
        match self {
            Self::Begin { commit_lsn, commit_time, xid } => {
                out.put(b"B").u64(*commit_lsn).put(&commit_time.to_be_bytes()).u32(*xid);
            }
            Self::Commit { commit_lsn, end_lsn, commit_time } => {
                out.put(b"C\0").u64(*commit_lsn).u64(*end_lsn).put(&commit_time.to_be_bytes());
            }
            Self::Origin { commit_lsn, name } => {
                out.put(b"O").u64(*commit_lsn).string(name);
            }
            Self::Relation(relation) => out.relation(relation),
            Self::Type { oid, schema, name } => {
                out.put(b"Y").u32(*oid).string(schema).string(name);
            }
            Self::Insert { relation, new } => {
                out.put(b"I").u32(*relation).put(b"N").row(new);
            }
            Self::Update { relation, old, new } => {
                out.put(b"U").u32(*relation);
                if let Some(old) = old {
                    out.old(old);
                }
                out.put(b"N").row(new);
            }
            Self::Delete { relation, old } => {
                out.put(b"D").u32(*relation).old(old);
            }
            Self::Truncate { relations, cascade, restart_identity } => {
                let flags = u8::from(*cascade) | u8::from(*restart_identity) << 1;
                out.put(b"T").u32(relations.len().try_into().unwrap()).put(&[flags]);
                for oid in relations {
                    out.u32(*oid);
                }
            }
            Self::Logical { transactional, lsn, prefix, content } => {
                out.put(b"M").put(&[(*transactional).into()]).u64(*lsn).string(prefix);
                out.u32(content.len().try_into().unwrap()).put(content);
            }
        }
        out.0
    }
}

fn fields(row: Tuple<'_>) -> Vec<Field> {
    let fields: Vec<_> = row
        .values()
        .map(|value| match value {
            Value::Null => Field::Null,
            Value::Unchanged => Field::Unchanged,
            Value::Text(bytes) => Field::Text(bytes.to_vec()),
            Value::Binary(bytes) => Field::Binary(bytes.to_vec()),
        })
        .collect();
    assert_eq!(fields.len(), row.len());
    fields
}

fn old_row(old: Old<'_>) -> OldRow {
    match old {
        Old::Key(row) => OldRow::Key(fields(row)),
        Old::Full(row) => OldRow::Full(fields(row)),
    }
}

#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, number: u16) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    fn u32(&mut self, number: u32) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    fn u64(&mut self, number: u64) -> &mut Self {
        self.put(&number.to_be_bytes())
    }

    fn string(&mut self, bytes: &[u8]) -> &mut Self {
        self.put(bytes).put(b"\0")
    }

    fn relation(&mut self, relation: &Relation) {
        let identity = match relation.identity {
            ReplicaIdentity::Default => b"d",
            ReplicaIdentity::Nothing => b"n",
            ReplicaIdentity::Full => b"f",
            ReplicaIdentity::Index => b"i",
        };
        self.put(b"R")
            .u32(relation.oid)
            .string(relation.schema.as_bytes())
            .string(relation.name.as_bytes())
            .put(identity);
        self.u16(relation.columns.len().try_into().unwrap());
        for column in &relation.columns {
            self.put(&[column.identity.into()]).string(column.name.as_bytes()).u32(column.type_oid).u32(u32::MAX);
        }
    }

    fn row(&mut self, row: &[Field]) {
        self.u16(row.len().try_into().unwrap());
        for field in row {
            match field {
                Field::Null => self.put(b"n"),
                Field::Unchanged => self.put(b"u"),
                Field::Text(bytes) => self.put(b"t").u32(bytes.len().try_into().unwrap()).put(bytes),
                Field::Binary(bytes) => self.put(b"b").u32(bytes.len().try_into().unwrap()).put(bytes),
            };
        }
    }

    fn old(&mut self, old: &OldRow) {
        match old {
            OldRow::Key(row) => self.put(b"K").row(row),
            OldRow::Full(row) => self.put(b"O").row(row),
        }
    }
}
