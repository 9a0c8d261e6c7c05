//! Connections that Kafka refuses. librdkafka retries them for ever; each is to be told apart within seconds.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use cdc_notifier::{
    change::{Class, Trouble},
    config::KafkaClient,
    sink::{Sink, kafka::topics},
};

use crate::{
    kafka::{KafkaServer, Listener, Options, PASSWORD, Permission, USER},
    recorder::{TIMEOUT, client, log, open, send, wait},
};

const CANARY: &str = "canary-in-a-coal-mine";

fn secured() -> &'static KafkaServer {
    static SERVER: OnceLock<KafkaServer> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = KafkaServer::start(&Options::secured());
        server.create_topic("secured", 1);
        server.allow("secured", Permission::Write);
        server
    })
}

fn of(listener: Listener, properties: &[(&str, &str)]) -> KafkaClient {
    client(&secured().bootstrap_of(listener), properties)
}

fn ca() -> String {
    secured().ca().display().to_string()
}

/// The trouble as it stands within 15 s, from the producer and from a look at the topic.
fn refusal(client: &KafkaClient) -> Trouble {
    log();
    let (producer, recorder) = open(client);
    let start = Instant::now();
    send(&producer, "secured", 0, b"value", 0).unwrap();
    let looked = topics::fetch(&producer, &["secured"], Duration::from_secs(5)).unwrap_err();
    let kept = producer.connection_trouble().expect("a trouble");
    assert!(start.elapsed() < Duration::from_secs(15));
    assert_eq!(looked, kept, "the look tells what is known of the connection");
    // It may pass: nothing is given up.
    assert_eq!((producer.broken(), recorder.failures(), producer.in_flight()), (None, vec![], 1));
    assert!(!format!("{kept:?}").contains(CANARY) && !format!("{kept:?}").contains(PASSWORD), "{kept:?}");
    let said = log();
    assert!(!said.contains(CANARY) && !said.contains(PASSWORD), "a secret is in the log");
    kept
}

fn login(client: &KafkaClient, message: &str, remedy: &str) {
    let trouble = refusal(client);
    assert_eq!(trouble.class, Class::KafkaLogin, "{trouble:?}");
    assert!(trouble.message.contains(message), "{trouble:?}");
    assert!(trouble.remedy.contains(remedy), "{trouble:?}");
}

#[test]
fn the_right_properties_are_let_in() {
    let ca = ca();
    let tls = of(Listener::Tls, &[("security.protocol", "ssl"), ("ssl.ca.location", &ca)]);
    let scram = of(
        Listener::Scram,
        &[
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", &ca),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
        ],
    );
    for client in [tls, scram] {
        let (producer, recorder) = open(&client);
        wait("the topic", || topics::fetch(&producer, &["secured"], TIMEOUT).is_ok());
        send(&producer, "secured", 0, b"value", 0).unwrap();
        wait("settled", || producer.in_flight() == 0);
        assert_eq!(recorder.confirmed(), [0]);
    }
}

#[test]
fn a_certificate_of_another_authority() {
    let other = secured().other_ca().display().to_string();
    let client = of(Listener::Tls, &[("security.protocol", "ssl"), ("ssl.ca.location", &other)]);
    login(&client, "certificate", "ssl.ca.location");
}

#[test]
fn a_certificate_for_another_host() {
    let client = of(Listener::TlsOtherName, &[("security.protocol", "ssl"), ("ssl.ca.location", &ca())]);
    login(&client, "certificate", "another host name");
}

#[test]
fn a_certificate_that_has_expired() {
    let client = of(Listener::TlsExpired, &[("security.protocol", "ssl"), ("ssl.ca.location", &ca())]);
    login(&client, "certificate", "expired");
}

#[test]
fn wrong_passwords() {
    let scram = of(
        Listener::Scram,
        &[
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", &ca()),
            ("sasl.mechanism", "SCRAM-SHA-256"),
            ("sasl.username", USER),
            ("sasl.password", CANARY),
        ],
    );
    login(&scram, "credentials", "\"sasl.password\"");
    let plain = of(
        Listener::Plain,
        &[
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", CANARY),
            ("debug", "all"),
        ],
    );
    login(&plain, "Authentication failed", "\"sasl.password\"");
}

#[test]
fn a_mechanism_that_is_not_offered() {
    let client = of(
        Listener::Scram,
        &[
            ("security.protocol", "sasl_ssl"),
            ("ssl.ca.location", &ca()),
            ("sasl.mechanism", "SCRAM-SHA-512"),
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
        ],
    );
    login(&client, "SCRAM-SHA-256", "\"sasl.mechanism\"");
}

#[test]
fn tls_spoken_to_a_listener_without_it() {
    let client = of(Listener::Plaintext, &[("security.protocol", "ssl"), ("ssl.ca.location", &ca())]);
    login(&client, "without TLS", "\"plaintext\"");
}

#[test]
fn no_tls_spoken_to_a_listener_with_it() {
    login(&of(Listener::Tls, &[]), "close the connection", "\"security.protocol\"");
}

#[test]
fn no_login_at_a_listener_that_wants_one() {
    login(&of(Listener::Plain, &[]), "close the connection", "\"security.protocol\"");
}

#[test]
fn brokers_that_are_not_there() {
    let closed = refusal(&client("127.0.0.1:1", &[]));
    assert_eq!(closed.class, Class::KafkaUnavailable);
    assert!(closed.message.contains("Connection refused") && closed.remedy.contains("127.0.0.1:1"), "{closed:?}");
    let unknown = refusal(&client("no-such-host.invalid:9092", &[]));
    assert_eq!(unknown.class, Class::KafkaUnavailable);
    assert!(unknown.message.contains("resolve") && unknown.remedy.contains("endpoints"), "{unknown:?}");
}
