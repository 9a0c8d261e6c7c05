//! The rules of `docs/architecture.md`, read from its tables, and what breaks them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    paths::{Paths, Target},
    tokens::tokens,
};

/// What a pure folder never names, with the reason.
const IMPURE: [(&str, &str); 9] = [
    ("std::net", "does I/O"),
    ("std::fs", "does I/O"),
    ("std::io", "does I/O"),
    ("std::env", "reads the environment"),
    ("std::process", "does I/O"),
    ("std::thread", "decides where it runs"),
    ("std::time::SystemTime", "reads the clock"),
    ("tokio", "does I/O"),
    ("tracing", "does I/O"),
];

/// Words that a pure folder never uses, wherever they stand.
const IMPURE_WORDS: [&str; 9] =
    ["async", "await", "SystemTime", "println", "eprintln", "print", "eprint", "dbg", "elapsed"];

/// The one file that compares versions of the server, and what others would need to do so.
const VERSIONS: &str = "replication/version.rs";
const VERSION_WORDS: [&str; 2] = ["major", "server_version_num"];

/// The tables of `docs/architecture.md`.
pub(crate) struct Rules {
    /// What each folder may import, itself included.
    pub(crate) imports: BTreeMap<String, BTreeSet<String>>,
    /// The folders without async, I/O and clock.
    pub(crate) pure: BTreeSet<String>,
    /// Crates that one folder alone may name: crate (as written in Rust), folder.
    pub(crate) homes: BTreeMap<String, String>,
}

impl Rules {
    /// Reads them from the document.
    pub(crate) fn parse(document: &str) -> Self {
        let mut rules = Self { imports: BTreeMap::new(), pure: BTreeSet::new(), homes: BTreeMap::new() };
        for row in rows(document, "| folder | owns | may import |") {
            let [folders, _, allowed] = row.as_slice() else { panic!("folder table: three columns expected: {row:?}") };
            let group: BTreeSet<String> = quoted(folders).into_iter().collect();
            let mut may: BTreeSet<String> = match allowed.as_str() {
                "all above" => rules.imports.keys().cloned().collect(),
                "nothing of ours" => BTreeSet::new(),
                _ => quoted(allowed).into_iter().collect(),
            };
            if let Some(unknown) = may.iter().find(|name| !rules.imports.contains_key(*name)) {
                panic!("folder table: {group:?} may import {unknown}, which no row above names");
            }
            may.extend(group.iter().cloned());
            rules.imports.extend(group.into_iter().map(|folder| (folder, may.clone())));
        }
        for row in rows(document, "| crates | their one home |") {
            let [crates, home] = row.as_slice() else { panic!("home table: two columns expected: {row:?}") };
            let home = quoted(home).pop().expect("home table: a folder");
            rules.homes.extend(quoted(crates).into_iter().map(|name| (name.replace('-', "_"), home.clone())));
        }
        let sentence = document.lines().find(|line| line.contains("` are pure: ")).expect("a line with 'are pure:'");
        rules.pure.extend(quoted(sentence.split(" are pure: ").next().unwrap_or_default()));
        rules
    }

