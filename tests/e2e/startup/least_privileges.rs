//! The least that the service needs at both ends, by the statements of `docs/security.md`.

use cdc_notifier::demo::postgres::{Options, TemporaryPostgres};

use super::tools::{impatient, wait_for_messages};
use crate::{
    kafka::{self, KafkaServer, Listener, PASSWORD, Permission, USER},
    scene::{self, Namespace},
    service::{CANARY, Service},
};

const DOCUMENT: &str = include_str!("../../../docs/security.md");
const HBA: &str = "local all postgres trust\nlocal all all scram-sha-256\n";

/// The document's blocks of SQL.
fn blocks() -> Vec<&'static str> {
    let blocks = DOCUMENT.split("```sql\n").skip(1);
    blocks.map(|rest| rest.split("```").next().unwrap()).collect()
}

#[test]
fn a_role_that_only_replicates_and_a_user_that_only_writes() {
    let kafka = KafkaServer::start(&kafka::Options::secured());
    let server = TemporaryPostgres::start(&Options { hba: Some(HBA.into()), ..Options::default() }).unwrap();
    let mut sql = scene::connect(&server, "postgres");
    let namespace = Namespace::new("default/default");
    scene::create_tables(&mut sql, &[&namespace]);
    let [role, publication] = blocks()[..] else { panic!("two blocks: the role, and what the owner does") };
    sql.batch_execute(&role.replace("secret", &format!("{CANARY}-of-the-role"))).unwrap();
    sql.batch_execute(publication).unwrap();
    let granted = "SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls
                       OR has_database_privilege(oid, 'postgres', 'CREATE')
                       OR has_table_privilege(oid, '\"default/default_events\"', 'SELECT')
                   FROM pg_roles WHERE rolname = 'cdc_notifier'";
    assert!(!sql.query_one(granted, &[]).unwrap().get::<_, bool>(0), "nothing but REPLICATION");
    namespace.create_topics(&kafka, 1);
    assert!(DOCUMENT.contains("--operation Write --topic"));
    for topic in [&namespace.eventsink, &namespace.lifecycle] {
        kafka.allow(topic, Permission::Write);
    }

    let database = format!(
        "[databases.main]\nhost = \"{}\"\nport = {}\ndatabase = \"postgres\"\nusername = \"cdc_notifier\"\npassword = \
         \"{CANARY}-of-the-role\"",
        server.host(),
        server.port()
    );
    let client = format!(
        "[kafka_clients.least]\nendpoints = [\"{}\"]\n[kafka_clients.least.properties]\n\"security.protocol\" = \"sasl_ssl\"\n\
         \"sasl.mechanism\" = \"SCRAM-SHA-256\"\n\"sasl.username\" = \"{USER}\"\n\"sasl.password\" = \"{PASSWORD}\"\n\
         \"ssl.ca.location\" = \"{}\"",
        kafka.bootstrap_of(Listener::Scram),
        kafka.ca().display()
    );
    let configuration = impatient(&kafka).add(&database).add(&client).stream_to("least", "main", "slot_a", &namespace);
    let mut service = Service::start(configuration.text());
    service.wait_for_state("slot_a", "streaming");
    sql.batch_execute(
        "INSERT INTO \"default/default_processes\" (process_id, status) VALUES ('p', 'running');
         INSERT INTO \"default/default_tasks\" (process_id) VALUES ('p');
         INSERT INTO \"default/default_events\" (process_id, task_id, event_id, timestamp, metadata, payload)
         VALUES ('p', 1, 1, now(), '{\"format_version\": 1}', '\\x8368027701696101')",
    )
    .unwrap();
    wait_for_messages(&service, "slot_a", 2);
    writes_no_file(&service);
    service.stop();
    assert_eq!((kafka.consume_all(&namespace.eventsink).len(), kafka.consume_all(&namespace.lifecycle).len()), (1, 1));
}

/// A container's file system may be read-only: of all files, only the one that the test gave it for its log is open.
fn writes_no_file(service: &Service) {
    let opened = std::fs::read_dir(format!("/proc/{}/fd", service.pid())).unwrap();
    let files = opened.filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok());
    let files: Vec<_> = files.filter(|path| path.is_absolute() && !path.starts_with("/dev")).collect();
    assert!(!files.is_empty() && files.iter().all(|path| path.ends_with("log.1")), "{files:?}");
}
