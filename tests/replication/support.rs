//! A server with progressor's tables, and what tests ask of it.

use std::{collections::BTreeMap, fmt::Debug, future::Future, sync::Arc, time::Duration};

use cdc_notifier::{
    change::{Class, Trouble},
    config::{KafkaClient, Namespace, OnInvalid, Partitioner, Postgres, Slot, SslMode, Tls},
    demo::{
        postgres::{Options, SUPERUSER, TemporaryPostgres},
        progressor,
    },
    replication::{
        copy_data::CopyData,
        prepare::{Plan, Prepared, prepare},
        sql::{Sql, sql},
        stream::{Frame, ReplicationStream},
    },
};
use tokio::time::{Instant, sleep, timeout};

/// A password that must never be seen.
pub(crate) const CANARY: &str = "canary-3e1f";

/// The namespace of most tests.
pub(crate) const NS: &str = "default/default";

pub(crate) fn server(options: &Options) -> TemporaryPostgres {
    TemporaryPostgres::start(options).expect("a server")
}

pub(crate) fn settings(pairs: &[(&str, &str)]) -> Options {
    let settings = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Options { settings, ..Options::default() }
}

/// As its superuser.
pub(crate) fn db(server: &TemporaryPostgres) -> Postgres {
    Postgres {
        host: server.host().to_owned(),
        port: server.port(),
        database: "postgres".to_owned(),
        username: SUPERUSER.to_owned(),
        password: None,
        tls: Tls { mode: SslMode::Prefer, root_cert: None, cert: None, key: None },
        connect_timeout: Duration::from_secs(20),
    }
}

/// An SQL connection for statements of the test, which name tables without their schema.
pub(crate) async fn session(db: &Postgres) -> Sql {
    let sql = sql(db).await.expect("sql");
    execute(&sql, "SET search_path = public").await;
    sql
}

pub(crate) fn as_role(db: &Postgres, role: &str) -> Postgres {
    Postgres { username: role.to_owned(), password: Some(CANARY.into()), ..db.clone() }
}

pub(crate) fn slot(name: &str, namespaces: &[&str]) -> Slot {
    let kafka_client =
        Arc::new(KafkaClient { name: "k".into(), endpoints: Vec::new(), properties: BTreeMap::default() });
    let namespaces = namespaces.iter().map(|name| {
        Arc::new(Namespace {
            name: (*name).to_owned(),
            kafka_client: Arc::clone(&kafka_client),
            eventsink_topic: "e".into(),
            lifecycle_topic: "l".into(),
            partitioner: Partitioner::Phash2,
            on_invalid: OnInvalid::Halt,
            headers: false,
        })
    });
    Slot { name: name.to_owned(), create_slot: true, namespaces: namespaces.collect() }
}

/// A server with the tables of these namespaces, and its superuser's SQL connection.
pub(crate) async fn with_tables(options: &Options, namespaces: &[&str]) -> (TemporaryPostgres, Postgres, Sql) {
    let server = server(options);
    let db = db(&server);
    let admin = session(&db).await;
    for namespace in namespaces {
        admin.batch_execute(&progressor::schema_sql(namespace)).await.expect("schema");
    }
    (server, db, admin)
}

pub(crate) async fn prepared(db: &Postgres, slot: &Slot) -> Result<Prepared, Trouble> {
    prepare(Plan { database: db, slot, known: false }).await
}

/// The trouble, which must be of this kind, tell each of these in its remedy, name the server, and hide the password.
#[track_caller]
pub(crate) fn refused<T: Debug>(result: Result<T, Trouble>, class: Class, remedy: &[&str]) -> Trouble {
    let trouble = result.expect_err("this must be refused");
    assert_eq!(trouble.class, class, "{trouble:?}");
    for part in remedy {
        assert!(trouble.remedy.contains(part), "{part:?} is not in the remedy of {trouble:?}");
    }
    assert!(trouble.message.contains("/postgres") || trouble.message.contains("/nodb"), "no place: {trouble:?}");
    assert!(!format!("{trouble:?}").contains(CANARY), "{trouble:?}");
    trouble
}

#[track_caller]
pub(crate) fn names(trouble: &Trouble, parts: &[&str]) {
    for part in parts {
        assert!(trouble.message.contains(part), "{part:?} is not in {trouble:?}");
    }
}

pub(crate) async fn execute(sql: &Sql, statement: &str) {
    sql.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

pub(crate) async fn value(sql: &Sql, query: &str) -> String {
    sql.query_one(query, &[]).await.unwrap_or_else(|error| panic!("{query}: {error:?}")).get(0)
}

/// 15, 16 ... The tests hold for every version from 13 on.
pub(crate) async fn major(sql: &Sql) -> u32 {
    value(sql, "SELECT (current_setting('server_version_num')::int / 10000)::text").await.parse().unwrap()
}

pub(crate) fn contains(message: &[u8], part: &[u8]) -> bool {
    message.windows(part.len()).any(|window| window == part)
}

/// Polls until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < end, "{what} does not come");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The first message of pgoutput with this type byte.
pub(crate) async fn message(stream: &mut ReplicationStream, kind: u8) -> Vec<u8> {
    let find = async {
        loop {
            while let Some(frame) = stream.next().expect("frame") {
                if let Frame::CopyData(bytes) = frame
                    && let CopyData::XLogData { payload, .. } = CopyData::parse(bytes).expect("copy data")
                    && payload.first() == Some(&kind)
                {
                    return payload.to_vec();
                }
            }
            stream.read().await.expect("read");
        }
    };
    timeout(Duration::from_secs(30), find).await.expect("the message comes")
}

/// The error that ends a stream.
pub(crate) async fn end_of(stream: &mut ReplicationStream) -> Trouble {
    let find = async {
        loop {
            loop {
                match stream.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(trouble) => return trouble,
                }
            }
            if let Err(trouble) = stream.read().await {
                return trouble;
            }
        }
    };
    timeout(Duration::from_secs(30), find).await.expect("the stream ends")
}