    /// What is wrong with a file of `src/`; `path` is relative to it.
    pub(crate) fn violations(&self, path: &str, source: &str) -> Vec<String> {
        let module = module(path);
        let folder = module.first().map_or("", String::as_str);
        let mut found = BTreeSet::new();
        let root = matches!(path, "main.rs" | "lib.rs");
        if !root && !self.imports.contains_key(folder) {
            found.insert(format!("src/{path}: folder `{folder}` is not in the table of docs/architecture.md"));
        }
        let paths = Paths::read(source, &module);
        for named in &paths.paths {
            let at = |text: String| format!("src/{path}:{}: {text}", named.line);
            match paths.target(named) {
                Target::Own(target) if !root => found.extend(self.wrong_import(folder, &target).map(at)),
                Target::Own(_) => {}
                Target::Other(target) => {
                    found.extend(self.wrong_home(path, &target).map(at));
                    found.extend(self.impure_path(folder, &named.module, &target).map(at));
                }
            }
        }
        if self.pure.contains(folder) {
            for token in tokens(source).iter().filter(|token| IMPURE_WORDS.contains(&token.text.as_str())) {
                found.insert(format!("src/{path}:{}: `{}` in a pure folder", token.line, token.text));
            }
        }
        if path != VERSIONS {
            let words = |line: &str| {
                line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| VERSION_WORDS.contains(&word))
            };
            for (at, _) in source.lines().enumerate().filter(|(_, line)| words(line)) {
                found.insert(format!(
                    "src/{path}:{}: versions of the server are compared in src/{VERSIONS} alone",
                    at + 1
                ));
            }
        }
        found.into_iter().collect()
    }

    fn wrong_import(&self, folder: &str, target: &[String]) -> Option<String> {
        let wanted = target.first()?;
        let allowed = self.imports.get(folder).is_some_and(|may| may.contains(wanted));
        (!allowed && wanted != folder).then(|| format!("`{folder}` may not import `{}`", target.join("::")))
    }

    fn wrong_home(&self, path: &str, target: &[String]) -> Option<String> {
        let home = self.homes.get(target.first()?)?;
        let inside = path.strip_prefix(home.as_str()).is_some_and(|rest| rest.starts_with(['/', '.']));
        (!inside).then(|| format!("`{}`: that crate's one home is src/{home}", target.join("::")))
    }

    fn impure_path(&self, folder: &str, module: &[String], target: &[String]) -> Option<String> {
        // Unit tests may use the standard library's I/O, to make their inputs.
        let tests = module.iter().any(|name| name == "tests") && target.first().is_some_and(|name| name == "std");
        if !self.pure.contains(folder) || tests {
            return None;
        }
        let name = target.join("::");
        let named = IMPURE.iter().find(|(banned, _)| name == *banned || name.starts_with(&format!("{banned}::")));
        let reason = named.map(|(_, reason)| *reason);
        let clock = (target.last().is_some_and(|last| last == "now")).then_some("reads the clock");
        reason.or(clock).map(|reason| format!("`{name}` {reason}, and `{folder}` is pure"))
    }
}

/// The module of a file of `src/`.
fn module(path: &str) -> Vec<String> {
    let mut names: Vec<String> = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "main" | "lib")) {
        names.pop();
    }
    names
}

/// The rows under a table's head.
fn rows(document: &str, head: &str) -> Vec<Vec<String>> {
    let rows: Vec<Vec<String>> = document
        .lines()
        .skip_while(|line| *line != head)
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect())
        .collect();
    assert!(!rows.is_empty(), "docs/architecture.md has no table with the head {head}");
    rows
}

