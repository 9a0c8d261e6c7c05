//! One replication slot: carries out what the slot machine decides.
//!
//! # Owns
//! The slot machine, the session task, the publishers.
//!
//! # Bounds
//! The mailbox takes a handful of messages per session; no data passes through it.
//!
//! # Supervision
//! A child of its database, which starts it again within an intensity. Its publishers and its session end with it: a panic in
//! either is a crash of the slot.

use std::{sync::Arc, time::Duration};

use ractor::{Actor, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::{sync::mpsc, task::AbortHandle};

use super::{
    database::DatabaseMessage,
    failpoint::failpoint,
    publisher::{Publisher, PublisherArguments, PublisherMessage},
    session::{Command, Session},
    shared::SlotShared,
};
use crate::{
    change::{Class, Lsn, Trouble},
    delivery::{Effect, Ended, Input, SlotMachine, State},
};

/// How often the same trouble is logged.
const AGAIN: Duration = Duration::from_mins(1);

pub(super) struct SlotActor;

pub(super) enum SlotMessage {
    Start,
    /// The session's stream runs.
    Streaming {
        session: u64,
    },
    /// The session has stopped reading before this.
    Halting {
        session: u64,
        trouble: Trouble,
    },
    /// The session has ended.
    Ended {
        session: u64,
        ended: Ended,
    },
    /// The session has panicked.
    Panicked(String),
    /// Kafka did not take a message.
    SendFailed(Trouble),
    Settled,
    Timer(u64),
    ServerStopping,
    /// Somebody else streams from the slot.
    Taken(Trouble),
    Resume,
    Drain,
}

pub(super) struct SlotArguments {
    pub(super) shared: Arc<SlotShared>,
    pub(super) database: ActorRef<DatabaseMessage>,
    /// The slot crashed too often: it begins halted.
    pub(super) halted: Option<Trouble>,
}

pub(super) struct SlotState {
    shared: Arc<SlotShared>,
    database: ActorRef<DatabaseMessage>,
    machine: SlotMachine,
    publishers: Vec<ActorRef<PublisherMessage>>,
    session: Option<Running>,
    sessions: u64,
    shown: &'static str,
    said: Said,
}

/// The trouble that was logged last.
#[derive(Default)]
struct Said(Option<(String, Duration)>);

impl Said {
    fn is_new(&mut self, message: &str, now: Duration) -> bool {
        let again = self.0.as_ref().is_some_and(|(said, at)| said == message && now.saturating_sub(*at) < AGAIN);
        if !again {
            self.0 = Some((message.to_owned(), now));
        }
        !again
    }

    const fn nothing(&self) -> bool {
        self.0.is_none()
    }
}

/// The session task; it ends with this value.
struct Running {
    number: u64,
    commands: mpsc::Sender<Command>,
    task: AbortHandle,
    /// Up to where all messages were confirmed when it began.
    confirmed: Lsn,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Actor for SlotActor {
    type Msg = SlotMessage;
    type State = SlotState;
    type Arguments = SlotArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let SlotArguments { shared, database, halted } = arguments;
        shared.set_actor(myself.clone());
        let resumed = myself.clone();
        shared.status.on_resume(Box::new(move || {
            let _stopped = resumed.cast(SlotMessage::Resume);
        }));
        let mut publishers = Vec::with_capacity(shared.slot.namespaces.len());
        for (number, namespace) in shared.slot.namespaces.iter().enumerate() {
            let arguments =
                PublisherArguments { shared: Arc::clone(&shared), number, namespace: Arc::clone(namespace) };
            let (publisher, _) = Actor::spawn_linked(None, Publisher, arguments, myself.get_cell()).await?;
            publishers.push(publisher);
        }
        let machine = match halted {
            Some(trouble) => SlotMachine::halted(shared.times(), trouble),
            None => SlotMachine::new(shared.times()),
        };
        Ok(SlotState {
            shared,
            database,
            machine,
            publishers,
            session: None,
            sessions: 0,
            shown: "",
            said: Said::default(),
        })
    }

    async fn post_start(&self, myself: ActorRef<Self::Msg>, state: &mut Self::State) -> Result<(), ActorProcessingErr> {
        state.show(false);
        state.shared.set_closing(true);
        // After a crash, what the one before had handed to Kafka is settled first.
        let shared = Arc::clone(&state.shared);
        tokio::spawn(async move {
            if shared.settle().await {
                let _stopped = myself.cast(SlotMessage::Start);
            }
        });
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let input = match message {
            SlotMessage::Start => Input::Start,
            SlotMessage::Streaming { session } if state.is_current(session) => {
                failpoint("slot");
                Input::Streaming
            }
            SlotMessage::Halting { session, trouble } if state.is_current(session) => Input::Halting(trouble),
            SlotMessage::Ended { session, ended } if state.is_current(session) => {
                state.session = None;
                state.shared.set_closing(true);
                Input::Ended(ended)
            }
            SlotMessage::Streaming { .. } | SlotMessage::Halting { .. } | SlotMessage::Ended { .. } => return Ok(()),
            SlotMessage::Panicked(what) => return Err(format!("the session panicked: {what}").into()),
            SlotMessage::SendFailed(trouble) => state.send_failed(trouble),
            SlotMessage::Settled => Input::Settled,
            SlotMessage::Timer(generation) => Input::Timer(generation),
            SlotMessage::ServerStopping => Input::ServerStopping,
            SlotMessage::Taken(trouble) => Input::Taken(trouble),
            SlotMessage::Resume => {
                state.forgive();
                Input::Resume
            }
            SlotMessage::Drain => Input::Drain,
        };
        state.handle(&myself, input);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        _state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => Err(format!("a publisher failed: {error}").into()),
            SupervisionEvent::ActorTerminated(..) => Err("a publisher ended".into()),
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => Ok(()),
        }
    }
}

