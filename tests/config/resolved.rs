//! Files that are in order: defaults, references, variables.

use std::{fs, time::Duration};

use cdc_notifier::config::{Config, LogFormat, OnInvalid, Overrides, Partitioner, SslMode, load};
use secrecy::ExposeSecret as _;

use crate::{SMALL, any_property, load_toml, no_variables, repository};

/// Everything but the names and places of things.
fn settings(config: &Config) -> String {
    format!("{:?} {:?} {:?} {:?}", config.retry, config.limits, config.admin, config.log)
}

#[test]
fn defaults() {
    let config = load_toml(SMALL).unwrap();
    assert_eq!(config.retry.resend_timeout, Duration::from_secs(3));
    assert_eq!(config.retry.max_retries, 3);
    assert_eq!(config.retry.reconnect_timeout, Duration::from_secs(5));
    assert_eq!(config.retry.send_timeout, Duration::from_secs(30));
    assert_eq!(config.retry.shutdown_timeout, Duration::from_secs(10));
    assert_eq!(config.limits.memory, 32 << 20);
    assert_eq!(config.limits.max_payload_size, 16 << 20);
    assert_eq!(config.limits.max_payload_depth, 1024);
    assert_eq!(config.admin.listen.as_deref(), Some("127.0.0.1:8022"));
    assert_eq!(config.admin.stall_timeout, Duration::from_secs(30));
    assert!(config.admin.token.is_none());
    assert_eq!((config.log.level.as_str(), config.log.format), ("info", LogFormat::Auto));
    let database = &config.databases[0];
    assert_eq!((config.databases.len(), database.name.as_str()), (1, "db"));
    let postgres = &database.postgres;
    assert_eq!((postgres.host.as_str(), postgres.port), ("localhost", 5432));
    assert_eq!((postgres.database.as_str(), postgres.username.as_str()), ("progressor", "cdc"));
    assert!(postgres.password.is_none());
    assert_eq!(postgres.tls.mode, SslMode::Prefer);
    assert_eq!(postgres.connect_timeout, Duration::from_secs(10));
    let slot = &database.slots[0];
    assert_eq!((slot.name.as_str(), slot.create_slot), ("slot", true));
    let namespace = &slot.namespaces[0];
    assert_eq!(namespace.name, "default/default");
    assert_eq!((namespace.eventsink_topic.as_str(), namespace.lifecycle_topic.as_str()), ("events", "lifecycle"));
    assert_eq!((namespace.partitioner, namespace.on_invalid), (Partitioner::Phash2, OnInvalid::Halt));
    assert!(!namespace.headers);
    assert_eq!(namespace.kafka_client.name, "k");
    assert_eq!(namespace.kafka_client.endpoints, ["kafka:9092"]);
    assert!(namespace.kafka_client.properties.is_empty());
}

#[test]
fn the_reference_shows_the_defaults() {
    let reference =
        load(&repository("config/reference.toml"), &no_variables, &Overrides::default(), &any_property).unwrap();
    let small = load_toml(SMALL).unwrap();
    assert_eq!(settings(&reference), settings(&small));
    let (database, small) = (&reference.databases[0], &small.databases[0]);
    assert_eq!(database.postgres.port, small.postgres.port);
    assert_eq!(format!("{:?}", database.postgres.tls), format!("{:?}", small.postgres.tls));
    assert_eq!(database.postgres.connect_timeout, small.postgres.connect_timeout);
    assert_eq!(database.postgres.password.as_ref().unwrap().expose_secret(), "progressor");
    let (slot, small) = (&database.slots[0], &small.slots[0]);
    assert_eq!((slot.name.as_str(), slot.create_slot), ("cdc_slot_default", small.create_slot));
    let (namespace, small) = (&slot.namespaces[0], &small.namespaces[0]);
    assert_eq!(namespace.partitioner, small.partitioner);
    assert_eq!((namespace.on_invalid, namespace.headers), (small.on_invalid, small.headers));
    assert_eq!(namespace.kafka_client.properties["compression.type"].expose_secret(), "lz4");
}

