//! What a producer told, and the small things that all tests do with one.

use std::{
    io::Write,
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use cdc_notifier::{
    change::Trouble,
    config::KafkaClient,
    sink::{
        Delivery, Outcome, Record, Refused, Settlement, Sink,
        kafka::{OffsetWatch, Producer},
    },
};

/// Far above what a test needs; it ends only one that hangs.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) deliveries: Mutex<Vec<Delivery>>,
    pub(crate) failures: Mutex<Vec<Trouble>>,
}

impl Settlement for Recorder {
    fn settled(&self, delivery: Delivery) {
        self.deliveries.lock().unwrap().push(delivery);
    }

    fn failed(&self, trouble: &Trouble) {
        self.failures.lock().unwrap().push(trouble.clone());
    }
}

impl Recorder {
    pub(crate) fn deliveries(&self) -> Vec<Delivery> {
        self.deliveries.lock().unwrap().clone()
    }

    pub(crate) fn failures(&self) -> Vec<Trouble> {
        self.failures.lock().unwrap().clone()
    }

    /// Tokens of the confirmed records, in the order of their confirmation.
    pub(crate) fn confirmed(&self) -> Vec<u64> {
        let confirmed = |delivery: &Delivery| matches!(delivery.outcome, Outcome::Confirmed { .. });
        self.deliveries().iter().filter(|delivery| confirmed(delivery)).map(|delivery| delivery.token).collect()
    }
}

pub(crate) fn client(bootstrap: &str, properties: &[(&str, &str)]) -> KafkaClient {
    let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned().into());
    KafkaClient {
        name: "main".into(),
        endpoints: vec![bootstrap.to_owned()],
        properties: properties.iter().map(own).collect(),
    }
}

pub(crate) fn open(client: &KafkaClient) -> (Producer, Arc<Recorder>) {
    open_with(client, 64 << 20, &Arc::default())
}

pub(crate) fn open_with(client: &KafkaClient, memory: usize, watch: &Arc<OffsetWatch>) -> (Producer, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let settlement: Arc<dyn Settlement> = recorder.clone();
    (Producer::open(client, memory, Arc::clone(watch), settlement).unwrap(), recorder)
}

pub(crate) fn send(producer: &Producer, topic: &str, partition: i32, value: &[u8], token: u64) -> Result<(), Refused> {
    producer.send(&Record { topic, partition, key: Some(b"key"), value, headers: &[], token })
}

/// Waits until a condition holds.
pub(crate) fn wait(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Everything the test program logs, librdkafka's lines included, from the first call on.
pub(crate) fn log() -> String {
    static LINES: OnceLock<Arc<Mutex<Vec<u8>>>> = OnceLock::new();
    let lines = LINES.get_or_init(|| {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = Arc::clone(&lines);
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || Lines(Arc::clone(&writer)))
            .init();
        lines
    });
    String::from_utf8_lossy(&lines.lock().unwrap()).into_owned()
}

struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
