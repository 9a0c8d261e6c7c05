//! The thread that hears of deliveries.

use std::{
    io,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rdkafka::producer::{BaseProducer, ProducerContext};

/// How long it waits for a report before it looks whether it shall end.
///
/// librdkafka is asked to wait for whole milliseconds, rounded down, and rdkafka asks again and again without waiting until the rest
/// is over too. With 100 ms, as in rdkafka's `ThreadedProducer`, that cost 0.33 ms of a core each time (`docs/performance.md`); so
/// here the rest is less than what a thread oversleeps.
const WAIT: Duration = Duration::from_micros(200_040);

/// A producer whose reports are served until it is dropped.
pub(super) struct Polled<C: ProducerContext + 'static> {
    producer: Arc<BaseProducer<C>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl<C: ProducerContext + 'static> Polled<C> {
    /// # Errors
    /// If the system has no thread to give.
    pub(super) fn begin(producer: BaseProducer<C>) -> io::Result<Self> {
        let producer = Arc::new(producer);
        let ends = Arc::new(AtomicBool::new(false));
        let polling = (Arc::clone(&producer), Arc::clone(&ends));
        let thread = thread::Builder::new().name("kafka-reports".to_owned()).spawn(move || {
            let (producer, ends) = polling;
            while !ends.load(Ordering::Relaxed) {
                producer.poll(WAIT);
            }
        })?;
        Ok(Self { producer, ends, thread: Some(thread) })
    }
}

impl<C: ProducerContext + 'static> Deref for Polled<C> {
    type Target = BaseProducer<C>;

    fn deref(&self) -> &Self::Target {
        &self.producer
    }
}

impl<C: ProducerContext + 'static> Drop for Polled<C> {
    /// Waits for the thread, so that nothing is reported afterwards by it.
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the thread that hears of deliveries has panicked");
        }
    }
}
