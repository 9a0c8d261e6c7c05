//! The producer: idempotent, gapless, patient, and finished at its first failure.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientContext, Message,
    client::Client,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode as Code},
    message::{Header, OwnedHeaders},
    producer::{
        BaseProducer, BaseRecord, DeliveryResult, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig,
    },
};

use super::{
    OffsetWatch,
    error::{self, About},
    options::{client_config, creation_error},
    polling::Polled,
    trouble::Connection,
};
use crate::{
    change::{Class, Trouble},
    config::KafkaClient,
    sink::{Delivery, Outcome, Record, Refused, Settlement, Sink},
};

/// After a purge the reports of most records come at once; of some they never do.
const PURGE: Duration = Duration::from_millis(500);

/// A producer for one slot and Kafka client.
///
/// It retries for ever by itself whatever can be retried. Any delivery that it gives up, and any hand-over refused for
/// another reason than a full queue, ends it: nothing is handed over afterwards, so nothing overtakes what failed.
/// librdkafka's own fatal errors are not enough, a missing topic is none.
pub struct Producer {
    inner: Polled<Context>,
}

impl Producer {
    /// Creates a producer, which begins to connect by itself. Blocks while certificates are read.
    ///
    /// `memory` is what the callers' own bound lets be in flight, in bytes.
    ///
    /// # Errors
    /// If librdkafka refuses the properties.
    pub fn open(
        client: &KafkaClient,
        memory: usize,
        watch: Arc<OffsetWatch>,
        settlement: Arc<dyn Settlement>,
    ) -> Result<Self, Trouble> {
        let context = Context {
            connection: Connection::new(client),
            settlement,
            watch,
            broken: AtomicBool::new(false),
            cause: OnceLock::new(),
            fatal: OnceLock::new(),
            records: AtomicUsize::new(0),
        };
        let config = client_config(client, memory).map_err(|error| configuration(&error))?;
        let inner: BaseProducer<Context> =
            config.create_with_context(context).map_err(|error| configuration(&creation_error(client, &error)))?;
        let inner = Polled::begin(inner).map_err(|error| no_thread(&error))?;
        Ok(Self { inner })
    }

    /// The first telling error of the connection since something last succeeded; librdkafka retries all the same.
    #[must_use]
    pub fn connection_trouble(&self) -> Option<Trouble> {
        self.connection().trouble()
    }

    /// Gives up what is in flight and ends the producer, without an alarm. Returns how many records were not settled: no call
    /// will come for them.
    ///
    /// Blocks, mostly for 0.2 s and at most for 1.2 s.
    pub fn purge_and_close(self) -> usize {
        let context = Arc::clone(self.inner.context());
        context.connection.close();
        if context.records.load(Ordering::SeqCst) > 0 {
            self.inner.purge(PurgeConfig::default().queue().inflight());
            let deadline = Instant::now() + PURGE;
            while context.records.load(Ordering::SeqCst) > 0 && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(2));
            }
        }
        drop(self);
        context.records.load(Ordering::SeqCst)
    }

    /// Gives up what has not left for the broker. What is on its way is left to be settled. Does not wait for librdkafka's threads:
    /// one may be asking a name service that does not answer.
    pub fn purge_queue(&self) {
        self.inner.purge(PurgeConfig::default().queue().non_blocking());
    }

    /// Whether it is known, and told, why it is broken.
    #[must_use]
    pub fn has_told(&self) -> bool {
        self.inner.context().cause.get().is_some()
    }

    /// Tells why it is broken, as far as it is known: the report of a record, which would know more, has not come.
    pub fn tell(&self) {
        let context = self.inner.context();
        if !context.broken.load(Ordering::SeqCst) {
            return;
        }
        let client = &context.connection.client;
        // Not every fatal error comes as an event: one without any record, such as a refused producer id, does not.
        let code = self.inner.client().fatal_error().map_or(Code::Fatal, |(code, reason)| {
            context.fatal.get_or_init(|| super::options::redact(client, &reason));
            code
        });
        context.fail_with(|| context.consequence(code, About::client(client)));
    }

    /// Whether what is on its way can still be settled: after a fatal error no report comes for some records.
    #[must_use]
    pub fn settles(&self) -> bool {
        self.inner.context().fatal.get().is_none()
    }

    pub(super) fn client(&self) -> &Client<Context> {
        self.inner.client()
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.inner.context().connection
    }
}

impl Sink for Producer {
    fn send(&self, record: &Record<'_>) -> Result<(), Refused> {
        let context = self.inner.context();
        if context.broken.load(Ordering::SeqCst) {
            return Err(Refused::Failed(context.cause()));
        }
        let Ok(token) = usize::try_from(record.token) else {
            return Err(Refused::Failed(bug("a token of more than this machine's word")));
        };
        let mut base =
            BaseRecord::with_opaque_to(record.topic, token).partition(record.partition).payload(record.value);
        base.key = record.key;
        if !record.headers.is_empty() {
            let headers = OwnedHeaders::new_with_capacity(record.headers.len());
            let with =
                |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
            base.headers = Some(record.headers.iter().fold(headers, with));
        }
        // Before the hand-over: its report may come before `send` returns.
        context.records.fetch_add(1, Ordering::SeqCst);
        let Err((error, _)) = self.inner.send(base) else { return Ok(()) };
        context.records.fetch_sub(1, Ordering::SeqCst);
        match error.rdkafka_error_code() {
            Some(Code::QueueFull) => Err(Refused::Full),
            // librdkafka has failed already; the report of the record at fault is on its way and knows why.
            Some(Code::Fatal) => {
                context.broken.store(true, Ordering::SeqCst);
                Err(Refused::Failed(context.cause()))
            }
            code => {
                context.broken.store(true, Ordering::SeqCst);
                let about = About::partition(&context.connection.client, record.topic, record.partition);
                context.fail(code.unwrap_or(Code::InvalidArgument), about);
                Err(Refused::Failed(context.cause()))
            }
        }
    }

