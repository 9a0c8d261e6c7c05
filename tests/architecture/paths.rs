//! The paths of a source file: every `use`, taken apart, and every `a::b` in the text.

use std::collections::BTreeSet;

use crate::tokens::{Token, tokens};

/// A path as it stands in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its segments; `*` ends a glob.
    pub(crate) segments: Vec<String>,
    /// The module it stands in, from the crate's root.
    pub(crate) module: Vec<String>,
    /// Its line.
    pub(crate) line: usize,
}

/// What a source file names.
pub(crate) struct Paths {
    /// Every path of at least two segments, and every `use` and `extern crate`.
    pub(crate) paths: Vec<Path>,
    /// Names that this file declares with `mod` or brings in from its own crate: a path that begins with one is no path
    /// to another crate.
    local: BTreeSet<String>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A place in this crate, from its root.
    Own(Vec<String>),
    /// Another crate, or something that the file itself declares.
    Other(Vec<String>),
}

impl Paths {
    /// Reads a source file whose module is `module`.
    pub(crate) fn read(source: &str, module: &[String]) -> Self {
        let mut reader = Reader {
            tokens: tokens(source),
            at: 0,
            blocks: Vec::new(),
            file: module.to_vec(),
            found: Vec::new(),
            local: BTreeSet::new(),
        };
        while reader.at < reader.tokens.len() {
            reader.step();
        }
        Self { paths: reader.found, local: reader.local }
    }

    /// Where a path leads.
    pub(crate) fn target(&self, path: &Path) -> Target {
        let first = path.segments.first().map_or("", String::as_str);
        let supers = path.segments.iter().take_while(|segment| *segment == "super").count();
        let from = |base: &[String], skip: usize| {
            Target::Own(base.iter().chain(path.segments.iter().skip(skip)).cloned().collect())
        };
        match first {
            "crate" | "cdc_notifier" => from(&[], 1),
            "self" if path.segments.get(1).is_some_and(|next| next == "super") => {
                let inner = Path { segments: path.segments[1..].to_vec(), ..path.clone() };
                self.target(&inner)
            }
            "self" => from(&path.module, 1),
            "super" => from(&path.module[..path.module.len().saturating_sub(supers)], supers),
            _ if self.local.contains(first) => from(&path.module, 0),
            _ => Target::Other(path.segments.clone()),
        }
    }
}

struct Reader {
    tokens: Vec<Token>,
    at: usize,
    /// Open braces; those of an inline module with its name.
    blocks: Vec<Option<String>>,
    file: Vec<String>,
    found: Vec<Path>,
    local: BTreeSet<String>,
}

impl Reader {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(Token::is_word)
    }

    fn step(&mut self) {
        match self.text(self.at) {
            "{" => self.open(None),
            "}" => {
                self.blocks.pop();
                self.at += 1;
            }
            "mod" if self.is_word(self.at + 1) => {
                let name = self.text(self.at + 1).to_owned();
                self.local.insert(name.clone());
                self.at += 2;
                if self.text(self.at) == "{" {
                    self.open(Some(name));
                }
            }
            "use" => {
                self.at += 1;
                self.at += usize::from(self.text(self.at) == "::");
                self.tree(Vec::new(), true);
            }
            "extern" if self.text(self.at + 1) == "crate" => {
                self.at += 2;
                self.tree(Vec::new(), true);
            }
            // `<T as Trait>::name`, `Vec::<T>::new`: what follows is no beginning of a path.
            ">" if self.text(self.at + 1) == "::" => self.at += 3,
            "." if self.is_word(self.at + 1) => self.at += 2,
            _ if self.is_word(self.at) => self.tree(Vec::new(), false),
            _ => self.at += 1,
        }
    }

    fn open(&mut self, module: Option<String>) {
        self.blocks.push(module);
        self.at += 1;
    }

    /// One path, or a `use` tree: `a::{b, c::*, d as e}`.
    fn tree(&mut self, mut prefix: Vec<String>, import: bool) {
        let line = self.tokens.get(self.at).map_or(0, |token| token.line);
        loop {
            if self.text(self.at) == "{" && import {
                return self.group(&prefix);
            }
            if !self.is_word(self.at) && self.text(self.at) != "*" {
                break;
            }
            prefix.push(self.text(self.at).to_owned());
            self.at += 1;
            let more = self.is_word(self.at + 1) || (import && matches!(self.text(self.at + 1), "{" | "*"));
            if self.text(self.at) != "::" || !more {
                break;
            }
            self.at += 1;
        }
        let mut name = prefix.last().cloned().unwrap_or_default();
        if import && self.text(self.at) == "as" {
            self.text(self.at + 1).clone_into(&mut name);
            self.at += 2;
        }
        if import && matches!(prefix.first().map(String::as_str), Some("crate" | "self" | "super" | "cdc_notifier")) {
            self.local.insert(name);
        }
        if import || prefix.len() > 1 {
            let module = self.file.iter().chain(self.blocks.iter().flatten()).cloned().collect();
            self.found.push(Path { segments: prefix, module, line });
        }
    }

    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        while !matches!(self.text(self.at), "}" | "") {
            match self.text(self.at) {
                "," | "::" => self.at += 1,
                _ => {
                    let before = self.at;
                    self.tree(prefix.to_vec(), true);
                    self.at += usize::from(self.at == before);
                }
            }
        }
        self.at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::{Paths, Target};

    fn targets(source: &str) -> Vec<String> {
        let paths = Paths::read(source, &["delivery".to_owned(), "ledger".to_owned()]);
        paths
            .paths
            .iter()
            .map(|path| match paths.target(path) {
                Target::Own(segments) => format!("own {}", segments.join("::")),
                Target::Other(segments) => format!("other {}", segments.join("::")),
            })
            .collect()
    }

    #[test]
    fn every_way_to_name_a_thing_is_seen() {
        for (source, expected) in [
            ("use crate::change::Lsn;", vec!["own change::Lsn"]),
            (
                "pub use crate::{change::{Lsn, Tuple as T}, config::*};",
                vec!["own change::Lsn", "own change::Tuple", "own config::*"],
            ),
            ("use {tokio::net, crate::change};", vec!["other tokio::net", "own change"]),
            ("fn f() { crate::actors::go(); }", vec!["own actors::go"]),
            ("fn f() -> super::super::sink::Record {}", vec!["own sink::Record"]),
            ("use super::credit;", vec!["own delivery::credit"]),
            ("use self::super::credit;", vec!["own delivery::credit"]),
            ("mod tests { use super::*; use super::super::x; }", vec!["own delivery::ledger::*", "own delivery::x"]),
            ("mod a { } use super::x;", vec!["own delivery::x"]),
            ("use ::tokio::net;", vec!["other tokio::net"]),
            ("extern crate rdkafka;", vec!["other rdkafka"]),
            ("#[tokio::test] fn f() {}", vec!["other tokio::test"]),
            ("type X = Vec<ractor::ActorRef<()>>;", vec!["other ractor::ActorRef"]),
            ("let x = Vec::<tokio::Y>::new();", vec!["other tokio::Y"]),
            ("macro_rules! m { () => { $crate::actors::x() } }", vec!["own actors::x"]),
            ("let x = value.now(); crate::a::b", vec!["own a::b"]),
            ("use crate::config; fn f() { config::load() }", vec!["own config", "own delivery::ledger::config::load"]),
            ("pub(crate) fn f(self) {}", vec![]),
        ] {
            assert_eq!(targets(source), expected, "{source}");
        }
    }
}
