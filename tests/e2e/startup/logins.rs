//! What keeps the service from getting into PostgreSQL, each until it is mended.

use cdc_notifier::demo::postgres::{Mode, Options, TemporaryPostgres};

use super::tools::{impatient, insert, namespace, shows, wait_for_messages};
use crate::{
    kafka,
    scene::{self, Configuration, Namespace, quoted},
    service::Service,
};

const HBA: &str = "local all all trust\n\
                   host all postgres 127.0.0.1/32 trust\n\
                   host all rejected 127.0.0.1/32 reject\n\
                   host all all 127.0.0.1/32 scram-sha-256\n";

/// A database reference with a login of its own, and its one slot of the same name.
fn reference(
    configuration: Configuration,
    server: &TemporaryPostgres,
    name: &str,
    database: &str,
    login: &str,
    namespace: &Namespace,
) -> Configuration {
    let text = format!(
        "[databases.{name}]\nhost = \"127.0.0.1\"\nport = {}\ndatabase = \"{database}\"\n{login}",
        server.port()
    );
    configuration.add(&text).stream(name, &format!("s_{name}"), namespace)
}

#[test]
fn logins_and_privileges() {
    let kafka = kafka::shared();
    let options = Options { listen_tcp: true, hba: Some(HBA.into()), ..Options::default() };
    let mut server = TemporaryPostgres::start(&options).unwrap();
    let mut sql = scene::connect(&server, "postgres");
    // 13 keeps passwords as MD5 sums if it is not told otherwise, with which nobody gets through scram-sha-256.
    sql.batch_execute("SET password_encryption = 'scram-sha-256'").unwrap();
    for role in ["mistyped", "elsewhere", "plain", "poor", "rejected"] {
        sql.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'canary-of-{role}'")).unwrap();
        if role != "plain" {
            sql.batch_execute(&format!("ALTER ROLE {role} REPLICATION")).unwrap();
        }
        if role != "poor" {
            sql.batch_execute(&format!("GRANT CREATE ON DATABASE postgres TO {role}")).unwrap();
        }
    }
    let names = ["mistyped", "elsewhere", "plain", "poor", "rejected", "untabled"];
    let namespaces = names.map(|name| namespace(kafka, &format!("default/{name}")));
    let [mistyped, elsewhere, plain, poor, rejected, untabled] = &namespaces;
    for (namespace, owner) in [(mistyped, "mistyped"), (plain, "plain"), (poor, "poor"), (rejected, "rejected")] {
        scene::create_tables(&mut sql, &[namespace]);
        for kind in ["processes", "events"] {
            sql.batch_execute(&format!("ALTER TABLE \"{}_{kind}\" OWNER TO {owner}", namespace.name)).unwrap();
        }
    }
    let secrets = tempfile::tempdir().unwrap();
    let file = secrets.path().join("password");
    std::fs::write(&file, "canary-of-poor\n").unwrap();

    let login = |role: &str, password: &str| format!("username = \"{role}\"\npassword = \"{password}\"");
    let mut configuration = impatient(kafka);
    for (name, database, login, namespace) in [
        ("mistyped", "postgres", login("mistyped", "another-canary"), mistyped),
        ("elsewhere", "nowhere", login("elsewhere", "canary-of-elsewhere"), elsewhere),
        ("plain", "postgres", login("plain", "canary-of-plain"), plain),
        ("poor", "postgres", format!("username = \"poor\"\npassword_file = {}", quoted(file.to_str().unwrap())), poor),
        ("rejected", "postgres", login("rejected", "canary-of-rejected"), rejected),
        ("untabled", "postgres", "username = \"postgres\"".to_owned(), untabled),
    ] {
        configuration = reference(configuration, &server, name, database, &login, namespace);
    }
    let service = Service::start(configuration.text());

    let shows =
        |name: &str, class: &str, texts: &[&str]| shows(&service, &format!("s_{name}"), "waiting", class, texts);
    shows(
        "mistyped",
        "postgres_login",
        &["role \"mistyped\"", "correct `password`", "ALTER ROLE \"mistyped\" PASSWORD"],
    );
    shows("elsewhere", "postgres_login", &["correct `database`, or: CREATE DATABASE \"nowhere\""]);
    shows("plain", "postgres_privilege", &["role \"plain\" may not replicate", "ALTER ROLE \"plain\" REPLICATION"]);
    shows("poor", "postgres_privilege", &["GRANT CREATE ON DATABASE \"postgres\" TO \"poor\""]);
    shows("rejected", "postgres_login", &["pg_hba.conf has a line for database \"postgres\"", "pg_reload_conf()"]);
    let (message, _) = shows("untabled", "table_missing", &["let progressor create the tables"]);
    for table in ["default/untabled_processes", "default/untabled_events"] {
        assert!(message.contains(&format!("table public.\"{table}\" does not exist")), "{message}");
    }
    assert_eq!(service.get("/health/ready").0, 503);
    assert_eq!(service.get("/health/live").0, 200);

    sql.batch_execute("ALTER ROLE mistyped PASSWORD 'another-canary'").unwrap();
    sql.batch_execute("CREATE DATABASE nowhere OWNER elsewhere").unwrap();
    let mut nowhere = scene::connect(&server, "nowhere");
    shows("elsewhere", "table_missing", &["default/elsewhere_events"]);
    nowhere.batch_execute("SET ROLE elsewhere; GRANT ALL ON DATABASE nowhere TO elsewhere").unwrap();
    nowhere.batch_execute("RESET ROLE; GRANT ALL ON SCHEMA public TO elsewhere; SET ROLE elsewhere").unwrap();
    scene::create_tables(&mut nowhere, &[elsewhere]);
    sql.batch_execute("ALTER ROLE \"plain\" REPLICATION").unwrap();
    sql.batch_execute("GRANT CREATE ON DATABASE \"postgres\" TO \"poor\"").unwrap();
    std::fs::write(server.data_dir().join("pg_hba.conf"), HBA.replace("reject\n", "scram-sha-256\n")).unwrap();
    server.reload().unwrap();
    scene::create_tables(&mut sql, &[untabled]);
    for (name, namespace) in names.iter().zip(&namespaces) {
        let slot = format!("s_{name}");
        service.wait_for_state(&slot, "streaming");
        let client = if *name == "elsewhere" { &mut nowhere } else { &mut sql };
        insert(client, &namespace.name, "p");
        wait_for_messages(&service, &slot, 1);
    }
    assert_eq!(service.get("/health/ready").0, 200);
}

