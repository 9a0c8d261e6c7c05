//! One database reference: its slots, and one SQL connection that sees the server's log grow and its shutdown begin.
//!
//! # Owns
//! The slots' shared state, which outlives a crash of their actors; the watching task.
//!
//! # Bounds
//! The mailbox takes a message per crash, timer or stop; no data passes through it.
//!
//! # Supervision
//! A child of the root. Starts a crashed slot again within an intensity; past it that slot is halted, the others run.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::AbortHandle;

use super::{
    failpoint::failpoint,
    root::RootMessage,
    shared::SlotShared,
    slot::{SlotActor, SlotArguments, SlotMessage},
};
use crate::{
    change::{Class, Trouble},
    config::Database,
    delivery::{Intensity, Restart},
    replication::{self, Sql},
};

/// How often the server's log is measured.
const WATCH: Duration = Duration::from_secs(5);

pub(super) struct DatabaseActor;

pub(super) enum DatabaseMessage {
    /// Start a crashed slot again.
    Restart(String),
    /// A slot has stopped as asked.
    SlotStopped(String),
    /// The server is being shut down.
    ServerStopping,
    Drain,
}

pub(super) struct DatabaseArguments {
    pub(super) database: Arc<Database>,
    pub(super) slots: Vec<Arc<SlotShared>>,
    pub(super) root: ActorRef<RootMessage>,
}

struct Child {
    shared: Arc<SlotShared>,
    actor: Option<ActorRef<SlotMessage>>,
    intensity: Intensity,
    stopped: bool,
}

pub(super) struct DatabaseState {
    database: Arc<Database>,
    root: ActorRef<RootMessage>,
    children: HashMap<String, Child>,
    watch: AbortHandle,
    draining: bool,
}