/// Every word in backticks.
fn quoted(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::Rules;

    const DOCUMENT: &str = "\
# x

| folder | owns | may import |
| --- | --- | --- |
| `change` | words | nothing of ours |
| `delivery` | decisions | `change` |
| `sink` | where records go | `change` (none needed yet) |
| `actors` | the tree | all above |
| `cli`, `app` | the rest | all above |

`change` and `delivery` are pure: no `async`.

| crates | their one home |
| --- | --- |
| `rdkafka` | `sink/kafka` |
| `tokio-postgres`, `ractor` | `actors` |
";

    fn violations(path: &str, source: &str) -> Vec<String> {
        Rules::parse(DOCUMENT).violations(path, source)
    }

    #[test]
    fn the_tables_are_read() {
        let rules = Rules::parse(DOCUMENT);
        assert_eq!(
            rules.imports["cli"].iter().map(String::as_str).collect::<Vec<_>>(),
            ["actors", "app", "change", "cli", "delivery", "sink"]
        );
        assert_eq!(rules.pure.iter().map(String::as_str).collect::<Vec<_>>(), ["change", "delivery"]);
        assert_eq!(rules.homes["tokio_postgres"], "actors");
    }

    #[test]
    fn what_is_allowed_passes() {
        for (path, source) in [
            ("delivery/ledger.rs", "use crate::change::Lsn; use std::{collections::VecDeque, time::Instant};"),
            (
                "delivery/ledger.rs",
                "/// `tokio::spawn`, Instant::now()\nconst X: &str = \"rdkafka::Message\"; // async",
            ),
            ("delivery/ledger.rs", "#[cfg(test)] mod tests { use std::io::Write; }"),
            ("sink/kafka/producer.rs", "use rdkafka::producer::Producer; use crate::sink::Record;"),
            ("sink/kafka.rs", "use rdkafka::producer::Producer;"),
            (
                "actors/slot.rs",
                "use crate::delivery::Slot; async fn f() { ractor::spawn(); tokio::time::Instant::now(); }",
            ),
            ("app.rs", "use crate::cli; use crate::actors::Root;"),
            ("main.rs", "use cdc_notifier::app; fn main() { app::run() }"),
            ("lib.rs", "pub mod change; pub use change::Lsn;"),
        ] {
            assert_eq!(violations(path, source), Vec::<String>::new(), "{path}: {source}");
        }
    }

    #[test]
    fn what_is_forbidden_is_named() {
        for (path, source, expected) in [
            ("delivery/ledger.rs", "use crate::sink::Record;", "`delivery` may not import `sink::Record`"),
            ("delivery/ledger.rs", "\nfn f() { crate::sink::go() }", "src/delivery/ledger.rs:2: "),
            ("delivery/ledger.rs", "fn f(x: super::super::sink::Record) {}", "may not import `sink::Record`"),
            ("delivery/a/b.rs", "mod tests { use super::super::super::super::sink; }", "may not import `sink`"),
            ("delivery/ledger.rs", "use cdc_notifier::sink;", "may not import `sink`"),
            ("delivery/ledger.rs", "use crate::{change::Lsn, actors::{Root, Slot}};", "may not import `actors::Slot`"),
            ("change/lsn.rs", "use crate::delivery::Ledger;", "`change` may not import"),
            ("sink/http.rs", "use crate::delivery::Ledger;", "`sink` may not import"),
            ("sink/http.rs", "use rdkafka::Message;", "one home is src/sink/kafka"),
            ("sink/kafkaesque.rs", "use rdkafka::Message;", "one home is src/sink/kafka"),
            ("main.rs", "fn main() { ractor::spawn() }", "one home is src/actors"),
            ("cli/mod.rs", "mod tests { use tokio_postgres::Client; }", "one home is src/actors"),
            ("delivery/a.rs", "#[cfg(test)] mod tests { use rdkafka::Message; }", "one home is src/sink/kafka"),
            ("delivery/a.rs", "pub async fn f() {}", "`async` in a pure folder"),
            ("delivery/a.rs", "use tokio::sync::mpsc;", "`tokio::sync::mpsc` does I/O"),
            ("delivery/a.rs", "use std::{fs, collections::BTreeMap};", "`std::fs` does I/O"),
            ("delivery/a.rs", "use std::io::{self, Read};", "`std::io::Read` does I/O"),
            ("delivery/a.rs", "fn f() { std::net::TcpStream::connect(x) }", "does I/O"),
            ("delivery/a.rs", "fn f() { let t = Instant::now(); }", "`Instant::now` reads the clock"),
            ("delivery/a.rs", "fn f() { let t = jiff::Timestamp::now(); }", "`jiff::Timestamp::now` reads the clock"),
            ("delivery/a.rs", "use std::time::SystemTime;", "reads the clock"),
            ("delivery/a.rs", "mod tests { } use std::io::Write;", "does I/O"),
            ("delivery/a.rs", "mod tests { use tokio::net; }", "does I/O"),
            ("delivery/a.rs", "fn f(t: Instant) { t.elapsed() }", "`elapsed` in a pure folder"),
            ("delivery/a.rs", "fn f() { println!(\"x\") }", "`println` in a pure folder"),
            ("sink/a.rs", "\nfn f() { sql.server_version().major() >= 14 }", "src/sink/a.rs:2: versions of the server"),
            (
                "sink/a.rs",
                "const Q: &str = \"SHOW server_version_num\";",
                "compared in src/replication/version.rs alone",
            ),
            ("helpers/a.rs", "", "folder `helpers` is not in the table"),
            ("stray.rs", "", "folder `stray` is not in the table"),
        ] {
            let found = violations(path, source);
            assert!(found.iter().any(|line| line.contains(expected)), "{path}: {source}: {found:?}");
        }
    }

    #[test]
    #[should_panic(expected = "no table with the head")]
    fn a_document_without_the_table_is_an_error() {
        let _ = Rules::parse("# nothing");
    }

    #[test]
    #[should_panic(expected = "which no row above names")]
    fn a_row_may_only_name_what_is_above_it() {
        let _ = Rules::parse("| folder | owns | may import |\n| --- | --- | --- |\n| `a` | x | `b` |\n");
    }
}