#[test]
fn a_server_that_is_not_ready_yet() {
    let kafka = kafka::shared();
    let namespace = namespace(kafka, "default/default");
    let mut server = scene::postgres(&[("wal_level", "replica")]);
    let mut sql = scene::connect(&server, "postgres");
    scene::create_tables(&mut sql, &[&namespace]);
    let configuration = impatient(kafka).database("main", &server, "postgres").stream("main", "slot_a", &namespace);
    server.stop(Mode::Fast).unwrap();
    let mut service = Service::start(configuration.text());
    shows(&service, "slot_a", "waiting", "postgres_unavailable", &["see that PostgreSQL runs"]);
    server.start_again().unwrap();
    let texts = ["wal_level is replica", "ALTER SYSTEM SET wal_level = 'logical', then restart PostgreSQL"];
    shows(&service, "slot_a", "waiting", "postgres_setting", &texts);
    let mut sql = scene::connect(&server, "postgres");
    sql.batch_execute("ALTER SYSTEM SET wal_level = 'logical'").unwrap();
    server.stop(Mode::Fast).unwrap();
    server.start_again().unwrap();
    service.wait_for_state("slot_a", "streaming");
    insert(&mut scene::connect(&server, "postgres"), "default/default", "p");
    wait_for_messages(&service, "slot_a", 1);
    service.stop();
}