#[test]
fn the_commented_settings_of_the_reference_are_known_keys() {
    let reference = fs::read_to_string(repository("config/reference.toml")).unwrap();
    let mut known = 0;
    for line in reference.lines() {
        let Some((key, _)) = line.strip_prefix("# ").and_then(|line| line.split_once(" = ")) else { continue };
        let text = reference.replace(line, line.trim_start_matches("# "));
        if let Err(error) = load_toml(&text) {
            assert!(!error.to_string().contains("unknown"), "{key}: {error}");
        }
        known += 1;
    }
    assert!(known >= 12, "only {known} commented settings");
}

#[test]
fn the_example_loads() {
    let config = load(&repository("config/example.toml"), &no_variables, &Overrides::default(), &any_property).unwrap();
    assert_eq!(config.databases[0].slots[0].namespaces[0].name, "default/default");
}

#[test]
fn keys_keep_their_case_and_tables_their_order() {
    let text = SMALL.replace("default/default", "Default/CamelCase.v2")
        + "\n[streams.db.slot.Other]\nkafka_client = \"k\"\neventsink_topic = \"E\"\nlifecycle_topic = \"L\"\n";
    let config = load_toml(&text).unwrap();
    let names: Vec<&str> = config.databases[0].slots[0].namespaces.iter().map(|n| n.name.as_str()).collect();
    assert_eq!(names, ["Default/CamelCase.v2", "Other"]);
}

#[test]
fn every_setting_reaches_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "t0ken\n").unwrap();
    let text = format!(
        r#"
resend_timeout = "1s"
max_retries = 0
reconnect_timeout = 2500
send_timeout = "2m"
shutdown_timeout = "0s"
[limits]
memory = "128KiB"
max_payload_size = 1000
max_payload_depth = 5
[admin]
listen = "[::1]:0"
stall_timeout = "1h"
token_file = {token:?}
[log]
level = "debug,rdkafka=trace"
format = "logfmt"
[databases.db]
host = "/var/run/postgresql"
port = 5433
database = "p"
username = "u"
password = "secret"
sslmode = "verify-full"
sslrootcert = "/ca.pem"
sslcert = "/c.pem"
sslkey = "/k.pem"
connect_timeout = "500ms"
[databases.db.slots.one]
create_slot = false
delivery = "at_least_once"
commit_interval = "50ms"
failover = false
takeover = "wait"
[kafka_clients.k]
endpoints = ["kafka:9092", "[::1]:9093"]
[kafka_clients.k.properties]
"linger.ms" = 20
"ssl.ca.location" = "/ca.pem"
"log.connection.close" = false
[streams.db.one.ns]
kafka_client = "k"
eventsink_topic = "e"
lifecycle_topic = "l"
partitioner = "murmur2"
on_invalid = "halt"
park_key = false
headers = true
[streams.db.two.ns]
kafka_client = "k"
eventsink_topic = "e2"
lifecycle_topic = "l2"
partitioner = "consistent"
"#
    );
    let config = load_toml(&text).unwrap();
    let retry = format!("{:?}", config.retry);
    assert_eq!(
        retry,
        "Retry { resend_timeout: 1s, max_retries: 0, reconnect_timeout: 2.5s, send_timeout: 120s, shutdown_timeout: 0ns }"
    );
    assert_eq!(
        format!("{:?}", config.limits),
        "Limits { memory: 131072, max_payload_size: 1000, max_payload_depth: 5 }"
    );
    assert_eq!(config.admin.listen.as_deref(), Some("[::1]:0"));
    assert_eq!(config.admin.stall_timeout, Duration::from_hours(1));
    assert_eq!(config.admin.token.as_ref().unwrap().expose_secret(), "t0ken");
    assert_eq!((config.log.level.as_str(), config.log.format), ("debug,rdkafka=trace", LogFormat::Logfmt));
    let postgres = &config.databases[0].postgres;
    assert_eq!((postgres.host.as_str(), postgres.port), ("/var/run/postgresql", 5433));
    assert_eq!(postgres.password.as_ref().unwrap().expose_secret(), "secret");
    assert_eq!(
        format!("{:?}", postgres.tls),
        r#"Tls { mode: VerifyFull, root_cert: Some("/ca.pem"), cert: Some("/c.pem"), key: Some("/k.pem") }"#
    );
    assert_eq!(postgres.connect_timeout, Duration::from_millis(500));
    let [one, two] = &config.databases[0].slots[..] else { panic!("two slots") };
    assert!(!one.create_slot && two.create_slot);
    assert!(one.namespaces[0].headers);
    assert_eq!(one.namespaces[0].partitioner, Partitioner::Murmur2);
    assert_eq!(two.namespaces[0].partitioner, Partitioner::Consistent);
    let properties: Vec<(&str, &str)> = one.namespaces[0]
        .kafka_client
        .properties
        .iter()
        .map(|(key, value)| (key.as_str(), value.expose_secret()))
        .collect();
    assert_eq!(properties, [("linger.ms", "20"), ("log.connection.close", "false"), ("ssl.ca.location", "/ca.pem")]);
}

