//! What is wrong with a configuration, and what is allowed. Made from keys, kinds and our own words; a value never gets here,
//! because it may be a secret.

use std::fmt;

/// A key's place in the file, printed as TOML writes it: `streams.db.slot."default/default".kafka_client`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    /// The place that these keys lead to.
    pub(super) fn of<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self(keys.into_iter().map(|key| key.as_ref().to_owned()).collect())
    }

    /// One level deeper.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut keys = self.0.clone();
        keys.push(key.to_owned());
        Self(keys)
    }

    /// The last key, empty at the top.
    pub(super) fn last(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, key) in self.0.iter().enumerate() {
            if depth > 0 {
                f.write_str(".")?;
            }
            let bare = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
            // Quoting also keeps a line break in a key from breaking our one line.
            if bare { f.write_str(key)? } else { write!(f, "{key:?}")? }
        }
        Ok(())
    }
}

/// Where a wrong thing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The file as a whole.
    File,
    /// A position in it, both counted from 1.
    Position(usize, usize),
    /// A key in it.
    Key(KeyPath),
    /// A flag or an environment variable.
    Outside(&'static str),
}

/// A wrong thing, before the file's name is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(place: Place, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place, message: message.into(), remedy: remedy.into() }
    }

    /// Wrong at a key.
    pub(super) fn at(path: &KeyPath, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Place::Key(path.clone()), message, remedy)
    }

    /// A setting of the contract that is not built yet.
    pub(super) fn not_built(path: &KeyPath, setting: &str, remedy: impl Into<String>) -> Self {
        Self::at(path, format!("{setting}: not in this version"), remedy)
    }

    /// With the name of the file.
    pub(super) fn of(self, file: &str) -> ConfigError {
        let place = match self.place {
            Place::File => file.to_owned(),
            Place::Position(line, column) => format!("{file}: line {line}, column {column}"),
            Place::Key(path) => format!("{file}: {path}"),
            Place::Outside(name) => name.to_owned(),
        };
        ConfigError { place, message: self.message, remedy: self.remedy }
    }
}

/// A configuration that cannot be used. Display is one line, `FILE: key path: what is wrong`; [`ConfigError::remedy`] is the
/// next one. Neither holds a value of the file or of the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    place: String,
    message: String,
    remedy: String,
}

impl ConfigError {
    /// What is allowed, or what to write instead.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

/// Why the properties of a Kafka connection cannot be used, from the one who knows the properties (`sink::kafka`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyError {
    /// The property; `None`: the connection as a whole.
    pub property: Option<String>,
    /// What is wrong with it. No value: it may be a secret.
    pub message: String,
    /// What is allowed.
    pub remedy: String,
}
