//! What keeps the service from writing to Kafka, each until it is mended.

use super::tools::{impatient, insert, messages, shows, wait_for_messages};
use crate::{
    kafka::{KafkaServer, Listener, Options, PASSWORD, Permission, USER},
    scene::{self, Namespace},
    service::{PATIENCE, Service, eventually},
};

#[test]
fn refusals_of_kafka() {
    let kafka = KafkaServer::start(&Options::secured());
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let (ca, other_ca) = (kafka.ca(), kafka.other_ca());
    let scram = |password: &str, ca: &std::path::Path| {
        format!(
            "\"security.protocol\" = \"sasl_ssl\"\n\"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\"sasl.username\" = \
             \"{USER}\"\n\"sasl.password\" = \"{password}\"\n\"ssl.ca.location\" = \"{}\"",
            ca.display()
        )
    };
    let closed = "127.0.0.1:1".to_owned();
    let clients = [
        ("unlisted", kafka.bootstrap(), String::new()),
        ("denied", kafka.bootstrap_of(Listener::Scram), scram(PASSWORD, &ca)),
        ("wrong_ca", kafka.bootstrap_of(Listener::Scram), scram(PASSWORD, &other_ca)),
        ("wrong_password", kafka.bootstrap_of(Listener::Scram), scram("canary-of-kafka", &ca)),
        ("wrong_protocol", kafka.bootstrap_of(Listener::Tls), String::new()),
        ("away", closed, String::new()),
    ];
    let mut configuration = impatient(&kafka).database("main", &server, "postgres");
    let mut namespaces = Vec::new();
    for (name, endpoint, properties) in &clients {
        let namespace = Namespace::new(&format!("kafka/{name}"));
        scene::create_tables(&mut sql, &[&namespace]);
        if *name != "unlisted" {
            namespace.create_topics(&kafka, 1);
        }
        configuration = configuration
            .add(&format!(
                "[kafka_clients.{name}]\nendpoints = [\"{endpoint}\"]\n[kafka_clients.{name}.properties]\n{properties}"
            ))
            .stream_to(name, "main", name, &namespace);
        namespaces.push(namespace);
    }
    for topic in [&namespaces[1].lifecycle, &namespaces[1].eventsink] {
        kafka.allow(topic, Permission::Describe);
    }
    // Kafka is away at first, with all its doors.
    kafka.kill();
    let mut service = Service::start(configuration.text());
    shows(&service, "unlisted", "waiting", "kafka_unavailable", &["Kafka client \"unlisted\"", "127.0.0.1:"]);
    kafka.start_again();

    let topic = &namespaces[0].eventsink;
    let create = format!("--create --topic {topic}");
    shows(&service, "unlisted", "waiting", "topic_missing", &[&format!("topic \"{topic}\""), &create]);
    for name in ["denied", "unlisted"] {
        assert_eq!(messages(&service.slot(name)), 0);
    }
    shows(&service, "wrong_ca", "waiting", "kafka_login", &["ssl.ca.location", "kafka_clients.wrong_ca"]);
    shows(&service, "wrong_password", "waiting", "kafka_login", &["sasl.password", "kafka_clients.wrong_password"]);
    shows(&service, "wrong_protocol", "waiting", "kafka_login", &["\"security.protocol\""]);
    shows(&service, "away", "waiting", "kafka_unavailable", &["127.0.0.1:1"]);

    may_look_but_not_write(&service, &mut sql, &kafka, &namespaces[1]);

    namespaces[0].create_topics(&kafka, 1);
    service.wait_for_state("unlisted", "streaming");
    insert(&mut sql, "kafka/unlisted", "p");
    wait_for_messages(&service, "unlisted", 1);

    // The rest is our own configuration: corrected, the service streams, and nothing of the time before is missing.
    for name in ["wrong_ca", "wrong_password", "wrong_protocol", "away"] {
        insert(&mut sql, &format!("kafka/{name}"), "p");
    }
    for namespace in &namespaces[2..] {
        for topic in [&namespace.lifecycle, &namespace.eventsink] {
            kafka.allow(topic, Permission::Write);
            kafka.allow(topic, Permission::Describe);
        }
    }
    service.stop();
    let corrected = configuration
        .text()
        .replace(&other_ca.display().to_string(), &ca.display().to_string())
        .replace("canary-of-kafka", PASSWORD)
        .replace("127.0.0.1:1\"", &format!("{}\"", kafka.bootstrap()))
        .replace(
            "[kafka_clients.wrong_protocol.properties]\n",
            &format!(
                "[kafka_clients.wrong_protocol.properties]\n\"security.protocol\" = \"ssl\"\n\"ssl.ca.location\" = \"{}\"\n",
                ca.display()
            ),
        );
    service.start_with(&corrected);
    for name in ["wrong_ca", "wrong_password", "wrong_protocol", "away"] {
        service.wait_for_state(name, "streaming");
        wait_for_messages(&service, name, 1);
    }
    assert_eq!(service.get("/health/ready").0, 200);
    service.stop();
    for namespace in &namespaces {
        assert_eq!(kafka.consume_all(&namespace.lifecycle).len(), 1, "{}", namespace.name);
    }
}

/// The right to look at topics, but not to write to any of them, is seen by a producer; to one of them, at the first message.
fn may_look_but_not_write(service: &Service, sql: &mut postgres::Client, kafka: &KafkaServer, namespace: &Namespace) {
    let refused = |what: &str, texts: &[&str]| {
        eventually(what, PATIENCE, || {
            let seen = service.slot("denied");
            let error = &seen["last_error"];
            let all = format!("{} {}", error["message"], error["remedy"]);
            let is_it = error["class"] == "topic_privilege" && texts.iter().all(|text| all.contains(text));
            if is_it { Ok(()) } else { Err(seen.to_string()) }
        });
        assert_eq!(messages(&service.slot("denied")), 0);
    };
    service.wait_for_state("denied", "streaming");
    insert(sql, "kafka/denied", "p");
    refused("writing is refused", &["ClusterAuthorizationFailed", "kafka-acls", "--operation Write"]);
    kafka.allow(&namespace.eventsink, Permission::Write);
    refused("writing to a topic is refused", &["kafka-acls", &format!("--topic {}", namespace.lifecycle)]);
    kafka.allow(&namespace.lifecycle, Permission::Write);
    wait_for_messages(service, "denied", 1);
    service.wait_for_state("denied", "streaming");
}
