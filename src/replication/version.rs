//! The server's version, and everything that is done differently for it: nobody else compares versions.
//!
//! What catalogs lack is no matter of versions: rows are read as JSON, in which an absent column is NULL.

use std::fmt;

use super::error::{Failure, Place};
use crate::change::{Class, Trouble};

/// The oldest that is supported.
const OLDEST: ServerVersion = ServerVersion::major_of(13);

/// A version, which can be asked for what it has, and not compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerVersion {
    major: u32,
    minor: u32,
}

impl ServerVersion {
    const fn major_of(major: u32) -> Self {
        Self { major, minor: 0 }
    }

    /// From `server_version`, which each server tells at login: `15.18 (Debian 15.18-1)`, `18beta2`.
    fn parse(text: &str) -> Option<Self> {
        let number = |text: &str| text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
        let minor = text.split_once('.').and_then(|(_, minor)| number(minor)).unwrap_or(0);
        Some(Self { major: number(text)?, minor })
    }

    /// The version told at login, if it is one that we can work with.
    pub(super) fn accept(told: Option<&str>, place: &Place) -> Result<Self, Failure> {
        let version = told.and_then(Self::parse).ok_or(Failure::Protocol("the server tells no version"))?;
        if version.major < OLDEST.major {
            return Err(Failure::Trouble(Trouble::new(
                Class::PostgresSetting,
                format!("{}: PostgreSQL {version} is too old", place.server),
                format!("upgrade it: PostgreSQL {} or later is needed", OLDEST.major),
            )));
        }
        Ok(version)
    }

    /// 15 of 15.18.
    #[must_use]
    pub const fn major(self) -> u32 {
        self.major
    }

    /// Whether pgoutput can send values in binary (`binary`).
    #[must_use]
    pub const fn sends_binary(self) -> bool {
        self.major >= 14
    }

    /// Whether it counts what it spills (`pg_stat_replication_slots`).
    #[must_use]
    pub const fn counts_spills(self) -> bool {
        self.major >= 14
    }

    /// Whether it skips changes, with no more than a warning, of a publication that did not exist at their place of the log; others
    /// end the stream with an error.
    #[must_use]
    pub const fn skips_missing_publications(self) -> bool {
        self.major >= 18
    }

    /// Whether a slot can be freed of `two_phase`.
    #[must_use]
    pub const fn alters_two_phase(self) -> bool {
        self.major >= 18
    }
}

impl fmt::Display for ServerVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(text: &str) -> Result<ServerVersion, Trouble> {
        let place = Place { server: "h:1/d".into(), database: "d".into(), role: "r".into() };
        ServerVersion::accept(Some(text), &place)
            .map_err(|failure| failure.trouble(&place, super::super::error::Doing::Login))
    }

    #[test]
    fn versions_are_read() {
        for (text, shown) in
            [("15.18 (Debian 15.18-1.pgdg120+1)", "15.18"), ("13.23", "13.23"), ("18beta2", "18.0"), ("17", "17.0")]
        {
            assert_eq!(accept(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["", "x", "99999999999.1"] {
            assert_eq!(accept(text).unwrap_err().class, Class::PostgresUnavailable, "{text:?}");
        }
    }

    #[test]
    fn what_is_too_old_is_refused_with_what_is_needed() {
        for text in ["12.22", "9.6.24"] {
            let trouble = accept(text).unwrap_err();
            assert_eq!(trouble.class, Class::PostgresSetting);
            assert!(trouble.message.contains("is too old"), "{trouble:?}");
            assert!(trouble.remedy.contains("PostgreSQL 13 or later"), "{trouble:?}");
        }
    }

    #[test]
    fn what_a_version_has_begins_with_one() {
        let first = |has: fn(ServerVersion) -> bool| (13..=18).find(|major| has(ServerVersion::major_of(*major)));
        assert_eq!(first(ServerVersion::sends_binary), Some(14));
        assert_eq!(first(ServerVersion::counts_spills), Some(14));
        assert_eq!(first(ServerVersion::skips_missing_publications), Some(18));
        assert_eq!(first(ServerVersion::alters_two_phase), Some(18));
    }
}
