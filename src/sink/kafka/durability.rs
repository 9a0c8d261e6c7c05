//! Whether the cluster keeps what it has confirmed.

use std::{collections::HashMap, hash::BuildHasher, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, OwnedResourceSpecifier, ResourceSpecifier},
    client::DefaultClientContext,
};
use tokio::sync::Semaphore;

use super::{TopicState, options::client_config};
use crate::config::KafkaClient;

/// Each look has a connection of its own for a moment.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);
/// Bound on the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Topics that a message names.
const NAMED: usize = 5;

/// A setting with which confirmed messages can be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// Which topics have it, and what it means.
    pub message: String,
    /// What mends it.
    pub remedy: &'static str,
}

/// The risks that the settings of these topics leave. Where the settings may not be seen, only those that metadata show.
pub async fn risks(client: &KafkaClient, topics: &HashMap<String, TopicState, impl BuildHasher>) -> Vec<Risk> {
    let few = |topic: &str| topics.get(topic).is_some_and(|state| state.replicas < 2);
    let mut risks = Vec::new();
    risks.extend(risk(
        topics.keys().map(String::as_str).filter(|topic| few(topic)).collect(),
        "one replica: a confirmed message is lost with its broker's disk",
        "kafka-reassign-partitions.sh gives a topic more of them",
    ));
    let specifiers: Vec<_> = topics.keys().map(|topic| ResourceSpecifier::Topic(topic)).collect();
    let described = describe(client, &specifiers).await.unwrap_or_else(|error| {
        tracing::debug!(client = client.name, "the settings of the topics cannot be seen: {error}");
        Vec::new()
    });
    let with = |key: &str, value: &str| -> Vec<&str> {
        let is_set =
            |resource: &&ConfigResource| resource.get(key).is_some_and(|entry| entry.value.as_deref() == Some(value));
        described.iter().filter(is_set).filter_map(name).collect()
    };
    risks.extend(risk(
        with("min.insync.replicas", "1").into_iter().filter(|topic| !few(topic)).collect(),
        "min.insync.replicas=1: a broker may confirm what only it has, and then fail",
        "kafka-configs.sh --alter --add-config min.insync.replicas=2",
    ));
    risks.extend(risk(
        with("unclean.leader.election.enable", "true"),
        "unclean.leader.election.enable=true: a replica that lacks confirmed messages may become the leader",
        "kafka-configs.sh --alter --add-config unclean.leader.election.enable=false",
    ));
    risks
}

fn name(resource: &ConfigResource) -> Option<&str> {
    match &resource.specifier {
        OwnedResourceSpecifier::Topic(name) => Some(name),
        _ => None,
    }
}

fn risk(mut topics: Vec<&str>, what: &str, remedy: &'static str) -> Option<Risk> {
    let count = topics.len();
    if count == 0 {
        return None;
    }
    topics.sort_unstable();
    topics.truncate(NAMED);
    let more = if count > NAMED { ", ..." } else { "" };
    Some(Risk { message: format!("{count} topics ({}{more}) have {what}", topics.join(", ")), remedy })
}

async fn describe(
    client: &KafkaClient,
    topics: &[ResourceSpecifier<'_>],
) -> Result<Vec<ConfigResource>, Box<dyn std::error::Error + Send + Sync>> {
    let _turn = ONE_AT_A_TIME.acquire().await?;
    let config = client_config(client, 0).map_err(|error| error.to_string())?;
    // Certificates are read from files.
    let admin = tokio::task::spawn_blocking(move || config.create::<AdminClient<DefaultClientContext>>()).await??;
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    let described = admin.describe_configs(topics, &options).await;
    // Its threads are waited for.
    tokio::task::spawn_blocking(move || drop(admin)).await?;
    Ok(described?.into_iter().flatten().collect())
}
