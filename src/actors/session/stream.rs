//! The stream of one session: reads, decodes, hands over, reports.
//!
//! One task does all of it, so that nothing between socket and batch needs a lock or a wake-up. It never waits for Kafka:
//! credits tell it when to stop reading, and its own timer when PostgreSQL has to hear from it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use ractor::ActorRef;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Command,
    decoding::Decoding,
    watch::{self, Event, Watch},
};
use crate::{
    actors::{publisher::PublisherMessage, shared::SlotShared, slot::SlotMessage},
    change::{Class, Lsn, PgTimestamp, Trouble},
    delivery::{Disposition, Ended, Flow, Mode, Phase, Waiting, disposition, flow, may_borrow},
    replication::{self, CopyData, Feedback, Frame, ReplicationStream, StatusUpdate, coalesce::Pause},
};

/// How often progress is looked at while something waits for Kafka or for acknowledgement.
const LOOK: Duration = Duration::from_millis(100);
/// How long the end of the stream may take once everything is acknowledged.
const FAREWELL: Duration = Duration::from_secs(1);

/// Bytes of credit that are handed over at once, though more is in the buffer: a batch that grows further is copied as it grows. Never
/// more than the slot's reserve, see `Account::room`.
const BURST: usize = 512 * 1024;

/// Why decoding paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// No complete message is left in the buffer.
    Empty,
    /// No credit is left, or enough waits for the publishers.
    NoCredit,
    /// The mode wants no more.
    Done,
}

pub(super) struct Streaming {
    pub(super) session: u64,
    /// Where the slot stood when it was prepared.
    pub(super) start: Lsn,
    pub(super) shared: Arc<SlotShared>,
    pub(super) stream: ReplicationStream,
    pub(super) decoding: Decoding,
    pub(super) feedback: Feedback,
    pub(super) publishers: Vec<ActorRef<PublisherMessage>>,
    pub(super) slot: ActorRef<SlotMessage>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) events: mpsc::Receiver<Event>,
    /// Ends with the session.
    pub(super) _watch: Watch,
}

#[derive(Default)]
struct Turn {
    mode: Mode,
    /// How old what was decoded last was when PostgreSQL sent it.
    age: Duration,
    /// Bytes that the last read brought, until the pause after it is decided.
    brought: Option<usize>,
    /// Messages that were decoded since that read.
    messages: usize,
    /// Before the next read.
    pause: Option<Pause>,
    /// The slot's actor knows that the stream has begun.
    announced: bool,
    join_at: Option<Lsn>,
    status: Vec<u8>,
}

