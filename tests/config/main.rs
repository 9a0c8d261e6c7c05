//! The configuration, from a file's text to what the program gets or the operator reads.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod arbitrary;
mod formats;
mod overrides;
mod refusals;
mod resolved;
mod secrets;

use std::{fs, path::Path};

use cdc_notifier::config::{Config, ConfigError, KafkaClient, Overrides, PropertyError, load};

/// A small configuration that is in order, without its last table's end: lines added to it belong to the namespace.
pub(crate) const SMALL: &str = r#"
[databases.db]
host = "localhost"
database = "progressor"
username = "cdc"

[kafka_clients.k]
endpoints = ["kafka:9092"]

[streams.db.slot."default/default"]
kafka_client = "k"
eventsink_topic = "events"
lifecycle_topic = "lifecycle"
"#;

#[expect(clippy::unnecessary_wraps, reason = "the shape of a check")]
pub(crate) fn any_property(_: &KafkaClient) -> Result<(), PropertyError> {
    Ok(())
}

pub(crate) fn no_variables(_: &str) -> Option<String> {
    None
}

/// Loads a text as a file of this name.
pub(crate) fn load_as(name: &str, text: impl AsRef<[u8]>) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    load(&path, &no_variables, &Overrides::default(), &any_property)
}

pub(crate) fn load_toml(text: &str) -> Result<Config, ConfigError> {
    load_as("c.toml", text)
}

/// What is said after the file's name, and the remedy.
pub(crate) fn refusal(name: &str, text: impl AsRef<[u8]>) -> (String, String) {
    let error = load_as(name, text).expect_err("must be refused");
    let line = error.to_string();
    assert!(!line.contains('\n') && !error.remedy().contains('\n'), "{line}");
    assert!(!error.remedy().is_empty(), "{line}");
    let (_, said) = line.split_once(&format!("/{name}: ")).unwrap_or_else(|| panic!("no file in {line}"));
    (said.to_owned(), error.remedy().to_owned())
}

/// A file of the repository.
pub(crate) fn repository(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(file)
}
