//! Topics, permissions, and reading everything back, with clients of their own.

use std::{
    future::Future,
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, RDKafkaErrorCode},
    message::Headers,
};

use super::USER;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A record as a consumer of its own found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumedRecord {
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since 1970; the broker's time if the topic says so.
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What `USER` may do with a topic; the numbers are Kafka's (`AclOperation`).
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
pub enum Permission {
    Write = 4,
    Describe = 8,
}

/// Whether a broker answers a question about its cluster.
pub(super) fn answers(bootstrap: &str) -> bool {
    consumer(bootstrap)
        .fetch_metadata(None, Duration::from_secs(2))
        .is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// A cluster's clients: each call makes one of its own.
pub struct Admin {
    /// The brokers, `host:port` each, with commas between them.
    pub bootstrap: String,
    /// Replicas of every topic.
    pub replication: i32,
}

impl Admin {
    /// Creates a topic and waits until the broker shows it.
    pub fn create_topic(&self, topic: &str, partitions: i32) {
        self.create_topic_with(topic, partitions, &[]);
    }

    /// Creates a topic with settings of its own, and waits until the broker shows it.
    pub fn create_topic_with(&self, topic: &str, partitions: i32, settings: &[(&str, &str)]) {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(self.replication));
        for (key, value) in settings {
            new = new.set(key, value);
        }
        let results = run(self.client().create_topics([&new], &AdminOptions::new())).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        self.wait_for_partitions(topic, partitions);
    }

    /// Gives a topic more partitions and waits until the broker shows them.
    pub fn add_partitions(&self, topic: &str, total: usize) {
        let new = NewPartitions::new(topic, total);
        let results = run(self.client().create_partitions([&new], &AdminOptions::new())).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        self.wait_for_partitions(topic, i32::try_from(total).unwrap());
    }

    /// Sets an option of a topic; its other options go back to their defaults.
    pub fn set_topic_option(&self, topic: &str, key: &str, value: &str) {
        let new = AlterConfig::new(ResourceSpecifier::Topic(topic)).set(key, value);
        let results = run(self.client().alter_configs([&new], &AdminOptions::new())).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    /// Deletes a topic and waits until the broker shows it no more.
    pub fn delete_topic(&self, topic: &str) {
        let results = run(self.client().delete_topics(&[topic], &AdminOptions::new())).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        self.wait_for_partitions(topic, 0);
    }

    fn wait_for_partitions(&self, topic: &str, partitions: i32) {
        let consumer = consumer(&self.bootstrap);
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
            let of_topic = metadata.topics().first().map(rdkafka::metadata::MetadataTopic::partitions);
            let led = of_topic.map_or(0, |all| all.iter().filter(|p| p.leader() >= 0).count());
            if i32::try_from(led).unwrap() == partitions {
                return;
            }
            assert!(Instant::now() < deadline, "{topic} has {led} partitions");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything in a topic, each partition to its end, in the order of partition and offset.
    pub fn consume_all(&self, topic: &str) -> Vec<ConsumedRecord> {
        let consumer = consumer(&self.bootstrap);
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).unwrap() {
            assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, mut ended) = (Vec::new(), 0);
        while ended < partitions {
            match consumer.poll(TIMEOUT).unwrap_or_else(|| panic!("{topic}: no end within {TIMEOUT:?}")) {
                Ok(message) => records.push(ConsumedRecord {
                    partition: message.partition(),
                    offset: message.offset(),
                    timestamp: message.timestamp().to_millis().unwrap_or_default(),
                    key: message.key().map(<[u8]>::to_vec),
                    value: message.payload().map(<[u8]>::to_vec),
                    headers: message.headers().map_or_else(Vec::new, |headers| {
                        let owned = |h: rdkafka::message::Header<'_, &[u8]>| {
                            (h.key.to_owned(), h.value.unwrap_or_default().to_vec())
                        };
                        headers.iter().map(owned).collect()
                    }),
                }),
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => {
                    let code = error.rdkafka_error_code();
                    assert!(
                        matches!(
                            code,
                            Some(RDKafkaErrorCode::AllBrokersDown | RDKafkaErrorCode::BrokerTransportFailure)
                        ),
                        "{error}"
                    );
                }
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }

    /// Lets `USER` do this with a topic.
    pub fn allow(&self, topic: &str, permission: Permission) {
        // CreateAcls: one creation.
        let (topic_resource, literal, allow) = (2, 3, 3);
        let mut request = vec![0, 0, 0, 1, topic_resource];
        request.extend(string(topic));
        request.push(literal);
        request.extend(string(&format!("User:{USER}")));
        request.extend(string("*"));
        request.extend([permission as u8, allow]);
        let response = self.request(30, 1, &request);
        // Throttle time, number of results, error.
        assert_eq!(response[4..10], [0, 0, 0, 1, 0, 0], "{response:?}");
    }

    /// Lets every partition's first replica lead it, where that one is in sync.
    pub fn elect_preferred_leaders(&self) {
        // ElectLeaders: all partitions, and how many milliseconds it may take.
        let request = [&(-1_i32).to_be_bytes()[..], &10_000_i32.to_be_bytes()].concat();
        self.request(43, 0, &request);
    }

    /// Bytes a second that a client may send to each broker; `None`: as many as it can.
    pub fn set_quota(&self, bytes: Option<f64>) {
        // AlterClientQuotas: one entry, of the default client id; one operation on it, which sets or removes; not only validated.
        let mut request = vec![0, 0, 0, 1, 0, 0, 0, 1];
        request.extend(string("client-id"));
        request.extend([0xFF, 0xFF, 0, 0, 0, 1]);
        request.extend(string("producer_byte_rate"));
        request.extend(bytes.unwrap_or_default().to_be_bytes());
        request.extend([u8::from(bytes.is_none()), 0]);
        let response = self.request(49, 0, &request);
        // Throttle time, number of results, error.
        assert_eq!(response[4..10], [0, 0, 0, 1, 0, 0], "{response:?}");
    }

    /// What rdkafka has no call for, by Kafka's number of it, without client id; returns the answer's body.
    fn request(&self, key: u8, version: u8, body: &[u8]) -> Vec<u8> {
        let correlation = [0, 0, 0, 1];
        let request = [&[0, key, 0, version], &correlation[..], &[0xFF, 0xFF], body].concat();
        let mut socket = TcpStream::connect(self.bootstrap.split(',').next().unwrap()).unwrap();
        socket.write_all(&[&u32::try_from(request.len()).unwrap().to_be_bytes()[..], &request].concat()).unwrap();
        let mut length = [0; 4];
        socket.read_exact(&mut length).unwrap();
        let mut response = vec![0; u32::from_be_bytes(length) as usize];
        socket.read_exact(&mut response).unwrap();
        assert_eq!(response[..4], correlation, "{response:?}");
        response.split_off(4)
    }

    /// The partitions of these topics of which not every replica is in sync.
    pub fn out_of_sync(&self, topics: &[String]) -> Result<Vec<String>, KafkaError> {
        let metadata = consumer(&self.bootstrap).fetch_metadata(None, TIMEOUT)?;
        let all = metadata.topics().iter().filter(|topic| topics.iter().any(|name| name == topic.name()));
        let partitions =
            all.flat_map(|topic| topic.partitions().iter().map(move |partition| (topic.name(), partition)));
        let behind = partitions.filter(|(_, partition)| partition.isr().len() < partition.replicas().len());
        Ok(behind.map(|(topic, partition)| format!("{topic}-{}", partition.id())).collect())
    }

    /// A consumer of everything.
    pub fn consumer(&self) -> BaseConsumer {
        consumer(&self.bootstrap)
    }

    fn client(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap()
    }
}

/// The end of each of so many partitions, as consumers see it.
pub fn high_watermarks(consumer: &BaseConsumer, topic: &str, count: i32) -> Result<Vec<i64>, KafkaError> {
    let end = |partition| consumer.fetch_watermarks(topic, partition, Duration::from_secs(2)).map(|(_, high)| high);
    (0..count).map(end).collect()
}

/// A text as Kafka's requests hold it.
fn string(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

fn consumer(bootstrap: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "tests")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}
