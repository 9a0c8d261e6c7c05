//! What is looked at beside the stream: publications each minute, topics each half minute, namespaces that want to join.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval_at},
};

use super::{METADATA, blocking, topics};
use crate::{
    actors::{outlet::Outlet, shared::SlotShared},
    change::{Class, Lsn, Trouble},
    replication::{self, Joining, Sql},
    sink::kafka::topics::TopicState,
};

/// How often the publications are verified.
const PUBLICATIONS: Duration = Duration::from_secs(60);
/// How often the topics are looked at.
const TOPICS: Duration = Duration::from_secs(30);
/// How often it is asked whether a namespace can join.
pub(super) const JOINS: Duration = Duration::from_secs(1);

/// What was seen.
pub(super) enum Event {
    /// Namespaces can join once the slot has passed this position.
    Join(Lsn),
    /// Something that the stream must not go on with.
    Trouble(Trouble),
}

/// The tasks that look; they end with this value.
pub(super) struct Watch {
    _tasks: JoinSet<()>,
}

impl Watch {
    pub(super) fn start(shared: &Arc<SlotShared>) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(4);
        let mut tasks = JoinSet::new();
        tasks.spawn(publications(Arc::clone(shared), events.clone()));
        tasks.spawn(all_topics(Arc::clone(shared), events.clone()));
        if !shared.joining().is_empty() {
            tasks.spawn(joins(Arc::clone(shared), events));
        }
        (Self { _tasks: tasks }, receiver)
    }
}

async fn every(period: Duration, mut look: impl AsyncFnMut() -> Option<Event>, events: mpsc::Sender<Event>) {
    let mut ticks = interval_at(tokio::time::Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Some(event) = look().await {
            // A session that has ended needs no news.
            let _ended = events.send(event).await;
        }
    }
}

async fn publications(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let look = async || {
        // What is confirmed now was published rightly if the publications still are right after it.
        let good = shared.ledger().position();
        let verified = async {
            let sql = replication::sql(&shared.database.postgres).await?;
            replication::verify_publications(&sql, &shared.streamed()).await
        };
        match verified.await {
            Ok(()) => {
                shared.set_last_good(good);
                None
            }
            Err(trouble) if trouble.class == Class::Publication || trouble.class == Class::TableMissing => {
                let message = format!("{}; last known to be right at LSN {}", trouble.message, shared.last_good());
                Some(Event::Trouble(Trouble::new(Class::Publication, message, trouble.remedy)))
            }
            Err(trouble) => {
                tracing::debug!(slot = shared.slot.name, "the publications could not be looked at: {trouble}");
                None
            }
        }
    };
    every(PUBLICATIONS, look, events).await;
}

async fn all_topics(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let look = async || {
        for (client, outlet) in shared.named_outlets() {
            let Some(counts) = shared.known_counts(&client) else { continue };
            let namespaces = shared.slot.namespaces.iter().filter(|namespace| namespace.kafka_client.name == client);
            let names = namespaces.flat_map(|namespace| [&namespace.eventsink_topic, &namespace.lifecycle_topic]);
            match fetch_topics(&outlet, names.cloned().collect()).await.and_then(|found| counts.observe(&found)) {
                Ok(grown) => grown.iter().for_each(|grown| counts.apply(grown)),
                Err(trouble) if trouble.class == Class::TopicRecreated => return Some(Event::Trouble(trouble)),
                // Whatever else is wrong shows in the deliveries.
                Err(trouble) => tracing::debug!(slot = shared.slot.name, "the topics could not be looked at: {trouble}"),
            }
            let offsets = shared.offsets(&client);
            let looked = blocking(move || topics::check_high_watermarks(outlet.producer(), &offsets, METADATA)).await;
            if let Err(trouble) = looked
                && trouble.class == Class::TopicRecreated
            {
                return Some(Event::Trouble(trouble));
            }
        }
        None
    };
    every(TOPICS, look, events).await;
}

async fn joins(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let mut join_at = None;
    let look = async || {
        if join_at.is_some() {
            return None;
        }
        let asked = async {
            let sql = replication::sql(&shared.database.postgres).await?;
            join_position(&sql, &shared.joining()).await
        };
        match asked.await {
            Ok(Some(lsn)) => {
                join_at = Some(lsn);
                Some(Event::Join(lsn))
            }
            Ok(None) => None,
            Err(trouble) => {
                tracing::warn!(slot = shared.slot.name, "a namespace waits to join: {trouble}");
                None
            }
        }
    };
    every(JOINS, look, events).await;
}

/// The position from which all of them can join; `None` as long as one has to wait.
pub(super) async fn join_position(sql: &Sql, joining: &[Joining]) -> Result<Option<Lsn>, Trouble> {
    let mut latest = Lsn::ZERO;
    for joining in joining {
        match replication::join_position(sql, joining).await? {
            Some(lsn) => latest = latest.max(lsn),
            None => return Ok(None),
        }
    }
    Ok(Some(latest))
}

/// Asks Kafka for these topics.
pub(super) async fn fetch_topics(
    outlet: &Arc<Outlet>,
    names: Vec<String>,
) -> Result<HashMap<String, TopicState>, Trouble> {
    let outlet = Arc::clone(outlet);
    blocking(move || {
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        topics::fetch(outlet.producer(), &names, METADATA)
    })
    .await
}
