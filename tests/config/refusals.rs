//! Every wrong setting: where, what, and what is allowed.

use std::fmt::Write as _;

use crate::{SMALL, any_property, load_toml, no_variables, refusal};

/// The small configuration with lines put before it, replaced in it, or added to it.
enum Change {
    Before(&'static str),
    Replace(&'static str, &'static str),
    After(&'static str),
}
use Change::{After, Before, Replace};

impl Change {
    fn apply(&self) -> String {
        match self {
            Before(lines) => format!("{lines}\n{SMALL}"),
            After(lines) => format!("{SMALL}{lines}\n"),
            Replace(from, to) => {
                assert!(SMALL.contains(from), "{from}");
                SMALL.replacen(from, to, 1)
            }
        }
    }
}

const HOST: &str = "host = \"localhost\"";
const ENDPOINTS: &str = "endpoints = [\"kafka:9092\"]";
const NS: &str = "streams.db.slot.\"default/default\"";
const SLOT_STREAM: &str = "[streams.db.slot.\"default/default\"]";

fn refuses(table: &[(Change, &str, &str)]) {
    for (change, said, remedy) in table {
        let text = change.apply();
        let refused = refusal("c.toml", &text);
        let said = said.replace("NS", NS);
        assert!(refused.0.starts_with(&said), "{said}\n  got {}\n{text}", refused.0);
        assert!(refused.1.contains(remedy), "{said}: {remedy}\n  got {}", refused.1);
    }
}

#[test]
fn unknown_and_missing_keys() {
    refuses(&[
        (Before("max_retry = 3"), "max_retry: unknown key", "allowed here: resend_timeout, max_retries"),
        (Before("[limits]\nmem = 1"), "limits.mem: unknown key", "memory, max_payload_size, max_payload_depth"),
        (Before("[admin]\nport = 1"), "admin.port: unknown key", "listen, stall_timeout, token_file"),
        (Before("[log]\nLevel = \"info\""), "log.Level: unknown key", "level, format"),
        (Replace(HOST, "hostname = \"x\""), "databases.db.hostname: unknown key", "host, port"),
        (After("topic = \"x\""), "NS.topic: unknown key", "kafka_client, eventsink_topic, lifecycle_topic"),
        (
            After("[databases.db.slots.slot]\ncreate = true"),
            "databases.db.slots.slot.create: unknown key",
            "create_slot",
        ),
        (Replace(ENDPOINTS, "brokers = []"), "kafka_clients.k.brokers: unknown key", "endpoints, properties"),
        (After("\"a\\nb\" = 1"), "NS.\"a\\nb\": unknown key", "kafka_client"),
        (Replace(HOST, ""), "databases.db.host: missing", "add host = "),
        (Replace("database = \"progressor\"", ""), "databases.db.database: missing", "add database = "),
        (Replace("username = \"cdc\"", ""), "databases.db.username: missing", "add username = "),
        (Replace(ENDPOINTS, ""), "kafka_clients.k.endpoints: missing", "add endpoints = "),
        (Replace("kafka_client = \"k\"", ""), "NS.kafka_client: missing", "add kafka_client = "),
        (Replace("eventsink_topic = \"events\"", ""), "NS.eventsink_topic: missing", "add eventsink_topic = "),
        (Replace("lifecycle_topic = \"lifecycle\"", ""), "NS.lifecycle_topic: missing", "add lifecycle_topic = "),
    ]);
}

#[test]
fn kinds_and_ranges() {
    refuses(&[
        (Before("resend_timeout = \"3\""), "resend_timeout: has a value that is not allowed", "\"500ms\", \"3s\""),
        (Before("resend_timeout = true"), "resend_timeout: is true or false", "a duration such as"),
        (Before("resend_timeout = 1.5"), "resend_timeout: is a number with a fraction", "a duration such as"),
        (Before("resend_timeout = 0"), "resend_timeout: zero", "1 ms or more; the default is 3s"),
        (Before("reconnect_timeout = \"0s\""), "reconnect_timeout: zero", "5s"),
        (Before("send_timeout = \"0ms\""), "send_timeout: zero", "30s"),
        (Before("send_timeout = \"200h\""), "send_timeout: has a value that is not allowed", "at most \"168h\""),
        (Before("max_retries = -1"), "max_retries: has a value that is not allowed", "from 0 to 4294967295"),
        (Before("max_retries = \"3\""), "max_retries: is text", "a whole number"),
        (Before("limits = 1"), "limits: is a whole number", "a table"),
        (Before("[limits]\nmemory = \"1 gig\""), "limits.memory: has a value", "a size such as"),
        (
            Before("[limits]\nmemory = \"63KiB\""),
            "limits.memory: less than 64 KiB for each of 1 slots",
            "\"64KiB\" or more",
        ),
        (Before("[limits]\nmax_payload_size = 0"), "limits.max_payload_size: out of range", "16MiB"),
        (Before("[limits]\nmax_payload_size = \"2GiB\""), "limits.max_payload_size: out of range", "1GiB"),
        (Before("[limits]\nmax_payload_depth = -1"), "limits.max_payload_depth: has a value", "from 0"),
        (Before("[admin]\nlisten = \"8022\""), "admin.listen: no address", "127.0.0.1:8022"),
        (Before("[admin]\nlisten = \":8022\""), "admin.listen: no address", "0.0.0.0:8022"),
        (Before("[admin]\nlisten = \"::1:8022\""), "admin.listen: no address", "[::1]:8022"),
        (Before("[admin]\nlisten = \"localhost:70000\""), "admin.listen: no address", "host:port"),
        (Before("[admin]\nstall_timeout = 0"), "admin.stall_timeout: zero", "30s"),
        (Before("[log]\nformat = \"xml\""), "log.format: none of the words", "auto, text, json, logfmt"),
        (Replace(HOST, "host = \"localhost\"\nport = 65536"), "databases.db.port: has a value", "from 0 to 65535"),
        (Replace(HOST, "host = \"localhost\"\nport = 0"), "databases.db.port: out of range", "1 to 65535"),
        (Replace(HOST, "host = \"localhost:5432\""), "databases.db.host: no host", "without its port"),
        (Replace(HOST, "host = \"a,b\""), "databases.db.host: no host", "one host name"),
        (Replace(HOST, "host = \"\""), "databases.db.host: no host", "one host name"),
        (Replace("\"progressor\"", "\"\""), "databases.db.database: no name", "not empty"),
        (Replace("\"cdc\"", "\"\\u0000\""), "databases.db.username: no name", "not empty"),
        (
            Replace(HOST, "host = \"h\"\nsslmode = \"on\""),
            "databases.db.sslmode: none of",
            "disable, allow, prefer, require, verify-ca, verify-full",
        ),
        (
            Replace(HOST, "host = \"h\"\nsslmode = \"verify-full\""),
            "databases.db.sslrootcert: missing",
            "sslrootcert =",
        ),
        (Replace(HOST, "host = \"h\"\nsslmode = \"verify-ca\""), "databases.db.sslrootcert: missing", "sslrootcert ="),
        (Replace(HOST, "host = \"h\"\nsslcert = \"c\""), "databases.db.sslkey: missing", "both"),
        (Replace(HOST, "host = \"h\"\nsslkey = \"c\""), "databases.db.sslcert: missing", "both"),
        (Replace(HOST, "host = \"h\"\nconnect_timeout = 0"), "databases.db.connect_timeout: zero", "10s"),
        (After("headers = \"yes\""), "NS.headers: is text", "true or false, without quotes"),
        (After("partitioner = \"random\""), "NS.partitioner: none of", "phash2, murmur2, consistent"),
        (
            After("[databases.db.slots.slot]\ncommit_interval = 0"),
            "databases.db.slots.slot.commit_interval: zero",
            "100ms",
        ),
        (
            After("[databases.db.slots.slot]\ndelivery = \"x\""),
            "databases.db.slots.slot.delivery: none of",
            "at_least_once",
        ),
        (After("[databases.db.slots.slot]\ntakeover = \"x\""), "databases.db.slots.slot.takeover: none of", "wait"),
        (After("on_invalid = \"skip\""), "NS.on_invalid: none of", "halt"),
    ]);
}

#[test]
fn not_in_this_version() {
    refuses(&[
        (Replace(HOST, "hosts = [\"a:5432\"]"), "databases.db.hosts: several hosts: not in this version", "host ="),
        (
            Replace(HOST, "host = \"a\"\ntarget_session_attrs = \"any\""),
            "databases.db.target_session_attrs: choosing a host by its session: not in this version",
            "remove",
        ),
        (
            After("[databases.db.slots.slot]\ndelivery = \"exactly_once\""),
            "databases.db.slots.slot.delivery: exactly once: not in this version",
            "at_least_once",
        ),
        (
            After("[databases.db.slots.slot]\ntakeover = \"terminate\""),
            "databases.db.slots.slot.takeover: taking a slot over: not in this version",
            "wait",
        ),
        (
            After("[databases.db.slots.slot]\nfailover = true"),
            "databases.db.slots.slot.failover: slots that are synchronised to standbys: not in this version",
            "false",
        ),
        (
            After("[databases.db.slots.slot]\nprogress_topic = \"p\""),
            "databases.db.slots.slot.progress_topic: a topic of the progress: not in this version",
            "remove",
        ),
        (After("on_invalid = \"dead_letter\""), "NS.on_invalid: dead letters: not in this version", "halt"),
        (After("dead_letter_topic = \"d\""), "NS.dead_letter_topic: dead letters: not in this version", "remove"),
        (After("park_key = true"), "NS.park_key: parking rows behind a dead letter: not in this version", "false"),
        (Before("[vault]\nurl = \"x\""), "vault: secrets from Vault: not in this version", "password_file"),
    ]);
    // What is not built is not offered.
    let (_, remedy) = refusal("c.toml", SMALL.replace(HOST, "hostname = \"x\""));
    assert!(!remedy.contains("hosts"), "{remedy}");
}

#[test]
fn names_and_references() {
    refuses(&[
        (Replace("\"k\"", "\"other\""), "NS.kafka_client: no such kafka client", "kafka_clients: \"k\""),
        (Replace("[streams.db.", "[streams.dv."), "streams.dv: no database \"dv\"", "databases: \"db\""),
        (
            After("[databases.db.slots.slto]\ncreate_slot = true"),
            "databases.db.slots.slto: no streams for this slot",
            "\"slot\"",
        ),
        (
            Replace("db.slot.", "db.\"my-slot\"."),
            "streams.db.my-slot: no name of a replication slot",
            "a to z, 0 to 9, _",
        ),
        (Replace("db.slot.", "db.Slot."), "streams.db.Slot: no name of a replication slot", "1 to 63"),
        (Replace("db.slot.", "db.\"\"."), "streams.db.\"\": no name of a replication slot", "1 to 63"),
        (
            Replace("db.slot.", "db.a234567890123456789012345678901234567890123456789012345678901234."),
            "streams.db.a2345",
            "1 to 63",
        ),
        (Replace("default/default", ""), "streams.db.slot.\"\": no namespace", "not empty"),
        (Replace("default/default", "a\\u0000"), "streams.db.slot.\"a\\0\": no namespace", "NUL"),
        (
            Replace("default/default", "a23456789012345678901234567890123456789012345678901234"),
            "streams.db.slot.a23456789012345678901234567890123456789012345678901234: 54 bytes",
            "at most 53 bytes",
        ),
        (Replace("\"events\"", "\"ev ents\""), "NS.eventsink_topic: no name of a topic", "1 to 249"),
        (Replace("\"events\"", "\"..\""), "NS.eventsink_topic: no name of a topic", "not . or .."),
        (Replace("\"lifecycle\"", "\"\""), "NS.lifecycle_topic: no name of a topic", "1 to 249"),
        (Replace("\"lifecycle\"", "\"events\""), "NS.lifecycle_topic: the same topic as eventsink_topic", "two topics"),
        (Replace(ENDPOINTS, "endpoints = []"), "kafka_clients.k.endpoints: empty", "host:port"),
        (Replace(ENDPOINTS, "endpoints = \"kafka:9092\""), "kafka_clients.k.endpoints: is text", "a list"),
        (
            Replace(ENDPOINTS, "endpoints = [\"a:1\", \"kafka\"]"),
            "kafka_clients.k.endpoints.1: not host:port",
            "host:port",
        ),
        (Replace(ENDPOINTS, "endpoints = [\"a:0\"]"), "kafka_clients.k.endpoints.0: not host:port", "host:port"),
        (Replace(ENDPOINTS, "endpoints = [\"a:1,b:2\"]"), "kafka_clients.k.endpoints.0: not host:port", "host:port"),
        (Replace(ENDPOINTS, "endpoints = [\"SSL://a:1\"]"), "kafka_clients.k.endpoints.0: not host:port", "host:port"),
        (
            Replace(ENDPOINTS, "endpoints = [\"a:1\"]\nproperties = { \"x\" = 1.5 }"),
            "kafka_clients.k.properties.x: is a number with a fraction",
            "text in quotes",
        ),
        (
            Replace(ENDPOINTS, "endpoints = [\"a:1\"]\nproperties = { x = { y = 1 } }"),
            "kafka_clients.k.properties.x: is a table",
            "text in quotes",
        ),
        (Replace("[databases.db]", "[databases.\"\"]"), "databases.\"\": no name", "not empty"),
        (Replace("[kafka_clients.k]", "[kafka_clients.\"\\n\"]"), "kafka_clients.\"\\n\": no name", "control"),
        (
            Replace(SLOT_STREAM, "[streams.db.empty]\n[streams.db.slot.\"default/default\"]"),
            "streams.db.empty: 0 namespaces",
            "1 to 65535",
        ),
    ]);
    let none = SMALL.split("[streams").next().unwrap();
    assert!(refusal("c.toml", none).0.starts_with("streams: no streams"));
    assert!(refusal("c.toml", format!("{none}[streams.db]\n")).0.starts_with("streams.db: no slots"));
    assert!(refusal("c.toml", "").0.starts_with("streams: no streams"));
}

const AGAIN: &str = "\nkafka_client = \"k\"\neventsink_topic = \"events\"\nlifecycle_topic = \"l2\"\n";

#[test]
fn meetings() {
    let second =
        |host: &str| format!("[databases.db2]\nhost = \"{host}\"\ndatabase = \"progressor\"\nusername = \"x\"\n");
    let twin = "[kafka_clients.twin]\nendpoints = [\"other:9092\", \"KAFKA:9092\"]\n";
    for (text, said) in [
        (
            format!("{SMALL}[streams.db.slot2.\"default/default\"]{AGAIN}"),
            "streams.db.slot2.\"default/default\": streams.db.slot.\"default/default\" writes the same rows",
        ),
        // Crosswise: events of one are the lifecycle of the other.
        (
            format!("{SMALL}[streams.db.slot2.\"default/default\"]{AGAIN}")
                .replace("\"events\"\nlifecycle_topic = \"l2\"", "\"e2\"\nlifecycle_topic = \"events\""),
            "streams.db.slot2.\"default/default\": streams.db.slot.\"default/default\" writes the same rows",
        ),
        (
            format!("{SMALL}{}[streams.db2.slot2.\"default/default\"]{AGAIN}", second("LOCALHOST")),
            "streams.db2.slot2.\"default/default\": streams.db.slot.",
        ),
        (
            format!("{SMALL}{twin}[streams.db.slot2.\"default/default\"]{}", AGAIN.replace("\"k\"", "\"twin\"")),
            "streams.db.slot2.\"default/default\": streams.db.slot.",
        ),
        (
            format!("{SMALL}{}[streams.db2.slot.other]{AGAIN}", second("localhost")),
            "streams.db2.slot: the same slot of the same database as streams.db.slot",
        ),
    ] {
        let refused = refusal("c.toml", &text);
        assert!(refused.0.starts_with(said), "{said}\n  got {}\n{text}", refused.0);
    }
    // Elsewhere, the same names are other things.
    load_toml(&format!("{SMALL}{}[streams.db2.slot.\"default/default\"]{AGAIN}", second("elsewhere"))).unwrap();
}

#[test]
fn many_namespaces() {
    let many = |count: usize| {
        let mut text = SMALL.split("[streams").next().unwrap().to_owned();
        for number in 0..count {
            write!(text, "[streams.db.slot.n{number}]{AGAIN}").unwrap();
        }
        text
    };
    assert_eq!(load_toml(&many(65_535)).unwrap().databases[0].slots[0].namespaces.len(), 65_535);
    assert_eq!(refusal("c.toml", many(65_536)).0, "streams.db.slot: 65536 namespaces");
}

#[test]
fn memory_is_counted_for_all_slots() {
    let text = format!("limits.memory = \"128KiB\"\n{SMALL}[streams.db.b.n]{AGAIN}");
    load_toml(&text).unwrap();
    let (said, remedy) = refusal("c.toml", format!("{text}[streams.db.c.m]{AGAIN}"));
    assert_eq!(said, "limits.memory: less than 64 KiB for each of 3 slots");
    assert!(remedy.contains("\"192KiB\""), "{remedy}");
}

#[test]
fn variables() {
    refuses(&[
        (
            Replace("localhost", "${NO_SUCH_HOST}"),
            "databases.db.host: the environment variable NO_SUCH_HOST is not set",
            "${NO_SUCH_HOST:-default}",
        ),
        (
            Replace("kafka:9092", "${K}:9092"),
            "kafka_clients.k.endpoints.0: the environment variable K is not set",
            "set K",
        ),
        (Replace("\"events\"", "\"${x\""), "NS.eventsink_topic: ${ without the name", "$${"),
    ]);
}

#[test]
fn the_file_itself() {
    let overrides = cdc_notifier::config::Overrides::default();
    let path = std::path::Path::new("/nowhere/c.toml");
    let error = cdc_notifier::config::load(path, &no_variables, &overrides, &any_property).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/c.toml: cannot be read: No such file"), "{error}");
    assert!(error.remedy().contains("--config"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folder.toml");
    std::fs::create_dir(&path).unwrap();
    let error = cdc_notifier::config::load(&path, &no_variables, &overrides, &any_property).unwrap_err();
    assert!(error.to_string().contains("folder.toml: cannot be read"), "{error}");
}
