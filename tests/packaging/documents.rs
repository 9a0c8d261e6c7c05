//! README.md and docs/: links lead somewhere, configurations load, SQL statements do what is said of them.

use std::collections::BTreeSet;

use cdc_notifier::demo::{postgres::SUPERUSER, progressor};

use crate::{configuration, connect, progressor_database, root, text};

const DOCUMENTS: [&str; 8] = [
    "README.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/guarantees.md",
    "docs/operations.md",
    "docs/performance.md",
    "docs/reliability.md",
    "thrift/README.md",
];

/// The code blocks of a language, each as one text.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let text = text(document);
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        if line.trim() == format!("```{language}") {
            let block = lines.by_ref().take_while(|line| line.trim() != "```");
            found.push(block.flat_map(|line| [line.trim_start(), "\n"]).collect());
        }
    }
    found
}

/// The anchors of a document's headings, as hosts of repositories make them.
fn anchors(document: &str) -> BTreeSet<String> {
    let text = text(document);
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, '-' | '_' | ' ');
    headings.map(|heading| heading.to_lowercase().chars().filter(kept).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn links_lead_somewhere() {
    for document in DOCUMENTS {
        let text = text(document);
        let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.starts_with("https://")) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.to_owned() } else { format!("{folder}/{path}") };
            let target = target.trim_start_matches('/');
            assert!(root().join(target).exists(), "{document}: {link}");
            assert!(anchor.is_empty() || anchors(target).contains(anchor), "{document}: {link}");
        }
    }
}

#[test]
fn configurations_load() {
    let folder = tempfile::tempdir().unwrap();
    let blocks = blocks("README.md", "toml");
    assert_eq!(blocks.len(), 1);
    let file = folder.path().join("readme.toml");
    std::fs::write(&file, &blocks[0]).unwrap();
    let config = configuration(&file, &|name| (name == "PROGRESSOR_PASSWORD").then(|| "secret".to_owned()));
    assert_eq!(config.databases[0].slots[0].namespaces[0].name, "default/default");
}

#[test]
fn every_class_and_state_is_explained() {
    let operations = text("docs/operations.md");
    let classes: Vec<String> = text("src/change/trouble.rs")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Self::")?.split_once(" => \"").map(|(_, name)| name.to_owned()))
        .map(|name| name.trim_end_matches("\",").to_owned())
        .collect();
    assert!(classes.len() > 20, "{classes:?}");
    for class in &classes {
        assert!(operations.contains(&format!("\n| `{class}` | ")), "docs/operations.md does not explain {class}");
    }
    let errors = operations.split("\n## Errors").nth(1).unwrap().split("\n## ").next().unwrap();
    let explained = errors.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(explained, classes.len(), "docs/operations.md explains what does not exist");
}

/// Whether the role `cdc_notifier` can do everything that the first start of a slot does.
async fn first_start(privileges: &[&str], prepared: bool) {
    let (server, owner) = progressor_database().await;
    owner.batch_execute(&progressor::schema_sql("default/default")).await.unwrap();
    let superuser = connect(&server, SUPERUSER, "progressor_db").await;
    for statement in privileges.iter().flat_map(|block| statements(block)) {
        superuser.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let ours = connect(&server, "cdc_notifier", "progressor_db").await;
    if !prepared {
        let create = "CREATE PUBLICATION \"default/default\" \
                      FOR TABLE \"default/default_processes\", \"default/default_events\"";
        ours.batch_execute(create).await.unwrap();
        ours.batch_execute("ALTER TABLE \"default/default_processes\" REPLICA IDENTITY FULL").await.unwrap();
    }
    let identity = "SELECT relreplident = 'f' FROM pg_class WHERE relname = 'default/default_processes'";
    assert!(ours.query_one(identity, &[]).await.unwrap().get::<_, bool>(0));
    let tables = ours.query("SELECT FROM pg_publication_tables WHERE pubname = 'default/default'", &[]).await.unwrap();
    assert_eq!(tables.len(), 2);
    let slot = "SELECT pg_create_logical_replication_slot('cdc_slot_default', 'pgoutput')";
    ours.batch_execute(slot).await.unwrap();
    let retire: Vec<String> =
        blocks("docs/operations.md", "sql").into_iter().filter(|block| block.contains("DROP")).collect();
    assert_eq!(retire.len(), 1);
    for statement in statements(&retire[0]) {
        superuser.batch_execute(&statement).await.unwrap();
    }
}

/// The statements of a block; those that concern the whole server cannot run in one transaction.
fn statements(block: &str) -> Vec<String> {
    let code = block.lines().map(|line| line.split("--").next().unwrap().to_owned() + "\n").collect::<String>();
    code.split_inclusive(';').map(|statement| statement.trim().to_owned()).filter(|text| !text.is_empty()).collect()
}

#[tokio::test]
async fn the_privileges_of_the_readme_are_enough() {
    let blocks = blocks("README.md", "sql");
    assert_eq!(blocks.len(), 1);
    first_start(&[&blocks[0]], false).await;
}

#[tokio::test]
async fn the_privileges_of_the_operations_document_are_enough() {
    let blocks = blocks("docs/operations.md", "sql");
    let [role, grants, publication, monitor, settings, _, kept, spilling] = &blocks[..] else { panic!("{blocks:#?}") };
    first_start(&[role, grants, monitor, settings], false).await;
    first_start(&[role, publication, kept, spilling], true).await;
}