impl Drop for DatabaseState {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

impl Actor for DatabaseActor {
    type Msg = DatabaseMessage;
    type State = DatabaseState;
    type Arguments = DatabaseArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let DatabaseArguments { database, slots, root } = arguments;
        let watch = tokio::spawn(watch(Arc::clone(&database), slots.clone(), myself.clone())).abort_handle();
        let mut children = HashMap::new();
        for shared in slots {
            let actor = start(&shared, &myself, None).await?;
            let name = shared.slot.name.clone();
            let child = Child { shared, actor: Some(actor), intensity: Intensity::default(), stopped: false };
            children.insert(name, child);
        }
        Ok(DatabaseState { database, root, children, watch, draining: false })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            DatabaseMessage::Restart(name) => {
                if let Some(child) = state.children.get_mut(&name).filter(|_| !state.draining) {
                    child.actor = Some(start(&child.shared, &myself, None).await?);
                }
            }
            DatabaseMessage::SlotStopped(name) => {
                if let Some(child) = state.children.get_mut(&name) {
                    child.stopped = true;
                }
                state.report_stopped();
            }
            DatabaseMessage::ServerStopping => state.tell_all(|| SlotMessage::ServerStopping),
            DatabaseMessage::Drain => {
                state.draining = true;
                for child in state.children.values_mut().filter(|child| child.actor.is_none()) {
                    child.stopped = true;
                }
                state.tell_all(|| SlotMessage::Drain);
                state.report_stopped();
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
            SupervisionEvent::ActorFailed(cell, error) => {
                state.crashed(&myself, cell.get_id(), &error.to_string()).await
            }
            // Slots do not end by themselves: whatever ended one, it was not a decision.
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                let reason = reason.unwrap_or_else(|| "no reason given".to_owned());
                state.crashed(&myself, cell.get_id(), &reason).await
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

async fn start(
    shared: &Arc<SlotShared>,
    database: &ActorRef<DatabaseMessage>,
    halted: Option<Trouble>,
) -> Result<ActorRef<SlotMessage>, ActorProcessingErr> {
    let arguments = SlotArguments { shared: Arc::clone(shared), database: database.clone(), halted };
    let (actor, _) = Actor::spawn_linked(None, SlotActor, arguments, database.get_cell()).await?;
    Ok(actor)
}

impl DatabaseState {
    fn tell_all(&self, message: impl Fn() -> SlotMessage) {
        for actor in self.children.values().filter_map(|child| child.actor.as_ref()) {
            let _crashed = actor.cast(message());
        }
    }

    fn report_stopped(&self) {
        if self.draining && self.children.values().all(|child| child.stopped) {
            let _stopped = self.root.cast(RootMessage::DatabaseStopped(self.database.name.clone()));
        }
    }

    async fn crashed(
        &mut self,
        myself: &ActorRef<DatabaseMessage>,
        actor: ActorId,
        error: &str,
    ) -> Result<(), ActorProcessingErr> {
        failpoint("database");
        let is_it = |child: &Child| child.actor.as_ref().is_some_and(|child| child.get_id() == actor);
        let Some((name, child)) = self.children.iter_mut().find(|(_, child)| is_it(child)) else { return Ok(()) };
        child.actor = None;
        if self.draining {
            child.stopped = true;
            self.report_stopped();
            return Ok(());
        }
        let trouble = Trouble::new(
            Class::Bug,
            format!("slot \"{name}\" of \"{}\" crashed: {error}", self.database.name),
            "this is a defect of this program: report it with this line; resume the slot to try again",
        );
        match child.intensity.crashed(child.shared.now()) {
            Restart::After(delay) => {
                tracing::error!(database = self.database.name, slot = name, ?delay, "{trouble}; it is started again");
                child.shared.status.show("connecting", Some(trouble));
                let name = name.clone();
                let _timer = myself.send_after(delay, move || DatabaseMessage::Restart(name));
            }
            Restart::GiveUp => {
                child.intensity.forgive();
                child.actor = Some(start(&child.shared, myself, Some(trouble)).await?);
            }
        }
        Ok(())
    }
}

/// Measures the server's log and what it spills, notices its shutdown and who else takes a slot, for ever.
async fn watch(database: Arc<Database>, slots: Vec<Arc<SlotShared>>, actor: ActorRef<DatabaseMessage>) {
    loop {
        if let Ok(sql) = replication::sql(&database.postgres).await {
            let end = tokio::select! {
                end = sql.ended() => end,
                () = measure(&sql, &slots) => sql.ended().await,
            };
            // A single session can be terminated, too: only a server that takes no new one is stopping.
            if end.sqlstate.as_deref() == Some("57P01") && replication::sql(&database.postgres).await.is_err() {
                let _stopped = actor.cast(DatabaseMessage::ServerStopping);
            }
        }
        tokio::time::sleep(WATCH).await;
    }
}

/// Measures, for ever: a question that fails is asked again, and what it would have told stays as it was.
async fn measure(sql: &Sql, slots: &[Arc<SlotShared>]) {
    let names: Vec<_> = slots.iter().map(|shared| shared.slot.name.as_str()).collect();
    loop {
        match replication::current_wal_lsn(sql).await {
            Ok(lsn) => slots.iter().for_each(|shared| shared.status.server_wal.set(lsn)),
            Err(trouble) => tracing::debug!("the end of the server's log could not be asked for: {trouble}"),
        }
        for shared in slots.iter().filter(|shared| shared.is_unsettled()) {
            match replication::slot::taken(sql, &shared.slot.name, shared.walsender()).await {
                Ok(Some(trouble)) => shared.tell(SlotMessage::Taken(trouble)),
                Ok(None) => {}
                Err(trouble) => tracing::debug!("the holder of a slot could not be asked for: {trouble}"),
            }
        }
        match replication::spilled(sql, &names).await {
            Ok(spilled) => {
                for shared in slots {
                    shared.status.set_spill(spilled.get(&shared.slot.name).copied());
                }
            }
            Err(trouble) => tracing::debug!("what the server spilled could not be asked for: {trouble}"),
        }
        tokio::time::sleep(WATCH).await;
    }
}
