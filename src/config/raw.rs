//! The file as it stands: the keys of the contract, nothing resolved. Meanings and defaults are in `config/reference.toml`.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;

use super::values::{Property, Secret, Size, Time};

/// Keys of the contract that this version knows but cannot do; they are not offered as a remedy.
pub(super) const NOT_BUILT: &[&str] = &["hosts", "target_session_attrs", "progress_topic", "dead_letter_topic"];

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) resend_timeout: Option<Time>,
    pub(super) max_retries: Option<u32>,
    pub(super) reconnect_timeout: Option<Time>,
    pub(super) send_timeout: Option<Time>,
    pub(super) shutdown_timeout: Option<Time>,
    pub(super) limits: Option<Limits>,
    pub(super) admin: Option<Admin>,
    pub(super) log: Option<Log>,
    pub(super) databases: BTreeMap<String, Database>,
    pub(super) kafka_clients: BTreeMap<String, KafkaClient>,
    /// By database reference, slot and namespace.
    pub(super) streams: BTreeMap<String, BTreeMap<String, BTreeMap<String, Namespace>>>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Limits {
    pub(super) memory: Option<Size>,
    pub(super) max_payload_size: Option<Size>,
    pub(super) max_payload_depth: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Admin {
    pub(super) listen: Option<String>,
    pub(super) stall_timeout: Option<Time>,
    pub(super) token_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Log {
    pub(super) level: Option<String>,
    pub(super) format: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys of the contract")]
pub(super) struct Database {
    pub(super) host: Option<String>,
    pub(super) hosts: Option<Vec<String>>,
    pub(super) target_session_attrs: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) database: String,
    pub(super) username: String,
    pub(super) password: Option<Secret>,
    pub(super) password_file: Option<PathBuf>,
    pub(super) sslmode: Option<String>,
    pub(super) sslrootcert: Option<PathBuf>,
    pub(super) sslcert: Option<PathBuf>,
    pub(super) sslkey: Option<PathBuf>,
    pub(super) connect_timeout: Option<Time>,
    #[serde(default)]
    pub(super) slots: BTreeMap<String, Slot>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys of the contract")]
pub(super) struct Slot {
    pub(super) create_slot: Option<bool>,
    pub(super) delivery: Option<String>,
    pub(super) commit_interval: Option<Time>,
    pub(super) progress_topic: Option<String>,
    pub(super) failover: Option<bool>,
    pub(super) takeover: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KafkaClient {
    pub(super) endpoints: Vec<String>,
    #[serde(default)]
    pub(super) properties: BTreeMap<String, Property>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Namespace {
    pub(super) kafka_client: String,
    pub(super) eventsink_topic: String,
    pub(super) lifecycle_topic: String,
    pub(super) partitioner: Option<String>,
    pub(super) on_invalid: Option<String>,
    pub(super) dead_letter_topic: Option<String>,
    pub(super) park_key: Option<bool>,
    pub(super) headers: Option<bool>,
}

#[cfg(test)]
mod tests {
    use super::{
        super::tree::{Fault, Tree},
        *,
    };

    /// The keys of a table, as serde knows them.
    fn keys<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
        let table = Tree::Table(BTreeMap::from([("no such key".to_owned(), Tree::Null)]));
        match T::deserialize(table) {
            Err(Fault::UnknownKey { allowed, .. }) => allowed,
            _ => panic!("an unknown key was taken"),
        }
    }

    #[test]
    fn the_reference_shows_every_key() {
        let reference = include_str!("../../config/reference.toml");
        let shown: Vec<&str> = reference
            .lines()
            .map(|line| line.trim_start_matches("# "))
            .filter_map(|line| line.strip_prefix('[').or_else(|| line.split_once(" = ").map(|(key, _)| key)))
            .map(|key| key.split([']', '.']).next().unwrap())
            .collect();
        let tables = [
            keys::<File>(),
            keys::<Limits>(),
            keys::<Admin>(),
            keys::<Log>(),
            keys::<Database>(),
            keys::<Slot>(),
            keys::<KafkaClient>(),
            keys::<Namespace>(),
        ];
        for key in tables.concat() {
            // Tables below a name stand in headers such as [databases.NAME.slots.NAME].
            let below = ["slots", "properties"].contains(&key) && reference.contains(&format!(".{key}"));
            assert!(shown.contains(&key) || below, "{key} is not in config/reference.toml");
        }
    }
}
