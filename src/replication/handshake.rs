//! The startup message and the login.

use postgres_protocol::authentication::{
    md5_hash,
    sasl::{self, ChannelBinding, ScramSha256},
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{
    error::{Failure, Place},
    transport::Stream,
    version::ServerVersion,
    wire::{Body, Message, Wire},
};
use crate::{
    change::{Class, Trouble},
    config::Postgres,
};

/// The name under which operators see us in `pg_stat_activity` and `pg_stat_replication`.
pub(super) const APPLICATION_NAME: &str = "cdc-notifier";

/// Settings that decide how PostgreSQL prints values. As startup parameters they win over those of role and database.
pub(super) const PINNED: [(&str, &str); 6] = [
    ("client_encoding", "UTF8"),
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("bytea_output", "hex"),
    ("extra_float_digits", "1"),
];

/// Protocol 3.0.
const VERSION: i32 = 3 << 16;

/// What the server has told at login.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    /// Of the server's process.
    pub(super) pid: i32,
    pub(super) server_version: ServerVersion,
}

/// Logs in to a walsender of the database and sees that the pinned settings hold.
pub(super) async fn log_in(db: &Postgres, stream: Stream) -> Result<Session, Failure> {
    let mut wire = Wire::new(stream);
    let mut startup = VERSION.to_be_bytes().to_vec();
    let ours = [
        ("user", db.username.as_str()),
        ("database", db.database.as_str()),
        ("replication", "database"),
        ("application_name", APPLICATION_NAME),
    ];
    for (name, value) in ours.into_iter().chain(PINNED) {
        for text in [name, value] {
            if text.contains('\0') {
                return Err(Failure::Protocol("a name with a zero byte"));
            }
            startup.extend_from_slice(text.as_bytes());
            startup.push(0);
        }
    }
    startup.push(0);
    wire.queue(None, &startup)?;
    wire.flush().await?;
    authenticate(db, &mut wire).await?;

    // Nothing else is kept: how much a server says before it is ready is up to it.
    let (mut server_version, mut pid) = (None, 0);
    loop {
        let message = next(&mut wire).await?;
        let mut body = Body(&message.body);
        match message.kind {
            b'S' => {
                let (name, value) = (body.text()?, body.text()?);
                check_parameter(&name, &value)?;
                if name == "server_version" {
                    server_version = Some(value);
                }
            }
            b'K' => pid = body.i32()?,
            b'Z' => break,
            // Notices, and the news that an option or a minor version of the protocol is unknown.
            b'N' | b'v' => {}
            _ => return Err(Failure::Protocol("an unexpected message during the login")),
        }
    }
    let server_version = ServerVersion::accept(server_version.as_deref(), &Place::of(db))?;
    wire.allow_long_messages();
    Ok(Session { wire, pid, server_version })
}

/// Sees that a reported setting that decides how values are printed is what we asked for.
pub(super) fn check_parameter(name: &str, value: &str) -> Result<(), Failure> {
    let right = match name {
        "TimeZone" => value == "UTC",
        "DateStyle" => value.starts_with("ISO"),
        "client_encoding" => value == "UTF8",
        "integer_datetimes" => value == "on",
        _ => true,
    };
    if right {
        Ok(())
    } else {
        Err(Failure::Protocol("the server does not keep TimeZone, DateStyle or client_encoding as asked for"))
    }
}

/// The next message that is no error.
async fn next(wire: &mut Wire) -> Result<Message, Failure> {
    let message = wire.receive().await?;
    if message.kind == b'E' {
        return Err(Failure::Server(Body(&message.body).server_error()?));
    }
    Ok(message)
}

