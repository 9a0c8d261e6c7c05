//! What the service is put between: a database with progressor's tables, and a broker with their topics.

use std::{fs, path::Path, sync::Arc, time::Duration};

use serde_json::Value as Json;
use tokio::time::timeout;

use super::{
    failure::Failure,
    life::NAMESPACES,
    postgres::{Options, SUPERUSER, TemporaryPostgres},
    progressor::schema_sql,
    signals::Signals,
};
use crate::{
    app,
    config::{self, Config, KafkaClient, Overrides, Postgres},
    replication,
    sink::kafka::mock::InProcessBroker,
};

/// Partitions of each topic.
pub(super) const PARTITIONS: i32 = 3;
/// The slot.
pub(super) const SLOT: &str = "cdc_slot_demo";
/// Ctrl-C ends PostgreSQL's programs too: how much earlier than ours they may notice.
const SIGNAL_ARRIVES: Duration = Duration::from_millis(200);

/// Servers of the demo's own and the configuration of a service between them. Dropped, they are gone.
pub(super) struct Stage {
    /// What `cdc-notifier run --config` would get.
    pub(super) config: Arc<Config>,
    /// The version of PostgreSQL.
    pub(super) postgres_version: String,
    /// The broker.
    pub(super) broker: InProcessBroker,
    /// The server.
    pub(super) server: TemporaryPostgres,
}

impl Stage {
    /// Starts everything; `None` if a signal came meanwhile.
    pub(super) async fn build(signals: &Signals) -> Result<Option<Self>, Failure> {
        let servers = tokio::task::spawn_blocking(|| {
            let server = TemporaryPostgres::start(&Options::default())?;
            let topics = topics();
            let topics: Vec<_> = topics.iter().map(|topic| (topic.as_str(), PARTITIONS)).collect();
            Ok::<_, Failure>((server, InProcessBroker::start(&topics)?))
        });
        let result = match servers.await {
            Ok(result) => result,
            Err(_) => Err(Failure::defect("starting the servers crashed")),
        };
        if signals.any() || (result.is_err() && timeout(SIGNAL_ARRIVES, signals.first()).await.is_ok()) {
            return Ok(None);
        }
        let (server, broker) = result?;
        let config = Arc::new(load(&server, broker.bootstrap())?);
        let postgres_version = create_tables(Self::postgres_of(&config)?).await?;
        Ok(Some(Self { config, postgres_version, broker, server }))
    }

    /// How the broker is reached.
    pub(super) fn kafka_client(&self) -> Result<&KafkaClient, Failure> {
        let slots = self.config.databases.iter().flat_map(|database| &database.slots);
        let mut clients = slots.flat_map(|slot| &slot.namespaces).map(|namespace| namespace.kafka_client.as_ref());
        clients.next().ok_or_else(|| Failure::defect("no Kafka client is configured"))
    }

    /// How the database is reached.
    pub(super) fn postgres(&self) -> Result<&Postgres, Failure> {
        Self::postgres_of(&self.config)
    }

    fn postgres_of(config: &Config) -> Result<&Postgres, Failure> {
        let database = config.databases.first().ok_or_else(|| Failure::defect("no database is configured"))?;
        Ok(&database.postgres)
    }
}

/// All topics.
pub(super) fn topics() -> Vec<String> {
    NAMESPACES.iter().flat_map(|(_, name)| [format!("{name}_events"), format!("{name}_lifecycle")]).collect()
}

/// Whether it is a lifecycle topic.
pub(super) fn is_lifecycle(topic: &str) -> bool {
    topic.ends_with("_lifecycle")
}

/// Goes through the same loader as the service's own file, so that the environment's overrides hold here too.
fn load(server: &TemporaryPostgres, bootstrap: &str) -> Result<Config, Failure> {
    let file = server.socket_dir().join("cdc-notifier.toml");
    let text = configuration(server.socket_dir(), server.port(), bootstrap);
    fs::write(&file, text).map_err(|error| Failure::system("writing the configuration", &error))?;
    let environment = |name: &str| std::env::var(name).ok();
    Ok(config::load(&file, &environment, &Overrides::default(), &app::check_properties)?)
}

fn configuration(socket_dir: &Path, port: u16, bootstrap: &str) -> String {
    // A JSON text is a TOML text; a directory's name may hold anything.
    let host = Json::from(socket_dir.to_string_lossy().replace("${", "$${"));
    let stream = |(namespace, name): &(&str, &str)| {
        format!(
            "[streams.demo_db.{SLOT}.\"{namespace}\"]\n\
             kafka_client = \"demo_kafka\"\n\
             eventsink_topic = \"{name}_events\"\n\
             lifecycle_topic = \"{name}_lifecycle\"\n"
        )
    };
    let streams = NAMESPACES.each_ref().map(stream).concat();
    format!(
        "[admin]\n\
         listen = \"127.0.0.1:0\"\n\
         [log]\n\
         # The broker keeps one copy of each topic, of which the service warns; rightly, but not here.\n\
         level = \"warn,cdc_notifier::sink::kafka::topics=error\"\n\
         format = \"text\"\n\
         [databases.demo_db]\n\
         host = {host}\n\
         port = {port}\n\
         database = \"postgres\"\n\
         username = \"{SUPERUSER}\"\n\
         [kafka_clients.demo_kafka]\n\
         endpoints = [\"{bootstrap}\"]\n\
         {streams}"
    )
}

/// Creates the tables and returns the server's version.
async fn create_tables(postgres: &Postgres) -> Result<String, Failure> {
    let sql = replication::sql(postgres).await?;
    for (namespace, _) in NAMESPACES {
        sql.batch_execute(&schema_sql(namespace)).await.map_err(Failure::defect)?;
    }
    Ok(sql.server_version().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_directory_can_be_configured() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("demo.toml");
        for name in ["/tmp/cdc-pg-1", "/tmp/a \"b\" \\ ${HOME} ü"] {
            fs::write(&file, configuration(Path::new(name), 5432, "127.0.0.1:9092")).unwrap();
            let config = config::load(&file, &|_| None, &Overrides::default(), &app::check_properties).unwrap();
            let database = &config.databases[0];
            assert_eq!((database.postgres.host.as_str(), database.postgres.port), (name, 5432));
            let used = database.slots[0].namespaces.iter();
            let used: Vec<_> = used.flat_map(|n| [n.eventsink_topic.clone(), n.lifecycle_topic.clone()]).collect();
            assert!(topics().iter().all(|topic| used.contains(topic)) && used.len() == topics().len(), "{used:?}");
        }
    }
}
