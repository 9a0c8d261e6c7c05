//! What must be in Kafka, by the tables alone, and whether it is: knows nothing of how the service works.
//!
//! A topic is right if for each key
//! * every message is there, and nothing else; key, partition, headers and decoded value are what the tables say;
//! * first occurrences come in the order of the tables;
//! * a repeat is byte-identical, and where the sequence steps back, everything from there on comes again in its order.
//!
//! What a killed process had handed to the network may come late, into what its successor sends: identical, and counted apart.

mod acknowledged;
mod expected;
mod phash2;
mod proof;

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use cdc_notifier::encoding::mg_proto::read::{self, Step, Value};

use self::phash2::phash2;
pub use self::{
    acknowledged::{Sample, too_early},
    expected::{BIN, SCHEMA, Transactions, events, lifecycle},
};
use crate::kafka::ConsumedRecord;

/// A message, decoded. Within a key no two are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Message {
    Event {
        namespace: String,
        process: String,
        event_id: i64,
        created_at: String,
        format_version: Option<i32>,
        data: Vec<u8>,
    },
    /// `step`: `created`, `failed: REASON`, `working` or `removed`.
    Lifecycle { namespace: String, process: String, created_at: String, step: String },
}

/// A topic's messages by key, in their order.
pub type Expected = BTreeMap<Vec<u8>, Vec<Message>>;

/// What was found in a topic that is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub records: usize,
    pub distinct: usize,
    /// Of the repeats, those of a killed process that came into what its successor sent.
    pub late: usize,
}

impl Tally {
    pub const fn repeats(self) -> usize {
        self.records - self.distinct
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.distinct += other.distinct;
        self.late += other.late;
    }
}

/// What is wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objection {
    pub key: String,
    pub what: Wrong,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Not in the topic.
    Missing { from: usize, count: usize },
    /// In the topic, but not in the tables, or with another content.
    Foreign(String),
    /// Before one that belongs before it.
    Overtook { place: usize, expected: usize },
    /// A repeat that leaves some out.
    Hole { after: usize, place: usize },
    /// A repeat that does not go on to the end.
    Unfinished { at: usize },
    /// A repeat that differs from the first occurrence.
    Altered { place: usize },
    /// Not where its key belongs.
    Partition { found: i32 },
    /// In a new partition before one in the old partition.
    Moved,
    /// Not decodable.
    Undecodable(String),
}

impl fmt::Display for Objection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {:?}", self.key, self.what)
    }
}

/// Checks a topic. `counts`: the numbers of partitions it has had, the oldest first. `killed`: from this time of the brokers' on,
/// late repeats by a dead process are allowed.
pub fn check(
    expected: &Expected,
    records: &[ConsumedRecord],
    counts: &[i32],
    killed: Option<i64>,
) -> Result<Tally, Vec<Objection>> {
    let (mut objections, mut late) = (Vec::new(), 0);
    let mut by_key: BTreeMap<Vec<u8>, Vec<&ConsumedRecord>> = BTreeMap::new();
    for record in records {
        by_key.entry(record.key.clone().unwrap_or_default()).or_default().push(record);
    }
    let keys = by_key.keys().chain(expected.keys());
    let keys: std::collections::BTreeSet<_> = keys.cloned().collect();
    for key in &keys {
        let mut object = |what| objections.push(Objection { key: String::from_utf8_lossy(key).into_owned(), what });
        let expected = expected.get(key).map_or(&[][..], Vec::as_slice);
        let found = by_key.remove(key).unwrap_or_default();
        let found = in_order(key, found, counts, killed, &mut object);
        late += check_key(expected, &found, killed, &mut object);
        if objections.last().is_some_and(|objection| objection.key.as_bytes() == &key[..]) {
            eprintln!("{}", trail(key, expected, &found));
        }
    }
    if objections.is_empty() {
        Ok(Tally { records: records.len(), distinct: expected.values().map(Vec::len).sum(), late })
    } else {
        Err(objections)
    }
}

/// A key's records: those of the partition of the first count, then those of the next one.
fn in_order<'a>(
    key: &[u8],
    found: Vec<&'a ConsumedRecord>,
    counts: &[i32],
    killed: Option<i64>,
    object: &mut impl FnMut(Wrong),
) -> Vec<&'a ConsumedRecord> {
    if key.is_empty() {
        return found;
    }
    let mut homes: Vec<i32> = counts.iter().map(|count| (phash2(key) % count.cast_unsigned()).cast_signed()).collect();
    homes.dedup();
    let mut ordered: Vec<&ConsumedRecord> = Vec::with_capacity(found.len());
    for home in &homes {
        let here: Vec<_> = found.iter().filter(|record| record.partition == *home).copied().collect();
        if let (Some(last), Some(first)) = (ordered.last(), here.first())
            && last.timestamp > first.timestamp
            && !may_be_late(last, killed)
        {
            object(Wrong::Moved);
        }
        ordered.extend(here);
    }
    if killed.is_some() && homes.len() > 1 {
        // A late one may have come to the old partition.
        ordered.sort_by_key(|record| record.timestamp);
    }
    if let Some(lost) = found.iter().find(|record| !homes.contains(&record.partition)) {
        object(Wrong::Partition { found: lost.partition });
    }
    ordered
}

