//! Reading topics back, without a consumer group: nothing is committed, nobody else is disturbed.

use std::time::{Duration, Instant};

use rdkafka::{
    ClientContext, Message, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::{KafkaError, RDKafkaErrorCode as Code},
};

use super::{
    error::{self, About},
    options::{client_config, creation_error},
    trouble::Connection,
};
use crate::{
    change::{Class, Trouble},
    config::KafkaClient,
};

/// Where a [`Tail`] begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record.
    Beginning,
    /// With the next record.
    End,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
}

/// Reads all partitions of some topics; of Kafka transactions only committed ones.
pub struct Tail {
    consumer: BaseConsumer<Context>,
}

impl Tail {
    /// Finds the partitions and begins to read. Blocks for up to `timeout`.
    ///
    /// # Errors
    /// If the properties are refused, a topic is missing or may not be read, or no broker answers.
    pub fn open(client: &KafkaClient, topics: &[&str], start: Start, timeout: Duration) -> Result<Self, Trouble> {
        let refused =
            |error: &super::PropertyError| Trouble::new(Class::KafkaLogin, error.to_string(), error.remedy.clone());
        let mut config = client_config(client, 0).map_err(|error| refused(&error))?;
        // Consumers warn of every property that is for producers only.
        for key in [
            "enable.idempotence",
            "enable.gapless.guarantee",
            "request.required.acks",
            "message.timeout.ms",
            "queue.buffering.max.ms",
            "queue.buffering.max.kbytes",
            "queue.buffering.max.messages",
            "delivery.report.only.error",
        ] {
            config.remove(key);
        }
        // The client insists on a group, which is never joined.
        config
            .set("group.id", "cdc-notifier-tail")
            .set("enable.auto.commit", "false")
            .set("log.connection.close", "false");
        let context = Context(Connection::new(client));
        let consumer: BaseConsumer<Context> =
            config.create_with_context(context).map_err(|error| refused(&creation_error(client, &error)))?;
        let tail = Self { consumer };
        tail.assign(topics, start, timeout)?;
        Ok(tail)
    }

    fn assign(&self, topics: &[&str], start: Start, timeout: Duration) -> Result<(), Trouble> {
        let deadline = Instant::now() + timeout;
        let offset = match start {
            Start::Beginning => Offset::Beginning,
            Start::End => Offset::End,
        };
        let connection = &self.consumer.context().0;
        let mut assignment = TopicPartitionList::new();
        for &topic in topics {
            let left = deadline.saturating_duration_since(Instant::now());
            let metadata = self.consumer.fetch_metadata(Some(topic), left).map_err(|error| connection.why(&error))?;
            connection.succeeded();
            let described = metadata.topics().iter().find(|described| described.name() == topic);
            let code =
                described.map_or(Some(Code::UnknownTopicOrPartition), |described| described.error().map(Code::from));
            if let Some(code) = code {
                return Err(error::trouble(code, About::topic(&connection.client, topic)));
            }
            for partition in described.map_or(&[][..], |described| described.partitions()) {
                assignment
                    .add_partition_offset(topic, partition.id(), offset)
                    .map_err(|error| connection.why(&error))?;
            }
        }
        self.consumer.assign(&assignment).map_err(|error| connection.why(&error))
    }

    /// The next record; `None` if there was none within `timeout`. Blocks.
    ///
    /// # Errors
    /// If a topic can no longer be read. While brokers are away there is just no record; [`Self::connection_trouble`]
    /// says why.
    pub fn next(&self, timeout: Duration) -> Result<Option<Consumed>, Trouble> {
        let deadline = Instant::now() + timeout;
        let connection = &self.consumer.context().0;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.consumer.poll(left) {
                None => return Ok(None),
                Some(Ok(message)) => {
                    connection.succeeded();
                    return Ok(Some(Consumed {
                        topic: message.topic().to_owned(),
                        partition: message.partition(),
                        offset: message.offset(),
                        key: message.key().map(<[u8]>::to_vec),
                        value: message.payload().map(<[u8]>::to_vec),
                    }));
                }
                Some(Err(error)) => {
                    // The context has the others already; librdkafka connects again by itself.
                    let code = error.rdkafka_error_code().filter(|code| ends_reading(*code));
                    if let Some(code) = code {
                        return Err(error::trouble(code, About::client(&connection.client)));
                    }
                }
            }
        }
    }

    /// The first telling error of the connection since something last succeeded.
    #[must_use]
    pub fn connection_trouble(&self) -> Option<Trouble> {
        self.consumer.context().0.trouble()
    }
}

/// Whether it does not pass by itself.
const fn ends_reading(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownTopicOrPartition
            | Code::UnknownTopic
            | Code::UnknownPartition
            | Code::TopicAuthorizationFailed
            | Code::OffsetOutOfRange
    )
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.consumer.context().0.close();
    }
}

impl std::fmt::Debug for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tail").field("client", &self.consumer.context().0.client.name).finish_non_exhaustive()
    }
}

struct Context(Connection);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.0.log(level, facility, text);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        if let Some(code) = error.rdkafka_error_code() {
            self.0.error(code, reason);
        }
    }
}

impl ConsumerContext for Context {}
