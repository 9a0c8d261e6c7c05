//! What is delivered beside the program: container files and documents name only what exists, and their statements work.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod compose;
mod documents;
mod image;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use cdc_notifier::{
    config::{Config, Overrides, load},
    demo::postgres::{Options, SUPERUSER, TemporaryPostgres},
};
use tokio_postgres::{Client, NoTls};

pub(crate) fn root() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"))
}

/// A text of the repository.
pub(crate) fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Loads a configuration of the repository as the service does; what librdkafka thinks of its properties aside.
pub(crate) fn configuration(path: &Path, variables: &dyn Fn(&str) -> Option<String>) -> Config {
    load(path, variables, &Overrides::default(), &|_| Ok(()))
        .unwrap_or_else(|error| panic!("{error}: {}", error.remedy()))
}

/// A session of this role in this database.
pub(crate) async fn connect(server: &TemporaryPostgres, user: &str, database: &str) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host(server.host()).port(server.port()).user(user).dbname(database);
    let (client, connection) = config.connect(NoTls).await.expect("connect");
    tokio::spawn(connection);
    client
}

/// A server with the database `progressor_db`, and the session of the role `progressor`, which owns tables in it.
pub(crate) async fn progressor_database() -> (TemporaryPostgres, Client) {
    let server = TemporaryPostgres::start(&Options::default()).expect("start");
    let superuser = connect(&server, SUPERUSER, "postgres").await;
    for statement in ["CREATE ROLE progressor LOGIN", "CREATE DATABASE progressor_db"] {
        superuser.batch_execute(statement).await.unwrap();
    }
    // It owns its tables and no more.
    let superuser = connect(&server, SUPERUSER, "progressor_db").await;
    superuser.batch_execute("GRANT CREATE ON SCHEMA public TO progressor").await.unwrap();
    let owner = connect(&server, "progressor", "progressor_db").await;
    (server, owner)
}
