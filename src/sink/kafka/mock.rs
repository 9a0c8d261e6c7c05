//! A broker within this process, for the demo: nothing to install. It keeps 5 MiB a partition and checks no sequence
//! numbers: nothing about loss, order or duplicates can be proved with it.

use std::{
    sync::mpsc::{Sender, channel},
    thread::{self, JoinHandle},
};

use rdkafka::{error::KafkaError, mocking::MockCluster};

use crate::change::{Class, Trouble};

/// A broker on a free port of 127.0.0.1 that lives as long as this value.
#[derive(Debug)]
pub struct InProcessBroker {
    bootstrap: String,
    // The cluster may not leave its thread, which ends when this is dropped.
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl InProcessBroker {
    /// Starts it with these topics and numbers of partitions. Blocks for some milliseconds.
    ///
    /// # Errors
    /// If librdkafka cannot start it.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, Trouble> {
        let topics: Vec<_> = topics.iter().map(|(topic, count)| ((*topic).to_owned(), *count)).collect();
        let (started, start) = channel();
        let (stop, stopped) = channel::<()>();
        let run = move || {
            let cluster = create(&topics);
            let told = started.send(cluster.as_ref().map(MockCluster::bootstrap_servers).map_err(ToString::to_string));
            if told.is_ok() {
                // Ends when the sender is gone.
                stopped.recv().ok();
            }
        };
        let failed = |what: String| {
            Trouble::new(
                Class::KafkaUnavailable,
                format!("the broker within this process does not start: {what}"),
                "start again",
            )
        };
        let thread =
            thread::Builder::new().name("kafka-broker".into()).spawn(run).map_err(|error| failed(error.to_string()))?;
        match start.recv() {
            Ok(Ok(bootstrap)) => Ok(Self { bootstrap, stop: Some(stop), thread: Some(thread) }),
            Ok(Err(what)) => Err(failed(what)),
            Err(_) => Err(failed("its thread has ended".into())),
        }
    }

    /// `host:port`, for any Kafka client.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

fn create(
    topics: &[(String, i32)],
) -> Result<MockCluster<'static, rdkafka::producer::DefaultProducerContext>, KafkaError> {
    let cluster = MockCluster::new(1)?;
    for (topic, partitions) in topics {
        cluster.create_topic(topic, *partitions, 1)?;
    }
    Ok(cluster)
}

impl Drop for InProcessBroker {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
