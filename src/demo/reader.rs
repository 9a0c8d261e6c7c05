//! The consumer: reads the topics as any other would, on a thread of its own.

use std::{
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::sync::mpsc;

use super::failure::Failure;
use crate::{
    change::Trouble,
    config::KafkaClient,
    sink::kafka::consumer::{Consumed, Start, Tail},
};

/// Bound on finding the partitions.
const OPEN: Duration = Duration::from_secs(30);
/// How long the thread may take to notice that nobody listens.
const POLL: Duration = Duration::from_millis(100);
/// Records read ahead of the screen.
const AHEAD: usize = 256;

/// Reads until it is dropped.
pub(super) struct Reader {
    records: mpsc::Receiver<Result<Consumed, Trouble>>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Reads these topics from the beginning.
    pub(super) fn start(client: &KafkaClient, topics: Vec<String>) -> Result<Self, Failure> {
        let (sender, records) = mpsc::channel(AHEAD);
        let client = client.clone();
        let read = move || {
            if let Err(trouble) = read(&client, &topics, &sender) {
                drop(sender.blocking_send(Err(trouble)));
            }
        };
        let thread = thread::Builder::new().name("demo-consumer".into()).spawn(read);
        let thread = thread.map_err(|error| Failure::system("starting a thread", &error))?;
        Ok(Self { records, thread: Some(thread) })
    }

    /// The next record. Nothing is lost when this future is dropped.
    pub(super) async fn next(&mut self) -> Result<Consumed, Failure> {
        match self.records.recv().await {
            Some(record) => Ok(record?),
            None => Err(Failure::defect("the consumer has ended")),
        }
    }
}

fn read(
    client: &KafkaClient,
    topics: &[String],
    sender: &mpsc::Sender<Result<Consumed, Trouble>>,
) -> Result<(), Trouble> {
    let topics: Vec<_> = topics.iter().map(String::as_str).collect();
    let tail = Tail::open(client, &topics, Start::Beginning, OPEN)?;
    while !sender.is_closed() {
        if let Some(record) = tail.next(POLL)?
            && sender.blocking_send(Ok(record)).is_err()
        {
            break;
        }
    }
    Ok(())
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.records.close();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
