//! Flag over environment over file.

use std::fs;

use cdc_notifier::config::{Config, ConfigError, LogFormat, Overrides, load};

use crate::{SMALL, any_property};

const FILE: &str = "log = { level = \"error\", format = \"json\" }\nadmin = { listen = \"127.0.0.1:1\" }\n";

fn with(variables: &[(&str, &str)], flags: [Option<&str>; 3]) -> Result<Config, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, FILE.to_owned() + SMALL).unwrap();
    let environment = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    let [log_level, log_format, admin_listen] = flags.map(|flag| flag.map(str::to_owned));
    load(&path, &environment, &Overrides { log_level, log_format, admin_listen }, &any_property)
}

fn seen(config: &Config) -> (&str, LogFormat, Option<&str>) {
    (&config.log.level, config.log.format, config.admin.listen.as_deref())
}

const VARIABLES: [(&str, &str); 3] = [
    ("CDC_NOTIFIER_LOG_LEVEL", "warn"),
    ("CDC_NOTIFIER_LOG_FORMAT", "logfmt"),
    ("CDC_NOTIFIER_ADMIN_LISTEN", "127.0.0.1:2"),
];

#[test]
fn precedence() {
    let file = with(&[], [None; 3]).unwrap();
    assert_eq!(seen(&file), ("error", LogFormat::Json, Some("127.0.0.1:1")));
    let environment = with(&VARIABLES, [None; 3]).unwrap();
    assert_eq!(seen(&environment), ("warn", LogFormat::Logfmt, Some("127.0.0.1:2")));
    let flags = [Some("debug"), Some("text"), Some("127.0.0.1:3")];
    for variables in [&VARIABLES[..], &[]] {
        assert_eq!(seen(&with(variables, flags).unwrap()), ("debug", LogFormat::Text, Some("127.0.0.1:3")));
    }
}

#[test]
fn empty_ones() {
    let empty = VARIABLES.map(|(name, _)| (name, ""));
    assert_eq!(seen(&with(&empty, [None; 3]).unwrap()), ("error", LogFormat::Json, None));
    assert_eq!(seen(&with(&VARIABLES, [None, None, Some("")]).unwrap()), ("warn", LogFormat::Logfmt, None));
}

#[test]
fn a_wrong_one_is_named() {
    for (variables, flags, place) in [
        (&[("CDC_NOTIFIER_LOG_FORMAT", "xml")][..], [None; 3], "CDC_NOTIFIER_LOG_FORMAT: "),
        (&[("CDC_NOTIFIER_ADMIN_LISTEN", "8022")], [None; 3], "CDC_NOTIFIER_ADMIN_LISTEN: "),
        (&[], [None, Some("xml"), None], "--log-format: "),
        (&[], [None, None, Some("localhost")], "--admin-listen: "),
    ] {
        let error = with(variables, flags).unwrap_err();
        assert!(error.to_string().starts_with(place), "{error}");
    }
}
