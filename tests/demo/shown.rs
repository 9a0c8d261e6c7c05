//! The demo's output, read back.

use std::collections::BTreeMap;

use serde_json::Value;

/// The words for the kinds of messages, as the summary's columns name them.
pub(crate) const KINDS: [&str; 5] = ["created", "event", "failed", "working", "removed"];

/// A line that shows a message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: String,
    pub(crate) topic: String,
    partition: i32,
    offset: i64,
    key: String,
    pub(crate) value: Value,
}

/// All of the output that matters.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) messages: Vec<Message>,
    /// The rows under "Summary": label, and what follows it.
    summary: BTreeMap<String, String>,
}

impl Shown {
    pub(crate) fn read(stdout: &str) -> Self {
        let (body, summary) = stdout.split_once("\nSummary").expect(stdout);
        let messages = body.lines().filter(|line| KINDS.iter().any(|kind| line.starts_with(kind)));
        let row = |line: &str| Some((line.get(2..22)?.trim_end().to_owned(), line.get(22..)?.trim().to_owned()));
        Self { messages: messages.map(message).collect(), summary: summary.lines().skip(1).filter_map(row).collect() }
    }

    /// Messages of a kind.
    pub(crate) fn count(&self, kind: &str) -> usize {
        self.messages.iter().filter(|message| message.kind == kind).count()
    }

    fn row(&self, label: &str) -> Vec<&str> {
        let row = self.summary.get(label).unwrap_or_else(|| panic!("no row {label}: {self:#?}"));
        row.split_whitespace().collect()
    }

    /// Whether all that is shown fits together.
    pub(crate) fn check(&self) {
        let mut counts: Vec<_> = KINDS.iter().map(|kind| self.count(kind).to_string()).collect();
        counts.push(self.messages.len().to_string());
        assert_eq!(self.row("messages due"), counts, "{self:#?}");
        assert_eq!(self.row("messages seen"), counts, "{self:#?}");
        assert_eq!(self.row("messages confirmed"), counts[KINDS.len()..], "{self:#?}");
        let [rows, "in", transactions, "transactions"] = self.row("rows written")[..] else { panic!("{self:#?}") };
        let [rows, transactions]: [usize; 2] = [rows, transactions].map(|number| number.parse().unwrap());
        assert!(rows > self.messages.len() && rows > transactions && transactions > 0, "{self:#?}");
        let latency = self.row("commit to confirmed").join(" ");
        assert!(latency.ends_with("ms of an in-process broker on this machine"), "{latency}");
        let acknowledged = self.row("acknowledged LSN").join(" ");
        let lsn = acknowledged.split(' ').next().unwrap();
        assert_eq!(acknowledged, format!("{lsn} the server's is {lsn}: nothing is left to send"));
        self.check_messages();
    }

    fn check_messages(&self) {
        let mut offsets = BTreeMap::new();
        let mut events: BTreeMap<&str, i64> = BTreeMap::new();
        let mut partitions = BTreeMap::new();
        for message in &self.messages {
            let next: &mut i64 = offsets.entry((&message.topic, message.partition)).or_default();
            assert_eq!(message.offset, *next, "offsets without gaps: {message:?}");
            *next += 1;
            let partition = *partitions.entry(&message.key).or_insert(message.partition);
            assert_eq!(partition, message.partition, "a key has its partition: {message:?}");
            let lifecycle = message.kind != "event";
            assert_eq!(message.topic.ends_with("_lifecycle"), lifecycle, "{message:?}");
            let (namespace, id) = if lifecycle { ("machine_ns", "machine_id") } else { ("source_ns", "source_id") };
            let [namespace, id] = [namespace, id].map(|name| message.value[name].as_str().unwrap());
            assert_eq!(message.key, format!("{namespace} {id}"), "{message:?}");
            if !lifecycle {
                let last = events.entry(&message.key).or_default();
                *last += 1;
                assert_eq!(message.value["event_id"], *last, "events in order: {message:?}");
            }
        }
    }
}

fn message(line: &str) -> Message {
    let (place, value) = line.split_at(line.find('{').expect(line));
    let [kind, topic, partition, offset, namespace, id] = place.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("{line}");
    };
    Message {
        kind: kind.to_owned(),
        topic: topic.to_owned(),
        partition: partition.parse().unwrap(),
        offset: offset.parse().unwrap(),
        key: format!("{namespace} {id}"),
        value: serde_json::from_str(value).unwrap(),
    }
}