impl SlotState {
    fn is_current(&self, session: u64) -> bool {
        self.session.as_ref().is_some_and(|running| running.number == session)
    }

    fn send_failed(&self, trouble: Trouble) -> Input {
        if trouble.class == Class::MessageTooLarge {
            // The refusal names a batch: what is in flight now is sent again one by one, until the culprit is alone.
            self.shared.alone.suspect(&self.shared.ledger());
        }
        let before = self.session.as_ref().map(|running| running.confirmed);
        Input::SendFailed {
            trouble,
            progressed: before.is_some_and(|before| self.shared.status.confirmed.get() > before),
        }
    }

    /// A person has looked: what contradicted what is remembered is the truth from now on.
    fn forgive(&self) {
        match self.machine.last_error().map(|trouble| trouble.class) {
            Some(Class::HistoryChanged | Class::SlotLost) => self.shared.forget_history(),
            Some(Class::Publication) => self.shared.forget_publications(),
            Some(Class::TopicRecreated) => self.shared.forget_topics(),
            _ => {}
        }
    }

    fn handle(&mut self, myself: &ActorRef<SlotMessage>, input: Input) {
        let before = self.machine.last_error().cloned();
        let news = match &input {
            // Told by the delivery report and by the publisher that was refused: once is enough.
            Input::SendFailed { .. } => matches!(self.machine.state(), State::Connecting | State::Streaming),
            Input::Halting(_) | Input::Ended(Ended::Failed(_)) | Input::ServerStopping => true,
            _ => false,
        };
        for effect in self.machine.handle(input) {
            self.carry_out(myself, effect);
        }
        let news = news || self.machine.last_error() != before.as_ref();
        self.show(news);
    }

