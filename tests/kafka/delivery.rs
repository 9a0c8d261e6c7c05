//! What arrives where.

use std::{sync::Arc, time::Duration};

use cdc_notifier::{
    change::{Class, Trouble},
    config::Partitioner,
    sink::{
        Delivery, Outcome, Record, Settlement, Sink,
        kafka::{
            OffsetWatch, PartitionCounts, Producer,
            consumer::{Start, Tail},
            mock::InProcessBroker,
            partition, topics,
        },
    },
};
use rdkafka::{
    ClientConfig,
    producer::{BaseProducer, BaseRecord, Producer as _},
};

use crate::{
    kafka::{ConsumedRecord, shared},
    recorder::{TIMEOUT, client, open, open_with, send, wait},
};

/// Keys as they are in the field, and some others.
fn keys() -> Vec<Vec<u8>> {
    let own = (0..200).map(|number| format!("default/default process-{number:08}").into_bytes());
    own.chain([vec![0], vec![0xFF; 100], "ключ".into()]).collect()
}

#[test]
fn records_arrive_once_in_order_in_their_partitions() {
    let server = shared();
    server.create_topic("arrive", 7);
    let (producer, recorder) = open(&client(&server.bootstrap(), &[("compression.type", "zstd")]));
    let counts = topics::fetch(&producer, &["arrive"], TIMEOUT).unwrap();
    assert_eq!((counts["arrive"].partitions, counts["arrive"].replicas), (7, 1));
    let mut sent = Vec::new();
    for (token, key) in (0..5).flat_map(|_| keys()).enumerate() {
        let value = format!("value {token}").into_bytes();
        let place = partition(Partitioner::Phash2, &key, 7);
        let headers = [("lsn", &b"16/B374D848"[..]), ("ordinal", b"0")];
        let headers = if token % 2 == 0 { &headers[..] } else { &[] };
        let record =
            Record { topic: "arrive", partition: place, key: Some(&key), value: &value, headers, token: token as u64 };
        producer.send(&record).unwrap();
        sent.push((place, key.clone(), value.clone(), headers.len()));
    }
    let null = Record { topic: "arrive", partition: 6, key: None, value: b"", headers: &[], token: u64::MAX };
    producer.send(&null).unwrap();
    wait("all settled", || producer.in_flight() == 0);

    let found = server.consume_all("arrive");
    assert_eq!(found.len(), sent.len() + 1);
    for place in 0..7 {
        let expected = sent.iter().filter(|record| record.0 == place);
        let there = found.iter().filter(|record| record.partition == place && record.key.is_some());
        assert!(expected.clone().count() > 50, "each partition has its part");
        let expected: Vec<_> =
            expected.map(|(_, key, value, headers)| (key.clone(), value.clone(), *headers)).collect();
        let there: Vec<_> =
            there.map(|r| (r.key.clone().unwrap(), r.value.clone().unwrap(), r.headers.len())).collect();
        assert_eq!(there, expected, "partition {place}");
    }
    assert_eq!(found[0].headers[0], ("lsn".to_owned(), b"16/B374D848".to_vec()));
    // The reports say where each record is.
    let deliveries = recorder.deliveries();
    assert_eq!(deliveries.len(), found.len());
    for Delivery { token, bytes, outcome } in deliveries {
        let Outcome::Confirmed { partition, offset: Some(offset) } = outcome else { panic!("{token}: {outcome:?}") };
        let record = found.iter().find(|r| r.partition == partition && r.offset == offset).unwrap();
        match sent.get(usize::try_from(token).unwrap()) {
            Some((place, key, value, _)) => {
                assert_eq!((place, Some(key), Some(value)), (&partition, record.key.as_ref(), record.value.as_ref()));
                assert_eq!(bytes, key.len() + value.len());
            }
            None => assert_eq!((token, bytes, record.key.as_ref()), (u64::MAX, 0, None)),
        }
    }
    assert_eq!(recorder.failures(), []);
    assert_eq!(producer.purge_and_close(), 0);
}

#[test]
fn consistent_and_murmur2_are_librdkafkas_too() {
    let server = shared();
    for (kind, name) in [(Partitioner::Consistent, "consistent"), (Partitioner::Murmur2, "murmur2")] {
        server.create_topic(name, 12);
        let mut config = ClientConfig::new();
        let producer: BaseProducer =
            config.set("bootstrap.servers", server.bootstrap()).set("partitioner", name).create().unwrap();
        for key in keys() {
            producer
                .send(BaseRecord::<[u8], [u8]>::to(name).key(&key).payload(b""))
                .map_err(|(error, _)| error)
                .unwrap();
        }
        producer.flush(TIMEOUT).unwrap();
        let found = server.consume_all(name);
        assert_eq!(found.len(), keys().len());
        for ConsumedRecord { partition: place, key, .. } in found {
            assert_eq!(place, partition(kind, &key.unwrap(), 12), "{name}");
        }
    }
}

