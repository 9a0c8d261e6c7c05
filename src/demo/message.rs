//! A message as its consumer sees it.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::{
    encoding::mg_proto::read::{self, ReadError, Step},
    sink::kafka::consumer::Consumed,
};

/// What a message tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// `machine.created`
    Created,
    /// `SinkEvent.event`
    Event,
    /// `machine.status_changed.failed`
    Failed,
    /// `machine.status_changed.working`
    Working,
    /// `machine.removed`
    Removed,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 5] = [Self::Created, Self::Event, Self::Failed, Self::Working, Self::Removed];

    /// The word for it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Event => "event",
            Self::Failed => "failed",
            Self::Working => "working",
            Self::Removed => "removed",
        }
    }
}

/// Messages by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts(BTreeMap<Kind, u64>);

impl Counts {
    /// Counts `number` messages more.
    pub(super) fn add(&mut self, kind: Kind, number: u64) {
        *self.0.entry(kind).or_default() += number;
    }

    /// Of one kind.
    pub(super) fn of(&self, kind: Kind) -> u64 {
        self.0.get(&kind).copied().unwrap_or_default()
    }

    /// Of all kinds.
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Whether there are at least as many of each kind.
    pub(super) fn covers(&self, other: &Self) -> bool {
        Kind::ALL.iter().all(|kind| self.of(*kind) >= other.of(*kind))
    }
}

/// A message, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// What it tells.
    pub(super) kind: Kind,
    /// Its topic.
    pub(super) topic: String,
    /// Its partition.
    pub(super) partition: i32,
    /// Its offset.
    pub(super) offset: i64,
    /// Its key.
    pub(super) key: String,
    /// Its value as JSON, what tells most first.
    pub(super) value: String,
    /// How many characters of it tell what has happened.
    pub(super) news: usize,
}

impl Message {
    /// Decodes the record of a lifecycle topic or of an eventsink topic.
    pub(super) fn read(record: Consumed, lifecycle: bool) -> Result<Self, ReadError> {
        let value = record.value.unwrap_or_default();
        let (kind, value) = if lifecycle {
            let event = read::lifecycle_event(&value)?;
            let kind = match &event.data {
                Step::Created => Kind::Created,
                Step::Failed { .. } => Kind::Failed,
                Step::Working => Kind::Working,
                Step::Removed => Kind::Removed,
            };
            (kind, line(&event.to_json(), &["data", "created_at", "machine_ns", "machine_id"]))
        } else {
            let event = read::sink_event(&value)?;
            let order = ["event_id", "data", "created_at", "format_version", "source_ns", "source_id"];
            (Kind::Event, line(&event.to_json(), &order))
        };
        let key = String::from_utf8_lossy(&record.key.unwrap_or_default()).into_owned();
        let news = value.find(r#","created_at":"#).unwrap_or(value.len());
        let news = value.get(..news).unwrap_or_default().chars().count();
        Ok(Self { kind, topic: record.topic, partition: record.partition, offset: record.offset, key, value, news })
    }
}

/// An object in one line, its members in this order.
fn line(json: &Json, order: &[&str]) -> String {
    let member = |name: &&str| Some(format!("{}:{}", Json::from(*name), json.get(name)?));
    let members: Vec<_> = order.iter().filter_map(member).collect();
    format!("{{{}}}", members.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        change::{Lifecycle, Lsn, Notification, PgTimestamp, Transaction},
        demo::etf,
        encoding::{Kind as Encoding, Limits, build},
    };

    fn record(notification: &Notification<'_>) -> Consumed {
        let limits = Limits { max_payload_size: 1 << 20, max_payload_depth: 16 };
        let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time: PgTimestamp(0) };
        let mut out = Vec::new();
        let key = build(Encoding::MgProto, "shop/orders", limits).encode(&transaction, notification, &mut out).unwrap();
        let (key, value) = (out[..key].to_vec(), out[key..].to_vec());
        Consumed { topic: "t".to_owned(), partition: 2, offset: 7, key: Some(key), value: Some(value) }
    }

    #[test]
    fn nothing_of_the_value_is_left_out() {
        let payload = etf::encode(&serde_json::json!({"change": "paid"}));
        let event = record(&Notification::MachineEvent {
            machine_id: b"1001",
            event_id: 3,
            created_at: PgTimestamp(0),
            format_version: Some(1),
            payload: payload.into(),
        });
        let message = Message::read(event.clone(), false).unwrap();
        assert_eq!((message.kind, message.key.as_str()), (Kind::Event, "shop/orders 1001"));
        assert!(message.value.starts_with(r#"{"event_id":3,"data":{"change":"paid"},"#), "{}", message.value);
        assert_eq!(message.value.get(..message.news), Some(r#"{"event_id":3,"data":{"change":"paid"}"#));
        let whole = read::sink_event(event.value.as_deref().unwrap()).unwrap().to_json();
        assert_eq!(serde_json::from_str::<Json>(&message.value).unwrap(), whole);

        for (step, kind) in [
            (Lifecycle::Created, Kind::Created),
            (Lifecycle::Failed { reason: b"why" }, Kind::Failed),
            (Lifecycle::Working, Kind::Working),
            (Lifecycle::Removed, Kind::Removed),
        ] {
            let lifecycle = record(&Notification::Lifecycle { machine_id: b"1001", event: step });
            let message = Message::read(lifecycle.clone(), true).unwrap();
            assert_eq!((message.kind, message.partition, message.offset), (kind, 2, 7));
            let whole = read::lifecycle_event(lifecycle.value.as_deref().unwrap()).unwrap().to_json();
            assert_eq!(serde_json::from_str::<Json>(&message.value).unwrap(), whole);
            assert!(Message::read(lifecycle, false).is_err());
        }
    }

    #[test]
    fn counts_are_compared_kind_by_kind() {
        let (mut seen, mut due) = (Counts::default(), Counts::default());
        assert!(seen.covers(&due));
        due.add(Kind::Event, 2);
        seen.add(Kind::Created, 5);
        seen.add(Kind::Event, 1);
        assert!(!seen.covers(&due));
        seen.add(Kind::Event, 1);
        assert!(seen.covers(&due));
        assert_eq!((seen.total(), seen.of(Kind::Event), seen.of(Kind::Failed)), (7, 2, 0));
    }
}
