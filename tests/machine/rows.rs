//! A source and an encoder for rows of two columns: a key, and an id that becomes the value.

use cdc_notifier::{
    change::{
        Change, Column, InvalidRow, Lifecycle, Notification, Old, PgTimestamp, Relation, ReplicaIdentity, Transaction,
        Trouble, Tuple, Value,
    },
    encoding::Encoder,
    pipeline::{Line, Pipeline},
    source::{Source, Table},
};

/// What a row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Of the lifecycle topic.
    Message,
    /// A message of the eventsink topic.
    Event,
    /// One that Kafka refuses for its size.
    Large,
    /// It is of no interest.
    Nothing,
    /// The source refuses it.
    Poison,
    /// The encoder refuses it, after it has written something.
    Unwritable,
}

impl Meaning {
    const fn mark(self) -> u8 {
        match self {
            Self::Message => b'm',
            Self::Event => b'e',
            Self::Large => b'l',
            Self::Nothing => b'n',
            Self::Poison => b'p',
            Self::Unwritable => b'u',
        }
    }
}

/// TupleData of a row: its key, and its mark and id.
pub(crate) fn tuple(key: &[u8], meaning: Meaning, id: u64) -> Vec<u8> {
    let mut bytes = vec![0, 2];
    let mut value = vec![meaning.mark()];
    value.extend(id.to_be_bytes());
    for column in [key, &value] {
        bytes.push(b't');
        bytes.extend(u32::try_from(column.len()).unwrap().to_be_bytes());
        bytes.extend(column);
    }
    bytes
}

/// The id in a value.
pub(crate) fn id(value: &[u8]) -> u64 {
    u64::from_be_bytes(value[1..].try_into().unwrap())
}

/// A pipeline of this many namespaces, each with one table `t<number>`.
pub(crate) fn pipeline(namespaces: usize) -> Pipeline {
    let line = |number| Line {
        namespace: format!("n{number}"),
        source: Box::new(Rows(format!("t{number}"))),
        encoder: Box::new(Plain),
    };
    Pipeline::new((0..namespaces).map(line).collect())
}

/// The Relation of a namespace's table; its OID is its number.
pub(crate) fn relation(number: u32) -> Relation {
    let columns = ["key", "id"].map(|name| Column { name: name.into(), identity: true, type_oid: 25 });
    Relation {
        oid: number,
        schema: "public".into(),
        name: format!("t{number}"),
        identity: ReplicaIdentity::Full,
        columns: columns.into(),
    }
}

struct Rows(String);

impl Source for Rows {
    fn tables(&self) -> Vec<String> {
        vec![self.0.clone()]
    }

    fn bind(&self, relation: &Relation) -> Result<Option<Box<dyn Table>>, Trouble> {
        Ok((relation.name == self.0).then(|| Box::new(Meanings) as Box<dyn Table>))
    }
}

struct Meanings;

fn text<'a>(tuple: &Tuple<'a>, place: usize) -> &'a [u8] {
    match tuple.value(place) {
        Some(Value::Text(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn row<'a>(change: &Change<'a>) -> Tuple<'a> {
    match change {
        Change::Insert { new } | Change::Update { new, .. } => *new,
        Change::Delete { old: Old::Key(old) | Old::Full(old) } => *old,
    }
}

impl Table for Meanings {
    fn interpret<'a>(&self, change: &Change<'a>) -> Result<Option<Notification<'a>>, InvalidRow> {
        let row = row(change);
        let value = text(&row, 1);
        match value[0] {
            b'n' => Ok(None),
            b'e' => Ok(Some(Notification::MachineEvent {
                machine_id: text(&row, 0),
                event_id: 1,
                created_at: PgTimestamp(0),
                format_version: None,
                payload: value.into(),
            })),
            b'p' => Err(InvalidRow::new("id", "poison")),
            _ => {
                let event = Lifecycle::Failed { reason: value };
                Ok(Some(Notification::Lifecycle { machine_id: text(&row, 0), event }))
            }
        }
    }

    fn key<'a>(&self, change: &Change<'a>) -> Option<&'a [u8]> {
        Some(text(&row(change), 0))
    }
}

struct Plain;

impl Encoder for Plain {
    fn encode(
        &mut self,
        _: &Transaction,
        notification: &Notification<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, InvalidRow> {
        let (machine_id, value) = match notification {
            Notification::Lifecycle { machine_id, event: Lifecycle::Failed { reason } } => (machine_id, *reason),
            Notification::MachineEvent { machine_id, payload, .. } => (machine_id, payload.as_ref()),
            Notification::Lifecycle { .. } => panic!("{notification:?}"),
        };
        out.extend(*machine_id);
        if value[0] == b'u' {
            return Err(InvalidRow::new("id", "unwritable"));
        }
        out.extend(value);
        Ok(machine_id.len())
    }
}
