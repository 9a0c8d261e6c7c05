//! The scenario on a real PostgreSQL. With `CAPTURE_PGOUTPUT=1` the fixtures are written anew.

use cdc_notifier::demo::{
    postgres::{Options, SUPERUSER, TemporaryPostgres},
    progressor,
};
use tokio_postgres::{Client, NoTls};

use super::{
    fixture::{Captured, FIXTURES, Format},
    golden, scenario,
};

const SLOT: &str = "capture";

async fn client(server: &TemporaryPostgres) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(SUPERUSER).dbname("postgres");
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

async fn messages(client: &Client, format: Format, major: u32) -> Vec<Captured> {
    let options = match format {
        // Without the options that came with 14.
        Format::Text if major < 14 => "",
        Format::Text => ", 'messages', 'true', 'binary', 'false'",
        Format::Binary => ", 'messages', 'true', 'binary', 'true'",
    };
    let query = format!(
        "SELECT lsn::text, xid::text, data FROM pg_logical_slot_peek_binary_changes($1, NULL, NULL, \
         'proto_version', '1', 'publication_names', '\"default/default\"'{options})"
    );
    let rows = client.query(&query, &[&SLOT]).await.expect("peek");
    let captured = |row: &tokio_postgres::Row| Captured {
        lsn: row.get(0),
        xid: row.get::<_, &str>(1).parse().unwrap(),
        message: hex::encode(row.get::<_, &[u8]>(2)),
    };
    rows.iter().map(captured).collect()
}

#[tokio::test]
async fn a_real_postgresql_sends_what_is_expected() {
    let server = TemporaryPostgres::start(&Options::default()).expect("start");
    let client = client(&server).await;
    client.batch_execute(&progressor::schema_sql("default/default")).await.expect("schema");
    client.batch_execute(scenario::SETUP).await.expect("setup");
    let create = "SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')";
    client.query_one(create, &[&SLOT]).await.expect("slot");
    for step in scenario::STEPS {
        for statement in step.statements() {
            client.batch_execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
        }
    }
    let version: String = client.query_one("SHOW server_version_num", &[]).await.unwrap().get(0);
    let major = version.parse::<u32>().unwrap() / 10_000;
    for format in Format::ALL.into_iter().filter(|format| *format == Format::Text || major >= 14) {
        let captured = messages(&client, format, major).await;
        if std::env::var_os("CAPTURE_PGOUTPUT").is_some() {
            assert_eq!(major, FIXTURES);
            format.store(&captured);
        }
        golden::check(&captured, format, major);
    }
}
