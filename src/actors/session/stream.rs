//! The stream of one session: reads, decodes, hands over, reports.
//!
//! One task does all of it, so that nothing between socket and batch needs a lock or a wake-up. It never waits for Kafka:
//! credits tell it when to stop reading, and its own timer when PostgreSQL has to hear from it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use ractor::ActorRef;
use tokio::{sync::mpsc, time::Instant};

use super::{
    Command,
    decoding::Decoding,
    watch::{Event, Watch},
};
use crate::{
    actors::{publisher::PublisherMessage, shared::SlotShared, slot::SlotMessage},
    change::{Class, Lsn, PgTimestamp, Trouble},
    delivery::{Disposition, Ended, Flow, Phase, disposition, flow},
    replication::{self, CopyData, Feedback, Frame, ReplicationStream, StatusUpdate, coalesce},
};

/// How often progress is looked at while something waits for Kafka or for acknowledgement.
const LOOK: Duration = Duration::from_millis(100);
/// A slot whose oldest message has waited this long borrows no more memory.
const NO_MORE_BORROWING: Duration = Duration::from_secs(1);
/// How long the end of the stream may take once everything is acknowledged.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the stream is doing.
#[derive(Default)]
enum Mode {
    #[default]
    Reading,
    /// Reads to the end of the open transaction, then waits for confirmations until the deadline.
    Draining { until: Duration, then: Ended },
    /// Reads no more, waits until all commits are confirmed.
    Halting(Trouble),
}

