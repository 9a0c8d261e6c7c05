//! One life of the replication connection: prepares database and topics, then streams.
//!
//! A task of its own, not an actor: it reads a socket, and ractor's mailboxes have no place for that.

mod decoding;
mod stream;
mod watch;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ractor::ActorRef;
use tokio::{sync::mpsc, time::timeout};

use self::{decoding::Decoding, stream::Streaming, watch::Watch};
use super::{outlet::Outlet, publisher::PublisherMessage, shared::SlotShared, slot::SlotMessage};
use crate::{
    change::{Class, Lsn, Trouble},
    config::KafkaClient,
    delivery::{Continuation, Ended, Server},
    encoding,
    pipeline::{Line, Pipeline},
    replication::{self, Connection, Feedback, Plan, Prepared, ReplicationStream},
    sink::kafka::{PartitionCounts, topics},
    source,
};

/// Bound on asking Kafka for a topic's partitions.
const METADATA: Duration = Duration::from_secs(10);

/// How long a session that begins keeps others of its database waiting: what takes longer is waiting itself, for a server or a
/// transaction.
const TURN: Duration = Duration::from_secs(1);

/// What a session can be told.
pub(super) enum Command {
    /// Stop reading, wait for confirmations at most this long, acknowledge, end the stream.
    Drain(Duration),
    /// Stop reading, wait until all commits are confirmed, acknowledge, end with this.
    Halt(Trouble),
}

/// A session about to begin.
pub(super) struct Session {
    pub(super) number: u64,
    pub(super) shared: Arc<SlotShared>,
    pub(super) publishers: Vec<ActorRef<PublisherMessage>>,
    pub(super) slot: ActorRef<SlotMessage>,
    pub(super) commands: mpsc::Receiver<Command>,
}

impl Session {
    /// Runs to its end, whatever it is.
    pub(super) async fn run(self) -> Ended {
        match Box::pin(self.take_turn()).await {
            Ok(streaming) => Box::pin(streaming.run()).await,
            Err(trouble) => Ended::Failed(trouble),
        }
    }

    /// Opens when its turn has come.
    async fn take_turn(self) -> Result<Streaming, Trouble> {
        let starts = Arc::clone(&self.shared.starts);
        let turn = starts.acquire().await;
        let mut open = Box::pin(self.open());
        if let Ok(opened) = timeout(TURN, &mut open).await {
            return opened;
        }
        drop(turn);
        open.await
    }

    /// Publications and slot first, so that PostgreSQL keeps what happens from now on; then the topics; then the stream.
    async fn open(self) -> Result<Streaming, Trouble> {
        let shared = &self.shared;
        let (known, carried) = (shared.known().server.is_some(), shared.carried());
        let plan = Plan { database: &shared.database.postgres, slot: &shared.slot, known, carried: &carried };
        let prepared = replication::prepare(plan).await?;
        shared.add_joining(prepared.joining.clone());
        // The publications have just been found right.
        shared.set_last_good(prepared.confirmed_flush_lsn);
        self.open_outlets().await?;
        if shared.streamed().is_empty() {
            self.join_all().await?;
        }
        let stream = self.start(&prepared).await?;
        let feedback = Feedback::new(prepared.wal_sender_timeout, shared.now());
        let (watch, events) = Watch::start(shared);
        Ok(Streaming {
            session: self.number,
            start: prepared.confirmed_flush_lsn,
            decoding: Decoding::new(shared, self.pipeline()),
            shared: Arc::clone(shared),
            stream,
            feedback,
            publishers: self.publishers,
            slot: self.slot,
            commands: self.commands,
            events,
            _watch: watch,
        })
    }

    fn pipeline(&self) -> Pipeline {
        let limits = encoding::Limits {
            max_payload_size: self.shared.limits.max_payload_size,
            max_payload_depth: self.shared.limits.max_payload_depth,
        };
        let lines = self.shared.slot.namespaces.iter().map(|namespace| Line {
            namespace: namespace.name.clone(),
            source: source::build(source::Kind::Progressor, &namespace.name),
            encoder: encoding::build(encoding::Kind::MgProto, &namespace.name, limits),
        });
        Pipeline::new(lines.collect())
    }

