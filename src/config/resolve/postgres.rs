//! PostgreSQL connections and the settings of their slots.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::{
    super::{
        error::{KeyPath, Place, Wrong},
        raw,
        types::{Postgres, SslMode, Tls},
    },
    choose, is_host, positive, secret,
};

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

pub(super) fn postgres(path: &KeyPath, raw: raw::Database) -> Result<Postgres, Wrong> {
    if raw.hosts.is_some() {
        return Err(Wrong::not_built(&path.key("hosts"), "several hosts", "write host = \"...\" and port = 5432"));
    }
    if raw.target_session_attrs.is_some() {
        let remedy = "remove it; the host must be the primary";
        return Err(Wrong::not_built(&path.key("target_session_attrs"), "choosing a host by its session", remedy));
    }
    let Some(host) = raw.host else { return Err(Wrong::at(&path.key("host"), "missing", "add host = ...")) };
    // What begins with a slash is the directory of a Unix socket, as in libpq.
    let socket = host.starts_with('/') && !host.contains('\0');
    if !socket && !is_host(&host) && host.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(Wrong::at(
            &path.key("host"),
            "no host",
            "write one host name, one address without its port, or the directory of a Unix socket",
        ));
    }
    let port = raw.port.unwrap_or(5432);
    if port == 0 {
        return Err(Wrong::at(&path.key("port"), "out of range", "write 1 to 65535; the default is 5432"));
    }
    for (key, text) in [("database", &raw.database), ("username", &raw.username)] {
        if text.is_empty() || text.contains('\0') {
            return Err(Wrong::at(&path.key(key), "no name", "write a name that is not empty"));
        }
    }
    let password = match (raw.password, raw.password_file) {
        (Some(_), Some(_)) => {
            let remedy = "write either password or password_file";
            return Err(Wrong::at(&path.key("password"), "given twice, also as password_file", remedy));
        }
        // An empty one is none, as in libpq: ${VAR:-} may leave it out.
        (Some(password), None) => Some(password.0).filter(|password| !password.expose_secret().is_empty()),
        (None, Some(file)) => Some(secret(&path.key("password_file"), &file)?),
        (None, None) => None,
    };
    let mode = match raw.sslmode {
        None => SslMode::Prefer,
        Some(text) => choose(Place::Key(path.key("sslmode")), &text, SSL_MODES)?,
    };
    if matches!(mode, SslMode::VerifyCa | SslMode::VerifyFull) && raw.sslrootcert.is_none() {
        return Err(Wrong::at(
            &path.key("sslrootcert"),
            "missing, and this sslmode verifies the server's certificate",
            "add sslrootcert = \"/path/to/ca.pem\"",
        ));
    }
    if raw.sslcert.is_some() != raw.sslkey.is_some() {
        let missing = if raw.sslcert.is_some() { "sslkey" } else { "sslcert" };
        return Err(Wrong::at(&path.key(missing), "missing", "write both sslcert and sslkey, or neither"));
    }
    Ok(Postgres {
        host,
        port,
        database: raw.database,
        username: raw.username,
        password,
        tls: Tls { mode, root_cert: raw.sslrootcert, cert: raw.sslcert, key: raw.sslkey },
        connect_timeout: positive(path, "connect_timeout", raw.connect_timeout, Duration::from_secs(10))?,
    })
}

/// Checks the settings of a slot; gives back whether a missing slot may be created.
pub(super) fn slot(path: &KeyPath, raw: &raw::Slot) -> Result<bool, Wrong> {
    match raw.delivery.as_deref() {
        None | Some("at_least_once") => {}
        Some("exactly_once") => {
            let remedy = "write delivery = \"at_least_once\", or remove it";
            return Err(Wrong::not_built(&path.key("delivery"), "exactly once", remedy));
        }
        Some(_) => return Err(word(&path.key("delivery"), "at_least_once")),
    }
    match raw.takeover.as_deref() {
        None | Some("wait") => {}
        Some("terminate") => {
            let remedy = "write takeover = \"wait\", or remove it";
            return Err(Wrong::not_built(&path.key("takeover"), "taking a slot over", remedy));
        }
        Some(_) => return Err(word(&path.key("takeover"), "wait")),
    }
    if raw.failover == Some(true) {
        let remedy = "write failover = false, or remove it";
        return Err(Wrong::not_built(&path.key("failover"), "slots that are synchronised to standbys", remedy));
    }
    if raw.progress_topic.is_some() {
        return Err(Wrong::not_built(&path.key("progress_topic"), "a topic of the progress", "remove it"));
    }
    positive(path, "commit_interval", raw.commit_interval, Duration::from_millis(100))?;
    Ok(raw.create_slot.unwrap_or(true))
}

fn word(path: &KeyPath, allowed: &str) -> Wrong {
    Wrong::at(path, "none of the words that are allowed", format!("write {allowed:?}"))
}
