//! From the keys of the file to a complete configuration: defaults, secrets from files, references, and every check that
//! needs neither PostgreSQL nor Kafka.

mod kafka;
mod postgres;
mod streams;

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use secrecy::SecretString;

use super::{
    environment::Environment,
    error::{KeyPath, Place, PropertyError, Wrong},
    overrides::{Overrides, Said},
    raw,
    types::{Admin, Config, KafkaClient, Limits, Log, LogFormat, Retry},
    values::Time,
};

/// The least that a slot's share of `limits.memory` may be, in bytes.
const MIN_MEMORY_PER_SLOT: usize = 64 << 10;

/// Bytes of a secret in a file; the largest are PEM bundles.
const MAX_SECRET_SIZE: u64 = 1 << 20;

/// The largest field that PostgreSQL can store is 1 GiB.
const MAX_PAYLOAD_SIZE: usize = 1 << 30;

/// Resolves and checks the whole.
pub(super) fn config(
    raw: raw::File,
    environment: Environment<'_>,
    overrides: &Overrides,
    check: &dyn Fn(&KafkaClient) -> Result<(), PropertyError>,
) -> Result<Config, Wrong> {
    let top = KeyPath::default();
    let retry = Retry {
        resend_timeout: positive(&top, "resend_timeout", raw.resend_timeout, Duration::from_secs(3))?,
        max_retries: raw.max_retries.unwrap_or(3),
        reconnect_timeout: positive(&top, "reconnect_timeout", raw.reconnect_timeout, Duration::from_secs(5))?,
        send_timeout: positive(&top, "send_timeout", raw.send_timeout, Duration::from_secs(30))?,
        // Zero is allowed: do not wait.
        shutdown_timeout: raw.shutdown_timeout.map_or(Duration::from_secs(10), |time| time.0),
    };
    let admin = admin(raw.admin.unwrap_or_default(), environment, overrides)?;
    let log = log(raw.log.unwrap_or_default(), environment, overrides)?;
    let clients = kafka::clients(raw.kafka_clients, check)?;
    let databases = streams::databases(raw.databases, raw.streams, &clients)?;
    let slots = databases.iter().map(|database| database.slots.len()).sum();
    let limits = limits(&raw.limits.unwrap_or_default(), slots)?;
    Ok(Config { retry, limits, admin, log, databases })
}

fn limits(raw: &raw::Limits, slots: usize) -> Result<Limits, Wrong> {
    let path = KeyPath::of(["limits"]);
    let limits = Limits {
        memory: raw.memory.map_or(32 << 20, |size| size.0),
        max_payload_size: raw.max_payload_size.map_or(16 << 20, |size| size.0),
        max_payload_depth: raw.max_payload_depth.map_or(1024, |depth| usize::try_from(depth).unwrap_or(usize::MAX)),
    };
    let least = slots.saturating_mul(MIN_MEMORY_PER_SLOT);
    if limits.memory < least {
        return Err(Wrong::at(
            &path.key("memory"),
            format!("less than 64 KiB for each of {slots} slots"),
            format!("memory = \"{}KiB\" or more; the default is \"32MiB\"", least >> 10),
        ));
    }
    if !(1..=MAX_PAYLOAD_SIZE).contains(&limits.max_payload_size) {
        return Err(Wrong::at(
            &path.key("max_payload_size"),
            "out of range",
            "write 1 byte to \"1GiB\"; the default is \"16MiB\"",
        ));
    }
    Ok(limits)
}

