//! What these tests share.

use cdc_notifier::demo::progressor::quote_identifier;
use postgres::Client;
use serde_json::Value;

use crate::{
    kafka::{ConsumedRecord, KafkaServer},
    scene::{Configuration, Namespace},
    service::{PATIENCE, Service, eventually},
};

/// A configuration that tries again soon.
pub(super) fn impatient(kafka: &KafkaServer) -> Configuration {
    Configuration::new("resend_timeout = \"300ms\"\nreconnect_timeout = \"500ms\"", &kafka.bootstrap())
}

/// A namespace whose topics exist.
pub(super) fn namespace(kafka: &KafkaServer, name: &str) -> Namespace {
    let namespace = Namespace::new(name);
    namespace.create_topics(kafka, 1);
    namespace
}

pub(super) fn processes(namespace: &str) -> String {
    quote_identifier(&format!("{namespace}_processes"))
}

pub(super) fn events(namespace: &str) -> String {
    quote_identifier(&format!("{namespace}_events"))
}

/// A new process: one lifecycle message.
pub(super) fn insert(sql: &mut Client, namespace: &str, id: &str) {
    let insert = format!("INSERT INTO {} (process_id, status) VALUES ($1, 'running')", processes(namespace));
    sql.execute(&insert, &[&id]).unwrap();
}

/// Waits until so many messages of a slot were confirmed by Kafka in this life of the service.
pub(super) fn wait_for_messages(service: &Service, slot: &str, expected: u64) {
    eventually(&format!("{expected} messages of slot {slot} are confirmed"), PATIENCE, || {
        let seen = service.slot(slot);
        let confirmed = messages(&seen);
        if confirmed >= expected { Ok(()) } else { Err(seen.to_string()) }
    });
}

/// Messages of a slot that were confirmed.
pub(super) fn messages(slot: &Value) -> u64 {
    slot["namespaces"].as_array().unwrap().iter().map(|ns| ns["messages_confirmed"].as_u64().unwrap()).sum()
}

/// The process ids of a topic's records, in the order of partition and offset.
pub(super) fn ids(records: &[ConsumedRecord], namespace: &str) -> Vec<String> {
    let of = |record: &ConsumedRecord| {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        key.strip_prefix(&format!("{namespace} ")).unwrap_or_else(|| panic!("{key}")).to_owned()
    };
    records.iter().map(of).collect()
}

/// Waits until a slot is in this state with a trouble of this class whose message and remedy hold these texts. Returns
/// message and remedy.
pub(super) fn shows(service: &Service, slot: &str, state: &str, class: &str, texts: &[&str]) -> (String, String) {
    let what = format!("slot {slot} is {state} for {class} with {texts:?}");
    eventually(&what, PATIENCE * 2, || {
        let seen = service.slot(slot);
        let text = |field: &str| seen["last_error"][field].as_str().unwrap_or_default().to_owned();
        let (message, remedy) = (text("message"), text("remedy"));
        let all = format!("{message}\n{remedy}");
        let is_it = seen["state"] == state && text("class") == class && texts.iter().all(|text| all.contains(text));
        if is_it && !remedy.is_empty() { Ok((message, remedy)) } else { Err(seen.to_string()) }
    })
}

/// Waits until a namespace has joined its slot.
pub(super) fn wait_for_join(service: &Service, namespace: &str) {
    eventually(&format!("namespace {namespace} joins"), PATIENCE, || {
        let joined = logged(service, "namespace joins the slot: its delivery begins at this LSN");
        let is_it = joined.iter().any(|line| line["namespace"] == namespace);
        if is_it { Ok(()) } else { Err(format!("{joined:?}")) }
    });
}

/// The lines of the log that have this message.
pub(super) fn logged(service: &Service, message: &str) -> Vec<Value> {
    let log = service.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"].as_str().is_some_and(|said| said.contains(message))).collect()
}
