//! The wish to end: Ctrl-C, `kill`, or a terminal that was closed.

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::failure::Failure;

/// Counts signals from now on; none of them ends the process by itself any more.
#[derive(Clone)]
pub(super) struct Signals(watch::Receiver<u32>);

impl Signals {
    /// Begins to count.
    pub(super) fn count() -> Result<Self, Failure> {
        let (sender, count) = watch::channel(0);
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let mut signal = signal(kind).map_err(|error| Failure::system("receiving signals", &error))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while signal.recv().await.is_some() {
                    sender.send_modify(|count| *count += 1);
                }
            });
        }
        Ok(Self(count))
    }

    /// Waits for the first signal: an end in good order.
    pub(super) async fn first(&self) {
        self.reaches(1).await;
    }

    /// Waits for the second signal: no more waiting for anything.
    pub(super) async fn second(&self) {
        self.reaches(2).await;
    }

    /// Whether there was a signal.
    pub(super) fn any(&self) -> bool {
        *self.0.borrow() > 0
    }

    async fn reaches(&self, number: u32) {
        let mut count = self.0.clone();
        if count.wait_for(|count| *count >= number).await.is_err() {
            // Nobody counts any more: the runtime ends.
            std::future::pending::<()>().await;
        }
    }
}