/// Where each record of a key stands, and which place of the sequence it has.
fn trail(key: &[u8], expected: &[Message], found: &[&ConsumedRecord]) -> String {
    let shown = found.iter().map(|record| {
        let message = decode(record.value.as_deref().unwrap_or_default()).ok();
        let place = message.and_then(|message| expected.iter().position(|known| *known == message));
        format!(" {place:?} at {}:{} ({})", record.partition, record.offset, record.timestamp)
    });
    format!("{}, {} expected:{}", String::from_utf8_lossy(key), expected.len(), shown.collect::<String>())
}

fn may_be_late(record: &ConsumedRecord, killed: Option<i64>) -> bool {
    killed.is_some_and(|killed| record.timestamp >= killed)
}

/// Returns how many were late.
fn check_key(
    expected: &[Message],
    found: &[&ConsumedRecord],
    killed: Option<i64>,
    object: &mut impl FnMut(Wrong),
) -> usize {
    let places: HashMap<&Message, usize> =
        expected.iter().enumerate().map(|(place, message)| (message, place)).collect();
    assert_eq!(places.len(), expected.len(), "the writer wrote two equal messages of a key");
    let mut first: Vec<Option<&ConsumedRecord>> = vec![None; expected.len()];
    // The place that should come next, the end of all first occurrences, and where an overtaken repeat has to go on.
    let (mut next, mut end, mut owed) = (0, 0, None);
    // Records since the last step back or forward, and those that turned out to be late.
    let (mut run, mut late) = (0, 0);
    for (index, record) in found.iter().enumerate() {
        let known = decode(record.value.as_deref().unwrap_or_default())
            .map_err(Wrong::Undecodable)
            .and_then(|message| places.get(&message).copied().ok_or_else(|| Wrong::Foreign(format!("{message:?}"))));
        let place = match known {
            Ok(place) => place,
            Err(wrong) => {
                object(wrong);
                return late;
            }
        };
        if place > end {
            object(Wrong::Overtook { place, expected: end });
            return late;
        }
        if place > next {
            // What a dead process had handed to the network may come late, into the repeat by its successor.
            let tolerated = may_be_late(found[index - 1], killed);
            if place < end && !tolerated {
                object(Wrong::Hole { after: next, place });
                return late;
            }
            late += run;
            if !tolerated {
                owed = Some(owed.map_or(next, |owed: usize| owed.min(next)));
            }
        } else if owed.is_some_and(|owed| place <= owed) {
            owed = None;
        }
        match first[place] {
            None => first[place] = Some(record),
            Some(first) if first.value == record.value && first.headers == record.headers => {}
            Some(_) => {
                object(Wrong::Altered { place });
                return late;
            }
        }
        run = if place == next { run + 1 } else { 1 };
        next = place + 1;
        end = end.max(next);
    }
    if end < expected.len() {
        object(Wrong::Missing { from: end, count: expected.len() - end });
    } else if next < end && found.last().is_some_and(|last| may_be_late(last, killed)) {
        late += run;
    } else if next < end || owed.is_some() {
        object(Wrong::Unfinished { at: owed.unwrap_or(next) });
    }
    late
}

/// Both kinds of message; their Thrift differs from the first field on.
fn decode(value: &[u8]) -> Result<Message, String> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap_or_else(|error| format!("not UTF-8: {error}"));
    if let Ok(event) = read::sink_event(value) {
        let Value::Bin(data) = event.data else { return Err(format!("not the writer's data: {:?}", event.data)) };
        return Ok(Message::Event {
            namespace: text(event.source_ns),
            process: text(event.source_id),
            event_id: event.event_id,
            created_at: text(event.created_at),
            format_version: event.format_version,
            data,
        });
    }
    let event = read::lifecycle_event(value).map_err(|error| error.to_string())?;
    let step = match event.data {
        Step::Created => "created".to_owned(),
        Step::Failed { reason } => format!("failed: {}", text(reason.unwrap_or_default())),
        Step::Working => "working".to_owned(),
        Step::Removed => "removed".to_owned(),
    };
    Ok(Message::Lifecycle {
        namespace: text(event.machine_ns),
        process: text(event.machine_id),
        created_at: text(event.created_at),
        step,
    })
}
