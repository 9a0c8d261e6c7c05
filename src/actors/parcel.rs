//! A batch on its way to a publisher, with its credits.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::shared::SlotShared;
use crate::pipeline::Batch;

/// Bytes of credit that may wait in parcels before no more are made. A record that is handed over is a copy: parcels that wait have a
/// memory of their own beside those, and with large records twice `limits.memory` would be touched by turns.
const WAITING: usize = 2 * 1024 * 1024;

/// What waits in a slot's parcels, in bytes of credit.
#[derive(Debug, Default)]
pub(super) struct Mailed(AtomicUsize);

impl Mailed {
    /// Whether no more should be made. The session is woken when that has changed.
    pub(super) fn is_enough(&self) -> bool {
        self.0.load(Ordering::Acquire) > WAITING
    }

    fn more(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::AcqRel);
    }

    /// True: what was enough before no longer is.
    fn less(&self, bytes: usize) -> bool {
        let before = self.0.fetch_sub(bytes, Ordering::AcqRel);
        before > WAITING && before - bytes <= WAITING
    }
}

/// A batch that gives back the credits of the records that were not handed over, whatever happens to it.
pub(super) struct Parcel {
    pub(super) batch: Batch,
    shared: Arc<SlotShared>,
    held: usize,
    /// What it held at first.
    size: usize,
}

impl Parcel {
    /// Takes over credits that are charged already.
    pub(super) fn new(batch: Batch, shared: Arc<SlotShared>, held: usize) -> Self {
        shared.mailed.more(held);
        Self { batch, shared, held, size: held }
    }

    /// The credits of a record go on with it.
    pub(super) const fn handed_over(&mut self, cost: usize) {
        self.held = self.held.saturating_sub(cost);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        let credit = self.held > 0 && self.shared.account.release(self.held);
        if self.shared.mailed.less(self.size) || credit {
            self.shared.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_woken_once_when_it_is_no_longer_enough() {
        let mailed = Mailed::default();
        mailed.more(WAITING);
        assert!(!mailed.is_enough());
        mailed.more(2);
        mailed.more(2);
        assert!(mailed.is_enough());
        assert!(!mailed.less(2), "it still is");
        assert!(mailed.is_enough());
        assert!(mailed.less(2));
        assert!(!mailed.is_enough());
        assert!(!mailed.less(WAITING), "it was not before");
    }
}
