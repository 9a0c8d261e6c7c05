//! The rules of `deny.toml`, enforced on what `Cargo.lock` resolves to for this machine. No network and no further tool.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

/// The one source that `cargo metadata` shows for a crate of the registry.
const REGISTRY: &str = "registry+";

/// The parts of `deny.toml` that this test enforces.
#[derive(Deserialize)]
pub(crate) struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// A package as `cargo metadata` shows it.
#[derive(Deserialize)]
pub(crate) struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// What is wrong with the packages.
pub(crate) fn violations(deny: &Deny, packages: &[Package]) -> Vec<String> {
    let mut found = Vec::new();
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for package in packages.iter().filter(|package| package.name != "cdc-notifier") {
        let Package { name, version, license, source } = package;
        versions.entry(name).or_default().insert(version);
        if !license.as_deref().is_some_and(|terms| Terms::of(terms).allowed(&deny.licenses.allow)) {
            found.push(format!("{name} {version}: licence {license:?} is not in deny.toml, [licenses] allow"));
        }
        if !source.as_deref().is_some_and(|source| source.starts_with(REGISTRY)) {
            found.push(format!("{name} {version}: comes from {source:?}, not from the registry"));
        }
        if let Some(banned) = deny.bans.deny.iter().find(|banned| banned.name == *name) {
            found.push(format!("{name}: banned: {}", banned.reason));
        }
    }
    let skipped =
        |name: &str, version: &str| deny.bans.skip.iter().any(|skip| skip.name == format!("{name}@{version}"));
    for (name, versions) in &versions {
        if versions.iter().filter(|version| !skipped(name, version)).count() > 1 {
            found.push(format!(
                "{name}: versions {versions:?}; allow the older one in deny.toml, [bans] skip, or avoid it"
            ));
        }
    }
    for skip in &deny.bans.skip {
        let (name, version) = skip.name.split_once('@').unwrap_or((&skip.name, ""));
        if !versions.get(name).is_some_and(|known| known.contains(version) && known.len() > 1) {
            found.push(format!("{}: [bans] skip names it, but it is no duplicate any more", skip.name));
        }
    }
    let entries = deny.bans.deny.iter().chain(&deny.bans.skip);
    found.extend(entries.filter(|entry| entry.reason.is_empty()).map(|entry| format!("{}: no reason", entry.name)));
    found
}

/// An SPDX expression, read from left to right: `OR` of `AND` of names and brackets.
struct Terms<'a>(Vec<&'a str>);

impl<'a> Terms<'a> {
    fn of(text: &'a str) -> Self {
        let mut words: Vec<&str> = Vec::new();
        for word in text.split([' ', '/']).filter(|word| !word.is_empty()) {
            let name = word.trim_matches(['(', ')']);
            words.extend(word.matches('(').chain([name]).chain(word.matches(')')));
        }
        words.reverse();
        Self(words)
    }

    fn allowed(mut self, allow: &BTreeSet<String>) -> bool {
        let result = self.any(allow);
        result && self.0.is_empty()
    }

    fn any(&mut self, allow: &BTreeSet<String>) -> bool {
        let mut result = self.all(allow);
        while let Some(word) = self.0.last().copied().filter(|word| *word != ")") {
            // Old crates write `MIT/Apache-2.0`: two names side by side are alternatives.
            if word == "OR" {
                self.0.pop();
            }
            result |= self.all(allow);
        }
        result
    }

    fn all(&mut self, allow: &BTreeSet<String>) -> bool {
        let mut result = self.one(allow);
        while self.0.last() == Some(&"AND") {
            self.0.pop();
            result &= self.one(allow);
        }
        result
    }

    fn one(&mut self, allow: &BTreeSet<String>) -> bool {
        let Some(name) = self.0.pop() else { return false };
        if name == "(" {
            let result = self.any(allow);
            return self.0.pop() == Some(")") && result;
        }
        if self.0.last() == Some(&"WITH") {
            self.0.pop();
            let exception = self.0.pop().unwrap_or_default();
            return allow.contains(&format!("{name} WITH {exception}"));
        }
        allow.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use super::{Deny, Package, Terms, violations};

    fn deny(skip: &str) -> Deny {
        let text = format!(
            "[licenses]\nallow = [\"MIT\", \"Zlib\"]\n[bans]\ndeny = [{{ crate = \"backoff\", reason = \"dead\" }}]\nskip = [{skip}]\n"
        );
        toml::from_str(&text).unwrap()
    }

    fn package(name: &str, version: &str, license: &str, source: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some(license.to_owned()),
            source: Some(source.to_owned()),
        }
    }

    fn registry(name: &str, version: &str) -> Package {
        package(name, version, "MIT", "registry+https://example")
    }

    #[test]
    fn licence_expressions() {
        let allow = ["MIT", "BSD-3-Clause", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
        for (terms, allowed) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND BSD-3-Clause", true),
            ("(GPL-3.0 OR MIT) AND BSD-3-Clause", true),
            ("(MIT OR GPL-3.0) AND GPL-2.0", false),
            ("MIT OR GPL-2.0 AND GPL-3.0", true),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("(MIT", false),
            ("MIT)", false),
            ("", false),
        ] {
            assert_eq!(Terms::of(terms).allowed(&allow), allowed, "{terms}");
        }
    }

    #[test]
    fn what_is_forbidden_is_named() {
        let skip = r#"{ crate = "b@1.0.0", reason = "x" }"#;
        for (skip, packages, expected) in [
            ("", vec![package("a", "1.0.0", "GPL-3.0", "registry+x")], vec!["a 1.0.0: licence"]),
            ("", vec![package("a", "1.0.0", "MIT", "git+https://example")], vec!["a 1.0.0: comes from"]),
            ("", vec![registry("backoff", "0.4.0")], vec!["backoff: banned: dead"]),
            ("", vec![registry("b", "1.0.0"), registry("b", "2.0.0")], vec!["b: versions"]),
            (skip, vec![registry("b", "1.0.0"), registry("b", "2.0.0")], vec![]),
            (skip, vec![registry("b", "1.0.0"), registry("b", "2.0.0"), registry("b", "3.0.0")], vec!["b: versions"]),
            (skip, vec![registry("b", "1.0.0")], vec!["b@1.0.0: [bans] skip names it"]),
        ] {
            let found = violations(&deny(skip), &packages);
            assert_eq!(found.len(), expected.len(), "{found:?}");
            assert!(found.iter().zip(&expected).all(|(line, start)| line.starts_with(start)), "{found:?}");
        }
    }
}
