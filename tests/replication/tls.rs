//! `sslmode` means what it means to libpq, and what must not be accepted is not.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cdc_notifier::{
    change::{Class, Lsn},
    config::{
        Postgres,
        SslMode::{self, Allow, Disable, Prefer, Require, VerifyCa, VerifyFull},
        Tls,
    },
    demo::postgres::{Options, TemporaryPostgres},
    replication::{connection::Connection, sql::sql},
};
use openssl::{
    asn1::Asn1Time,
    bn::BigNum,
    hash::MessageDigest,
    pkey::{PKey, Private},
    rsa::Rsa,
    x509::{
        X509, X509NameBuilder,
        extension::{BasicConstraints, SubjectAlternativeName},
    },
};

use crate::support::{CANARY, NS, as_role, db, execute, message, prepared, refused, session, slot, value};

struct Pair {
    cert: X509,
    key: PKey<Private>,
}

/// A certificate for a name, signed by the authority, or by itself and an authority.
fn certificate(name: &str, authority: Option<&Pair>, address: Option<&str>) -> Pair {
    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut builder = X509::builder().unwrap();
    builder.set_version(2).unwrap();
    let mut serial = BigNum::new().unwrap();
    serial.rand(64, openssl::bn::MsbOption::MAYBE_ZERO, false).unwrap();
    builder.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    builder.set_subject_name(&subject).unwrap();
    builder.set_issuer_name(authority.map_or(&subject, |authority| authority.cert.subject_name())).unwrap();
    builder.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    builder.set_not_after(&Asn1Time::days_from_now(2).unwrap()).unwrap();
    builder.set_pubkey(&key).unwrap();
    if authority.is_none() {
        builder.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    }
    if let Some(address) = address {
        let context = builder.x509v3_context(None, None);
        let names = SubjectAlternativeName::new().ip(address).build(&context).unwrap();
        builder.append_extension(names).unwrap();
    }
    builder.sign(authority.map_or(&key, |authority| &authority.key), MessageDigest::sha256()).unwrap();
    Pair { cert: builder.build(), key }
}

/// Files beside the server's, and a server with `hba` that has the certificate.
struct Scene {
    server: TemporaryPostgres,
    files: tempfile::TempDir,
}