    /// Opens the producers that are not open, looks at the topics, and tells the publishers.
    async fn open_outlets(&self) -> Result<(), Trouble> {
        let mut clients: BTreeMap<&str, (&Arc<KafkaClient>, Vec<String>)> = BTreeMap::new();
        for namespace in &self.shared.slot.namespaces {
            let client = &namespace.kafka_client;
            let (_, topics) = clients.entry(&client.name).or_insert_with(|| (client, Vec::new()));
            topics.extend([namespace.eventsink_topic.clone(), namespace.lifecycle_topic.clone()]);
        }
        for (name, (client, topics)) in clients {
            let outlet = if let Some(outlet) = self.shared.outlet(name) {
                outlet
            } else {
                let (client, shared) = (Arc::clone(client), Arc::clone(&self.shared));
                let outlet = blocking(move || Outlet::open(&client, &shared)).await?;
                self.shared.add_outlet(name.to_owned(), Arc::clone(&outlet));
                outlet
            };
            let counts = self.counts(client, &outlet, topics).await?;
            for (publisher, namespace) in self.publishers.iter().zip(&self.shared.slot.namespaces) {
                if namespace.kafka_client.name == name {
                    let (outlet, counts) = (Arc::clone(&outlet), Arc::clone(&counts));
                    // A dead publisher crashes the slot.
                    let _crashed = publisher.cast(PublisherMessage::Open { outlet, counts });
                }
            }
        }
        Ok(())
    }

    /// The partitions of the topics: none may have become fewer since this process first saw them.
    async fn counts(
        &self,
        client: &KafkaClient,
        outlet: &Arc<Outlet>,
        topics: Vec<String>,
    ) -> Result<Arc<PartitionCounts>, Trouble> {
        let found = watch::fetch_topics(outlet, topics).await?;
        let counts = self.shared.counts(client, &found);
        // Nothing is in flight when a session opens: new partitions are used at once.
        for grown in counts.observe(&found)? {
            counts.apply(&grown);
        }
        Ok(counts)
    }

    /// No namespace can be streamed yet, so nothing else needs the slot: it moves to where all can join.
    async fn join_all(&self) -> Result<(), Trouble> {
        let (shared, sql) = (&self.shared, replication::sql(&self.shared.database.postgres).await?);
        let lsn = loop {
            if let Some(lsn) = watch::join_position(&sql, &shared.joining()).await? {
                break lsn;
            }
            tokio::time::sleep(watch::JOINS).await;
        };
        // Said before: if the answer is lost, the slot may stand there all the same.
        shared.known().may_be_acknowledged(lsn);
        loop {
            // The log may not have been written that far.
            let reached = replication::advance(&sql, &shared.slot.name, lsn).await?;
            if reached >= lsn {
                shared.known().acknowledging(reached);
                shared.joined(reached);
                return Ok(());
            }
            tokio::time::sleep(watch::JOINS).await;
        }
    }

    /// Opens the replication connection, holds the server's history against ours, and starts the stream.
    async fn start(&self, prepared: &Prepared) -> Result<ReplicationStream, Trouble> {
        let shared = &self.shared;
        let mut connection = Connection::open(&shared.database.postgres).await?;
        let identity = connection.identify_system().await?;
        let other = shared.known().server.as_ref().is_some_and(|(_, timeline)| *timeline != identity.timeline);
        let history = if other { connection.timeline_history(identity.timeline).await? } else { Vec::new() };
        let server = Server {
            system_identifier: identity.system_identifier,
            timeline: identity.timeline,
            wal_position: identity.wal_position,
            history,
        };
        self.compare(&server)?;
        let publications = shared.streamed();
        let binary = connection.server_version().sends_binary();
        shared.set_walsender(connection.pid());
        // From the slot's own position: one of ours would make the server skip in silence, also on a history that is not ours.
        let mut started = connection.start_replication(&shared.slot.name, Lsn::ZERO, &publications, binary).await?;
        // With many slots the buffers would be a memory of their own.
        started.set_buffer(shared.account.reserve() / 2);
        shared.known().server = Some((server.system_identifier, server.timeline));
        shared.carry();
        let (database, slot) = (&shared.database.name, &shared.slot.name);
        tracing::info!(
            database,
            slot,
            confirmed_flush_lsn = %prepared.confirmed_flush_lsn,
            server_version = %prepared.server_version,
            binary,
            "replication started"
        );
        Ok(started)
    }

    fn compare(&self, server: &Server) -> Result<(), Trouble> {
        let shared = &self.shared;
        let continuation = shared.known().follow(&shared.slot.name, server, &mut shared.ledger())?;
        match continuation {
            Continuation::Same => {}
            Continuation::Forked(fork) => {
                tracing::warn!(slot = shared.slot.name, timeline = server.timeline, %fork, "the server is on a later timeline");
            }
            Continuation::Lost { from, to } => {
                tracing::error!(
                    database = shared.database.name,
                    slot = shared.slot.name,
                    timeline = server.timeline,
                    %from,
                    %to,
                    "what was committed between these LSNs is in Kafka, but the server that was promoted never had it; the \
                     slot goes on from where it stands"
                );
            }
        }
        Ok(())
    }
}

/// Runs what blocks off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Trouble> + Send + 'static) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Trouble::new(Class::Bug, format!("a blocking call failed: {error}"), "report it with this line"))
    })
}
