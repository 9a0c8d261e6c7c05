//! librdkafka's and the brokers' errors as troubles: one table.

use rdkafka::error::RDKafkaErrorCode as Code;

use crate::{
    change::{Class, Trouble},
    config::KafkaClient,
};

/// What an error is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About<'a> {
    pub(super) client: &'a KafkaClient,
    pub(super) topic: Option<&'a str>,
    pub(super) partition: Option<i32>,
}

impl<'a> About<'a> {
    pub(super) fn client(client: &'a KafkaClient) -> Self {
        Self { client, topic: None, partition: None }
    }

    pub(super) fn topic(client: &'a KafkaClient, topic: &'a str) -> Self {
        Self { topic: Some(topic), ..Self::client(client) }
    }

    pub(super) fn partition(client: &'a KafkaClient, topic: &'a str, partition: i32) -> Self {
        Self { partition: Some(partition), ..Self::topic(client, topic) }
    }

    /// `Kafka client "main", topic "events", partition 3`.
    fn place(&self) -> String {
        let topic = self.topic.map(|topic| format!(", topic {topic:?}")).unwrap_or_default();
        let partition = self.partition.map(|partition| format!(", partition {partition}")).unwrap_or_default();
        format!("Kafka client {:?}{topic}{partition}", self.client.name)
    }

    fn name(&self) -> &str {
        self.topic.unwrap_or("<topic>")
    }

    pub(super) fn bootstrap(&self) -> String {
        self.client.endpoints.join(",")
    }
}

/// Whether an error only follows from another one that is the cause.
pub(super) const fn is_consequence(code: Code) -> bool {
    matches!(
        code,
        Code::PurgeQueue | Code::PurgeInflight | Code::Fatal | Code::GaplessGuarantee | Code::InvalidDifferentRecord
    )
}

