//! Brokers that die, topics that are recreated, producers that are closed in the midst of it.

use std::{sync::Arc, thread, time::Duration};

use cdc_notifier::{
    change::Class,
    config::KafkaClient,
    sink::{
        Outcome, Sink,
        kafka::{OffsetWatch, topics},
    },
};

use crate::{
    kafka::{KafkaServer, Options, shared},
    recorder::{TIMEOUT, client, log, open, open_with, send, wait},
};

#[test]
fn a_killed_broker_costs_nothing() {
    let server = KafkaServer::start(&Options::default());
    server.create_topic("survives", 4);
    let (producer, recorder) = open(&client(&server.bootstrap(), &[]));
    let total = 30_000_u64;
    thread::scope(|scope| {
        scope.spawn(|| {
            for token in 0..total {
                send(&producer, "survives", i32::try_from(token % 4).unwrap(), &token.to_be_bytes(), token).unwrap();
                if token % 20 == 0 {
                    thread::sleep(Duration::from_millis(5)); // the load's own pace
                }
            }
        });
        for share in [4, 2] {
            let enough = usize::try_from(total / share / 2).unwrap();
            wait("some confirmations", || recorder.confirmed().len() > enough);
            server.kill();
            wait("the producer notices", || producer.connection_trouble().is_some());
            let trouble = producer.connection_trouble().unwrap();
            assert_eq!(trouble.class, Class::KafkaUnavailable, "{trouble:?}");
            server.start_again();
        }
    });
    wait("all settled", || producer.in_flight() == 0);
    assert_eq!((recorder.failures(), producer.broken()), (vec![], None));
    assert_eq!(producer.connection_trouble(), None, "cleared by success");
    let mut confirmed = recorder.confirmed();
    confirmed.sort_unstable();
    assert_eq!(confirmed, (0..total).collect::<Vec<_>>());
    let found = server.consume_all("survives");
    for place in 0..4 {
        let tokens = found.iter().filter(|record| record.partition == place);
        let tokens: Vec<_> = tokens.map(|r| u64::from_be_bytes(r.value.clone().unwrap().try_into().unwrap())).collect();
        let expected: Vec<_> = (0..total).filter(|token| token % 4 == u64::try_from(place).unwrap()).collect();
        assert!(tokens == expected, "partition {place}: {} records of {}", tokens.len(), expected.len());
    }
}

#[test]
fn closing_with_records_in_flight_raises_no_alarm() {
    let server = KafkaServer::start(&Options::default());
    server.create_topic("closed", 1);
    let client = KafkaClient { name: "to-be-closed".into(), ..client(&server.bootstrap(), &[]) };
    log(); // from here on
    let (producer, recorder) = open(&client);
    send(&producer, "closed", 0, b"before", 0).unwrap();
    wait("confirmation", || producer.in_flight() == 0);
    // In flight at the broker, not only in the queue.
    server.suspend();
    for token in 1..=100 {
        send(&producer, "closed", 0, b"value", token).unwrap();
    }
    thread::sleep(Duration::from_millis(200));
    let said = log().len();
    assert_eq!(producer.purge_and_close(), 0);
    assert_eq!(recorder.failures(), []);
    assert_eq!(recorder.deliveries().len(), 101);
    assert!(recorder.deliveries()[1..].iter().all(|delivery| delivery.outcome == Outcome::Failed));
    let log = log();
    let alarms: Vec<_> = log[said..].lines().filter(|line| line.contains("to-be-closed")).collect();
    assert_eq!(alarms, Vec::<&str>::new());
}

#[test]
fn a_recreated_topic_is_seen_by_its_offsets() {
    let server = shared();
    server.create_topic("recreated", 1);
    let watch = Arc::new(OffsetWatch::default());
    let client = client(&server.bootstrap(), &[]);
    let (producer, recorder) = open_with(&client, 1 << 20, &watch);
    for token in 0..10 {
        send(&producer, "recreated", 0, b"value", token).unwrap();
    }
    wait("all settled", || producer.in_flight() == 0);
    topics::check_high_watermarks(&producer, &watch, TIMEOUT).unwrap();
    assert_eq!(watch.confirmed_in_turn(), [("recreated".to_owned(), 0, 9)]);
    server.delete_topic("recreated");
    server.create_topic("recreated", 1);

    // Whoever looks at the end of the partition sees it before anything is sent.
    let (looking, _) = open_with(&client, 1 << 20, &watch);
    let seen = || topics::check_high_watermarks(&looking, &watch, TIMEOUT).unwrap_err();
    assert_eq!(seen().class, Class::TopicRecreated);
    assert!(seen().message.contains("\"recreated\": partition 0 ends at offset 0, but 9 was confirmed"), "{}", seen());
    // Others have written there since, one record less than had been confirmed.
    let (other, _) = open(&client);
    for token in 0..9 {
        send(&other, "recreated", 0, b"value", token).unwrap();
    }
    wait("all settled", || other.in_flight() == 0);
    assert!(
        seen().message.contains("ends at offset 9, but 9 was confirmed, so that a replay is needed from offset 9 on"),
        "{}",
        seen()
    );

    // librdkafka itself says nothing; a new producer knows by the watch.
    let (next, told) = open_with(&client, 1 << 20, &watch);
    send(&next, "recreated", 0, b"value", 10).unwrap();
    wait("settled", || next.in_flight() == 0);
    assert_eq!(told.failures().len(), 1);
    let trouble = &told.failures()[0];
    assert_eq!(trouble.class, Class::TopicRecreated);
    assert!(
        trouble.message.contains("confirmed offset 9 after 9, so that a replay is needed from offset 9 on"),
        "{trouble}"
    );
    assert_eq!(told.deliveries()[0].outcome, Outcome::Failed);
    assert!(next.broken().is_some() && send(&next, "recreated", 0, b"value", 11).is_err());
    assert_eq!(recorder.failures(), []);
}