fn admin(raw: raw::Admin, environment: Environment<'_>, overrides: &Overrides) -> Result<Admin, Wrong> {
    let path = KeyPath::of(["admin"]);
    let listen = match overrides.admin_listen(environment, raw.listen) {
        None => Some("127.0.0.1:8022".to_owned()),
        Some(said) if said.text.is_empty() => None,
        Some(said) if host_and_port(&said.text).is_some() => Some(said.text),
        Some(said) => {
            return Err(Wrong::new(
                said.place,
                "no address to listen on",
                "write host:port, such as 127.0.0.1:8022, [::1]:8022, or 0.0.0.0:8022 for all; empty switches it off",
            ));
        }
    };
    let token = raw.token_file.map(|file| secret(&path.key("token_file"), &file)).transpose()?;
    let stall_timeout = positive(&path, "stall_timeout", raw.stall_timeout, Duration::from_secs(30))?;
    Ok(Admin { listen, stall_timeout, token })
}

fn log(raw: raw::Log, environment: Environment<'_>, overrides: &Overrides) -> Result<Log, Wrong> {
    let format = match overrides.log_format(environment, raw.format) {
        None => LogFormat::Auto,
        Some(Said { text, place }) => choose(place, &text, FORMATS)?,
    };
    // Directives are checked by `observability::logging`, which knows their grammar.
    let (level, level_from) = match overrides.log_level(environment, raw.level) {
        None => ("info".to_owned(), None),
        Some(Said { text, place: Place::Outside(name) }) => (text, Some(name)),
        Some(Said { text, .. }) => (text, None),
    };
    Ok(Log { level, level_from, format })
}

const FORMATS: &[(&str, LogFormat)] =
    &[("auto", LogFormat::Auto), ("text", LogFormat::Text), ("json", LogFormat::Json), ("logfmt", LogFormat::Logfmt)];

/// The meaning of a word out of a few.
fn choose<T: Copy>(place: Place, text: &str, choices: &[(&str, T)]) -> Result<T, Wrong> {
    choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        Wrong::new(place, "none of the words that are allowed", format!("write one of: {}", words.join(", ")))
    })
}

/// A duration above zero: a zero would be a busy loop or an instant failure.
fn positive(table: &KeyPath, key: &str, time: Option<Time>, default: Duration) -> Result<Duration, Wrong> {
    match time {
        None => Ok(default),
        Some(Time(duration)) if duration > Duration::ZERO => Ok(duration),
        Some(_) => Err(Wrong::at(&table.key(key), "zero", format!("write 1 ms or more; the default is {default:?}"))),
    }
}

/// A name that an operator gives to something.
fn name(path: &KeyPath) -> Result<(), Wrong> {
    if path.last().is_empty() || path.last().contains(char::is_control) {
        return Err(Wrong::at(path, "no name", "use a name that is not empty and has no control characters"));
    }
    Ok(())
}

/// `host:port`; an IPv6 address in brackets.
fn host_and_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    let known = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_host(host),
    };
    known.then_some((host, port))
}

/// Whether a text may be a host name or an IPv4 address. The resolver has the last word.
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || ".-_".contains(c))
}

/// A secret from a file, without the line break that editors put at its end.
fn secret(path: &KeyPath, file: &Path) -> Result<SecretString, Wrong> {
    let wrong = |what: String| {
        // A password put here by mistake is no path; do not show it.
        let path_like = file.is_absolute() || file.starts_with(".") || file.starts_with("..");
        let shown = if path_like { format!("{:?}", file.to_string_lossy()) } else { "the file".to_owned() };
        Err(Wrong::at(path, format!("{shown} {what}"), "name a readable file that holds the secret and nothing else"))
    };
    let mut bytes = Vec::new();
    match File::open(file).and_then(|file| file.take(MAX_SECRET_SIZE + 1).read_to_end(&mut bytes)) {
        Err(error) => return wrong(format!("cannot be read: {error}")),
        Ok(size) if size as u64 > MAX_SECRET_SIZE => return wrong("is larger than 1 MiB".to_owned()),
        Ok(_) => {}
    }
    let Ok(text) = String::from_utf8(bytes) else { return wrong("is not UTF-8".to_owned()) };
    let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if text.is_empty() {
        return wrong("is empty".to_owned());
    }
    Ok(text.into())
}
