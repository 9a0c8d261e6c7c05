//! A batch on its way to a publisher, with its credits.

use std::sync::Arc;

use super::shared::SlotShared;
use crate::pipeline::Batch;

/// A batch that gives back the credits of the records that were not handed over, whatever happens to it.
pub(super) struct Parcel {
    pub(super) batch: Batch,
    shared: Arc<SlotShared>,
    held: usize,
}

impl Parcel {
    /// Takes over credits that are charged already.
    pub(super) const fn new(batch: Batch, shared: Arc<SlotShared>, held: usize) -> Self {
        Self { batch, shared, held }
    }

    /// The credits of a record go on with it.
    pub(super) const fn handed_over(&mut self, cost: usize) {
        self.held = self.held.saturating_sub(cost);
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.held > 0 && self.shared.account.release(self.held) {
            self.shared.wake.notify_one();
        }
    }
}