    fn in_flight(&self) -> usize {
        self.inner.context().records.load(Ordering::SeqCst)
    }

    fn broken(&self) -> Option<Trouble> {
        let context = self.inner.context();
        context.broken.load(Ordering::SeqCst).then(|| context.cause())
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        self.connection().close();
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer")
            .field("client", &self.connection().client.name)
            .field("in_flight", &self.in_flight())
            .field("broken", &self.broken())
            .finish_non_exhaustive()
    }
}

fn configuration(error: &super::PropertyError) -> Trouble {
    Trouble::new(Class::KafkaLogin, error.to_string(), error.remedy.clone())
}

fn no_thread(error: &io::Error) -> Trouble {
    let message = format!("the system gives no thread for a Kafka producer: {error}");
    Trouble::new(
        Class::KafkaUnavailable,
        message,
        "raise the limit of processes and threads (ulimit -u, TasksMax, pids.max)",
    )
}

fn bug(what: &str) -> Trouble {
    Trouble::new(Class::Bug, what, "report it, with the log of this moment")
}

/// What librdkafka's callbacks see.
pub(super) struct Context {
    connection: Connection,
    settlement: Arc<dyn Settlement>,
    watch: Arc<OffsetWatch>,
    /// Nothing is handed over any more.
    broken: AtomicBool,
    /// Why; set after `broken`.
    cause: OnceLock<Trouble>,
    /// librdkafka's fatal error, which comes before the report of the record at fault.
    fatal: OnceLock<String>,
    /// Records handed over and not settled.
    records: AtomicUsize,
}

impl Context {
    /// Why it is broken, as far as it is known yet.
    fn cause(&self) -> Trouble {
        self.cause
            .get()
            .cloned()
            .unwrap_or_else(|| self.consequence(Code::Fatal, About::client(&self.connection.client)))
    }

    fn consequence(&self, code: Code, about: About<'_>) -> Trouble {
        let Trouble { class, message, remedy } = error::trouble(code, about);
        match self.fatal.get() {
            Some(fatal) => Trouble::new(class, format!("{message}: {fatal}"), remedy),
            None => Trouble { class, message, remedy },
        }
    }

    /// Notes the cause and tells it, once. `broken` is set already.
    fn fail(&self, code: Code, about: About<'_>) {
        self.fail_with(|| {
            if error::is_consequence(code) { self.consequence(code, about) } else { error::trouble(code, about) }
        });
    }

    fn fail_with(&self, trouble: impl FnOnce() -> Trouble) {
        if self.connection.is_closing() {
            return;
        }
        let mut first = false;
        let trouble = self.cause.get_or_init(|| {
            first = true;
            trouble()
        });
        if first {
            self.settlement.failed(trouble);
        }
    }

    /// A record's end. `broken` is set before anything else is done about a failure.
    fn settle(&self, result: &DeliveryResult<'_>, token: usize) {
        let (message, outcome) = match result {
            Ok(message) => (message, self.confirm(message.topic(), message.partition(), message.offset())),
            Err((error, message)) => {
                self.broken.store(true, Ordering::SeqCst);
                let about = About::partition(&self.connection.client, message.topic(), message.partition());
                self.fail(error.rdkafka_error_code().unwrap_or(Code::Fail), about);
                (message, Outcome::Failed)
            }
        };
        let bytes = message.key_len() + message.payload_len();
        self.settlement.settled(Delivery { token: token as u64, bytes, outcome });
        self.records.fetch_sub(1, Ordering::SeqCst);
    }

    fn confirm(&self, topic: &str, partition: i32, offset: i64) -> Outcome {
        self.connection.succeeded();
        if offset < 0 {
            // Stored by an earlier attempt, whose answer was lost.
            return Outcome::Confirmed { partition, offset: None };
        }
        if let Err(last) = self.watch.confirmed(topic, partition, offset) {
            self.broken.store(true, Ordering::SeqCst);
            self.fail_with(|| super::topics::went_back(&self.connection.client, topic, partition, last, offset));
            return Outcome::Failed;
        }
        Outcome::Confirmed { partition, offset: Some(offset) }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, text: &str) {
        self.connection.log(level, facility, text);
    }

    fn stats_raw(&self, _: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(Code::Fatal) if !self.connection.is_closing() => {
                self.broken.store(true, Ordering::SeqCst);
                let fatal = self.fatal.get_or_init(|| super::options::redact(&self.connection.client, reason));
                // The report of the record at fault comes next and knows more; if there is none, whoever looks has it told.
                tracing::error!(client = self.connection.client.name, "librdkafka: {fatal}");
            }
            Some(code) => self.connection.error(code, reason),
            None => {}
        }
    }
}

impl ProducerContext<NoCustomPartitioner> for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        // A panic would end the polling thread, and no record would be settled ever after.
        if catch_unwind(AssertUnwindSafe(|| self.settle(result, token))).is_err() {
            self.broken.store(true, Ordering::SeqCst);
            drop(catch_unwind(AssertUnwindSafe(|| self.fail_with(|| bug("the settlement of a record has panicked")))));
        }
    }
}
