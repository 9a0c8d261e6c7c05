//! One session, in the order of `actors/session/mod.rs` and `actors/session/stream.rs`: each pass decodes what is there, hands it
//! over, reports, and looks whether it is over.

use std::{collections::VecDeque, time::Duration};

use cdc_notifier::{
    change::{Change, Class, Lsn, PgTimestamp, Transaction, Trouble, Tuple},
    delivery::{Continuation, Ended, Fault, Flow, Intake, Judgement, Mode, flow, may_borrow},
    pipeline::Pipeline,
    replication::Feedback,
};

use super::{
    Planted,
    kafka::Kafka,
    oracle::Oracle,
    postgres::{Frame, Postgres, Row, TIMEOUT},
    publisher::{Parcel, Post},
    service::{Mail, Service, cost, times},
};
use crate::rows;

pub(super) enum Command {
    Drain(Duration),
    Halt(Trouble),
}

pub(super) struct Session {
    pub(super) number: u64,
    pub(super) commands: VecDeque<Command>,
    /// It has ended, or will at its next wait.
    pub(super) over: bool,
    connected: bool,
    pipeline: Pipeline,
    intake: Option<Intake>,
    mode: Mode,
    feedback: Feedback,
    /// The open transaction is skipped, by a planted fault.
    skipped: bool,
    /// Highest position that the server has sent, and the last one that was acknowledged, in this session.
    received: Lsn,
    acknowledged: Lsn,
    /// The transaction up to which a flush goes, by a planted fault.
    flushing: Option<u64>,
}

/// Why decoding paused.
#[derive(PartialEq, Eq)]
enum Pass {
    Empty,
    NoCredit,
    Done,
}

fn lost() -> Ended {
    Ended::Failed(Trouble::new(Class::PostgresUnavailable, "the connection is lost", ""))
}

fn fault(fault: Fault) -> Trouble {
    let class = match fault {
        Fault::Misplaced(_) => Class::Undecodable,
        Fault::Unexpected(_) | Fault::Missing { .. } => Class::HistoryChanged,
    };
    Trouble::new(class, format!("{fault:?}"), "")
}

impl Session {
    pub(super) fn new(number: u64, now: Duration) -> Self {
        let mut pipeline = rows::pipeline(2);
        for table in 0..2 {
            pipeline.relation(&rows::relation(table)).unwrap();
        }
        Self {
            number,
            commands: VecDeque::new(),
            over: false,
            connected: false,
            pipeline,
            intake: None,
            mode: Mode::Reading,
            feedback: Feedback::new(Some(TIMEOUT), now),
            skipped: false,
            received: Lsn::ZERO,
            acknowledged: Lsn::ZERO,
            flushing: None,
        }
    }

    fn is_inside(&self) -> bool {
        self.intake.as_ref().is_some_and(Intake::is_inside)
    }
}

impl Service {
    /// The session goes one pass on.
    pub(super) fn run(&mut self, kafka: &Kafka, postgres: &mut Postgres, oracle: &mut Oracle) {
        let Some(mut session) = self.session.take() else { return };
        postgres.turn(self.now);
        if !session.over {
            let ended = if session.connected {
                self.pass_once(&mut session, postgres, oracle)
            } else {
                self.open(&mut session, kafka, postgres, oracle)
            };
            if let Some(ended) = ended {
                session.over = true;
                postgres.link = None;
                oracle.note(|| format!("session {} ends: {ended:?}", session.number));
                self.tell(Mail::Ended(session.number, ended));
            }
        }
        self.session = Some(session);
    }

    fn open(
        &mut self,
        session: &mut Session,
        kafka: &Kafka,
        postgres: &mut Postgres,
        oracle: &mut Oracle,
    ) -> Option<Ended> {
        if !postgres.up {
            return Some(lost());
        }
        self.open_producer(kafka);
        let server = postgres.identify();
        match self.known.follow("s", &server, &mut self.ledger) {
            Ok(Continuation::Same) => {}
            Ok(Continuation::Forked(_)) => oracle.saw("a later timeline"),
            Ok(Continuation::Lost { .. }) => oracle.saw("a later timeline that lacks what was confirmed"),
            Err(trouble) => return Some(Ended::Failed(trouble)),
        }
        if postgres.is_taken() {
            oracle.saw("a slot in another's hands");
            return Some(Ended::Failed(Trouble::new(Class::SlotBusy, "somebody else streams", "")));
        }
        let position =
            if self.planted == Some(Planted::StartedAtOwnPosition) { self.known.confirmed } else { Lsn::ZERO };
        postgres.start(session.number, position.get(), self.now);
        self.known.server = Some((server.system_identifier, server.timeline));
        session.connected = true;
        session.feedback = Feedback::new(Some(TIMEOUT), self.now);
        None
    }

