//! The binary's exit codes and what it says on stderr.

use std::{
    fs,
    net::TcpListener,
    process::{Command, Output},
};

use crate::service::shows_no_secret;

const SMALL: &str = r#"
[databases.db]
host = "127.0.0.1"
port = 1
database = "progressor"
username = "cdc"
password = "canary-in-the-file"

[kafka_clients.k]
endpoints = ["127.0.0.1:1"]

[streams.db.slot_a."default/default"]
kafka_client = "k"
eventsink_topic = "events"
lifecycle_topic = "lifecycle"
"#;

fn binary() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cdc-notifier"));
    command.env_remove("CDC_NOTIFIER_CONFIG").env("CANARY_SECRET", "canary-in-the-environment");
    command
}

/// Exit code, stdout and stderr; the canary is in neither.
fn outcome(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    shows_no_secret("stdout", &stdout);
    shows_no_secret("stderr", &stderr);
    (output.status.code(), stdout, stderr)
}

/// What `run` says of a configuration that it refuses: the line, after the file's name, and the remedy.
fn refusal(name: &str, text: &str) -> (String, String) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    fs::write(&path, text).unwrap();
    let output =
        binary().args(["run", "--config"]).arg(&path).args(["--admin-listen", "127.0.0.1:0"]).output().unwrap();
    let (code, stdout, stderr) = outcome(&output);
    assert_eq!((code, stdout.as_str()), (Some(78), ""), "{stderr}");
    let lines: Vec<_> = stderr.lines().collect();
    let [line, remedy] = lines[..] else { panic!("not two lines: {stderr}") };
    let (_, said) = line.split_once(&format!("/{name}: ")).unwrap_or_else(|| panic!("no file in {line}"));
    (said.to_owned(), remedy.to_owned())
}

#[test]
fn mistakes_in_the_configuration() {
    let stream = "[streams.db.slot_a.\"default/default\"]";
    let long = format!("[streams.db.slot_a.\"{}\"]", "n".repeat(60));
    for (from, to, said, remedy) in [
        ("host =", "hostname =", "databases.db.hostname: unknown key", "host, port"),
        ("port = 1", "port = \"x\"", "databases.db.port: ", "65535"),
        ("username = \"cdc\"\n", "", "databases.db.username: missing", "add username = "),
        ("canary-in-the-file", "${CANARY_UNSET}", "databases.db.password: ", "CANARY_UNSET"),
        ("password = \"canary", "sslmode = \"maybe\"\npassword = \"canary", "databases.db.sslmode: ", "verify-full"),
        ("password = \"canary-in-the-file\"", "password_file = \"/nowhere\"", "databases.db.password_file: ", "read"),
        ("[\"127.0.0.1:1\"]", "[]", "kafka_clients.k.endpoints: ", "host:port"),
        (
            "[streams.db",
            "[kafka_clients.k.properties]\n\"acks\" = \"1\"\n[streams.db",
            "kafka_clients.k.properties.acks: ",
            "delete the line",
        ),
        (
            "[streams.db",
            "[kafka_clients.k.properties]\n\"linger\" = \"1\"\n[streams.db",
            "kafka_clients.k.properties.linger: ",
            "",
        ),
        (
            "kafka_client = \"k\"",
            "kafka_client = \"other\"",
            "streams.db.slot_a.\"default/default\".kafka_client: ",
            "k",
        ),
        (stream, "[streams.other.slot_a.\"default/default\"]", "streams.other: ", "db"),
        (stream, "[streams.db.Slot-A.\"default/default\"]", "streams.db.Slot-A: ", "a to z"),
        (stream, long.as_str(), "streams.db.slot_a.nnn", "63"),
        ("\n[databases", "send_timeout = \"soon\"\n[databases", "send_timeout: ", "\"500ms\""),
        ("\n[databases", "[limits]\nmemory = \"1KiB\"\n[databases", "limits.memory: ", "64 KiB"),
        ("\n[databases", "[log]\nlevel = \"loud\"\n[databases", "log.level: ", "info"),
    ] {
        assert!(SMALL.contains(from), "{from}");
        let (line, hint) = refusal("service.toml", &SMALL.replacen(from, to, 1));
        let begins = line.to_lowercase().starts_with(&said.to_lowercase());
        assert!(begins, "{to}: {line}\n{hint}");
        assert!(format!("{line}\n{hint}").contains(remedy), "{to}: {line}\n{hint}");
        assert!(!hint.is_empty());
    }
    // A line that may hold a secret is never shown.
    let (line, _) = refusal("service.toml", &SMALL.replace("canary-in-the-file\"", "canary-in-the-file"));
    assert!(line.contains("line 7"), "{line}");
    let (line, _) = refusal("service.yaml", "databases:\n  db: [canary-\n");
    assert!(line.contains("line"), "{line}");
    let (line, _) = refusal("service.json", "{\"databases\": {\"db\": {\"password\": canary-}}}");
    assert!(line.contains("line 1"), "{line}");
}

#[test]
fn a_file_that_cannot_be_read() {
    let output = binary().args(["run", "--config", "/nowhere/service.toml"]).output().unwrap();
    let (code, _, stderr) = outcome(&output);
    assert_eq!(code, Some(78), "{stderr}");
    assert!(stderr.contains("/nowhere/service.toml") && stderr.lines().count() == 2, "{stderr}");
}

#[test]
fn command_lines() {
    for arguments in [
        &[][..],
        &["run"],
        &["run", "--config"],
        &["run", "--config", "a", "--unknown"],
        &["run", "--config", "a", "more"],
        &["walk"],
        &["check", "--config", "a"],
    ] {
        let (code, stdout, stderr) = outcome(&binary().args(arguments).output().unwrap());
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(!stderr.trim().is_empty(), "{arguments:?}");
    }
    let (code, help, stderr) = outcome(&binary().arg("--help").output().unwrap());
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let commands: Vec<_> = help.lines().skip_while(|line| *line != "Commands:").skip(1).collect();
    let commands: Vec<_> =
        commands.iter().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(commands.contains(&"run"), "{help}");
    // Whatever is named is there: it knows its own --help.
    for command in commands {
        let (code, help, _) = outcome(&binary().args([command, "--help"]).output().unwrap());
        assert_eq!(code, Some(0), "{command}");
        assert!(help.contains(&format!("cdc-notifier {command}")), "{help}");
    }
    let (code, version, _) = outcome(&binary().arg("--version").output().unwrap());
    assert_eq!((code, version.trim()), (Some(0), concat!("cdc-notifier ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn an_address_in_use() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("service.toml");
    fs::write(&path, SMALL).unwrap();
    for (flag, variable) in [(Some(&address), None), (None, Some(&address))] {
        let mut command = binary();
        command.args(["run", "--config"]).arg(&path);
        if let Some(address) = &flag {
            command.args(["--admin-listen", address]);
        }
        if let Some(address) = &variable {
            command.env("CDC_NOTIFIER_ADMIN_LISTEN", address);
        }
        let output = command.output().unwrap();
        let (code, _, stderr) = outcome(&output);
        assert_eq!(code, Some(78), "{stderr}");
        assert!(stderr.contains(&format!("admin.listen: {address}: ")), "{stderr}");
        assert!(stderr.contains("set admin.listen (or CDC_NOTIFIER_ADMIN_LISTEN, --admin-listen)"), "{stderr}");
    }
}
