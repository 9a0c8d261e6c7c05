//! More slots than begin at the same time.

use std::{fs, net::TcpListener};

use super::tools::{impatient, insert, namespace, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Namespace},
    service::{PATIENCE, Service, eventually},
};

const MANY: usize = 40;

/// How many heaps the process may have.
fn heaps(service: &Service) -> String {
    let environment = fs::read_to_string(format!("/proc/{}/environ", service.pid())).unwrap();
    let found = environment.split('\0').find_map(|entry| entry.strip_prefix("MALLOC_ARENA_MAX="));
    found.unwrap_or_else(|| panic!("{environment}")).to_owned()
}

#[test]
fn all_begin() {
    let kafka = kafka::shared();
    let server =
        scene::postgres(&[("max_wal_senders", "60"), ("max_replication_slots", "60"), ("max_connections", "200")]);
    let mut sql = scene::connect(&server, "postgres");
    let to = namespace(kafka, "");
    let namespaces: Vec<_> = (0..MANY).map(|n| Namespace { name: format!("n{n}"), ..to.clone() }).collect();
    scene::create_tables(&mut sql, &namespaces.iter().collect::<Vec<_>>());
    let mut configuration = impatient(kafka).database("main", &server, "postgres");
    for namespace in &namespaces {
        configuration = configuration.stream("main", &format!("slot_{}", namespace.name), namespace);
    }
    let mut service = Service::start(configuration.text());
    for namespace in &namespaces {
        service.wait_for_state(&format!("slot_{}", namespace.name), "streaming");
    }
    assert_eq!(heaps(&service), "1", "what one thread frees is of use to all");
    for namespace in &namespaces {
        insert(&mut sql, &namespace.name, "a process");
    }
    for namespace in &namespaces {
        wait_for_messages(&service, &format!("slot_{}", namespace.name), 1);
    }
    service.stop();
    assert_eq!(kafka.consume_all(&to.lifecycle).len(), MANY);
}

/// A server that accepts a connection and says nothing keeps its own slots waiting, and no others.
#[test]
fn who_waits_for_a_server_keeps_nobody_from_beginning() {
    let kafka = kafka::shared();
    let server = scene::postgres(&[]);
    let mut sql = scene::connect(&server, "postgres");
    let namespace = namespace(kafka, "default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut configuration =
        impatient(kafka).database("z", &server, "postgres").stream("z", "good", &namespace).add(&format!(
            "[databases.a]\nhost = \"127.0.0.1\"\nport = {port}\ndatabase = \"postgres\"\nusername = \"postgres\""
        ));
    for slot in 0..MANY {
        let namespace = Namespace { name: format!("n{slot}"), ..namespace.clone() };
        configuration = configuration.stream("a", &format!("silent_{slot}"), &namespace);
    }
    let service = Service::start_with_environment(configuration.text(), &[("MALLOC_ARENA_MAX", "3")]);
    eventually("the other server's slot streams", PATIENCE, || {
        let (_, body) = service.get("/api/v1/streams");
        let state = service.slot("good")["state"].clone();
        // The first attempts of the others have not ended.
        let streams = body["streams"].as_array().unwrap();
        let failed = streams.iter().filter(|stream| !stream["last_error"].is_null()).count();
        assert_eq!(failed, 0, "{body}");
        if state == "streaming" { Ok(()) } else { Err(state.to_string()) }
    });
    assert_eq!(heaps(&service), "3", "the operator's choice");
    insert(&mut sql, &namespace.name, "a process");
    wait_for_messages(&service, "good", 1);
}
