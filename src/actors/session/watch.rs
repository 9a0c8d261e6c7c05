//! What is looked at beside the stream: publications each minute, topics each half minute, namespaces that want to join.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, Interval, MissedTickBehavior, interval_at},
};

use super::{METADATA, blocking, topics};
use crate::{
    actors::{outlet::Outlet, shared::SlotShared},
    change::{Class, Lsn, Trouble},
    replication::{self, Joining, Sql},
    sink::kafka::topics::TopicState,
};

/// How often the publications are verified.
const PUBLICATIONS: Duration = Duration::from_mins(1);
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

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// A session that has ended needs no news.
async fn tell(events: &mpsc::Sender<Event>, event: Event) {
    let _ended = events.send(event).await;
}

async fn publications(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let mut ticks = every(PUBLICATIONS);
    loop {
        ticks.tick().await;
        // What is confirmed now was published rightly if the publications still are right after it.
        let good = shared.ledger().position();
        match verify(&shared).await {
            Ok(()) => shared.set_last_good(good),
            Err(trouble) if matches!(trouble.class, Class::Publication | Class::TableMissing | Class::Schema) => {
                let message = format!("{}; last known to be right at LSN {}", trouble.message, shared.last_good());
                tell(&events, Event::Trouble(Trouble::new(Class::Publication, message, trouble.remedy))).await;
            }
            Err(trouble) => {
                tracing::debug!(slot = shared.slot.name, "the publications could not be looked at: {trouble}");
            }
        }
    }
}

async fn verify(shared: &SlotShared) -> Result<(), Trouble> {
    let sql = replication::sql(&shared.database.postgres).await?;
    replication::verify_publications(&sql, &shared.streamed()).await
}

async fn all_topics(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let mut ticks = every(TOPICS);
    loop {
        ticks.tick().await;
        for (client, outlet) in shared.named_outlets() {
            match look_at_topics(&shared, &client, &outlet).await {
                Ok(()) => {}
                Err(trouble) if trouble.class == Class::TopicRecreated => tell(&events, Event::Trouble(trouble)).await,
                // Whatever else is wrong shows in the deliveries.
                Err(trouble) => {
                    tracing::debug!(slot = shared.slot.name, "the topics could not be looked at: {trouble}");
                }
            }
        }
    }
}

async fn look_at_topics(shared: &SlotShared, client: &str, outlet: &Arc<Outlet>) -> Result<(), Trouble> {
    if let Some(counts) = shared.known_counts(client) {
        let namespaces = shared.slot.namespaces.iter().filter(|namespace| namespace.kafka_client.name == client);
        let names = namespaces.flat_map(|namespace| [&namespace.eventsink_topic, &namespace.lifecycle_topic]);
        let found = fetch_topics(outlet, names.cloned().collect()).await?;
        counts.observe(&found)?.iter().for_each(|grown| counts.apply(grown));
    }
    let (outlet, offsets) = (Arc::clone(outlet), shared.offsets(client));
    blocking(move || topics::check_high_watermarks(outlet.producer(), &offsets, METADATA)).await
}

async fn joins(shared: Arc<SlotShared>, events: mpsc::Sender<Event>) {
    let mut ticks = every(JOINS);
    loop {
        ticks.tick().await;
        match ask_to_join(&shared).await {
            Ok(None) => {}
            Ok(Some(lsn)) => return tell(&events, Event::Join(lsn)).await,
            Err(trouble) => tracing::warn!(slot = shared.slot.name, "a namespace waits to join: {trouble}"),
        }
    }
}

async fn ask_to_join(shared: &SlotShared) -> Result<Option<Lsn>, Trouble> {
    let sql = replication::sql(&shared.database.postgres).await?;
    join_position(&sql, &shared.joining()).await
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
