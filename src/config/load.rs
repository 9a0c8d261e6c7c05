//! File to configuration: read, parse, replace variables, fit to the known keys, resolve and check.

use std::path::Path;

use serde::Deserialize as _;
use serde_path_to_error::Segment;

use super::{
    environment,
    error::{ConfigError, KeyPath, PropertyError, Wrong},
    file,
    overrides::Overrides,
    raw, resolve,
    tree::{Fault, Tree},
    types::{Config, KafkaClient},
};

/// Reads, checks and resolves a configuration file. `environment` gives the values of `${VAR}` and of the `CDC_NOTIFIER_`
/// variables; `overrides` are the flags, which stand above both; `check` knows the properties of librdkafka.
///
/// # Errors
/// The first thing that is wrong, and what is allowed instead. The process ends with exit code 78.
pub fn load(
    path: &Path,
    environment: &dyn Fn(&str) -> Option<String>,
    overrides: &Overrides,
    check: &dyn Fn(&KafkaClient) -> Result<(), PropertyError>,
) -> Result<Config, ConfigError> {
    file::read(path)
        .and_then(|tree| fit(tree, environment))
        .and_then(|raw| resolve::config(raw, environment, overrides, check))
        .map_err(|wrong| wrong.of(&path.display().to_string()))
}

fn fit(mut tree: Tree, environment: &dyn Fn(&str) -> Option<String>) -> Result<raw::File, Wrong> {
    if let Tree::Table(table) = &tree
        && table.contains_key("vault")
    {
        let remedy = "put secrets into files (password_file, sasl.password_file) or variables (${VAR})";
        return Err(Wrong::not_built(&KeyPath::of(["vault"]), "secrets from Vault", remedy));
    }
    environment::substitute(&mut tree, &KeyPath::default(), environment)?;
    let mut track = serde_path_to_error::Track::new();
    raw::File::deserialize(serde_path_to_error::Deserializer::new(tree, &mut track)).map_err(|fault| {
        let path = track.path();
        let path = KeyPath::of(path.iter().map(|segment| match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => "?".to_owned(),
        }));
        explain(path, fault)
    })
}

fn explain(path: KeyPath, fault: Fault) -> Wrong {
    let message = fault.to_string();
    match fault {
        Fault::Kind { expected, .. } | Fault::Value { expected } => {
            Wrong::at(&path, message, format!("write {expected}"))
        }
        Fault::UnknownKey { key, allowed } => {
            let path = if path.last() == key { path } else { path.key(&key) };
            let offered: Vec<&str> = allowed.iter().copied().filter(|key| !raw::NOT_BUILT.contains(key)).collect();
            Wrong::at(&path, message, format!("allowed here: {}", offered.join(", ")))
        }
        Fault::Missing(key) => Wrong::at(&path.key(key), message, format!("add {key} = ...")),
        Fault::Other(_) => Wrong::at(&path, message, "see config/reference.toml"),
    }
}