    fn pass_once(&mut self, session: &mut Session, postgres: &mut Postgres, oracle: &mut Oracle) -> Option<Ended> {
        if postgres.link.as_ref().is_none_or(|link| link.session != session.number) {
            return Some(lost());
        }
        let pass = match self.decode(session, postgres, oracle) {
            Ok(pass) => pass,
            Err(trouble) => {
                self.tell(Mail::Halting(session.number, trouble.clone()));
                session.mode.halt(trouble);
                Pass::Done
            }
        };
        self.hand_over(session);
        self.turn(session, &pass, postgres, oracle)
    }

    fn decode(&mut self, session: &mut Session, postgres: &mut Postgres, oracle: &mut Oracle) -> Result<Pass, Trouble> {
        let waiting = self.ledger.waiting(self.now);
        let may_borrow = may_borrow(waiting);
        loop {
            if !session.mode.wants(session.is_inside()) {
                return Ok(Pass::Done);
            }
            if !self.account.has_room(may_borrow) {
                return Ok(Pass::NoCredit);
            }
            let Some(frame) = postgres.link.as_mut().and_then(|link| link.wire.pop_front()) else {
                return Ok(Pass::Empty);
            };
            session.feedback.heard(self.now);
            match frame {
                Frame::Keepalive { wal_end, reply_requested } => {
                    self.keepalive(session, Lsn::new(wal_end), reply_requested)?;
                }
                Frame::Begin(transaction) => {
                    let moment = PgTimestamp(self.now.as_millis() as i64);
                    session.pipeline.begin(match self.planted {
                        Some(Planted::StampedWithTheMoment) => Transaction { commit_time: moment, ..transaction },
                        _ => transaction,
                    });
                    session.intake.as_mut().unwrap().begin(transaction).map_err(fault)?;
                    session.skipped =
                        self.planted == Some(Planted::SkippedByPositionAlone) && transaction.commit_lsn < self.highest;
                    session.feedback.received(transaction.commit_lsn);
                    session.received = session.received.max(transaction.commit_lsn);
                }
                Frame::Row(row) => self.change(session, row, oracle)?,
                Frame::Commit { commit_lsn, end } => {
                    session.intake.as_mut().unwrap().commit(commit_lsn, Lsn::new(end)).map_err(fault)?;
                    session.feedback.received(Lsn::new(end));
                    session.received = session.received.max(Lsn::new(end));
                }
            }
        }
    }

    fn keepalive(&mut self, session: &mut Session, wal_end: Lsn, reply_requested: bool) -> Result<(), Trouble> {
        if session.intake.is_none() {
            self.known.check_start("s", wal_end)?;
            self.known.acknowledging(wal_end);
            let before = self.ledger.position();
            session.intake = Some(Intake::begin_at(wal_end, &mut self.ledger));
            session.feedback.begin(wal_end);
            if self.planted == Some(Planted::EarlierStreamAcknowledged) {
                session.feedback.acknowledged(before);
            }
            session.acknowledged = wal_end;
            self.tell(Mail::Streaming(session.number));
        }
        session.feedback.received(wal_end);
        session.received = session.received.max(wal_end);
        if reply_requested {
            session.feedback.reply_requested();
        }
        if self.planted == Some(Planted::KeepaliveAcknowledged) {
            session.feedback.acknowledged(wal_end);
        }
        session.intake.as_mut().unwrap().keepalive(wal_end).map_err(fault)
    }

