//! `docker/compose.yaml`: its parts fit each other, the configuration and the database.

use std::collections::BTreeMap;

use config::{FileFormat, Format as _, Map, Value};
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use crate::{configuration, progressor_database, root, text};

/// The keys of a service that we use; another key needs a place here first.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Service {
    image: Option<String>,
    build: Option<Build>,
    entrypoint: Vec<String>,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    volumes: Vec<String>,
    ports: Vec<String>,
    depends_on: BTreeMap<String, Dependency>,
    healthcheck: Option<Health>,
    stop_grace_period: Option<String>,
    read_only: bool,
    cap_drop: Vec<String>,
    security_opt: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    context: String,
    dockerfile: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Dependency {
    condition: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Health {
    test: Vec<String>,
    #[serde(rename = "interval")]
    _interval: String,
    #[serde(rename = "timeout")]
    _timeout: String,
    #[serde(rename = "retries")]
    _retries: u32,
}

fn services() -> BTreeMap<String, Service> {
    let mut file: Map<String, Value> = FileFormat::Yaml.parse(None, &text("docker/compose.yaml")).unwrap();
    let services = file.remove("services").unwrap().try_deserialize().unwrap();
    assert_eq!(file.keys().collect::<Vec<_>>(), ["name"]);
    services
}

#[test]
fn every_path_exists() {
    let docker = root().join("docker");
    for (name, service) in services() {
        assert!(service.image.is_some() != service.build.is_some(), "{name}: an image or a build");
        if let Some(build) = service.build {
            let context = docker.join(build.context);
            assert_eq!(context.canonicalize().unwrap(), root().canonicalize().unwrap());
            assert!(context.join(build.dockerfile).is_file(), "{name}: dockerfile");
        }
        for volume in &service.volumes {
            let [from, to, mode] = volume.split(':').collect::<Vec<_>>()[..] else { panic!("{name}: {volume}") };
            assert!(docker.join(from).is_file(), "{name}: {from}");
            assert!(to.starts_with('/') && mode == "ro", "{name}: {volume}");
        }
    }
}

#[test]
fn services_wait_for_services_that_can_be_waited_for() {
    let services = services();
    for (name, service) in &services {
        assert!(service.ports.iter().all(|port| port.starts_with("127.0.0.1:")), "{name}: only this machine");
        for (on, dependency) in &service.depends_on {
            let on = services.get(on).unwrap_or_else(|| panic!("{name} depends on {on}"));
            match dependency.condition.as_str() {
                "service_healthy" => assert!(on.healthcheck.as_ref().is_some_and(|health| health.test[0] == "CMD")),
                "service_completed_successfully" => assert!(!on.entrypoint.is_empty()),
                other => panic!("{name}: {other}"),
            }
        }
    }
}

#[test]
fn the_configuration_names_what_the_services_offer() {
    let services = services();
    let ours = &services["cdc-notifier"];
    assert!(ours.volumes.iter().any(|volume| volume == "./config.toml:/etc/cdc-notifier/config.toml:ro"));
    let variable = |name: &str| ours.environment.get(name).cloned();
    let config = configuration(&root().join("docker/config.toml"), &variable);
    assert!(ours.read_only && ours.cap_drop == ["ALL"] && ours.security_opt == ["no-new-privileges:true"]);
    assert!(ours.stop_grace_period.as_deref() == Some("15s") && config.retry.shutdown_timeout.as_secs() + 2 < 15);

    let topics = &services["topics"].command[0];
    let created = topics.split("for topic in ").nth(1).unwrap().split(';').next().unwrap();
    let created: Vec<&str> = created.split_whitespace().collect();
    for database in &config.databases {
        let postgres = &database.postgres;
        let server = &services[postgres.host.as_str()];
        assert_eq!(server.environment["POSTGRES_DB"], postgres.database);
        assert_eq!(server.environment["POSTGRES_USER"], postgres.username);
        assert_eq!(server.environment["POSTGRES_PASSWORD"], postgres.password.as_ref().unwrap().expose_secret());
        assert!(server.command.contains(&"wal_level=logical".to_owned()));
        for namespace in database.slots.iter().flat_map(|slot| &slot.namespaces) {
            assert!(created.contains(&namespace.eventsink_topic.as_str()), "{created:?}");
            assert!(created.contains(&namespace.lifecycle_topic.as_str()), "{created:?}");
            for endpoint in &namespace.kafka_client.endpoints {
                let (host, _) = endpoint.split_once(':').unwrap();
                let advertised = &services[host].environment["KAFKA_ADVERTISED_LISTENERS"];
                assert!(advertised.split(',').any(|listener| listener == format!("PLAINTEXT://{endpoint}")));
            }
        }
    }
}

#[test]
fn the_broker_is_the_one_that_the_tests_use() {
    let pom = text("tests/support/kafka/pom.xml");
    for name in ["kafka", "topics"] {
        let services = services();
        let version = services[name].image.as_ref().unwrap().strip_prefix("apache/kafka:").unwrap();
        assert!(pom.contains(&format!("<version>{version}</version>")), "{name}: {version}");
    }
}

#[tokio::test]
async fn the_tables_are_what_the_service_reads() {
    let (server, owner) = progressor_database().await;
    owner.batch_execute(&text("docker/postgres/init.sql")).await.unwrap();
    owner.batch_execute(&cdc_notifier::demo::progressor::schema_sql("reference")).await.unwrap();
    let columns = "SELECT format('%s %s %s', column_name, data_type, is_nullable) FROM information_schema.columns \
                   WHERE table_name = $1 ORDER BY column_name";
    for kind in ["processes", "events", "tasks"] {
        let mut found = Vec::new();
        for namespace in ["default/default", "reference"] {
            let rows = owner.query(columns, &[&format!("{namespace}_{kind}")]).await.unwrap();
            found.push(rows.iter().map(|row| row.get(0)).collect::<Vec<String>>());
        }
        assert!(!found[0].is_empty());
        assert_eq!(found[0], found[1], "{kind}");
    }
    drop(server);
}
