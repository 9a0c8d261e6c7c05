//! Captured messages: what the server's SQL function returns for each, one JSON object a line.

use std::{fmt::Write as _, fs, path::PathBuf};

use cdc_notifier::change::Lsn;
use serde::{Deserialize, Serialize};

/// One message with what the server says about it beside it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Captured {
    pub(crate) lsn: String,
    pub(crate) xid: u32,
    /// In hexadecimal.
    pub(crate) message: String,
}

impl Captured {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        hex::decode(&self.message).unwrap()
    }

    pub(crate) fn lsn(&self) -> Lsn {
        self.lsn.parse().unwrap()
    }
}

/// The version whose messages the fixtures hold.
pub(crate) const FIXTURES: u32 = 15;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Text,
    Binary,
}

impl Format {
    pub(crate) const ALL: [Self; 2] = [Self::Text, Self::Binary];

    fn file(self) -> PathBuf {
        let name = match self {
            Self::Text => "postgres-15-text.jsonl",
            Self::Binary => "postgres-15-binary.jsonl",
        };
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pgoutput").join(name)
    }

    pub(crate) fn load(self) -> Vec<Captured> {
        let text = fs::read_to_string(self.file()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn store(self, messages: &[Captured]) {
        let mut text = String::new();
        for message in messages {
            writeln!(text, "{}", serde_json::to_string(message).unwrap()).unwrap();
        }
        fs::write(self.file(), text).unwrap();
    }
}
