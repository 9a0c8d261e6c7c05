//! TOML, YAML and JSON: the same configuration, and syntax errors with their place.

use std::fmt::Write as _;

use cdc_notifier::config::Config;
use secrecy::ExposeSecret as _;

use crate::{load_as, refusal};

const TOML: &str = r#"
resend_timeout = 1500
max_retries = 7
[admin]
listen = ""
[databases.Db]
host = "localhost"
database = "progressor"
username = "cdc"
password = "0123"
[kafka_clients.k]
endpoints = ["a:9092", "b:9092"]
[kafka_clients.k.properties]
"linger.ms" = 20
"log.connection.close" = false
"sasl.password" = "1.10"
[streams.Db.slot."default/default"]
kafka_client = "k"
eventsink_topic = "events"
lifecycle_topic = "lifecycle"
headers = true
"#;

const YAML: &str = r#"
# The same.
resend_timeout: 1500
max_retries: 7
limits:
admin: {listen: ""}
databases:
  Db:
    host: localhost
    database: progressor
    username: cdc
    password: "0123"
kafka_clients:
  k:
    endpoints: ["a:9092", "b:9092"]
    properties:
      linger.ms: 20
      log.connection.close: false
      sasl.password: '1.10'
streams:
  Db:
    slot:
      default/default:
        kafka_client: k
        eventsink_topic: events
        lifecycle_topic: lifecycle
        headers: true
"#;

const JSON: &str = r#"{
  "resend_timeout": 1500, "max_retries": 7, "admin": {"listen": ""},
  "databases": {"Db": {"host": "localhost", "database": "progressor", "username": "cdc", "password": "0123"}},
  "kafka_clients": {"k": {"endpoints": ["a:9092", "b:9092"],
    "properties": {"linger.ms": 20, "log.connection.close": false, "sasl.password": "1.10"}}},
  "streams": {"Db": {"slot": {"default/default":
    {"kafka_client": "k", "eventsink_topic": "events", "lifecycle_topic": "lifecycle", "headers": true}}}}
}"#;

/// All of it, secrets too.
fn everything(config: &Config) -> String {
    let mut text = format!("{config:?}");
    for database in &config.databases {
        let password = database.postgres.password.as_ref().map(|password| password.expose_secret().to_owned());
        write!(text, "\n{password:?}").unwrap();
        for namespace in database.slots.iter().flat_map(|slot| &slot.namespaces) {
            for (key, value) in &namespace.kafka_client.properties {
                write!(text, "\n{key}={}", value.expose_secret()).unwrap();
            }
        }
    }
    text
}

#[test]
fn three_formats_one_configuration() {
    let toml = everything(&load_as("c.toml", TOML).unwrap());
    assert!(toml.contains("0123") && toml.contains("sasl.password=1.10") && toml.contains("linger.ms=20"), "{toml}");
    for (name, text) in [("c.yaml", YAML), ("c.yml", YAML), ("c.json", JSON), ("c.TOML", TOML)] {
        assert_eq!(everything(&load_as(name, text).unwrap()), toml, "{name}");
    }
}

#[test]
fn places_of_syntax_errors() {
    for (name, text, place) in [
        ("c.toml", "a = 1\n  b = = 2\n", "line 2, column 7: not valid TOML"),
        ("c.toml", "# Größe\nä\"ö = x", "line 2, column "),
        ("c.toml", "max_retries = 1\nmax_retries = 2\n", "line 2, column 1: a key that was already there"),
        ("c.toml", "[limits]\n[admin]\n[limits]\n", "line 3, column "),
        ("c.toml", "\nmax_retries = 99999999999999999999\n", "line 2, column 15: not valid TOML"),
        ("c.toml", "[log]\nlevel = \"info\n", "line 2, column "),
        ("c.yaml", "a: 1\nb: [1\nc: 2\n", "line "),
        ("c.yaml", "log: {level: info}\nlog: {level: warn}\n", "line 2, column 1: a key that was already there"),
        ("c.yaml", "limits:\n  memory: 1\n  \"memory\": 2\n", "line 3, column 3: a key that was already there"),
        ("c.yaml", "admin: &a {listen: \"\"}\nlog: *a\n", "line 2, column 6: an alias (*)"),
        ("c.yaml", "a: 1\n---\nb: 2\n", "line 2, column 1: a second document"),
        ("c.yaml", "max_retries: !!int x\n", "line 1, column "),
        ("c.yaml", "? [a]\n: b\n", "line 1, column 3: a key that is no text"),
        ("c.yaml", "just text\n", "not a table"),
        ("c.json", "{\"a\": 1,\n \"b\": }", "line 2, column 7: not valid JSON"),
        ("c.json", "{\"log\": {},\n \"log\": {}}", "line 2, column 11: a key that was already there"),
        ("c.json", "[1]", "not a table"),
        ("c.json", "", "line 1, column 0: not valid JSON"),
    ] {
        let (said, _) = refusal(name, text);
        assert!(said.starts_with(place), "{name} {text:?}: {said}");
    }
    let (said, _) = refusal("c.toml", b"a = 1\nb = \"\xff\"\n");
    assert_eq!(said, "line 2, column 6: not UTF-8");
}

#[test]
fn bombs() {
    let deep = 200_000;
    for (name, text) in [
        ("c.yaml", "[".repeat(deep)),
        ("c.yaml", "{a: ".repeat(deep)),
        ("c.yaml", "- ".repeat(deep)),
        ("c.yaml", "? ".repeat(deep)),
        ("c.json", "[".repeat(deep)),
        ("c.json", "{\"a\":".repeat(deep)),
        ("c.toml", format!("a = {}", "[".repeat(deep))),
        ("c.toml", format!("a = {}", "{a = ".repeat(deep))),
        ("c.toml", format!("{}a = 1", "a.".repeat(deep))),
        ("c.toml", format!("[{}a]", "a.".repeat(deep))),
    ] {
        let (said, _) = refusal(name, &text);
        assert!(said.starts_with("line ") || said == "nested too deeply", "{name} {text:.9}: {said}");
    }
    // Nine levels of ten aliases each would be a billion values.
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        writeln!(laughs, "a{level}: &a{level} [{below}]").unwrap();
    }
    assert!(refusal("c.yaml", laughs).0.contains("an alias (*)"));
}

#[test]
fn names_of_files() {
    for (name, message, remedy) in [
        ("sys.config", "an Erlang sys.config: not in this version", "TOML"),
        ("c.ini", "its name does not say its format", ".toml, .yaml, .yml or .json"),
        ("c", "its name does not say its format", ".toml, .yaml, .yml or .json"),
    ] {
        let refused = refusal(name, "");
        assert!(refused.0.starts_with(message) && refused.1.contains(remedy), "{refused:?}");
    }
}
