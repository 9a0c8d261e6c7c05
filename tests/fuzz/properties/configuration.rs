//! A configuration file; its first byte chooses the format.

use std::{fmt::Write as _, fs, path::Path};

use cdc_notifier::config::{Config, ConfigError, Overrides, load};
use secrecy::ExposeSecret as _;

use super::CANARY;

const FORMATS: [&str; 3] = ["toml", "yaml", "json"];

/// An error is two lines of bounded length, and shows nothing of the environment, from which secrets come; what TOML says means the
/// same in JSON; the same file gives the same configuration.
pub fn check(bytes: &[u8]) {
    let Some((format, text)) = bytes.split_first() else { return };
    let format = FORMATS[usize::from(*format) % FORMATS.len()];
    let loaded = load_as(format, text);
    match (&loaded, load_as(format, text)) {
        (Ok(one), Ok(other)) => assert_eq!(everything(one), everything(&other)),
        (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
        _ => panic!("once accepted, once refused"),
    }
    if let Err(error) = &loaded {
        let shown = format!("{error}\n{}", error.remedy());
        assert!(shown.lines().count() == 2 && shown.len() < 20 * bytes.len() + 4096, "{shown}");
        assert!(!shown.contains(CANARY) && !format!("{error:?}").contains(CANARY), "{shown}");
    }
    if format == "toml" {
        same_in_json(text, loaded);
    }
}

fn same_in_json(text: &[u8], loaded: Result<Config, ConfigError>) {
    let Ok(table) =
        str::from_utf8(text).map_err(drop).and_then(|text| toml::from_str::<toml::Table>(text).map_err(drop))
    else {
        return;
    };
    let json = serde_json::to_string(&table).unwrap();
    // JSON has no dates, and no numbers that are none.
    if json.contains("toml_datetime") || json.contains("null") {
        return;
    }
    match (loaded, load_as("json", json.as_bytes())) {
        (Ok(one), Ok(other)) => assert_eq!(everything(&one), everything(&other)),
        (Err(one), Err(other)) => assert_eq!(one.remedy(), other.remedy()),
        (Ok(_), Err(error)) => panic!("accepted as TOML, as JSON: {error}"),
        (Err(error), Ok(_)) => panic!("accepted as JSON, as TOML: {error}"),
    }
}

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().unwrap();
}

fn load_as(format: &str, text: &[u8]) -> Result<Config, ConfigError> {
    let environment = |name: &str| (name == "SECRET").then(|| CANARY.to_owned());
    FOLDER.with(|folder| {
        let path = folder.path().join(format!("c.{format}"));
        fs::write(&path, text).unwrap();
        load(Path::new(&path), &environment, &Overrides::default(), &|_| Ok(()))
    })
}

/// All of it, secrets too.
fn everything(config: &Config) -> String {
    let mut text = format!("{config:?}");
    for database in &config.databases {
        let password = database.postgres.password.as_ref().map(|password| password.expose_secret().to_owned());
        write!(text, "\n{password:?}").unwrap();
        for namespace in database.slots.iter().flat_map(|slot| &slot.namespaces) {
            for (key, value) in &namespace.kafka_client.properties {
                write!(text, "\n{key}={}", value.expose_secret()).unwrap();
            }
        }
    }
    text
}
