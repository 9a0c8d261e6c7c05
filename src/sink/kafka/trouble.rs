//! What is wrong with the connection. librdkafka retries for ever, tells the cause once or twice and afterwards only
//! that all brokers are down: so the first telling word is kept until something succeeds.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use rdkafka::{
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    error::{self, About, login_remedy},
    log::Repeats,
    options::redact,
};
use crate::{
    change::{Class, Trouble},
    config::KafkaClient,
};

/// Connections that were closed at their first request before this means a wrong protocol: a broker that goes down does
/// so too.
const CLOSED_AT_ONCE: u32 = 2;

/// Milliseconds in which a broker closes a connection for its first request.
const MOMENT: u32 = 5_000;

/// How much an error tells; a more telling one replaces a less telling one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Telling {
    /// All brokers are down.
    That,
    /// What that may come from.
    Guess,
    /// Why one of them is.
    Why,
    /// What of our configuration they refuse.
    Configuration,
}

#[derive(Debug, Default)]
struct Kept {
    trouble: Option<(Telling, Trouble)>,
    closed_at_once: u32,
}

/// One client's connection to Kafka, as its callbacks tell of it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: KafkaClient,
    kept: Mutex<Kept>,
    ill: AtomicBool,
    /// Something has succeeded, once.
    worked: AtomicBool,
    closing: AtomicBool,
    repeats: Repeats,
}

impl Connection {
    pub(super) fn new(client: &KafkaClient) -> Self {
        Self {
            client: client.clone(),
            kept: Mutex::default(),
            ill: AtomicBool::new(false),
            worked: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            repeats: Repeats::default(),
        }
    }

    /// From here on nothing is worth an alarm.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Something has succeeded.
    pub(super) fn succeeded(&self) {
        if !self.has_worked() {
            self.worked.store(true, Ordering::Relaxed);
        }
        if self.ill.load(Ordering::Relaxed) {
            self.ill.store(false, Ordering::Relaxed);
            *self.kept() = Kept::default();
        }
    }

    fn has_worked(&self) -> bool {
        self.worked.load(Ordering::Relaxed)
    }

    /// The most telling of what has gone wrong since something last succeeded.
    pub(super) fn trouble(&self) -> Option<Trouble> {
        self.kept().trouble.as_ref().map(|(_, trouble)| trouble.clone())
    }

    /// A blocking call did not come through: what is known of the cause, else the call's own error.
    pub(super) fn why(&self, error: &KafkaError) -> Trouble {
        let own = || {
            let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
            error::trouble(code, About::client(&self.client))
        };
        self.trouble().unwrap_or_else(own)
    }

    /// An error event (rdkafka passes each on twice).
    pub(super) fn error(&self, code: Code, reason: &str) {
        if self.is_closing() {
            return;
        }
        let reason = redact(&self.client, reason);
        let about = About::client(&self.client);
        let (telling, trouble) = match code {
            Code::AllBrokersDown if self.kept().closed_at_once >= CLOSED_AT_ONCE => (
                Telling::Guess,
                self.refused(
                    "the brokers close the connection at its first request, as those with TLS or SASL do when \
                     the client does not use it",
                    "set \"security.protocol\" to what the listener speaks: \"ssl\", \"sasl_ssl\" or \
                     \"sasl_plaintext\"",
                ),
            ),
            Code::AllBrokersDown => (Telling::That, error::trouble(code, about)),
            // The same, noticed while writing the next request.
            Code::BrokerTransportFailure if !self.has_worked() && reason.contains("Send failed") => {
                self.kept().closed_at_once += 1;
                (Telling::That, error::trouble(code, about))
            }
            _ => self.configuration(code, &reason).map_or_else(
                || {
                    let Trouble { class, message, remedy } = error::trouble(code, about);
                    (Telling::Why, Trouble::new(class, format!("{message}: {reason}"), remedy))
                },
                |trouble| (Telling::Configuration, trouble),
            ),
        };
        let mut kept = self.kept();
        if kept.trouble.as_ref().is_none_or(|(known, _)| *known < telling) {
            kept.trouble = Some((telling, trouble));
            self.ill.store(true, Ordering::Relaxed);
        }
    }

