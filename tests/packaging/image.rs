//! `docker/Dockerfile`: no Docker is needed to see that it copies what is there and that the program compiles from it.

use std::{fs, path::Path};

use crate::{root, text};

/// The sources of every COPY from the repository.
fn copied() -> Vec<String> {
    let dockerfile = text("docker/Dockerfile");
    let sources: Vec<String> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from="))
        .flat_map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            words[..words.len() - 1].iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(sources.len() >= 3, "{sources:?}");
    sources
}

#[test]
fn what_is_copied_exists_and_is_sent_to_the_builder() {
    let ignore = text(".dockerignore");
    assert!(ignore.lines().any(|line| line == "*"), "everything is ignored at first");
    for source in copied() {
        assert!(root().join(&source).exists(), "docker/Dockerfile copies {source}");
        assert!(ignore.lines().any(|line| line == format!("!{source}")), ".dockerignore hides {source}");
    }
}

/// Paths of `include_str!` and `include_bytes!`.
fn included(source: &str) -> impl Iterator<Item = &str> {
    let openings = ["include_str!(\"", "include_bytes!(\""];
    openings
        .into_iter()
        .flat_map(move |opening| source.split(opening).skip(1).filter_map(|rest| rest.split('"').next()))
}

fn check_includes(folder: &Path, allowed: &[String]) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            check_includes(&path, allowed);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let source = fs::read_to_string(&path).unwrap();
            // What only tests include is not needed for the program.
            let code = source.split("#[cfg(test)]").next().unwrap();
            for include in included(code) {
                let target = fs::canonicalize(path.parent().unwrap().join(include)).unwrap();
                let inside = allowed.iter().any(|source| target.starts_with(root().join(source)));
                assert!(inside, "{} includes {include}, which docker/Dockerfile does not copy", path.display());
            }
        }
    }
}

#[test]
fn what_the_program_includes_is_copied() {
    assert_eq!(included(r#"a include_str!("x/y"); include_bytes!("z")"#).collect::<Vec<_>>(), ["x/y", "z"]);
    check_includes(&root().join("src"), &copied());
}

#[test]
fn it_builds_with_the_compiler_that_the_manifest_asks_for() {
    let manifest: toml::Table = toml::from_str(&text("Cargo.toml")).unwrap();
    let wanted = manifest["package"]["rust-version"].as_str().unwrap();
    let dockerfile = text("docker/Dockerfile");
    assert!(dockerfile.contains(&format!("FROM rust:{wanted}-slim-")), "Cargo.toml says rust-version = {wanted}");
}

#[test]
fn it_runs_as_nobody_and_is_asked_for_its_health_where_it_listens() {
    let dockerfile = text("docker/Dockerfile");
    let last = dockerfile.rsplit("\nFROM ").next().unwrap();
    let port = "8022";
    assert!(last.lines().any(|line| line.strip_prefix("USER ").is_some_and(|user| user != "0" && user != "root")));
    assert!(last.contains(&format!("CDC_NOTIFIER_ADMIN_LISTEN=0.0.0.0:{port} ")));
    assert!(last.contains(&format!("http://127.0.0.1:{port}/health/live")));
    assert!(last.contains(&format!("EXPOSE {port}\n")));
    assert!(last.contains(&format!("{}=/etc/cdc-notifier/config.toml", cdc_notifier::config::CONFIG_VARIABLE)));
    assert!(last.ends_with("ENTRYPOINT [\"cdc-notifier\"]\nCMD [\"run\"]\n"));
}
