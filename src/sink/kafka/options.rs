//! librdkafka's configuration: what carries the guarantee is ours, everything else is the operator's.

use std::{collections::HashMap, fmt};

use rdkafka::{ClientConfig, config::RDKafkaLogLevel, error::KafkaError, types::RDKafkaConfRes};
use secrecy::ExposeSecret;

use crate::config::KafkaClient;

/// A property of a Kafka client that cannot stand as it is. Never holds its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct PropertyError {
    /// The operator's name of the Kafka client.
    pub client: String,
    /// The property; `None` if it is their combination.
    pub key: Option<String>,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for PropertyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kafka_clients.{}.properties", self.client)?;
        if let Some(key) = &self.key {
            write!(f, ".\"{key}\"")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// Names of one property; the first is librdkafka's own. Setting both would leave it to chance which one counts.
const ALIASES: [(&str, &str); 11] = [
    ("metadata.broker.list", "bootstrap.servers"),
    ("max.in.flight.requests.per.connection", "max.in.flight"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("sasl.oauthbearer.client.id", "sasl.oauthbearer.client.credentials.client.id"),
    ("sasl.oauthbearer.client.secret", "sasl.oauthbearer.client.credentials.client.secret"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("queue.buffering.max.ms", "linger.ms"),
    ("message.send.max.retries", "retries"),
    ("compression.codec", "compression.type"),
    ("request.required.acks", "acks"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

fn own_name(key: &str) -> &str {
    ALIASES.iter().find(|(_, alias)| *alias == key).map_or(key, |(own, _)| own)
}

/// Defaults that an operator may change. Compression is librdkafka's default, none: not every consumer that is already
/// there can read every codec.
const DEFAULTS: [(&str, &str); 9] = [
    ("client.id", "cdc-notifier"),
    ("queue.buffering.max.ms", "1"),
    // Larger messages are sent from where they are: what a request copies is in memory twice (measured, docs/performance.md).
    ("message.copy.max.bytes", "4096"),
    ("socket.timeout.ms", "15000"),
    // After an outage the first message would else wait up to 10 s for the next attempt.
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.keepalive.enable", "true"),
    // How long a missing topic is waited for. Times over 2,147,483 overflow in librdkafka and mean nothing.
    ("topic.metadata.propagation.max.ms", "10000"),
    // Such lines are the only sign of a wrong protocol.
    ("log.connection.close", "true"),
    ("enable.metrics.push", "false"),
];

/// What carries the guarantee.
const FIXED: [(&str, &str); 9] = [
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("request.required.acks", "all"),
    // A message that is given up for its age would leave a gap that gapless does not cover.
    ("message.timeout.ms", "0"),
    ("max.in.flight.requests.per.connection", "5"),
    ("allow.auto.create.topics", "false"),
    // The largest there is: the broker's and the topic's limits decide.
    ("message.max.bytes", "1000000000"),
    ("statistics.interval.ms", "0"),
    ("delivery.report.only.error", "false"),
];

/// Why a property may not be set, and what to do instead.
fn guard(own_name: &str) -> Option<(&'static str, &'static str)> {
    const DELETE: &str = "delete the line";
    const ORDER: &str = "messages could be lost, doubled or swapped with another value";
    Some(match own_name {
        "enable.idempotence"
        | "enable.gapless.guarantee"
        | "request.required.acks"
        | "max.in.flight.requests.per.connection"
        | "message.send.max.retries"
        | "queuing.strategy"
        | "msg_order_cmp"
        | "delivery.report.only.error"
        | "produce.offset.report"
        | "enable.sparse.connections" => (ORDER, DELETE),
        "message.timeout.ms" => {
            ("a message given up for its age leaves a gap", "delete the line; send_timeout says when it is reported")
        }
        "metadata.broker.list" => {
            ("the brokers have a place of their own", "delete the line and set `endpoints` of this Kafka client")
        }
        "transactional.id" => (
            "Kafka transactions belong to the slot",
            "delete the line and set `delivery = \"exactly_once\"` of the slot",
        ),
        "partitioner" | "partitioner_cb" | "sticky.partitioning.linger.ms" => {
            ("each message goes to the partition of its key", "delete the line and set `partitioner` of the namespace")
        }
        "queue.buffering.max.messages" | "queue.buffering.max.kbytes" => {
            ("memory has one bound for all queues", "delete the line and set `limits.memory`")
        }
        "message.max.bytes" => (
            "the broker's limit decides",
            "delete the line; `max.message.bytes` of the topic and `message.max.bytes` of the broker are the limits",
        ),
        "allow.auto.create.topics" => (
            "a topic that a broker creates by itself has another number of partitions",
            "delete the line and create topics with kafka-topics.sh",
        ),
        "statistics.interval.ms" => ("librdkafka's statistics are not used", "delete the line; see /metrics"),
        "api.version.request" | "api.version.fallback.ms" | "broker.version.fallback" => {
            ("without the broker's own word on its version there is no idempotence", DELETE)
        }
        "test.mock.num.brokers" | "test.mock.broker.rtt" | "ut_handle_ProduceResponse" => {
            ("a broker for tests keeps nothing", DELETE)
        }
        "plugin.library.paths" | "interceptors" => ("foreign code could change or drop messages", DELETE),
        "log.queue" | "log_level" | "enabled_events" | "internal.termination.signal" | "enable.random.seed" => {
            ("it belongs to this program", "delete the line; `log.level` sets what is logged")
        }
        "opaque" | "default_topic_conf" | "ssl_key" | "ssl_certificate" | "ssl_ca" | "ssl_engine_callback_data" => {
            ("it is for programs, not for configuration files", DELETE)
        }
        "builtin.features" => ("it cannot be set", DELETE),
        callback if callback.ends_with("_cb") => ("it is for programs, not for configuration files", DELETE),
        _ => return None,
    })
}

/// Whether a value must never be seen.
fn is_secret(key: &str) -> bool {
    ["password", "passphrase", "secret", "key.pem", "oauthbearer.config"].iter().any(|part| key.contains(part))
}

/// Puts `***` where a text holds a secret of this client.
pub(super) fn redact(client: &KafkaClient, text: &str) -> String {
    let secrets = client.properties.iter().filter(|(key, _)| is_secret(key)).map(|(_, value)| value.expose_secret());
    secrets.filter(|secret| !secret.is_empty()).fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
}

/// librdkafka's configuration of this client: the operator's properties, our defaults, and what carries the guarantee.
///
/// `memory` is what the callers' own bound lets be in flight, in bytes; librdkafka's queue holds more than that.
///
/// # Errors
/// The first property, by name, that is unknown, has a value that librdkafka refuses, is set twice, or would weaken a
/// guarantee.
pub fn client_config(client: &KafkaClient, memory: usize) -> Result<ClientConfig, PropertyError> {
    let error = |key: &str, why: &str, remedy: &str| PropertyError {
        client: client.name.clone(),
        key: Some(key.to_owned()),
        why: why.to_owned(),
        remedy: remedy.to_owned(),
    };
    let mut operators: HashMap<&str, (&str, &str)> = HashMap::new();
    for (key, value) in &client.properties {
        if let Some((why, remedy)) = guard(own_name(key)) {
            return Err(error(key, &format!("may not be set: {why}"), remedy));
        }
        let value = value.expose_secret();
        try_property(key, value).map_err(|(why, remedy)| error(key, &why, &remedy))?;
        if let Some((other, _)) = operators.insert(own_name(key), (key, value)) {
            return Err(error(key, &format!("is the same property as {other:?}"), "keep one of the two lines"));
        }
    }
    let mut config = ClientConfig::new();
    for (key, value) in DEFAULTS.into_iter().filter(|(key, _)| !operators.contains_key(key)) {
        config.set(key, value);
    }
    for (key, value) in operators.into_values() {
        config.set(key, value);
    }
    for (key, value) in FIXED {
        config.set(key, value);
    }
    // One message larger than the bound may pass alone; the largest there is has 1,000,000 kB.
    let kilobytes = (memory / 1024).saturating_add(1_000_000).min(i32::MAX as usize);
    let messages = (memory / 16).saturating_add(1_000).min(i32::MAX as usize);
    config
        .set("bootstrap.servers", client.endpoints.join(","))
        .set("queue.buffering.max.kbytes", kilobytes.to_string())
        .set("queue.buffering.max.messages", messages.to_string())
        .set_log_level(if client.properties.contains_key("debug") {
            RDKafkaLogLevel::Debug
        } else {
            RDKafkaLogLevel::Info
        });
    Ok(config)
}

/// Whether librdkafka takes this one property: else why not, and the remedy. The value is in neither.
fn try_property(key: &str, value: &str) -> Result<(), (String, String)> {
    let Err(error) = ClientConfig::new().set(key, value).create_native_config() else { return Ok(()) };
    Err(match error {
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => (
            "librdkafka has no such property".to_owned(),
            "correct the name; librdkafka's CONFIGURATION.md lists them (names of Java clients often differ)"
                .to_owned(),
        ),
        KafkaError::ClientConfig(_, text, ..) if text.contains("not supported in this build") => (
            "this build of librdkafka does not support it".to_owned(),
            "delete the line, or choose another security mechanism".to_owned(),
        ),
        _ => (
            "librdkafka refuses the value".to_owned(),
            "correct the value; librdkafka's CONFIGURATION.md has its type and range".to_owned(),
        ),
    })
}

/// Tries the properties without connecting to anything.
///
/// # Errors
/// As [`client_config`], and if they do not go together or a file they name cannot be used.
pub fn check(client: &KafkaClient) -> Result<(), PropertyError> {
    let config = client_config(client, 0)?;
    // No brokers: librdkafka begins to connect as soon as it is created.
    let mut apart = config.clone();
    apart.remove("bootstrap.servers");
    match apart.create::<rdkafka::producer::BaseProducer>() {
        Ok(_) => Ok(()),
        Err(refusal) => Err(creation_error(client, &refusal)),
    }
}

/// A producer or consumer could not be created from properties that are each in order.
pub(super) fn creation_error(client: &KafkaClient, error: &KafkaError) -> PropertyError {
    // librdkafka does not name the file.
    for (key, value) in client.properties.iter().filter(|(key, _)| key.ends_with(".location")) {
        if let Err(error) = std::fs::File::open(value.expose_secret()) {
            return PropertyError {
                client: client.name.clone(),
                key: Some(key.clone()),
                why: format!("the file cannot be read: {error}"),
                remedy: "correct the path, or let the user of this service read it".to_owned(),
            };
        }
    }
    let why = match error {
        KafkaError::ClientCreation(text) => redact(client, text),
        // The text holds the value.
        KafkaError::ClientConfig(_, _, key, _) => format!("librdkafka refuses {key:?}"),
        other => redact(client, &other.to_string()),
    };
    PropertyError {
        client: client.name.clone(),
        key: None,
        why: format!("librdkafka refuses them together: {why}"),
        remedy: "correct them; librdkafka's CONFIGURATION.md describes each".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-in-a-coal-mine";

    fn client(properties: &[(&str, &str)]) -> KafkaClient {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned().into());
        KafkaClient {
            name: "main".into(),
            endpoints: vec!["127.0.0.1:1".into()],
            properties: properties.iter().map(own).collect(),
        }
    }

    #[test]
    fn what_carries_the_guarantee_cannot_be_set() {
        let forbidden = [
            "acks",
            "request.required.acks",
            "enable.idempotence",
            "enable.gapless.guarantee",
            "max.in.flight",
            "max.in.flight.requests.per.connection",
            "message.timeout.ms",
            "delivery.timeout.ms",
            "retries",
            "message.send.max.retries",
            "bootstrap.servers",
            "metadata.broker.list",
            "queue.buffering.max.messages",
            "queue.buffering.max.kbytes",
            "transactional.id",
            "partitioner",
            "partitioner_cb",
            "queuing.strategy",
            "msg_order_cmp",
            "delivery.report.only.error",
            "test.mock.num.brokers",
            "test.mock.broker.rtt",
            "plugin.library.paths",
            "interceptors",
            "allow.auto.create.topics",
            "message.max.bytes",
            "dr_cb",
            "dr_msg_cb",
            "error_cb",
            "log_cb",
            "stats_cb",
            "socket_cb",
            "connect_cb",
            "closesocket_cb",
            "open_cb",
            "resolve_cb",
            "throttle_cb",
            "background_event_cb",
            "oauthbearer_token_refresh_cb",
            "ssl.certificate.verify_cb",
            "opaque",
            "default_topic_conf",
            "log.queue",
            "statistics.interval.ms",
            "api.version.request",
            "enabled_events",
        ];
        for key in forbidden {
            let error = check(&client(&[(key, CANARY)])).expect_err(key);
            assert_eq!(error.key.as_deref(), Some(key));
            assert!(error.why.starts_with("may not be set"), "{key}: {error}");
            assert!(!error.remedy.is_empty() && !format!("{error:?}{error}").contains(CANARY), "{error:?}");
        }
    }

    #[test]
    fn every_alias_of_librdkafka_is_known() {
        // Both names of a property show the same value once one of them is set; this build has no OIDC, which has two.
        let mut known = 0;
        for (own, alias) in ALIASES {
            let values = ["3", "all", "true", "gzip", "PLAIN"];
            let Some(value) = values.into_iter().find(|value| try_property(alias, value).is_ok()) else { continue };
            let native = ClientConfig::new().set(alias, value).create_native_config().unwrap();
            assert_eq!(native.get(own).unwrap(), native.get(alias).unwrap(), "{own} {alias}");
            known += 1;
        }
        assert_eq!(known, ALIASES.len() - 2);
    }

    #[test]
    fn names_and_values_are_checked_and_values_never_shown() {
        for (properties, why) in [
            (&[("no.such.property", CANARY)][..], "no such property"),
            (&[("socket.timeout.ms", CANARY)], "refuses the value"),
            (&[("compression.type", CANARY)], "refuses the value"),
            (&[("linger.ms", "1"), ("queue.buffering.max.ms", "2")], "is the same property as \"linger.ms\""),
            (
                &[("security.protocol", "sasl_ssl"), ("sasl.mechanism", "SCRAM-SHA-256"), ("sasl.password", CANARY)],
                "together",
            ),
            (&[("security.protocol", "ssl"), ("ssl.key.pem", CANARY)], "together"),
            (&[("security.protocol", "ssl"), ("ssl.ca.location", "/nowhere/ca.pem")], "cannot be read"),
            (
                &[("sasl.oauthbearer.token.endpoint.url", CANARY), ("sasl.oauthbearer.method", "oidc")],
                "does not support",
            ),
        ] {
            let error = check(&client(properties)).expect_err(why);
            assert!(error.to_string().starts_with("kafka_clients.main.properties"), "{error}");
            assert!(error.to_string().contains(why), "{error}");
            assert!(!format!("{error:?}{error}").contains(CANARY), "{error:?}");
        }
    }

    #[test]
    fn the_operator_may_set_the_rest() {
        let client =
            client(&[("compression.type", "zstd"), ("linger.ms", "20"), ("client.id", "mine"), ("debug", "security")]);
        check(&client).unwrap();
        let native = client_config(&client, 1 << 20).unwrap().create_native_config().unwrap();
        for (key, value) in [
            ("linger.ms", "20"),
            ("compression.codec", "zstd"),
            ("client.id", "mine"),
            ("request.required.acks", "-1"),
            ("message.timeout.ms", "0"),
            ("enable.idempotence", "true"),
            ("enable.gapless.guarantee", "true"),
            ("max.in.flight", "5"),
            ("allow.auto.create.topics", "false"),
            ("message.max.bytes", "1000000000"),
            ("queue.buffering.max.messages", "66536"),
            ("bootstrap.servers", "127.0.0.1:1"),
        ] {
            assert_eq!(native.get(key).unwrap(), value, "{key}");
        }
    }
}
