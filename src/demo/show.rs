//! The course of the demo: build the stage, start the service, write and read, count, clean up.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::oneshot,
    task::{JoinError, JoinHandle},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    failure::Failure,
    message::{Counts, Message},
    reader::Reader,
    screen::Screen,
    signals::Signals,
    stage::{PARTITIONS, SLOT, Stage, is_lifecycle, topics},
    summary::Summary,
    writer::{Writer, Written},
};
use crate::{
    actors::Exit,
    app::Service,
    change::Trouble,
    cli::exit,
    observability::{SlotStatus, Streams, logging},
    replication::{Sql, current_wal_lsn},
    sink::kafka::consumer::Consumed,
};

/// Bound on the service's start.
const START: Duration = Duration::from_mins(1);
/// Bound on the arrival of what was written last.
const ARRIVAL: Duration = Duration::from_secs(15);
/// How often states and positions are looked at.
const POLL: Duration = Duration::from_millis(20);

/// Shows everything for this long, or until a signal comes. Returns the exit code.
pub(super) async fn show(length: Option<Duration>) -> Result<u8, Failure> {
    let signals = Signals::count()?;
    let mut screen = Screen::new();
    screen.text(
        "A writer changes progressor's tables in a temporary PostgreSQL; cdc-notifier\n\
         publishes each change to a Kafka broker, and a consumer shows what it reads.\n\
         All of it runs on this machine and goes away at the end.\n",
    );
    let Some(stage) = Stage::build(&signals).await? else { return Ok(exit::DONE) };
    introduce(&mut screen, &stage);
    logging::init(&stage.config.log).map_err(|error| Failure::environment(&error, error.remedy()))?;
    let (stop, stopped) = oneshot::channel();
    let Service { streams, admin, mut ended } = Service::start(&stage.config, stopped).await.map_err(|error| {
        let remedy = "unset CDC_NOTIFIER_ADMIN_LISTEN, or set it to a free address";
        Failure::environment(format!("the admin address: {error}"), remedy)
    })?;
    let admin = admin.map(|address| format!("http://{address}/api/v1/streams"));
    let result = match status(&streams) {
        Ok(status) => {
            let play = Play { signals: &signals, screen, stage: &stage, streams, status, ended: &mut ended };
            play.run(length, admin.as_deref().unwrap_or_default()).await
        }
        Err(failure) => Err(failure),
    };
    // The service first: it is not to see the servers go.
    let _asked = stop.send(());
    if !ended.is_terminated() {
        tokio::select! {
            _ended = timeout(stage.config.retry.shutdown_timeout, &mut ended) => {}
            () = signals.second() => {}
        }
    }
    result
}

fn introduce(screen: &mut Screen, stage: &Stage) {
    let topics = format!("{} topics of {PARTITIONS} partitions", topics().len());
    screen.entry("PostgreSQL", &stage.postgres_version, &stage.server.socket_dir().display().to_string());
    screen.entry("Kafka", stage.broker.bootstrap(), &topics);
}

fn status(streams: &Streams) -> Result<Arc<SlotStatus>, Failure> {
    streams.slots().first().map(Arc::clone).ok_or_else(|| Failure::defect("no slot is configured"))
}

/// A service that was started, and everything around it.
struct Play<'a> {
    signals: &'a Signals,
    screen: Screen,
    stage: &'a Stage,
    streams: Arc<Streams>,
    status: Arc<SlotStatus>,
    ended: &'a mut oneshot::Receiver<Exit>,
}