#[test]
fn added_partitions_are_used_when_asked_for() {
    let server = shared();
    server.create_topic("grows", 2);
    let client = client(&server.bootstrap(), &[]);
    let (producer, recorder) = open(&client);
    let counts = PartitionCounts::new(&client, &topics::fetch(&producer, &["grows"], TIMEOUT).unwrap());
    for token in 0..100 {
        send(&producer, "grows", i32::try_from(token % 2).unwrap(), b"before", token).unwrap();
    }
    server.add_partitions("grows", 5);
    let grown = counts.observe(&topics::fetch(&producer, &["grows"], TIMEOUT).unwrap()).unwrap();
    assert_eq!((grown.len(), grown[0].to, counts.get("grows")), (1, 5, Some(2)));
    wait("all settled", || producer.in_flight() == 0);
    counts.apply(&grown[0]);
    // At once: the look at the topic has told librdkafka too.
    for place in 0..counts.get("grows").unwrap() {
        send(&producer, "grows", place, b"after", 100).unwrap();
    }
    wait("all settled", || producer.in_flight() == 0);
    assert_eq!(recorder.confirmed().len(), 105);
    let after: Vec<_> =
        server.consume_all("grows").into_iter().filter(|r| r.value.as_deref() == Some(b"after")).collect();
    assert_eq!(after.iter().map(|record| record.partition).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_tail_reads_what_was_written() {
    let server = shared();
    server.create_topic("tailed", 3);
    let client = client(&server.bootstrap(), &[("compression.type", "lz4")]);
    let (producer, _) = open(&client);
    let end = Tail::open(&client, &["tailed"], Start::End, TIMEOUT).unwrap();
    assert_eq!(end.next(Duration::from_millis(500)).unwrap(), None);
    for token in 0..30 {
        send(&producer, "tailed", i32::try_from(token % 3).unwrap(), token.to_string().as_bytes(), token).unwrap();
    }
    let beginning = Tail::open(&client, &["tailed"], Start::Beginning, TIMEOUT).unwrap();
    for tail in [beginning, end] {
        let mut values: Vec<u32> = (0..30)
            .map(|_| {
                let record = tail.next(TIMEOUT).unwrap().expect("a record");
                assert_eq!((record.topic.as_str(), record.key.as_deref()), ("tailed", Some(&b"key"[..])));
                String::from_utf8(record.value.unwrap()).unwrap().parse().unwrap()
            })
            .collect();
        values.sort_unstable();
        assert_eq!(values, (0..30).collect::<Vec<_>>());
    }
    let missing = Tail::open(&client, &["nowhere"], Start::End, TIMEOUT).unwrap_err();
    assert_eq!(missing.class, cdc_notifier::change::Class::TopicMissing);
}

#[test]
fn the_broker_within_the_process_serves_the_demo() {
    let broker = InProcessBroker::start(&[("demo", 4)]).unwrap();
    let client = client(broker.bootstrap(), &[]);
    let watch = Arc::new(OffsetWatch::default());
    let (producer, recorder) = open_with(&client, 1 << 20, &watch);
    assert_eq!(topics::fetch(&producer, &["demo"], TIMEOUT).unwrap()["demo"].partitions, 4);
    for token in 0..4 {
        send(&producer, "demo", i32::try_from(token).unwrap(), b"value", token).unwrap();
    }
    wait("all settled", || producer.in_flight() == 0);
    assert_eq!(recorder.confirmed().len(), 4);
    topics::check_high_watermarks(&producer, &watch, TIMEOUT).unwrap();
    let tail = Tail::open(&client, &["demo"], Start::Beginning, TIMEOUT).unwrap();
    for _ in 0..4 {
        assert!(tail.next(TIMEOUT).unwrap().is_some());
    }
}

/// Its thread would end, and every later record would wait for ever.
#[test]
fn a_settlement_that_panics_ends_the_producer_and_not_its_thread() {
    struct Panics;
    impl Settlement for Panics {
        fn settled(&self, delivery: Delivery) {
            assert!(delivery.token != 0, "on purpose");
        }
        fn failed(&self, _: &Trouble) {}
    }
    let broker = InProcessBroker::start(&[("panics", 1)]).unwrap();
    let client = client(broker.bootstrap(), &[]);
    let producer = Producer::open(&client, 1 << 20, Arc::default(), Arc::new(Panics)).unwrap();
    send(&producer, "panics", 0, b"value", 0).unwrap();
    send(&producer, "panics", 0, b"value", 1).unwrap();
    wait("the other record's settlement", || producer.in_flight() == 1);
    assert_eq!(producer.broken().unwrap().class, Class::Bug);
    assert!(send(&producer, "panics", 0, b"value", 2).is_err());
    assert_eq!(producer.purge_and_close(), 1, "what was not settled is told");
}