    /// One line per change of state and per trouble; a trouble that comes again at each retry is said once a minute.
    fn show(&mut self, news: bool) {
        let name = self.machine.state().name();
        let halts = name == "halted" && self.shown != name;
        let error = self.machine.last_error().filter(|_| news || halts);
        if name == self.shown && error.is_none() {
            return;
        }
        self.shown = name;
        self.shared.status.show(name, error.cloned());
        let (database, slot) = (&self.shared.database.name, &self.shared.slot.name);
        let (confirmed, acknowledged) = (self.shared.status.confirmed.get(), self.shared.status.acknowledged.get());
        if let Some(Trouble { class, message, remedy }) = error {
            if self.said.is_new(message, self.shared.now()) || halts {
                tracing::error!(
                    database, slot, state = name, %class, %confirmed, %acknowledged, remedy, "{message}"
                );
            }
        } else if name != "connecting" || self.said.nothing() {
            if name == "streaming" {
                self.said = Said::default();
            }
            tracing::info!(database, slot, state = name, %confirmed, %acknowledged, "slot is {name}");
        }
    }

    fn carry_out(&mut self, myself: &ActorRef<SlotMessage>, effect: Effect) {
        match effect {
            Effect::Open => self.open(myself),
            Effect::Abort => {
                if let Some(running) = &self.session {
                    running.task.abort();
                } else {
                    tracing::error!("no session to abort");
                }
            }
            Effect::Drain { bound } => {
                self.command(Command::Drain(bound.unwrap_or(self.shared.retry.shutdown_timeout)));
            }
            Effect::Halt(trouble) => self.command(Command::Halt(trouble)),
            Effect::Settle => {
                self.close_publishers();
                let (shared, myself) = (Arc::clone(&self.shared), myself.clone());
                tokio::spawn(async move {
                    if shared.settle().await {
                        let _stopped = myself.cast(SlotMessage::Settled);
                    }
                });
            }
            Effect::Purge => self.shared.purge_queues(),
            Effect::Arm { after, generation } => {
                let _timer =
                    myself.send_after(after.max(Duration::from_millis(1)), move || SlotMessage::Timer(generation));
            }
            Effect::Stopped => {
                self.shared.set_closing(true);
                self.close_publishers();
                let (shared, database) = (Arc::clone(&self.shared), self.database.clone());
                tokio::spawn(async move {
                    shared.close().await;
                    let _stopped = database.cast(DatabaseMessage::SlotStopped(shared.slot.name.clone()));
                });
            }
        }
    }

    fn close_publishers(&self) {
        for publisher in &self.publishers {
            // A dead publisher holds nothing.
            let _crashed = publisher.cast(PublisherMessage::Close);
        }
    }

    fn command(&self, command: Command) {
        if let Some(running) = &self.session {
            // The session takes commands at once; a full queue means that it has been told already.
            let _told = running.commands.try_send(command);
        }
    }

    fn open(&mut self, myself: &ActorRef<SlotMessage>) {
        self.shared.set_closing(false);
        self.sessions += 1;
        let number = self.sessions;
        let (commands, receiver) = mpsc::channel(4);
        let session = Session {
            number,
            shared: Arc::clone(&self.shared),
            publishers: self.publishers.clone(),
            slot: myself.clone(),
            commands: receiver,
        };
        let task = tokio::spawn(session.run());
        let confirmed = self.shared.status.confirmed.get();
        self.session = Some(Running { number, commands, task: task.abort_handle(), confirmed });
        let myself = myself.clone();
        tokio::spawn(async move {
            let message = match task.await {
                Ok(ended) => SlotMessage::Ended { session: number, ended },
                Err(error) if error.is_panic() => SlotMessage::Panicked(panic_text(error.into_panic())),
                Err(_) => SlotMessage::Ended { session: number, ended: Ended::Closed },
            };
            let _stopped = myself.cast(message);
        });
    }
}

fn panic_text(panic: Box<dyn std::any::Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast::<String>().ok().map(|text| *text)).unwrap_or_else(|| "no message".to_owned())
}