impl Play<'_> {
    async fn run(mut self, length: Option<Duration>, admin: &str) -> Result<u8, Failure> {
        if !self.starts().await? {
            return Ok(exit::DONE);
        }
        let end = length.map_or_else(String::new, |length| format!("or after {} s", length.as_secs()));
        self.screen.entry("cdc-notifier", SLOT, admin);
        self.screen.entry("to end it", "Ctrl-C", &end);
        self.screen.columns();
        let mut reader = Reader::start(self.stage.kafka_client()?, topics())?;
        let (stop, stopped) = oneshot::channel();
        let mut writer = tokio::spawn(Writer::open(self.stage.postgres()?).await?.run(stopped));
        let mut seen = Counts::default();
        self.read_along(&mut reader, &mut writer, &mut seen, length).await?;
        let _asked = stop.send(());
        let (written, sql) = joined(writer.await)?;
        let signals = self.signals;
        tokio::select! {
            arrival = timeout(ARRIVAL, self.arrival(&mut reader, &mut seen, &written, &sql)) => {
                // What is missing then, the summary tells.
                arrival.unwrap_or(Ok(()))?;
            }
            () = signals.second() => return Ok(exit::DONE),
        }
        let summary = Summary {
            written,
            confirmed: self.confirmed(),
            seen,
            latency: (self.status.latency(0.5), self.status.latency(0.99)),
            acknowledged: self.status.acknowledged.get(),
            server: current_wal_lsn(&sql).await?,
        };
        Ok(summary.show(&mut self.screen))
    }

    /// Waits until the slot streams, so that all that is written is delivered. `false`: a signal came.
    async fn starts(&mut self) -> Result<bool, Failure> {
        let streaming = async {
            while self.status.state() != "streaming" {
                sleep(POLL).await;
            }
        };
        tokio::select! {
            () = streaming => Ok(true),
            () = self.signals.first() => Ok(false),
            _ended = &mut *self.ended => Err(self.trouble("the service has ended")),
            () = sleep(START) => Err(self.trouble("the service does not begin to stream")),
        }
    }

    /// Shows messages until it is time to end.
    async fn read_along(
        &mut self,
        reader: &mut Reader,
        writer: &mut JoinHandle<Result<(Written, Sql), Trouble>>,
        seen: &mut Counts,
        length: Option<Duration>,
    ) -> Result<(), Failure> {
        let end = length.map(|length| Instant::now() + length);
        while !self.screen.closed() {
            let over = async {
                match end {
                    Some(end) => sleep_until(end).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.signals.first() => break,
                () = over => break,
                record = reader.next() => self.message(record?, seen)?,
                result = &mut *writer => {
                    let (_written, _sql) = joined(result)?;
                    return Err(Failure::defect("the writer has ended"));
                }
                _ended = &mut *self.ended => return Err(self.trouble("the service has ended")),
            }
        }
        Ok(())
    }

    /// Shows the rest; then waits until the broker has confirmed all of it and PostgreSQL was told so.
    async fn arrival(
        &mut self,
        reader: &mut Reader,
        seen: &mut Counts,
        written: &Written,
        sql: &Sql,
    ) -> Result<(), Failure> {
        while !seen.covers(&written.due) {
            self.message(reader.next().await?, seen)?;
        }
        while self.confirmed() < written.due.total() || self.status.acknowledged.get() < current_wal_lsn(sql).await? {
            sleep(POLL).await;
        }
        Ok(())
    }

    fn message(&mut self, record: Consumed, seen: &mut Counts) -> Result<(), Failure> {
        let lifecycle = is_lifecycle(&record.topic);
        let message = Message::read(record, lifecycle)
            .map_err(|error| Failure::defect(format!("a message cannot be decoded: {error}")))?;
        seen.add(message.kind, 1);
        self.screen.message(&message);
        Ok(())
    }

    fn confirmed(&self) -> u64 {
        self.status.messages_confirmed()
    }

    /// What is wrong by the service's own words, if it has any.
    fn trouble(&self, otherwise: &str) -> Failure {
        let shown = self.streams.json();
        let word = |name| shown.pointer(&format!("/streams/0/last_error/{name}"))?.as_str().map(str::to_owned);
        match (word("message"), word("remedy")) {
            (Some(message), Some(remedy)) => Failure::trouble(message, remedy),
            _ => Failure::defect(otherwise),
        }
    }
}

fn joined<T>(result: Result<Result<T, Trouble>, JoinError>) -> Result<T, Failure> {
    match result {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::defect("the writer has crashed")),
    }
}