/// Why decoding paused.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// No complete message is left in the buffer.
    Empty,
    /// No credit is left.
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
    /// When the last read ended.
    last_read: Duration,
    /// What it brought, and how long after the one before; until the pause after it is decided.
    brought: Option<(usize, Duration)>,
    /// The stream has begun at the slot's position.
    begun: bool,
    /// The slot's actor knows.
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
                    turn.mode = Mode::Halting(trouble);
                    Pass::Done
                }
            };
            self.hand_over(&mut turn);
            match self.turn(&mut turn, pass).await {
                Ok(None) => {}
                Ok(Some(ended)) => {
                    if ended == Ended::Rejoin {
                        // Not `join_at`: what was decoded since then was decoded without the namespaces that join.
                        self.shared.joined(self.shared.ledger().position());
                    }
                    return self.finish(ended).await;
                }
                Err(trouble) => return Ended::Failed(trouble),
            }
        }
    }

    /// Decodes what is in the buffer, as far as mode and credit allow.
    fn decode(&mut self, turn: &mut Turn) -> Result<Pass, Stop> {
        let may_borrow =
            self.shared.ledger().waiting(self.shared.now()).is_none_or(|waiting| waiting < NO_MORE_BORROWING);
        loop {
            match &turn.mode {
                Mode::Halting(_) => return Ok(Pass::Done),
                Mode::Draining { .. } if !self.decoding.is_inside() => return Ok(Pass::Done),
                Mode::Reading | Mode::Draining { .. } => {}
            }
            if !self.shared.account.has_room(may_borrow) {
                return Ok(Pass::NoCredit);
            }
            let Some(frame) = self.stream.next().map_err(Stop::Connection)? else { return Ok(Pass::Empty) };
            match frame {
                Frame::CopyData(bytes) => match CopyData::parse(bytes) {
                    Ok(CopyData::XLogData { start, payload, .. }) => {
                        begin(turn, self.start, &self.shared, &mut self.decoding)?;
                        self.feedback.received(start);
                        let end = self.decoding.message(start, payload).map_err(Stop::Data)?;
                        if let Some(end) = end {
                            self.feedback.received(end);
                        }
                    }
                    Ok(CopyData::PrimaryKeepalive { wal_end, reply_requested, .. }) => {
                        // The first keepalive says where the slot really stands.
                        begin(turn, wal_end, &self.shared, &mut self.decoding)?;
                        self.feedback.received(wal_end);
                        if reply_requested {
                            self.feedback.reply_requested();
                        }
                        self.decoding.keepalive(wal_end);
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
        if turn.begun && !turn.announced {
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
        if let Some(ended) = self.is_over(turn, now) {
            return Ok(Some(ended));
        }
        if turn.join_at.is_some_and(|join| position >= join) && matches!(turn.mode, Mode::Reading) {
            turn.mode = Mode::Draining { until: now + self.shared.retry.send_timeout, then: Ended::Rejoin };
            return Ok(None);
        }
        let flow = flow(waiting, &self.shared.times());
        if flow == Flow::Close && !matches!(turn.mode, Mode::Halting(_)) {
            return Err(self.stalled(waiting.unwrap_or_default()));
        }
        let wants = pass == Pass::Empty && flow == Flow::Read;
        if wants {
            self.feedback.resume_reading(now);
        } else {
            self.feedback.pause_reading();
        }
        let mut deadline = self.feedback.next_due();
        if !settled {
            deadline = deadline.min(now + LOOK);
        }
        if let Mode::Draining { until, .. } = &turn.mode {
            deadline = deadline.min(*until);
        }
        if wants {
            self.let_the_socket_fill(turn, now);
        }
        let sleep = tokio::time::sleep(deadline.saturating_sub(now));
        tokio::select! {
            biased;
            Some(command) = self.commands.recv() => turn.command(command, self.shared.now()),
            Some(event) = self.events.recv() => turn.event(event)?,
            () = self.shared.wake.notified(), if !wants => {}
            () = sleep => {}
            read = self.stream.read(), if wants => {
                let bytes = read?;
                let now = self.shared.now();
                self.feedback.heard(now);
                turn.brought = Some((bytes, now.saturating_sub(turn.last_read)));
                turn.last_read = now;
            }
        }
        Ok(None)
    }

    /// Pauses before the next read if the stream is behind. It is the thread that sleeps, its own: a task that waits for a timer
    /// is woken by every segment that arrives meanwhile, which costs more than the pause saves.
    fn let_the_socket_fill(&mut self, turn: &mut Turn, now: Duration) {
        if let Some((bytes, since_last)) = turn.brought.take() {
            let behind = self.decoding.newest_commit().map_or(Duration::ZERO, age);
            if let Some(pause) = coalesce::pause(bytes, since_last, behind) {
                thread::sleep((turn.last_read + pause).saturating_sub(now));
            }
        }
    }

    /// Takes the ledger's position over. Returns it, how long the oldest message has waited, and whether nothing is open.
    fn progress(&mut self, now: Duration) -> (Lsn, Option<Duration>, bool) {
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
            self.send(turn, update).await?;
        }
        Ok(())
    }

    async fn send(&mut self, turn: &mut Turn, update: StatusUpdate) -> Result<(), Trouble> {
        turn.status.clear();
        update.encode(wall_clock(), &mut turn.status);
        // Known before it is sent: a position that the server might have seen must not look foreign later.
        {
            let mut known = self.shared.known();
            known.acknowledged = known.acknowledged.max(update.flush);
            known.confirmed = known.confirmed.max(update.flush);
        }
        self.stream.send(&turn.status).await?;
        let before = self.shared.status.acknowledged.get();
        self.shared.status.acknowledged.set(update.flush);
        let waiting = !self.shared.ledger().is_settled();
        self.shared.status.progress(waiting, update.flush > before);
        Ok(())
    }

    /// Whether the session has done what its mode wants.
    fn is_over(&self, turn: &Turn, now: Duration) -> Option<Ended> {
        match &turn.mode {
            Mode::Reading => None,
            Mode::Draining { until, then } => {
                let done = !self.decoding.is_inside() && self.shared.ledger().is_settled();
                (done || now >= *until || self.shared.broken().is_some()).then(|| then.clone())
            }
            Mode::Halting(trouble) => {
                let done = self.shared.ledger().commits_settled() || self.shared.broken().is_some();
                done.then(|| Ended::Failed(trouble.clone()))
            }
        }
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

/// The connection has ended. A publication that is younger than a change to be decoded joins later; one whose messages were
/// already delivered has been recreated, and what happened between is gone.
async fn lost(shared: &SlotShared, trouble: Trouble) -> Ended {
    if trouble.class != Class::Publication {
        return Ended::Failed(trouble);
    }
    let found = async {
        let sql = replication::sql(&shared.database.postgres).await?;
        let unseen = replication::unseen(&sql, &shared.slot.name, &shared.streamed()).await?;
        let unseen: Vec<_> = unseen.iter().map(String::as_str).collect();
        if unseen.is_empty() || unseen.iter().any(|namespace| shared.has_delivered(namespace)) {
            return Err(trouble);
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

/// The stream begins: everything before this position is confirmed.
fn begin(turn: &mut Turn, position: Lsn, shared: &SlotShared, decoding: &mut Decoding) -> Result<(), Stop> {
    if !turn.begun {
        turn.begun = true;
        shared.known().check_start(&shared.slot.name, position).map_err(Stop::Data)?;
        decoding.begin_at(position);
        shared.status.confirmed.set(position);
        shared.status.acknowledged.set(position);
    }
    Ok(())
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
            Command::Drain(bound) => self.mode = Mode::Draining { until: now + bound, then: Ended::Closed },
            Command::Halt(trouble) => self.mode = Mode::Halting(trouble),
        }
    }

    fn event(&mut self, event: Event) -> Result<(), Trouble> {
        match event {
            Event::Join(lsn) => self.join_at = Some(lsn),
            Event::Trouble(trouble) => match disposition(trouble.class, Phase::Running) {
                Disposition::Halt => self.mode = Mode::Halting(trouble),
                Disposition::Wait | Disposition::Resend => return Err(trouble),
            },
        }
        Ok(())
    }
}

/// How long ago a moment of the server's clock was, by ours.
fn age(at: PgTimestamp) -> Duration {
    let at = at.unix_micros().and_then(|micros| u64::try_from(micros).ok()).unwrap_or(0);
    (SystemTime::UNIX_EPOCH + Duration::from_micros(at)).elapsed().unwrap_or_default()
}

fn wall_clock() -> PgTimestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    PgTimestamp::from_unix_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}
