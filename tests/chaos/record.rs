//! The file to which every round is appended, a line of JSON each.

use std::{collections::BTreeMap, fs, io::Write as _, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::round::Verdict;

pub struct Record {
    path: PathBuf,
}

impl Record {
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Faults in all rounds so far that ended well, or those of these kinds.
    pub fn faults(&self, kinds: Option<&str>) -> u64 {
        let lines = fs::read_to_string(&self.path).unwrap_or_default();
        let rounds = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let good = rounds.filter(|round| round["verdict"] == "good");
        good.map(|round| {
            let counts = round["faults"].as_object().expect("counts").clone();
            let wanted = counts.iter().filter(|(name, _)| is_of(name, kinds));
            wanted.map(|(_, count)| count.as_u64().expect("a number")).sum::<u64>()
        })
        .sum()
    }

    /// Appends a round.
    pub fn append(&self, seed: u64, faults: &BTreeMap<String, u64>, seconds: u64, verdict: &Result<Verdict, String>) {
        let mut line = json!({
            "date": jiff::Timestamp::now().strftime("%F").to_string(),
            "commit": commit(),
            "seed": seed,
            "seconds": seconds,
            "faults": faults,
        });
        match verdict {
            Ok(Verdict { tally, samples, rows_per_second }) => {
                line["messages"] = tally.distinct.into();
                line["repeats"] = tally.repeats().into();
                line["late"] = tally.late.into();
                line["messages_per_second"] = (*rows_per_second).into();
                line["acknowledgements_checked"] = (*samples).into();
                line["verdict"] = "good".into();
            }
            Err(objection) => line["verdict"] = objection.as_str().into(),
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).unwrap();
        }
        let mut file = fs::File::options().create(true).append(true).open(&self.path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// Whether a kind's name contains one of these, with commas between them.
pub fn is_of(name: &str, kinds: Option<&str>) -> bool {
    kinds.is_none_or(|kinds| kinds.split(',').any(|kind| name.contains(kind)))
}

/// Of the working copy, as far as git tells; with a word if its code is not that of the commit.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let changed = git(&["status", "--porcelain", "--", "src", "tests", "Cargo.lock"]);
    match git(&["rev-parse", "--short", "HEAD"]) {
        commit if commit.is_empty() => "unknown".to_owned(),
        commit if changed.is_empty() => commit,
        commit => format!("{commit} and changes"),
    }
}