    /// A log line of librdkafka.
    pub(super) fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        if self.is_closing() {
            return;
        }
        // Chosen on purpose, see `options`.
        if facility == "CONFWARN" && text.contains("enable.gapless.guarantee is experimental") {
            return;
        }
        // What worked before was no wrong protocol: then it is a broker that goes down.
        if !self.has_worked() && is_closed_at_once(text) {
            let mut kept = self.kept();
            kept.closed_at_once += 1;
            // Why there was no connection is over: there was one.
            kept.trouble.take_if(|(telling, _)| *telling == Telling::Why);
            self.ill.store(true, Ordering::Relaxed);
        }
        self.repeats.pass(&self.client.name, level, facility, &redact(&self.client, text));
    }

    /// The trouble, if this is one of configuration. The codes alone do not tell.
    fn configuration(&self, code: Code, reason: &str) -> Option<Trouble> {
        let has = |text: &str| reason.contains(text);
        let name = &self.client.name;
        Some(if has("certificate verify failed") || has("certificate could not be verified") {
            self.refused(
                &format!("the broker's certificate does not pass: {reason}"),
                &format!(
                    "one of three: its authority is not in the file of \"ssl.ca.location\" of \
                     kafka_clients.{name}.properties; it is for another host name than the one in `endpoints` or in \
                     the broker's advertised.listeners; it has expired (`openssl s_client -connect <host:port>` \
                     shows it)"
                ),
            )
        } else if has("SSL alert") || has("ssl/tls alert") {
            self.refused(
                &format!("the broker does not accept our certificate: {reason}"),
                &format!(
                    "\"ssl.certificate.location\" and \"ssl.key.location\" of kafka_clients.{name}.properties: \
                     a certificate is \
                     missing, is of an authority that the broker does not trust, or has expired"
                ),
            )
        } else if has("PLAINTEXT broker listener") {
            self.refused(
                &format!("a listener without TLS was spoken to with TLS: {reason}"),
                "set \"security.protocol\" to \"plaintext\" or \"sasl_plaintext\", or `endpoints` to the port \
                 of the TLS listener",
            )
        } else if matches!(code, Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) {
            self.refused(reason, &login_remedy(&self.client))
        } else {
            return None;
        })
    }

    fn refused(&self, what: &str, remedy: &str) -> Trouble {
        Trouble::new(Class::KafkaLogin, format!("Kafka client {:?}: {what}", self.client.name), remedy)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a log line tells of a connection that the broker closed at its first request: the only sign of a client
/// without TLS at a listener with it (in state `APIVERSION_QUERY`), or without SASL at one with it (`UP` for a moment).
fn is_closed_at_once(line: &str) -> bool {
    let Some((_, after)) = line.split_once("Disconnected").and_then(|(_, rest)| rest.split_once("(after ")) else {
        return false;
    };
    let moment =
        after.split_once("ms in state UP").and_then(|(age, _)| age.parse().ok()).is_some_and(|age: u32| age < MOMENT);
    moment || after.contains("in state APIVERSION_QUERY")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(&KafkaClient {
            name: "main".into(),
            endpoints: vec!["kafka:9092".into()],
            properties: [("sasl.password".to_owned(), "canary".into())].into(),
        })
    }

    #[test]
    fn the_telling_word_is_kept_until_something_succeeds() {
        let connection = connection();
        connection.error(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(connection.trouble().unwrap().class, Class::KafkaUnavailable);
        connection.error(Code::BrokerTransportFailure, "kafka:9092: Connect failed: Connection refused");
        let why = connection.trouble().unwrap();
        assert!(why.message.contains("Connection refused") && why.remedy.contains("kafka:9092"), "{why:?}");
        connection.error(Code::Resolve, "Failed to resolve");
        assert_eq!(connection.trouble().unwrap(), why, "the first is kept");
        connection.error(Code::Authentication, "Invalid credentials: canary");
        let refused = connection.trouble().unwrap();
        assert_eq!(refused.class, Class::KafkaLogin);
        assert!(!refused.message.contains("canary"));
        connection.error(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(connection.trouble().unwrap(), refused);
        connection.succeeded();
        assert_eq!(connection.trouble(), None);
        connection.close();
        connection.error(Code::GaplessGuarantee, "Purged in flight");
        assert_eq!(connection.trouble(), None);
    }

    #[test]
    fn an_established_connection_may_be_closed() {
        let closed = |state: &str| is_closed_at_once(&format!("a:1/1: Disconnected: closed by peer (after {state})"));
        assert!(closed("2ms in state APIVERSION_QUERY") && closed("1ms in state UP, 1 identical error(s) suppressed"));
        assert!(!closed("60000ms in state UP") && !closed("1ms in state CONNECT"));
        assert!(!is_closed_at_once("(after 1ms in state UP)"));
    }

    #[test]
    fn connections_closed_at_once_are_a_wrong_protocol() {
        let connection = connection();
        connection.error(Code::BrokerTransportFailure, "kafka:9092: Connect failed: Connection refused");
        let line = "Disconnected while requesting ApiVersion (after 2ms in state APIVERSION_QUERY)";
        connection.log(RDKafkaLogLevel::Info, "FAIL", line);
        connection.error(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(connection.trouble().unwrap().class, Class::KafkaUnavailable, "once may be a broker that goes down");
        connection.log(RDKafkaLogLevel::Info, "FAIL", line);
        connection.error(Code::AllBrokersDown, "1/1 brokers are down");
        let trouble = connection.trouble().unwrap();
        assert_eq!(trouble.class, Class::KafkaLogin);
        assert!(trouble.remedy.contains("security.protocol"));
        connection.succeeded();
        connection.error(Code::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(
            connection.trouble().unwrap().class,
            Class::KafkaUnavailable,
            "what was before a success does not count"
        );
    }
}