impl Streaming {
    pub(super) async fn run(mut self) -> Ended {
        let mut turn = Turn::default();
        loop {
            let pass = match self.decode(&mut turn) {
                Ok(pass) => pass,
                Err(Stop::Connection(trouble)) => {
                    self.hand_over(&mut turn);
                    return lost(&self.shared, trouble).await;
                }
                Err(Stop::Data(trouble)) => {
                    self.halt(&mut turn, trouble);
                    Pass::Done
                }
            };
            self.hand_over(&mut turn);
            match self.turn(&mut turn, pass).await {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    if ended == Ended::Rejoin {
                        // Not `join_at`: what was decoded since then was decoded without the namespaces that join.
                        let position = self.shared.ledger().position();
                        self.shared.joined(position);
                    }
                    return self.finish(ended).await;
                }
                Err(trouble) => return Ended::Failed(trouble),
            }
        }
    }

    /// Decodes what is in the buffer, as far as mode and credit allow.
    fn decode(&mut self, turn: &mut Turn) -> Result<Pass, Stop> {
        let waiting = self.shared.ledger().waiting(self.shared.now());
        let may_borrow = may_borrow(waiting);
        let (mut room, burst) = (0, BURST.min(self.shared.account.reserve()));
        loop {
            if !turn.mode.wants(self.decoding.is_inside()) {
                return Ok(Pass::Done);
            }
            let uncharged = self.decoding.uncharged();
            if uncharged >= room {
                room = self.shared.account.room(uncharged, may_borrow);
                if uncharged >= room || self.shared.mailed.is_enough() {
                    return Ok(Pass::NoCredit);
                }
            }
            let Some(frame) = self.stream.next().map_err(Stop::Connection)? else { return Ok(Pass::Empty) };
            turn.messages += 1;
            match frame {
                Frame::CopyData(bytes) => match CopyData::parse(bytes) {
                    Ok(CopyData::XLogData { start, server_time, payload, .. }) => {
                        if !self.decoding.has_begun() {
                            // The slot may have fallen back since it was prepared, but not behind what it sends first.
                            let first = Decoding::first(payload).unwrap_or(self.start);
                            begin(self.start.min(first), &self.shared, &mut self.decoding, &mut self.feedback)?;
                        }
                        self.feedback.received(start);
                        let end = self.decoding.message(start, payload).map_err(Stop::Data)?;
                        if let Some(end) = end {
                            self.feedback.received(end);
                        }
                        turn.age =
                            self.decoding.commit_time().map_or(Duration::ZERO, |commit| server_time.since(commit));
                        if self.decoding.uncharged() >= burst {
                            self.hand_over(turn);
                            room = 0;
                        }
                    }
                    Ok(CopyData::PrimaryKeepalive { wal_end, reply_requested, .. }) => {
                        // The first keepalive says where the slot really stands.
                        begin(wal_end, &self.shared, &mut self.decoding, &mut self.feedback)?;
                        self.feedback.received(wal_end);
                        if reply_requested {
                            self.feedback.reply_requested();
                        }
                        self.decoding.keepalive(wal_end).map_err(Stop::Data)?;
                        if !self.decoding.is_inside() {
                            turn.age = Duration::ZERO;
                        }
                    }
                    Err(error) => {
                        return Err(Stop::Data(Trouble::new(
                            Class::Undecodable,
                            format!("slot \"{}\": {error}", self.shared.slot.name),
                            "this is a defect of this program or of the server: report it with both versions",
                        )));
                    }
                },
                Frame::Notice { sqlstate, message } => {
                    tracing::warn!(slot = self.shared.slot.name, sqlstate, "PostgreSQL says: {message}");
                }
                Frame::CopyDone | Frame::End => {
                    return Err(Stop::Connection(Trouble::new(
                        Class::PostgresUnavailable,
                        format!("slot \"{}\": PostgreSQL ended the stream", self.shared.slot.name),
                        "nothing to do: the slot reconnects",
                    )));
                }
            }
        }
    }

    fn hand_over(&mut self, turn: &mut Turn) {
        if self.decoding.has_begun() && !turn.announced {
            turn.announced = true;
            let _stopped = self.slot.cast(SlotMessage::Streaming { session: self.session });
        }
        for (namespace, parcel) in self.decoding.hand_over() {
            if let Some(publisher) = self.publishers.get(namespace) {
                // A dead publisher crashes the slot; the parcel gives its credits back.
                let _crashed = publisher.cast(PublisherMessage::Parcel(parcel));
            }
        }
        self.shared.status.received.set(self.feedback.highest_received());
    }

    /// Reports, then waits for whatever comes first. `Some`: the session ends in order.
    async fn turn(&mut self, turn: &mut Turn, pass: Pass) -> Result<Option<Ended>, Trouble> {
        let now = self.shared.now();
        let (position, waiting, settled) = self.progress(now);
        self.report(turn, now).await?;
        let broken = turn.mode != Mode::Reading && self.shared.broken().is_some();
        if let Some(ended) = turn.mode.is_over(&self.shared.ledger(), broken, now) {
            return Ok(Some(ended));
        }
        if turn.join_at.is_some_and(|join| position >= join) && matches!(turn.mode, Mode::Reading) {
            turn.mode.drain(now + self.shared.retry.send_timeout, Ended::Rejoin);
            return Ok(None);
        }
        let flow = flow(waiting, &self.shared.times());
        if flow == Flow::Close && !matches!(turn.mode, Mode::Halting { .. }) {
            return Err(self.stalled(waiting.map_or(Duration::ZERO, |waiting| waiting.any)));
        }
        let wants = pass == Pass::Empty && flow == Flow::Read;
        if wants {
            self.feedback.resume_reading(now);
        } else {
            self.feedback.pause_reading();
        }
        let mut deadline = self.feedback.next_due();
        if !settled {
            self.shared.tell_if_silent();
            deadline = deadline.min(now + LOOK);
        }
        if let Some(until) = turn.mode.deadline() {
            deadline = deadline.min(until);
        }
        if let Some(bytes) = turn.brought.take().filter(|_| wants) {
            turn.pause = self.pause(now, bytes, turn);
        }
        let reads = wants && turn.pause.as_mut().is_none_or(|pause| pause.is_over(now, || self.stream.arrived()));
        if reads {
            turn.pause = None;
        } else if let Some(pause) = turn.pause.filter(|_| wants) {
            deadline = deadline.min(pause.next_look());
        }
        let sleep = tokio::time::sleep(deadline.saturating_sub(now));
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => turn.command(command, self.shared.now()),
            Some(event) = self.events.recv() => self.event(turn, event)?,
            () = self.shared.wake.notified(), if !wants => {}
            () = sleep => {}
            read = self.stream.read(), if reads => {
                let bytes = read?;
                self.feedback.heard(self.shared.now());
                turn.brought = Some(bytes);
                turn.messages = 0;
            }
        }
        Ok(None)
    }

    /// The pause before the next read, out of the event loop.
    fn pause(&mut self, now: Duration, bytes: usize, turn: &Turn) -> Option<Pause> {
        // One message fills a piece of a Unix socket, which has few: it is full at once.
        if self.stream.is_unix() || self.stream.was_full() {
            return None;
        }
        let pause = Pause::begin(now, bytes, turn.messages, turn.age)?;
        self.stream.deregister();
        Some(pause)
    }

    /// Takes the ledger's position over. Returns it, how long the oldest message has waited, and whether nothing is open.
    fn progress(&mut self, now: Duration) -> (Lsn, Option<Waiting>, bool) {
        let ledger = self.shared.ledger();
        let position = ledger.position();
        self.feedback.acknowledged(position);
        let waiting = ledger.waiting(now);
        self.shared.status.set_oldest_commit(ledger.oldest_commit());
        let settled = ledger.is_settled() && position <= self.shared.status.acknowledged.get();
        (position, waiting, settled)
    }

    /// Sends the status that is due.
    async fn report(&mut self, turn: &mut Turn, now: Duration) -> Result<(), Trouble> {
        let due = self.feedback.due(now).map_err(|silent| {
            Trouble::new(
                Class::PostgresUnavailable,
                format!("slot \"{}\": {silent}", self.shared.slot.name),
                "check the network between here and the server; the slot reconnects by itself",
            )
        })?;
        if let Some(update) = due {
            self.shared.tell_if_silent();
            self.send(turn, update).await?;
        }
        Ok(())
    }

    async fn send(&mut self, turn: &mut Turn, update: StatusUpdate) -> Result<(), Trouble> {
        turn.status.clear();
        update.encode(wall_clock(), &mut turn.status);
        self.shared.known().acknowledging(update.flush);
        self.stream.send(&turn.status).await?;
        if !self.decoding.has_begun() {
            return Ok(());
        }
        let before = self.shared.status.acknowledged.get();
        self.shared.status.acknowledged.set(update.flush);
        let waiting = !self.shared.ledger().is_settled();
        self.shared.status.progress(waiting, update.flush > before);
        Ok(())
    }

    /// The slot learns at once what it stands before: it may take long until all before it is confirmed.
    fn halt(&self, turn: &mut Turn, trouble: Trouble) {
        let _stopped = self.slot.cast(SlotMessage::Halting { session: self.session, trouble: trouble.clone() });
        turn.mode.halt(trouble);
    }

    fn event(&self, turn: &mut Turn, event: Event) -> Result<(), Trouble> {
        match event {
            Event::Join(lsn) => turn.join_at = Some(lsn),
            Event::Trouble(trouble) => match disposition(trouble.class, Phase::Running) {
                Disposition::Halt => self.halt(turn, trouble),
                Disposition::Wait | Disposition::Resend => return Err(trouble),
            },
        }
        Ok(())
    }

    /// The last word: what is confirmed, and the end of the copy.
    async fn finish(mut self, ended: Ended) -> Ended {
        let mut turn = Turn::default();
        let now = self.shared.now();
        self.progress(now);
        let last = self.feedback.status(now);
        let sent = match self.send(&mut turn, last).await {
            Ok(()) => self.stream.finish(Instant::now() + FAREWELL).await,
            Err(trouble) => Err(trouble),
        };
        if let Err(trouble) = sent {
            let (database, slot) = (&self.shared.database.name, &self.shared.slot.name);
            tracing::warn!(database, slot, "the last acknowledgement may not have arrived: {trouble}");
        }
        ended
    }

    fn stalled(&self, waiting: Duration) -> Trouble {
        let reason = self.shared.outlets().iter().find_map(|outlet| outlet.producer().connection_trouble());
        let stalled = format!(
            "slot \"{}\": Kafka has confirmed nothing for {} s of what waits; the replication connection is closed until it does",
            self.shared.slot.name,
            waiting.as_secs()
        );
        match reason {
            Some(trouble) => Trouble::new(trouble.class, format!("{stalled}: {}", trouble.message), trouble.remedy),
            None => Trouble::new(
                Class::KafkaUnavailable,
                stalled,
                "check that the brokers run, that enough replicas are in sync (min.insync.replicas), and that no quota throttles",
            ),
        }
    }
}