impl Scene {
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.files.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

/// Lets the server's own user own a file that only it may read.
fn owned_like(path: &Path, directory: &Path) {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let owner = fs::metadata(directory).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    chown(path, Some(owner.uid()), Some(owner.gid())).unwrap();
}

fn scene(hba: &str, server_certificate: &Pair, authority: &Pair) -> Scene {
    let mut server =
        TemporaryPostgres::start(&Options { listen_tcp: true, hba: Some(hba.to_owned()), ..Options::default() })
            .unwrap();
    let data = server.data_dir().to_owned();
    for (name, pem) in [
        ("server.crt", server_certificate.cert.to_pem().unwrap()),
        ("server.key", server_certificate.key.private_key_to_pem_pkcs8().unwrap()),
        ("ca.crt", authority.cert.to_pem().unwrap()),
    ] {
        fs::write(data.join(name), pem).unwrap();
        owned_like(&data.join(name), &data);
    }
    let configuration = fs::read_to_string(data.join("postgresql.conf")).unwrap();
    fs::write(data.join("postgresql.conf"), configuration + "\nssl = on\nssl_ca_file = 'ca.crt'\n").unwrap();
    server.stop(cdc_notifier::demo::postgres::Mode::Fast).unwrap();
    server.start_again().unwrap();
    Scene { server, files: tempfile::tempdir().unwrap() }
}

fn with(db: &Postgres, mode: SslMode, root_cert: Option<&Path>) -> Postgres {
    Postgres { tls: Tls { mode, root_cert: root_cert.map(Path::to_owned), cert: None, key: None }, ..db.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn sslmode_means_what_libpq_means() {
    let (authority, stranger) = (certificate("our authority", None, None), certificate("another", None, None));
    let hba = "local all all trust
host all either 127.0.0.1/32 trust
hostssl all postgres 127.0.0.1/32 trust
hostnossl all plain 127.0.0.1/32 trust
hostssl all scram 127.0.0.1/32 scram-sha-256
hostssl all clear 127.0.0.1/32 password
hostssl all cert 127.0.0.1/32 cert";
    let scene = scene(hba, &certificate("localhost", Some(&authority), None), &authority);
    let ours = scene.file("ca.pem", &authority.cert.to_pem().unwrap());
    let strange = scene.file("strange.pem", &stranger.cert.to_pem().unwrap());
    let address = db(&scene.server);
    let admin = sql(&address).await.expect("prefer takes TLS");
    execute(
        &admin,
        &format!(
            "CREATE ROLE either LOGIN REPLICATION; CREATE ROLE plain LOGIN REPLICATION; CREATE ROLE cert LOGIN REPLICATION;
             SET password_encryption = 'scram-sha-256'; CREATE ROLE scram LOGIN REPLICATION PASSWORD '{CANARY}'; CREATE ROLE clear LOGIN REPLICATION PASSWORD '{CANARY}'"
        ),
    )
    .await;
    let named = Postgres { host: "localhost".into(), ..address.clone() };

    let encrypted = async |db: Postgres| Connection::open(&db).await.map(|connection| connection.is_encrypted());
    let both = Postgres { username: "either".into(), ..address.clone() };
    let plain = Postgres { username: "plain".into(), ..address.clone() };
    for (db, mode, root, expected) in [
        (&both, Disable, None, false),
        (&both, Allow, None, false),
        (&both, Prefer, None, true),
        (&both, Require, None, true),
        // The server takes only TLS: `allow` comes to it, and only a server that takes none is left by `prefer`.
        (&address, Allow, None, true),
        (&address, Prefer, None, true),
        (&plain, Prefer, None, false),
        (&plain, Allow, None, false),
        // Below verify-ca nothing is verified, but require with an authority verifies it.
        (&address, Prefer, Some(&strange), true),
        (&address, Require, Some(&ours), true),
        (&address, VerifyCa, Some(&ours), true),
        (&named, VerifyFull, Some(&ours), true),
    ] {
        let result = encrypted(with(db, mode, root.map(PathBuf::as_path))).await;
        assert_eq!(result, Ok(expected), "{mode:?} {root:?} {}", db.username);
    }
    for (db, mode, root, remedy) in [
        (&address, Disable, None, "pg_hba.conf"),
        (&plain, Require, None, "pg_hba.conf"),
        (&address, Require, Some(&strange), "sslrootcert"),
        (&address, VerifyCa, Some(&strange), "sslrootcert"),
        (&address, VerifyCa, None, "sslrootcert"),
        // The certificate names localhost, not its address.
        (&address, VerifyFull, Some(&ours), "let the certificate name \"127.0.0.1\""),
        (&named, VerifyFull, Some(&strange), "sslrootcert"),
        (&named, VerifyFull, None, "sslrootcert"),
    ] {
        let db = with(db, mode, root.map(PathBuf::as_path));
        refused_tls(Connection::open(&db).await, remedy);
        refused_tls(sql(&db).await, remedy);
    }

    let scram = as_role(&with(&named, VerifyFull, Some(&ours)), "scram");
    Connection::open(&scram).await.expect("SCRAM with channel binding");
    sql(&scram).await.expect("SQL over TLS");
    let wrong = Postgres { password: Some("canary-3e1f-not".into()), ..scram };
    refused(Connection::open(&wrong).await, Class::PostgresLogin, &["`password`"]);
    // Not the refusal of the second attempt, without TLS, for which there is no line.
    let wrong = Postgres { tls: address.tls.clone(), ..wrong };
    refused(Connection::open(&wrong).await, Class::PostgresLogin, &["`password`"]);
    let clear = as_role(&with(&address, Require, None), "clear");
    Connection::open(&clear).await.expect("a clear password where nobody reads along");

    // Our certificate.
    let client = certificate("cert", Some(&authority), None);
    let cert = scene.file("client.crt", &client.cert.to_pem().unwrap());
    let key = scene.file("client.key", &client.key.private_key_to_pem_pkcs8().unwrap());
    let locked = client.key.private_key_to_pem_pkcs8_passphrase(openssl::symm::Cipher::aes_256_cbc(), b"x").unwrap();
    let locked = scene.file("locked.key", &locked);
    let with_cert = |cert: Option<&PathBuf>, key: Option<&PathBuf>| Postgres {
        username: "cert".into(),
        tls: Tls { mode: Require, root_cert: None, cert: cert.cloned(), key: key.cloned() },
        ..address.clone()
    };
    Connection::open(&with_cert(Some(&cert), Some(&key))).await.expect("a certificate of ours");
    for (cert, key) in [(None, None), (Some(&cert), None), (Some(&cert), Some(&locked)), (Some(&cert), Some(&ours))] {
        let trouble = Connection::open(&with_cert(cert, key)).await.expect_err("no key of it");
        assert_eq!(trouble.class, Class::PostgresLogin, "{trouble:?}");
    }
    let gone = with(&address, VerifyCa, Some(Path::new("/no/such/file")));
    let trouble = Connection::open(&gone).await.expect_err("no such file");
    assert!(trouble.message.contains("/no/such/file") && trouble.remedy.contains("sslrootcert"), "{trouble:?}");
    assert_eq!(value(&admin, "SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await, "true");
}

#[track_caller]
fn refused_tls<T: std::fmt::Debug>(result: Result<T, cdc_notifier::change::Trouble>, remedy: &str) {
    let trouble = result.expect_err("must be refused");
    assert_eq!(trouble.class, Class::PostgresLogin, "{trouble:?}");
    assert!(trouble.remedy.contains(remedy), "{remedy}: {trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_may_name_an_address() {
    let authority = certificate("our authority", None, None);
    let scene = scene(
        "hostssl all all 127.0.0.1/32 trust",
        &certificate("whatever", Some(&authority), Some("127.0.0.1")),
        &authority,
    );
    let ours = scene.file("ca.pem", &authority.cert.to_pem().unwrap());
    let address = with(&db(&scene.server), VerifyFull, Some(&ours));
    Connection::open(&address).await.expect("the address is in the certificate");
    let named = Postgres { host: "localhost".into(), ..address };
    refused(Connection::open(&named).await, Class::PostgresLogin, &["let the certificate name \"localhost\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_whole_over_tls() {
    let authority = certificate("our authority", None, None);
    let scene =
        scene("hostssl all all 127.0.0.1/32 trust", &certificate("localhost", Some(&authority), None), &authority);
    let db = db(&scene.server);
    let admin = session(&db).await;
    execute(&admin, &cdc_notifier::demo::progressor::schema_sql(NS)).await;
    prepared(&db, &slot("cdc", &[NS])).await.expect("prepare");
    let connection = Connection::open(&db).await.unwrap();
    assert!(connection.is_encrypted());
    let mut stream = connection.start_replication("cdc", Lsn::ZERO, &[NS], true).await.expect("start");
    execute(
        &admin,
        "INSERT INTO \"default/default_processes\" (process_id, status, detail)
         SELECT 'p' || n, 'running', repeat('x', CASE WHEN n % 1000 = 0 THEN 3000000 ELSE n % 900 END) FROM generate_series(1, 3000) n",
    )
    .await;
    for n in 1..=3000_usize {
        // Abandoned and begun again, in the middle of records and messages.
        if n % 3 == 0 {
            tokio::select! { biased; result = stream.read() => assert!(result.is_ok()), () = std::future::ready(()) => {} }
        }
        let row = message(&mut stream, b'I').await;
        let id = format!("p{n}");
        // Relation id, kind of tuple, columns, kind and length of the first.
        assert_eq!(&row[13..13 + id.len()], id.as_bytes(), "in order, none missing, none twice");
        let detail = if n % 1000 == 0 { 3_000_000 } else { n % 900 };
        assert!(row.len() > detail && row.len() < detail + 200, "{n}: {}", row.len());
    }
}
