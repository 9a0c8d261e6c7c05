//! The root: all databases, and the order of stopping.
//!
//! # Owns
//! The databases.
//!
//! # Bounds
//! The mailbox takes a message per crash, timer or stop; no data passes through it.
//!
//! # Supervision
//! Has no supervisor: a crash of it, or of a database past its intensity, ends the process with 70.

use std::{collections::HashMap, sync::Arc, time::Instant};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{Semaphore, oneshot};

use super::{
    database::{DatabaseActor, DatabaseArguments, DatabaseMessage},
    shared::SlotShared,
};
use crate::{
    config::{Config, Database},
    delivery::{Intensity, Pool, Restart},
    observability::Streams,
};

/// Sessions of one database that begin at the same time: each asks a dozen questions on two connections, and opens a producer.
const STARTS: usize = 16;

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As asked.
    Stopped,
    /// Something crashed too often.
    GaveUp,
}

struct Root;

pub(super) enum RootMessage {
    Restart(String),
    DatabaseStopped(String),
    Drain,
}

struct Child {
    database: Arc<Database>,
    slots: Vec<Arc<SlotShared>>,
    actor: Option<ActorRef<DatabaseMessage>>,
    intensity: Intensity,
    stopped: bool,
}

struct RootState {
    children: HashMap<String, Child>,
    began: Instant,
    draining: bool,
}

struct RootArguments {
    config: Arc<Config>,
    streams: Arc<Streams>,
}

/// Runs the service until `stop` says so.
pub async fn run(config: Arc<Config>, streams: Arc<Streams>, stop: oneshot::Receiver<()>) -> Exit {
    let arguments = RootArguments { config, streams: Arc::clone(&streams) };
    let (root, handle) = match Actor::spawn(None, Root, arguments).await {
        Ok(spawned) => spawned,
        Err(error) => {
            tracing::error!(%error, "the supervision tree did not start");
            return Exit::GaveUp;
        }
    };
    let mut handle = handle;
    tokio::select! {
        _ended = &mut handle => {
            streams.give_up();
            return Exit::GaveUp;
        }
        _asked = stop => {
            let _crashed = root.cast(RootMessage::Drain);
        }
    }
    let _ended = handle.await;
    Exit::Stopped
}

impl Actor for Root {
    type Msg = RootMessage;
    type State = RootState;
    type Arguments = RootArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let RootArguments { config, streams } = arguments;
        let pool = Pool::new(config.limits.memory, streams.slots().len());
        let mut children = HashMap::new();
        for database in &config.databases {
            let starts = Arc::new(Semaphore::new(STARTS));
            let slots: Vec<_> = database
                .slots
                .iter()
                .filter_map(|slot| {
                    let status = Arc::clone(streams.slot(&database.name, &slot.name)?);
                    let (database, slot) = (Arc::clone(database), Arc::clone(slot));
                    let (pool, starts) = (Arc::clone(&pool), Arc::clone(&starts));
                    Some(SlotShared::new(database, slot, config.retry, config.limits, status, pool, starts))
                })
                .collect();
            let actor = start(database, &slots, &myself).await?;
            let child = Child {
                database: Arc::clone(database),
                slots,
                actor: Some(actor),
                intensity: Intensity::default(),
                stopped: false,
            };
            children.insert(database.name.clone(), child);
        }
        Ok(RootState { children, began: Instant::now(), draining: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            RootMessage::Restart(name) => {
                if let Some(child) = state.children.get_mut(&name).filter(|_| !state.draining) {
                    child.actor = Some(start(&child.database, &child.slots, &myself).await?);
                }
            }
            RootMessage::DatabaseStopped(name) => {
                if let Some(child) = state.children.get_mut(&name) {
                    child.stopped = true;
                }
                state.stop_if_done(&myself);
            }
            RootMessage::Drain => {
                state.draining = true;
                for child in state.children.values_mut() {
                    match &child.actor {
                        Some(actor) => child.stopped = actor.cast(DatabaseMessage::Drain).is_err(),
                        None => child.stopped = true,
                    }
                }
                state.stop_if_done(&myself);
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, error) => state.crashed(&myself, cell.get_id(), &error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                state.crashed(&myself, cell.get_id(), &reason.unwrap_or_default())
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

async fn start(
    database: &Arc<Database>,
    slots: &[Arc<SlotShared>],
    root: &ActorRef<RootMessage>,
) -> Result<ActorRef<DatabaseMessage>, ActorProcessingErr> {
    let arguments = DatabaseArguments { database: Arc::clone(database), slots: slots.to_vec(), root: root.clone() };
    let (actor, _) = Actor::spawn_linked(None, DatabaseActor, arguments, root.get_cell()).await?;
    Ok(actor)
}

impl RootState {
    fn stop_if_done(&self, myself: &ActorRef<RootMessage>) {
        if self.draining && self.children.values().all(|child| child.stopped) {
            myself.stop(None);
        }
    }

    fn crashed(
        &mut self,
        myself: &ActorRef<RootMessage>,
        actor: ActorId,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        let is_it = |child: &Child| child.actor.as_ref().is_some_and(|child| child.get_id() == actor);
        let Some((name, child)) = self.children.iter_mut().find(|(_, child)| is_it(child)) else { return Ok(()) };
        child.actor = None;
        if self.draining {
            child.stopped = true;
            self.stop_if_done(myself);
            return Ok(());
        }
        match child.intensity.crashed(self.began.elapsed()) {
            Restart::After(delay) => {
                tracing::error!(database = name, ?delay, "the database actor crashed: {error}; it is started again");
                let name = name.clone();
                let _timer = myself.send_after(delay, move || RootMessage::Restart(name));
                Ok(())
            }
            Restart::GiveUp => Err(format!("the actor of database \"{name}\" crashed too often: {error}").into()),
        }
    }
}
