//! TLS with libpq's meaning of `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.

use std::{fs, path::Path, pin::Pin};

use openssl::{
    error::ErrorStack,
    hash::MessageDigest,
    nid::Nid,
    pkey::PKey,
    ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVerifyMode, SslVersion},
    x509::X509VerifyResult,
};
use tokio::io::BufReader;
use tokio_openssl::SslStream;

use super::{
    error::{Failure, Place},
    socket::Socket,
};
use crate::{
    change::{Class, Trouble},
    config::{Postgres, SslMode, Tls},
};

/// Bytes read from the socket at once: a TLS record holds 16 KiB at most, and each would cost two system calls.
const SOCKET_BUFFER: usize = 64 * 1024;

/// Where systems keep the certificates of public authorities.
const SYSTEM_ROOTS: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

pub(super) type TlsStream = SslStream<BufReader<Socket>>;

/// How much of the server's certificate is verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verify {
    Nothing,
    Authority,
    AuthorityAndName,
}

impl Verify {
    const fn of(tls: &Tls) -> Self {
        match tls.mode {
            SslMode::VerifyFull => Self::AuthorityAndName,
            SslMode::VerifyCa => Self::Authority,
            // As libpq, "for backwards compatibility with earlier versions".
            SslMode::Require if tls.root_cert.is_some() => Self::Authority,
            SslMode::Require | SslMode::Disable | SslMode::Allow | SslMode::Prefer => Self::Nothing,
        }
    }
}

/// The handshake, after the server has agreed to it.
pub(super) async fn connect(db: &Postgres, socket: Socket) -> Result<TlsStream, Failure> {
    let verify = Verify::of(&db.tls);
    let connector = connector(&db.tls, verify).map_err(Failure::Trouble)?;
    let mut stream = connector
        .configure()
        .and_then(|mut configuration| {
            configuration.set_verify_hostname(verify == Verify::AuthorityAndName);
            configuration.into_ssl(&db.host)
        })
        .and_then(|ssl| SslStream::new(ssl, BufReader::with_capacity(SOCKET_BUFFER, socket)))
        .map_err(|error| setup("TLS", &error))
        .map_err(Failure::Trouble)?;
    let result = Pin::new(&mut stream).connect().await;
    result.map_err(|error| Failure::Tls(refusal(db, verify, stream.ssl().verify_result(), &error)))?;
    Ok(stream)
}

/// The hash of the server's certificate that binds a SCRAM exchange to this channel (RFC 5929, `tls-server-end-point`).
pub(super) fn server_end_point(stream: &TlsStream) -> Option<Vec<u8>> {
    let certificate = stream.ssl().peer_certificate()?;
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match signature.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        nid => MessageDigest::from_nid(nid)?,
    };
    certificate.digest(digest).ok().map(|bytes| bytes.to_vec())
}

fn connector(tls: &Tls, verify: Verify) -> Result<SslConnector, Trouble> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(|error| setup("TLS", &error))?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2)).map_err(|error| setup("TLS", &error))?;
    if verify == Verify::Nothing {
        builder.set_verify(SslVerifyMode::NONE);
    } else {
        builder.set_verify(SslVerifyMode::PEER);
        trust(&mut builder, tls, verify)?;
    }
    if let Some(cert) = &tls.cert {
        readable("sslcert", cert)?;
        builder.set_certificate_chain_file(cert).map_err(|error| unusable("sslcert", cert, &error))?;
        let Some(key) = &tls.key else {
            return Err(Trouble::new(Class::PostgresLogin, "sslcert is set and sslkey is not", "set sslkey"));
        };
        let pem = readable("sslkey", key)?;
        // Without the callback OpenSSL would ask for a passphrase on the terminal.
        let key_of =
            PKey::private_key_from_pem_callback(&pem, |_| Ok(0)).map_err(|error| unusable("sslkey", key, &error))?;
        builder
            .set_private_key(&key_of)
            .and_then(|()| builder.check_private_key())
            .map_err(|error| unusable("sslkey", key, &error))?;
    }
    Ok(builder.build())
}

fn trust(builder: &mut SslConnectorBuilder, tls: &Tls, verify: Verify) -> Result<(), Trouble> {
    let given = tls.root_cert.as_deref().filter(|path| *path != Path::new("system"));
    let roots = match given {
        Some(path) => path,
        // With any public authority the name is all that is worth verifying; libpq refuses this too.
        None if verify == Verify::Authority => {
            return Err(Trouble::new(
                Class::PostgresLogin,
                "sslmode verify-ca needs the certificate of the authority that is trusted",
                "set sslrootcert to its file, or sslmode to verify-full to trust the system's authorities",
            ));
        }
        None => SYSTEM_ROOTS.into_iter().map(Path::new).find(|path| path.exists()).ok_or_else(|| {
            Trouble::new(
                Class::PostgresLogin,
                "the system's certificates of authorities were not found",
                "set sslrootcert, or install the package ca-certificates",
            )
        })?,
    };
    readable("sslrootcert", roots)?;
    builder.set_ca_file(roots).map_err(|error| unusable("sslrootcert", roots, &error))
}

fn readable(setting: &str, path: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(path).map_err(|error| {
        Trouble::new(
            Class::PostgresLogin,
            format!("{setting} {}: {error}", path.display()),
            format!("correct `{setting}`, or make the file readable"),
        )
    })
}

fn unusable(setting: &str, path: &Path, error: &ErrorStack) -> Trouble {
    Trouble::new(
        Class::PostgresLogin,
        format!("{setting} {}: {}", path.display(), first_reason(error)),
        format!("`{setting}` must be PEM without a passphrase, and the key that of the certificate"),
    )
}

fn setup(what: &str, error: &ErrorStack) -> Trouble {
    Trouble::new(
        Class::PostgresLogin,
        format!("{what}: {}", first_reason(error)),
        "see the TLS settings of this database",
    )
}

fn first_reason(error: &ErrorStack) -> &'static str {
    error.errors().first().and_then(openssl::error::Error::reason).unwrap_or("refused by OpenSSL")
}

fn refusal(db: &Postgres, verify: Verify, verified: X509VerifyResult, error: &openssl::ssl::Error) -> Trouble {
    let server = Place::of(db).server;
    if verify != Verify::Nothing && verified != X509VerifyResult::OK {
        return Trouble::new(
            Class::PostgresLogin,
            format!("{server}: the server's certificate is not accepted: {}", verified.error_string()),
            format!(
                "set sslrootcert to the authority that signed it and, under verify-full, let the certificate name \"{}\"",
                db.host
            ),
        );
    }
    let reason = error.ssl_error().map(first_reason);
    let reason = reason
        .or_else(|| error.io_error().map(|_| "the connection broke"))
        .unwrap_or("the server closed the connection");
    Trouble::new(
        Class::PostgresLogin,
        format!("{server}: TLS handshake: {reason}"),
        "the server must speak TLS 1.2 or later and, if it asks for a certificate of ours, trust sslcert",
    )
}
