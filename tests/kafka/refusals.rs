//! What a producer does when Kafka, or its own queue, says no.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cdc_notifier::{
    change::{Class, Trouble},
    sink::{
        Outcome, Record, Refused, Settlement, Sink,
        kafka::{Producer, topics},
    },
};

use crate::{
    kafka::{KafkaServer, Listener, Options, PASSWORD, Permission, USER, shared},
    recorder::{Recorder, TIMEOUT, client, open, open_with, send, wait},
};

fn failed(result: Result<(), Refused>) -> Trouble {
    match result {
        Err(Refused::Failed(trouble)) => trouble,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_missing_topic_is_named_with_the_command_that_creates_it() {
    let server = shared();
    let (producer, _) = open(&client(&server.bootstrap(), &[]));
    let trouble = topics::fetch(&producer, &["missing"], TIMEOUT).unwrap_err();
    assert_eq!(trouble.class, Class::TopicMissing);
    assert!(trouble.message.contains("\"missing\""), "{trouble}");
    let create = format!("kafka-topics.sh --bootstrap-server {} --create --topic missing", server.bootstrap());
    assert!(trouble.remedy.starts_with(&create), "{}", trouble.remedy);
}

/// librdkafka takes a missing topic for no reason to stop: the producer must by itself.
#[test]
fn a_record_for_a_missing_topic_ends_the_producer() {
    let server = shared();
    server.create_topic("there", 1);
    let client = client(&server.bootstrap(), &[("topic.metadata.propagation.max.ms", "500")]);
    let (producer, recorder) = open(&client);
    send(&producer, "there", 0, b"before", 0).unwrap();
    wait("confirmation", || producer.in_flight() == 0);
    send(&producer, "not-there", 0, b"lost", 1).unwrap();
    wait("failure", || producer.broken().is_some() && producer.in_flight() == 0);
    let trouble = failed(send(&producer, "there", 0, b"after", 2));
    assert_eq!(trouble.class, Class::TopicMissing);
    assert!(trouble.message.contains("not-there"), "{trouble}");
    assert_eq!(recorder.failures(), std::slice::from_ref(&trouble));
    assert_eq!(producer.broken(), Some(trouble));
    assert_eq!(recorder.deliveries()[1].outcome, Outcome::Failed);
    producer.purge_and_close();
    assert_eq!(server.consume_all("there").len(), 1, "nothing after the failure");
}

#[test]
fn a_message_over_the_brokers_limit_ends_the_producer_and_nothing_overtakes_it() {
    let server = shared();
    server.create_topic("limited", 2);
    let (producer, recorder) = open(&client(&server.bootstrap(), &[]));
    let large = vec![b'x'; 2 << 20];
    let mut refused = None;
    for token in 0..5_000_u64 {
        let place = i32::try_from(token % 2).unwrap();
        let value = if token == 1_000 { &large[..] } else { b"small" };
        if let Err(Refused::Failed(trouble)) = send(&producer, "limited", place, value, token) {
            refused = Some(trouble);
            break;
        }
    }
    wait("failure", || producer.broken().is_some());
    wait("cause", || !recorder.failures().is_empty());
    let trouble = failed(send(&producer, "limited", 0, b"later", 9_999));
    assert_eq!(trouble.class, Class::MessageTooLarge, "{trouble:?} {refused:?}");
    assert!(trouble.message.contains("topic \"limited\", partition 0"), "{trouble}");
    assert!(trouble.remedy.contains("--entity-name limited --add-config max.message.bytes="), "{}", trouble.remedy);
    assert_eq!(recorder.failures(), [trouble], "told once");
    // What librdkafka still writes by itself it may write; of some records it never tells the end.
    let patience = Instant::now() + Duration::from_secs(3);
    while producer.in_flight() > 0 && Instant::now() < patience {
        thread::sleep(Duration::from_millis(10));
    }
    producer.purge_and_close();

    let found = server.consume_all("limited");
    let same: Vec<_> = found.iter().filter(|record| record.partition == 0).collect();
    assert!(same.len() <= 500, "records after the refused one were written: {}", same.len());
    assert!(found.iter().all(|record| record.value.as_deref() == Some(b"small")));
    // What was not confirmed may be there, what was confirmed must be.
    assert!(recorder.confirmed().len() <= found.len());
}

#[test]
fn alone_only_the_large_record_is_refused() {
    let server = shared();
    server.create_topic_with("narrow", 1, &[("max.message.bytes", "2000")]);
    // Small records that together are too large for the topic: the refusal names a batch.
    let client = client(&server.bootstrap(), &[("linger.ms", "200")]);
    let (producer, recorder) = open(&client);
    topics::fetch(&producer, &["narrow"], TIMEOUT).unwrap();
    for token in 0..10 {
        send(&producer, "narrow", 0, &[b'a'; 500], token).unwrap();
    }
    wait("failure", || !recorder.failures().is_empty());
    assert_eq!(recorder.failures()[0].class, Class::MessageTooLarge);
    producer.purge_and_close();
    assert_eq!(server.consume_all("narrow"), []);

    let recorder = Arc::new(Recorder::default());
    let settlement: Arc<dyn Settlement> = recorder.clone();
    let producer = Producer::open(&client, 1 << 20, Arc::default(), settlement).unwrap();
    for token in 0..10 {
        send(&producer, "narrow", 0, &[b'a'; 500], token).unwrap();
        wait("it is settled", || producer.in_flight() == 0);
    }
    assert_eq!(recorder.confirmed(), (0..10).collect::<Vec<_>>());
    send(&producer, "narrow", 0, &[b'a'; 3_000], 10).unwrap();
    wait("failure", || !recorder.failures().is_empty());
    assert_eq!(recorder.failures()[0].class, Class::MessageTooLarge);
}

#[test]
fn a_full_queue_is_back_pressure() {
    let server = KafkaServer::start(&Options::default().set("auto.create.topics.enable", "true"));
    server.create_topic("full", 1);
    let (producer, recorder) = open_with(&client(&server.bootstrap(), &[]), 0, &Arc::default());
    // A broker that would create topics by itself is not let to.
    let missing = || topics::fetch(&producer, &["missing"], TIMEOUT).unwrap_err().class;
    assert_eq!((missing(), missing()), (Class::TopicMissing, Class::TopicMissing));
    server.suspend();
    let frozen = topics::fetch(&producer, &["full"], Duration::from_secs(1)).unwrap_err();
    assert_eq!(frozen.class, Class::KafkaUnavailable, "{frozen:?}");
    let mut token = 0;
    while send(&producer, "full", 0, b"value", token) == Ok(()) {
        token += 1;
    }
    assert_eq!(token, 1_000);
    assert_eq!(send(&producer, "full", 0, b"value", token), Err(Refused::Full));
    assert_eq!((producer.in_flight(), producer.broken()), (1_000, None));
    server.resume();
    wait("room", || send(&producer, "full", 0, b"value", token) == Ok(()));
    wait("all settled", || producer.in_flight() == 0);
    assert_eq!(recorder.confirmed(), (0..=1_000).collect::<Vec<_>>());
    assert_eq!(recorder.failures(), []);
}

#[test]
fn what_the_user_may_not_write_ends_the_producer() {
    let server = KafkaServer::start(&Options::secured());
    for topic in ["allowed", "described", "hidden"] {
        server.create_topic(topic, 1);
    }
    server.allow("allowed", Permission::Write);
    server.allow("described", Permission::Describe);
    let client = client(
        &server.bootstrap_of(Listener::Plain),
        &[
            ("security.protocol", "sasl_plaintext"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", USER),
            ("sasl.password", PASSWORD),
        ],
    );
    let (producer, recorder) = open(&client);
    // Permissions reach the broker a moment after the answer.
    wait("permissions", || topics::fetch(&producer, &["allowed", "described"], TIMEOUT).is_ok());
    let hidden = topics::fetch(&producer, &["hidden"], TIMEOUT).unwrap_err();
    assert_eq!(hidden.class, Class::TopicPrivilege);
    assert!(hidden.remedy.contains("--operation Write --operation Describe --topic hidden"), "{}", hidden.remedy);

    send(&producer, "allowed", 0, b"value", 0).unwrap();
    wait("confirmation", || producer.in_flight() == 0);
    assert_eq!(recorder.confirmed(), [0]);
    // Whether one may write shows only with the first record.
    send(&producer, "described", 0, b"value", 1).unwrap();
    wait("failure", || producer.broken().is_some() && !recorder.failures().is_empty());
    let trouble = failed(send(&producer, "allowed", 0, b"value", 2));
    assert_eq!(trouble.class, Class::TopicPrivilege, "{trouble:?}");
    assert!(trouble.message.contains("\"described\""), "{trouble}");
    producer.purge_and_close();
    assert_eq!(server.consume_all("allowed").len(), 1);
}

#[test]
fn a_record_for_no_topic_or_partition_ends_the_producer() {
    let server = shared();
    server.create_topic("one", 1);
    let (producer, recorder) = open(&client(&server.bootstrap(), &[]));
    topics::fetch(&producer, &["one"], TIMEOUT).unwrap();
    let beyond = Record { topic: "one", partition: 1, key: None, value: b"", headers: &[], token: 0 };
    // At once where librdkafka knows the topic, else with the report.
    let mut result = producer.send(&beyond);
    wait("failure", || {
        result = producer.send(&beyond);
        result.is_err()
    });
    let trouble = failed(result);
    assert_eq!(trouble.class, Class::TopicMissing, "{trouble:?}");
    assert!(trouble.message.contains("partition 1"), "{trouble}");
    wait("settled", || producer.in_flight() == 0);
    assert_eq!(recorder.failures(), [trouble]);

    let (producer, recorder) = open(&client(&server.bootstrap(), &[]));
    let trouble = failed(send(&producer, "a\0b", 0, b"", 0));
    assert_eq!((recorder.failures(), producer.in_flight()), (vec![trouble], 0));
}
