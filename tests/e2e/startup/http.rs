//! The admin address, as monitoring and operators use it.

use std::io::Read as _;

use serde_json::Value;

use super::tools::{events, insert, namespace, wait_for_messages};
use crate::{
    kafka::{KafkaServer, Options},
    scene::{self, Configuration, quoted},
    service::{PATIENCE, Service, eventually, shows_no_secret},
};

/// A status and body, with headers.
fn call(service: &Service, method: &str, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", service.admin()));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = agent.run(request.body(()).unwrap()).unwrap();
    let mut text = String::new();
    response.body_mut().as_reader().read_to_string(&mut text).unwrap();
    shows_no_secret(path, &text);
    (response.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::Null))
}

fn keys(object: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

fn is_lsn(value: &Value) -> bool {
    let parts = value.as_str().and_then(|text| text.split_once('/'));
    parts.is_some_and(|(high, low)| {
        [high, low].iter().all(|part| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
        })
    })
}

/// The shape that outside checks rely on.
fn has_the_shape(answer: &Value) {
    assert_eq!(keys(answer), ["streams", "version"]);
    assert_eq!(answer["version"], env!("CARGO_PKG_VERSION"));
    for stream in answer["streams"].as_array().unwrap() {
        assert_eq!(
            keys(stream),
            [
                "acknowledged_lsn",
                "confirmed_lsn",
                "database",
                "lag_bytes",
                "lag_seconds",
                "last_error",
                "namespaces",
                "received_lsn",
                "slot",
                "spill",
                "state"
            ]
        );
        for lsn in ["acknowledged_lsn", "confirmed_lsn", "received_lsn"] {
            assert!(is_lsn(&stream[lsn]), "{stream}");
        }
        assert!(stream["lag_bytes"].is_u64() && stream["lag_seconds"].is_number(), "{stream}");
        for namespace in stream["namespaces"].as_array().unwrap() {
            assert_eq!(keys(namespace), ["eventsink_topic", "lifecycle_topic", "messages_confirmed", "namespace"]);
            assert!(namespace["messages_confirmed"].is_u64());
        }
        if !stream["spill"].is_null() {
            assert_eq!(keys(&stream["spill"]), ["bytes", "count", "transactions"]);
        }
        if !stream["last_error"].is_null() {
            assert_eq!(keys(&stream["last_error"]), ["at", "class", "message", "remedy"]);
        }
    }
}

#[test]
fn health_streams_and_resume() {
    // Its own: it is suspended.
    let kafka = KafkaServer::start(&Options::default());
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(&kafka, "default/default");
    let secrets = tempfile::tempdir().unwrap();
    let token = secrets.path().join("token");
    std::fs::write(&token, "canary-token\n").unwrap();
    let configuration = Configuration::new("reconnect_timeout = \"500ms\"\nsend_timeout = \"60s\"", &kafka.bootstrap())
        .add(&format!("[admin]\nstall_timeout = \"2s\"\ntoken_file = {}", quoted(token.to_str().unwrap())))
        .database("main", &server, "postgres")
        .stream("main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());

    // Before anything can stream.
    service.wait_for_trouble("slot_a", "table_missing");
    let (status, ready) = service.get("/health/ready");
    assert_eq!(status, 503);
    assert_eq!(ready["ready"], false);
    let slot = &ready["slots"][0];
    assert_eq!(
        [&slot["database"], &slot["slot"], &slot["ready"]],
        [&Value::from("main"), &"slot_a".into(), &false.into()]
    );
    assert!(slot["reason"].as_str().unwrap().contains("default/default_events"), "{ready}");
    has_the_shape(&service.get("/api/v1/streams").1);
    assert_eq!(service.get("/health/live").0, 200);

    scene::create_tables(&mut sql, &[&namespace]);
    service.wait_for_state("slot_a", "streaming");
    insert(&mut sql, "default/default", "p");
    wait_for_messages(&service, "slot_a", 1);
    eventually("the slot is ready", PATIENCE, || {
        let (status, body) = service.get("/health/ready");
        if status == 200 { Ok(()) } else { Err(body.to_string()) }
    });
    let (_, streams) = service.get("/api/v1/streams");
    has_the_shape(&streams);
    assert_eq!(streams["streams"][0]["namespaces"][0]["messages_confirmed"], 1);

    // Kafka hangs while something waits.
    kafka.suspend();
    insert(&mut sql, "default/default", "q");
    eventually("the stall is seen", PATIENCE, || {
        let (status, body) = service.get("/health/ready");
        let reason = body["slots"][0]["reason"].as_str().unwrap_or_default();
        if status == 503 && reason.contains("waits for acknowledgement") { Ok(()) } else { Err(body.to_string()) }
    });
    assert_eq!(service.slot("slot_a")["state"], "streaming");
    assert_eq!(service.get("/health/live").0, 200);
    assert!(service.slot("slot_a")["lag_seconds"].as_f64().unwrap() >= 2.0);
    kafka.resume();
    wait_for_messages(&service, "slot_a", 2);
    eventually("the slot is ready again", PATIENCE, || {
        let (status, body) = service.get("/health/ready");
        if status == 200 { Ok(()) } else { Err(body.to_string()) }
    });

    // Who may decide, and what there is to decide.
    let resume = "/api/v1/streams/main/slot_a/resume";
    assert_eq!(call(&service, "POST", resume, &[]).0, 409, "it is not halted");
    assert_eq!(call(&service, "POST", "/api/v1/streams/main/slot_b/resume", &[]).0, 404);
    assert_eq!(call(&service, "POST", "/api/v1/streams/other/slot_a/resume", &[]).0, 404);
    assert_eq!(call(&service, "GET", resume, &[]).0, 405);
    assert_eq!(call(&service, "GET", "/nowhere", &[]).0, 404);
    let right = ("Authorization", "Bearer canary-token");
    for (headers, status) in [
        (&[("Origin", "http://evil.example")][..], 403),
        (&[("Origin", "null")], 403),
        (&[("Authorization", "Bearer wrong")], 403),
        (&[right], 409),
        (&[right, ("Origin", "http://evil.example")], 409),
    ] {
        assert_eq!(call(&service, "POST", resume, headers).0, status, "{headers:?}");
    }

    // A row that cannot become a message.
    sql.batch_execute(&format!(
        "INSERT INTO \"default/default_tasks\" (process_id) VALUES ('p');
         INSERT INTO {} (process_id, task_id, event_id, payload) VALUES ('p', 1, 1, 'nonsense')",
        events("default/default")
    ))
    .unwrap();
    service.wait_for_state("slot_a", "halted");
    let (status, ready) = service.get("/health/ready");
    assert_eq!(status, 503);
    let reason = ready["slots"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("default/default_events") && !reason.contains("nonsense"), "{reason}");
    assert_eq!(service.get("/health/live").0, 200);
    has_the_shape(&service.get("/api/v1/streams").1);
    assert_eq!(call(&service, "POST", resume, &[("Origin", "http://evil.example")]).0, 403);
    assert_eq!(call(&service, "POST", resume, &[]).0, 200);
    // The row is still there.
    service.wait_for_state("slot_a", "halted");
    assert_eq!(call(&service, "POST", resume, &[right]).0, 200);
    service.wait_for_state("slot_a", "halted");
    service.stop();
}