async fn authenticate(db: &Postgres, wire: &mut Wire) -> Result<(), Failure> {
    loop {
        let message = next(wire).await?;
        let mut body = Body(&message.body);
        match (message.kind, body.i32()) {
            (b'R', Ok(0)) => return Ok(()),
            (b'R', Ok(3)) if !wire.stream().is_private() => {
                return Err(clear_text(db));
            }
            (b'R', Ok(3)) => {
                let mut answer = password(db)?.expose_secret().as_bytes().to_vec();
                answer.push(0);
                wire.send(b'p', &answer).await?;
            }
            (b'R', Ok(5)) => {
                let salt = body.bytes(4)?.try_into().unwrap_or_default();
                let mut answer =
                    md5_hash(db.username.as_bytes(), password(db)?.expose_secret().as_bytes(), salt).into_bytes();
                answer.push(0);
                wire.send(b'p', &answer).await?;
            }
            (b'R', Ok(10)) => scram(db, wire, body).await?,
            (b'R', Ok(_)) => {
                return Err(refused(
                    db,
                    "the server asks for a way to log in that is not supported (GSSAPI, SSPI or another)",
                    "let pg_hba.conf say scram-sha-256, cert or peer",
                ));
            }
            (b'N' | b'v', _) => {}
            _ => return Err(Failure::Protocol("the answer to the login is not PostgreSQL's")),
        }
    }
}

async fn scram(db: &Postgres, wire: &mut Wire, mut mechanisms: Body<'_>) -> Result<(), Failure> {
    let (mut plain, mut plus) = (false, false);
    loop {
        match mechanisms.text()?.as_str() {
            "" => break,
            sasl::SCRAM_SHA_256 => plain = true,
            sasl::SCRAM_SHA_256_PLUS => plus = true,
            _ => {}
        }
    }
    let binding = wire.stream().channel_binding();
    let bound = wire.stream().server_end_point().is_some();
    let (mechanism, binding) = match (plus, plain) {
        (true, _) if bound => (sasl::SCRAM_SHA_256_PLUS, binding),
        // We could, the server could not: said so, a man in the middle who hid it is found out.
        (false, true) if bound => (sasl::SCRAM_SHA_256, ChannelBinding::unrequested()),
        (_, true) => (sasl::SCRAM_SHA_256, binding),
        _ => return Err(refused(db, "the server offers no SCRAM-SHA-256", "let pg_hba.conf say scram-sha-256")),
    };
    let mut scram = ScramSha256::new(password(db)?.expose_secret().as_bytes(), binding);
    let mut initial = mechanism.as_bytes().to_vec();
    initial.push(0);
    initial.extend_from_slice(&i32::try_from(scram.message().len()).unwrap_or_default().to_be_bytes());
    initial.extend_from_slice(scram.message());
    wire.send(b'p', &initial).await?;

    // The server must prove that it knows the password too, before its "ok" counts.
    let first = sasl_step(wire, 11).await?;
    scram.update(&first).map_err(|_| Failure::Protocol("SCRAM: the server's first message is not right"))?;
    wire.send(b'p', scram.message()).await?;
    let last = sasl_step(wire, 12).await?;
    scram.finish(&last).map_err(|_| {
        refused(
            db,
            "the server did not prove that it knows the password",
            "see that this is the right server, and nobody is in the middle",
        )
    })
}

async fn sasl_step(wire: &mut Wire, step: i32) -> Result<Vec<u8>, Failure> {
    loop {
        let message = next(wire).await?;
        let mut body = Body(&message.body);
        match message.kind {
            b'R' if body.i32()? == step => return Ok(body.0.to_vec()),
            b'N' | b'v' => {}
            _ => return Err(Failure::Protocol("SCRAM: a message out of its turn")),
        }
    }
}

fn password(db: &Postgres) -> Result<&SecretString, Failure> {
    db.password.as_ref().ok_or_else(|| {
        refused(
            db,
            "the server asks for a password, and none is configured",
            "set `password` or `password_file` of this database",
        )
    })
}

/// The password is not sent where others may read along.
pub(super) fn clear_text(db: &Postgres) -> Failure {
    refused(
        db,
        "the server asks for the password in clear text, and the connection is not encrypted",
        "set sslmode to require or better, or let pg_hba.conf say scram-sha-256",
    )
}

fn refused(db: &Postgres, why: &str, remedy: &str) -> Failure {
    let place = Place::of(db);
    let message = format!("{}: login as role \"{}\": {why}", place.server, place.role);
    Failure::Trouble(Trouble::new(Class::PostgresLogin, message, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_change_values_are_refused() {
        assert!(check_parameter("TimeZone", "UTC").is_ok());
        for (name, value) in [
            ("TimeZone", "Asia/Kolkata"),
            ("DateStyle", "German, DMY"),
            ("client_encoding", "LATIN1"),
            ("integer_datetimes", "off"),
        ] {
            assert!(check_parameter(name, value).is_err(), "{name}");
        }
    }
}