/// The stream begins, unless it has: everything before this position is acknowledged.
fn begin(position: Lsn, shared: &SlotShared, decoding: &mut Decoding, feedback: &mut Feedback) -> Result<(), Stop> {
    if decoding.has_begun() {
        return Ok(());
    }
    {
        let mut known = shared.known();
        known.check_start(&shared.slot.name, position).map_err(Stop::Data)?;
        known.acknowledging(position);
    }
    decoding.begin_at(position);
    feedback.begin(position);
    shared.status.confirmed.set(position);
    shared.status.acknowledged.set(position);
    Ok(())
}

/// The connection has ended. A publication that is younger than a change to be decoded joins later. One whose messages were
/// already delivered has been dropped or recreated: what happened between is gone.
async fn lost(shared: &SlotShared, trouble: Trouble) -> Ended {
    if trouble.class != Class::Publication {
        return Ended::Failed(trouble);
    }
    let found = async {
        let sql = replication::sql(&shared.database.postgres).await?;
        let verified = replication::verify_publications(&sql, &shared.streamed()).await;
        verified.map_err(|trouble| watch::deviation(shared, trouble))?;
        let unseen = replication::unseen(&sql, &shared.slot.name, &shared.streamed()).await?;
        let unseen: Vec<_> = unseen.iter().map(String::as_str).collect();
        if unseen.is_empty() {
            return Err(trouble);
        }
        let delivered: Vec<_> = unseen.iter().copied().filter(|namespace| shared.has_delivered(namespace)).collect();
        if !delivered.is_empty() {
            let trouble = Trouble::new(
                Class::Publication,
                format!(
                    "slot \"{}\": publications were recreated while their namespaces were delivered ({}): what was committed \
                     before that cannot be decoded with them",
                    shared.slot.name,
                    delivered.join(", ")
                ),
                "find out who did it and copy what consumers miss; then resume the slot: these namespaces join behind that place",
            );
            return Err(watch::deviation(shared, trouble));
        }
        replication::begin(&sql, &unseen).await
    };
    match found.await {
        Ok(joining) => {
            shared.add_joining(joining);
            Ended::Rejoin
        }
        Err(trouble) => Ended::Failed(trouble),
    }
}

/// Why decoding ended.
pub(super) enum Stop {
    /// The connection is gone.
    Connection(Trouble),
    /// The data must not be gone on with.
    Data(Trouble),
}

impl Turn {
    fn command(&mut self, command: Command, now: Duration) {
        match command {
            Command::Drain(bound) => self.mode.drain(now + bound, Ended::Closed),
            Command::Halt(trouble) => self.mode.halt(trouble),
        }
    }
}

fn wall_clock() -> PgTimestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    PgTimestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
