//! Holds the tree to `docs/architecture.md` and its dependencies to `deny.toml`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod dependencies;
mod layout;
mod paths;
mod rules;
mod tokens;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// A file of the repository.
pub(crate) struct File {
    /// Its path from the root of the repository.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

fn root() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
}

/// Every text below a folder, captured data apart.
fn texts(folder: &Path, root: &Path) -> Vec<File> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if !path.ends_with("fixtures") {
                files.extend(texts(&path, root));
            }
        } else if let Ok(text) = String::from_utf8(fs::read(&path).unwrap()) {
            files.push(File { path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

fn none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

#[test]
fn every_file_keeps_to_its_folder() {
    let root = root();
    let rules = rules::Rules::parse(&fs::read_to_string(root.join("docs/architecture.md")).unwrap());
    let files = texts(&root.join("src"), &root);
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "src/ was read");
    let sources = files.iter().filter_map(|file| Some((file.path.strip_prefix("src/")?, &file.text)));
    none(&sources.flat_map(|(path, text)| rules.violations(path, text)).collect::<Vec<_>>());
}

#[test]
fn the_rules_cover_what_matters() {
    let rules = rules::Rules::parse(&fs::read_to_string(root().join("docs/architecture.md")).unwrap());
    for folder in ["change", "pgoutput", "source", "encoding", "pipeline", "delivery"] {
        assert!(rules.pure.contains(folder) && rules.imports.contains_key(folder), "{folder} is pure");
    }
    for name in ["ractor", "rdkafka", "postgres_protocol", "tokio_postgres", "thrift", "axum", "clap"] {
        assert!(rules.homes.contains_key(name), "{name} has a home");
    }
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap().replace('-', "_");
    for name in rules.homes.keys() {
        assert!(manifest.contains(&format!("\n{name} = ")), "{name} is in the table of homes but not in Cargo.toml");
    }
}

#[test]
fn sizes_names_and_headings() {
    let root = root();
    let folders = ["src", "tests", "benches"];
    let files: Vec<File> = folders.iter().flat_map(|folder| texts(&root.join(folder), &root)).collect();
    none(&layout::violations(&files));
}

/// Without `autotests` cargo builds only what the manifest names: a folder that it does not name would be forgotten in silence.
#[test]
fn every_folder_with_tests_is_run() {
    let root = root();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let folders: Vec<String> = fs::read_dir(root.join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("main.rs").is_file())
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert!(folders.contains(&"architecture".to_owned()));
    let named = |folder: &String| manifest.contains(&format!("path = \"tests/{folder}/main.rs\""));
    none(&folders.into_iter().filter(|folder| !named(folder)).collect::<Vec<_>>());
}

#[test]
fn dependencies_keep_to_deny_toml() {
    let root = root();
    let deny: dependencies::Deny = toml::from_str(&fs::read_to_string(root.join("deny.toml")).unwrap()).unwrap();
    let packages = packages(&root);
    assert!(packages.len() > 50, "cargo metadata lists {} packages", packages.len());
    none(&dependencies::violations(&deny, &packages));
}

/// On every platform, and for fuzzing as well. A lock file does not know what was yanked later: `cargo deny check` does.
#[test]
fn lock_files_name_only_the_registry_and_what_it_gave() {
    #[derive(serde::Deserialize)]
    struct Lock {
        package: Vec<Locked>,
    }
    #[derive(serde::Deserialize)]
    struct Locked {
        name: String,
        source: Option<String>,
        checksum: Option<String>,
    }
    for file in ["Cargo.lock", "fuzz/Cargo.lock"] {
        let lock: Lock = toml::from_str(&fs::read_to_string(root().join(file)).unwrap()).unwrap();
        let locked = lock.package.iter().filter(|package| !package.name.starts_with("cdc-notifier"));
        let strange = locked.filter(|package| {
            !package.source.as_deref().is_some_and(|source| source.starts_with("registry+"))
                || package.checksum.as_ref().is_none_or(|checksum| checksum.len() != 64)
        });
        none(&strange.map(|package| format!("{file}: {}", package.name)).collect::<Vec<_>>());
        assert!(lock.package.len() > 50, "{file}");
    }
}

/// What `Cargo.lock` resolves to on this machine; crates of other platforms need not be downloaded.
fn packages(root: &Path) -> Vec<dependencies::Package> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<dependencies::Package>,
    }
    let cargo = env::var_os("CARGO").expect("cargo sets CARGO");
    let version = Command::new(&cargo).arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo -vV names the host");
    let output = Command::new(&cargo)
        .args(["metadata", "--locked", "--offline", "--format-version", "1", "--filter-platform", host])
        .current_dir(root)
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Metadata>(&output.stdout).unwrap().packages
}