#[test]
fn variables_of_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let text = SMALL
        .replace("\"localhost\"", "\"${DB_HOST}\"\nport = 6000\npassword = \"a${PASSWORD}b\"")
        .replace("kafka:9092", "${KAFKA:-kafka}:9092")
        .replace("\"events\"", "\"$${x}\"");
    fs::write(&path, text.replace("\"$${x}\"", "\"events\"")).unwrap();
    let environment = |name: &str| match name {
        "DB_HOST" => Some("db1".to_owned()),
        // Not looked through again, not part of the file's syntax.
        "PASSWORD" => Some("${DB_HOST}\"\n\\".to_owned()),
        _ => None,
    };
    let config = load(&path, &environment, &Overrides::default(), &any_property).unwrap();
    let postgres = &config.databases[0].postgres;
    assert_eq!(postgres.host, "db1");
    assert_eq!(postgres.password.as_ref().unwrap().expose_secret(), "a${DB_HOST}\"\n\\b");
    assert_eq!(config.databases[0].slots[0].namespaces[0].kafka_client.endpoints, ["kafka:9092"]);
    // A literal ${ is no name of a topic: the two dollars became one.
    fs::write(&path, text).unwrap();
    let error = load(&path, &environment, &Overrides::default(), &any_property).unwrap_err();
    assert!(error.to_string().ends_with("eventsink_topic: no name of a topic"), "{error}");
}

/// As in libpq.
#[test]
fn an_empty_password_is_none() {
    let text = SMALL.replace("\"cdc\"", "\"cdc\"\npassword = \"${NO_PASSWORD:-}\"");
    assert!(load_toml(&text).unwrap().databases[0].postgres.password.is_none());
}

#[test]
fn a_database_without_streams_is_left_out() {
    let text = SMALL.to_owned() + "\n[databases.spare]\nhost = \"h\"\ndatabase = \"d\"\nusername = \"u\"\n";
    assert_eq!(load_toml(&text).unwrap().databases.len(), 1);
}

/// One namespace may go to two clusters, and two namespaces to one topic.
#[test]
fn what_may_meet() {
    let other = |streams: &str, topic: &str, client: &str| {
        format!(
            "\n[streams.{streams}]\nkafka_client = \"{client}\"\neventsink_topic = \"{topic}\"\nlifecycle_topic = \"{topic}-l\"\n"
        )
    };
    let mirror = "\n[kafka_clients.mirror]\nendpoints = [\"other:9092\"]\n";
    for text in [
        SMALL.to_owned() + &other("db.slot2.\"default/default\"", "events2", "k"),
        SMALL.to_owned() + mirror + &other("db.slot2.\"default/default\"", "events", "mirror"),
        SMALL.to_owned() + &other("db.slot2.other", "events", "k"),
        SMALL.to_owned() + &other("db.slot.other", "events", "k"),
        // Another database of the same server.
        SMALL.to_owned()
            + "\n[databases.db2]\nhost = \"localhost\"\ndatabase = \"p2\"\nusername = \"u\"\n"
            + &other("db2.slot2.\"default/default\"", "events", "k"),
    ] {
        if let Err(error) = load_toml(&text) {
            panic!("{error}\n{text}");
        }
    }
}