    fn change(&mut self, session: &mut Session, row: Row, oracle: &mut Oracle) -> Result<(), Trouble> {
        if session.skipped {
            return Ok(());
        }
        let bytes = rows::tuple(&[row.key], row.meaning, row.id);
        let change = Change::Insert { new: Tuple::parse(&bytes).unwrap().0 };
        let intake = session.intake.as_mut().unwrap();
        match intake.change().map_err(fault)? {
            Judgement::Deliver => {
                let made = session.pipeline.change(Lsn::new(row.id), row.namespace, &change, intake.sequence())?;
                let Some((_, bytes)) = made else { return Ok(()) };
                self.account.charge(cost(bytes));
                intake.message().map_err(fault)
            }
            Judgement::Skip => {
                oracle.saw("a row of a transaction that is skipped");
                Ok(())
            }
            Judgement::Unexpected if session.pipeline.is_message(row.namespace, &change) => {
                intake.message().map_err(fault)
            }
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self, session: &mut Session) {
        if let Some(intake) = &mut session.intake {
            intake.enter(&mut self.ledger, self.now);
        }
        for (place, batch) in session.pipeline.take() {
            let parcel = Parcel { batch, session: session.number, sent: 0 };
            self.publishers[place].mailbox.push_back(Post::Parcel(parcel));
        }
    }

    fn turn(
        &mut self,
        session: &mut Session,
        pass: &Pass,
        postgres: &mut Postgres,
        oracle: &mut Oracle,
    ) -> Option<Ended> {
        session.feedback.acknowledged(self.ledger.position());
        self.highest = self.highest.max(self.ledger.position());
        if self.planted == Some(Planted::ReadAfterTheFlush) {
            self.flush(session);
        }
        let Ok(due) = session.feedback.due(self.now) else { return Some(lost()) };
        let paused = *pass != Pass::Empty || flow(self.ledger.waiting(self.now), &times()) != Flow::Read;
        if due.is_some() && !(paused && self.planted == Some(Planted::SilentWhilePaused)) {
            self.tell_if_silent();
            self.acknowledge(session, postgres, oracle);
        } else if !self.ledger.is_settled() {
            self.tell_if_silent();
        }
        let broken = self.producer.as_ref().is_some_and(|producer| producer.broken().is_some());
        if let Some(ended) = session.mode.is_over(&self.ledger, broken, self.now) {
            session.feedback.acknowledged(self.ledger.position());
            self.acknowledge(session, postgres, oracle);
            postgres.listen();
            return Some(ended);
        }
        let flow = flow(self.ledger.waiting(self.now), &times());
        if flow == Flow::Close && !matches!(session.mode, Mode::Halting { .. }) {
            oracle.saw("a connection closed because nothing is confirmed");
            return Some(Ended::Failed(Trouble::new(Class::KafkaUnavailable, "nothing is confirmed", "")));
        }
        if flow == Flow::Pause {
            oracle.saw("reading paused");
        }
        if *pass == Pass::Empty && flow == Flow::Read {
            session.feedback.resume_reading(self.now);
        } else {
            session.feedback.pause_reading();
        }
        match session.commands.pop_front() {
            Some(Command::Drain(_)) if self.planted == Some(Planted::DrainedAfterHalt) => {
                session.mode = Mode::Draining { until: self.now + Duration::from_secs(10), then: Ended::Closed };
            }
            Some(Command::Drain(bound)) => session.mode.drain(self.now + bound, Ended::Closed),
            Some(Command::Halt(trouble)) => session.mode.halt(trouble),
            None => {}
        }
        None
    }

    /// A planted fault: once all is confirmed that was there when the flush began, what has come by now is acknowledged.
    fn flush(&self, session: &mut Session) {
        let Some(intake) = &session.intake else { return };
        if self.ledger.is_oldest(*session.flushing.get_or_insert(intake.sequence())) {
            session.feedback.acknowledged(session.received);
            session.flushing = None;
        }
    }

    fn acknowledge(&mut self, session: &mut Session, postgres: &mut Postgres, oracle: &mut Oracle) {
        let update = session.feedback.status(self.now);
        if update.flush > session.received || update.flush > update.write {
            oracle.violated(format!("{} is acknowledged, {} was received", update.flush, session.received));
        }
        if update.flush < session.acknowledged {
            oracle.violated(format!("{} is acknowledged after {}", update.flush, session.acknowledged));
        }
        session.acknowledged = update.flush;
        oracle.acknowledged(postgres, update.flush.get());
        self.known.acknowledging(update.flush);
        postgres.hear(update, self.now);
    }
}
