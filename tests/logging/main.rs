//! What stands in the log, line by line.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use cdc_notifier::{
    config::{Log, LogFormat},
    observability::logging,
};
use serde_json::{Value, json};
use tracing::{Level, debug, error, event, info, info_span, warn};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines that `events` write.
fn lines(level: &str, format: LogFormat, terminal: bool, events: impl FnOnce()) -> Vec<String> {
    let written = Lines::default();
    let writer = written.clone();
    let log = Log { level: level.to_owned(), level_from: None, format };
    let subscriber = logging::subscriber(&log, move || writer.clone(), terminal).unwrap();
    tracing::subscriber::with_default(subscriber, events);
    let bytes = written.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}

fn json(events: impl FnOnce()) -> Vec<Value> {
    lines("info", LogFormat::Json, false, events).iter().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// RFC 3339, UTC.
fn is_timestamp(text: &str) -> bool {
    text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

#[test]
fn json_is_flat() {
    let lines = json(|| {
        let _database = info_span!("database", database = "db", slot = "none").entered();
        let slot = info_span!("slot", slot = "s1", late = tracing::field::Empty);
        slot.record("late", 5);
        let _slot = slot.entered();
        info!(address = %"127.0.0.1:8022", count = 3_u64, signed = -3, ok = true, ratio = 0.5, "admin \"listening\"\nnow");
    });
    let mut line = lines[0].clone();
    let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
    assert!(is_timestamp(timestamp.as_str().unwrap()), "{timestamp}");
    let expected = json!({
        "level": "INFO", "target": "logging", "message": "admin \"listening\"\nnow", "database": "db", "slot": "s1", "late": 5,
        "address": "127.0.0.1:8022", "count": 3, "signed": -3, "ok": true, "ratio": 0.5,
    });
    assert_eq!(line, expected);
}

#[test]
fn json_has_no_key_twice() {
    let lines = lines("info", LogFormat::Json, false, || {
        let _slot = info_span!("slot", slot = "outer", level = "x").entered();
        info!(slot = "inner", target = "y", timestamp = 1, "m");
    });
    assert_eq!(lines[0].matches("\"slot\":").count(), 1);
    assert_eq!(lines[0].matches("\"level\":").count(), 1);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(line["slot"], "inner");
    assert_eq!(
        (&line["level"], &line["field.level"], &line["field.target"]),
        (&json!("INFO"), &json!("x"), &json!("y"))
    );
    assert!(lines[0].starts_with("{\"timestamp\":\"") && lines.len() == 1, "{lines:?}");
}

#[test]
fn logfmt() {
    let lines = lines("info", LogFormat::Logfmt, false, || {
        let _slot = info_span!("slot", slot = "s1").entered();
        warn!(address = %"127.0.0.1:1", "two words\nand a line");
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (timestamp, rest) = lines[0].strip_prefix("ts=").unwrap().split_once(' ').unwrap();
    assert!(is_timestamp(timestamp), "{timestamp}");
    assert_eq!(rest, r#"level=warn target=logging message="two words\nand a line" address=127.0.0.1:1 slot=s1"#);
}

#[test]
fn text() {
    let plain = lines("info", LogFormat::Text, false, || error!(slot = "s1", "broken"));
    let (timestamp, rest) = plain[0].split_once(' ').unwrap();
    assert!(is_timestamp(timestamp), "{timestamp}");
    assert_eq!(rest.trim_start(), r#"ERROR logging: broken slot="s1""#);
    let coloured = lines("info", LogFormat::Text, true, || error!("broken"));
    assert!(coloured[0].contains("\u{1b}["));
}

#[test]
fn auto_is_text_on_a_terminal_else_json() {
    assert!(lines("info", LogFormat::Auto, false, || info!("x"))[0].starts_with('{'));
    assert!(!lines("info", LogFormat::Auto, true, || info!("x"))[0].starts_with('{'));
}

fn levels(directives: &str) -> Vec<String> {
    let lines = lines(directives, LogFormat::Json, false, || {
        info!("ours");
        debug!("ours in detail");
        event!(target: "rdkafka::client", Level::INFO, "theirs");
        event!(target: "hyper_util", Level::WARN, "their warning");
        event!(target: "tokio_postgres", Level::ERROR, "their error");
    });
    lines
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn levels_and_directives() {
    assert_eq!(levels("info"), ["ours", "their warning", "their error"]);
    assert_eq!(levels("DEBUG"), ["ours", "ours in detail", "their warning", "their error"]);
    assert_eq!(levels("error"), ["their error"]);
    assert_eq!(levels("off"), Vec::<String>::new());
    assert_eq!(levels("info,rdkafka=info"), ["ours", "theirs", "their warning", "their error"]);
    assert_eq!(levels("warn,logging=debug,hyper=off"), ["ours", "ours in detail", "their error"]);
}

#[test]
fn a_wrong_level_is_refused() {
    for format in [LogFormat::Json, LogFormat::Text] {
        let log = Log { level: "inof".to_owned(), level_from: None, format };
        let error = logging::init(&log).unwrap_err();
        assert_eq!(error.to_string(), "directive 1 is not understood");
        assert!(error.remedy().contains("error, warn, info, debug or trace"));
    }
}

/// rdkafka and tokio_postgres speak to the `log` crate. The only test that sets the process's log.
#[test]
fn lines_of_the_log_crate_arrive() {
    logging::init(&Log { level: "info".to_owned(), level_from: None, format: LogFormat::Json }).unwrap();
    assert!(log::log_enabled!(target: "cdc_notifier", log::Level::Info));
    assert!(!log::log_enabled!(target: "cdc_notifier", log::Level::Debug));
    let lines = json(|| log::warn!(target: "librdkafka", "broker {} is away", 1));
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["target"], &lines[0]["message"]), (&json!("librdkafka"), &json!("broker 1 is away")));
    assert_eq!(lines[0].as_object().unwrap().len(), 4, "{}", lines[0]);
    assert!(logging::init(&Log { level: "info".to_owned(), level_from: None, format: LogFormat::Json }).is_err());
}