/// What an error means, and what mends it.
pub(super) fn trouble(code: Code, about: About<'_>) -> Trouble {
    let (class, remedy) = judge(code, about);
    Trouble::new(class, format!("{}: {code}", about.place()), remedy)
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn judge(code: Code, about: About<'_>) -> (Class, String) {
    let (bootstrap, topic) = (about.bootstrap(), about.name());
    let say = |remedy: &str| remedy.replace("BROKERS", &bootstrap).replace("TOPIC", topic);
    match code {
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize => (
            Class::MessageTooLarge,
            say("kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name TOPIC \
             --add-config max.message.bytes=<bytes>"),
        ),
        Code::TopicAuthorizationFailed => (
            Class::TopicPrivilege,
            say("kafka-acls.sh --bootstrap-server BROKERS --add --allow-principal User:<name> --operation Write \
             --operation Describe --topic TOPIC"),
        ),
        Code::ClusterAuthorizationFailed => (
            Class::TopicPrivilege,
            say("kafka-acls.sh --bootstrap-server BROKERS --add --allow-principal User:<name> --operation Write \
             --operation Describe --topic <topic>, for each of its topics; before Kafka 3.0 also --operation \
             IdempotentWrite --cluster"),
        ),
        Code::TransactionalIdAuthorizationFailed => (
            Class::TopicPrivilege,
            say("kafka-acls.sh --bootstrap-server BROKERS --add --allow-principal User:<name> --operation Write \
             --operation Describe --transactional-id <slot>"),
        ),
        Code::UnknownTopic | Code::UnknownTopicOrPartition | Code::UnknownTopicId => (
            Class::TopicMissing,
            say("kafka-topics.sh --bootstrap-server BROKERS --create --topic TOPIC --partitions <number> \
             --replication-factor 3"),
        ),
        Code::UnknownPartition => (
            Class::TopicMissing,
            say("kafka-topics.sh --bootstrap-server BROKERS --describe --topic TOPIC shows its partitions; it has \
             fewer than before, or none"),
        ),
        Code::InvalidTopic => {
            (Class::TopicMissing, "correct the topic's name: 1 to 249 of the characters a-z A-Z 0-9 . _ -".into())
        }
        Code::OutOfOrderSequenceNumber | Code::UnknownProducerId | Code::LogTruncation => (
            Class::TopicRecreated,
            "the broker has lost messages that it had confirmed: look for an unclean leader election or a lost \
             disk, find out what consumers miss, then resume the slot"
                .into(),
        ),
        Code::SSL
        | Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SecurityDisabled => (Class::KafkaLogin, login_remedy(about.client)),
        Code::Resolve => (
            Class::KafkaUnavailable,
            format!(
                "correct `endpoints` of kafka_clients.{}, or the name service: {bootstrap} must resolve",
                about.client.name
            ),
        ),
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::OperationTimedOut
        | Code::RequestTimedOut
        | Code::MessageTimedOut
        | Code::TimedOutQueue
        | Code::NetworkException
        | Code::BrokerNotAvailable
        | Code::LeaderNotAvailable
        | Code::NotLeaderForPartition
        | Code::ReplicaNotAvailable
        | Code::CoordinatorNotAvailable
        | Code::CoordinatorLoadInProgress
        | Code::NotCoordinator
        | Code::WaitingForCoordinator
        | Code::RebootstrapRequired => {
            (Class::KafkaUnavailable, format!("see that the brokers run and can be reached from here: {bootstrap}"))
        }
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => (
            Class::KafkaUnavailable,
            say("kafka-topics.sh --bootstrap-server BROKERS --describe --under-min-isr-partitions shows which \
             replicas are missing; start their brokers"),
        ),
        Code::KafkaStorageError => (
            Class::KafkaUnavailable,
            "see the broker's log: a disk of it has failed or \
         is full"
                .into(),
        ),
        Code::PolicyViolation | Code::InvalidRecord | Code::InvalidTimestamp | Code::InvalidMessage => (
            Class::SendFailed,
            say("kafka-topics.sh --bootstrap-server BROKERS --describe --topic TOPIC shows the topic's settings; \
             the broker's log says which of them refused the message (cleanup.policy=compact takes no message \
             without a key)"),
        ),
        Code::UnsupportedVersion | Code::UnsupportedFeature | Code::UnsupportedForMessageFormat => (
            Class::SendFailed,
            "Kafka 0.11 or later is needed, with a message format \
             (log.message.format.version) of it"
                .into(),
        ),
        Code::UnsupportedCompressionType | Code::BadCompression => (
            Class::SendFailed,
            format!("set \"compression.type\" of kafka_clients.{} to a codec that the broker knows", about.client.name),
        ),
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => (
            Class::SendFailed,
            "see that no other program uses this transactional.id; the slot begins again by \
             itself"
                .into(),
        ),
        _ => (
            Class::SendFailed,
            "it is tried again with a new producer; should it come back, see the broker's \
         log"
            .into(),
        ),
    }
}

/// What to look at when Kafka refuses the connection.
pub(super) fn login_remedy(client: &KafkaClient) -> String {
    format!(
        "compare kafka_clients.{}.properties with the listener: \"security.protocol\", \"sasl.mechanism\", \
         \"sasl.username\", \
         \"sasl.password\", \"ssl.ca.location\"",
        client.name
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remedies_name_the_topic_and_the_brokers() {
        let client =
            KafkaClient { name: "main".into(), endpoints: vec!["a:1".into(), "b:2".into()], properties: [].into() };
        let about = About::partition(&client, "events", 3);
        for (code, class, remedy) in [
            (Code::MessageSizeTooLarge, Class::MessageTooLarge, "--entity-name events --add-config max.message.bytes="),
            (
                Code::TopicAuthorizationFailed,
                Class::TopicPrivilege,
                "--operation Write --operation Describe --topic events",
            ),
            (
                Code::UnknownTopicOrPartition,
                Class::TopicMissing,
                "kafka-topics.sh --bootstrap-server a:1,b:2 --create --topic events",
            ),
            (Code::UnknownTopic, Class::TopicMissing, "--create --topic events"),
            (Code::OutOfOrderSequenceNumber, Class::TopicRecreated, "resume"),
            (Code::Authentication, Class::KafkaLogin, "kafka_clients.main.properties"),
            (Code::AllBrokersDown, Class::KafkaUnavailable, "a:1,b:2"),
            (Code::GaplessGuarantee, Class::SendFailed, "new producer"),
            (Code::Unknown, Class::SendFailed, "new producer"),
        ] {
            let trouble = trouble(code, about);
            assert_eq!(trouble.class, class, "{code:?}");
            assert!(trouble.remedy.contains(remedy), "{trouble:?}");
            assert!(trouble.message.starts_with("Kafka client \"main\", topic \"events\", partition 3: "), "{trouble}");
        }
    }
}
