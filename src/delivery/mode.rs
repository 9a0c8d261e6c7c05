//! What a stream is doing: reading, or on its way to an end.

use std::time::Duration;

use super::{ledger::Ledger, slot::Ended};
use crate::change::Trouble;

/// What a stream is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It reads.
    #[default]
    Reading,
    /// It reads to the end of the open transaction and waits until all is confirmed; then it ends.
    Draining {
        /// At the latest now.
        until: Duration,
        /// How it ends.
        then: Ended,
    },
    /// It reads no more, whatever it is told later: what comes next must not be delivered. It waits until all commits are
    /// confirmed; then it ends.
    Halting {
        /// What it stands before.
        trouble: Trouble,
        /// At the latest now.
        until: Option<Duration>,
    },
}

impl Mode {
    /// The stream is to end. Of several bounds the earliest holds.
    pub fn drain(&mut self, bound: Duration, end: Ended) {
        match self {
            Self::Reading => *self = Self::Draining { until: bound, then: end },
            Self::Draining { until, then } => {
                *until = bound.min(*until);
                *then = end;
            }
            Self::Halting { until, .. } => *until = Some(until.map_or(bound, |until| bound.min(until))),
        }
    }

    /// The stream must not go on. Of several troubles the first counts.
    pub fn halt(&mut self, trouble: Trouble) {
        match self {
            Self::Reading | Self::Draining { then: Ended::Rejoin, .. } => {
                *self = Self::Halting { trouble, until: None }
            }
            Self::Draining { until, .. } => *self = Self::Halting { trouble, until: Some(*until) },
            Self::Halting { .. } => {}
        }
    }

    /// Whether another message is wanted; `inside`: a transaction is open of which messages exist.
    #[must_use]
    pub const fn wants(&self, inside: bool) -> bool {
        match self {
            Self::Reading => true,
            Self::Draining { .. } => inside,
            Self::Halting { .. } => false,
        }
    }

    /// When [`Self::is_over`] has to be asked at the latest.
    #[must_use]
    pub const fn deadline(&self) -> Option<Duration> {
        match self {
            Self::Reading => None,
            Self::Draining { until, .. } => Some(*until),
            Self::Halting { until, .. } => *until,
        }
    }

    /// How the stream ends, if it has done what it is to do. `broken`: what is unconfirmed cannot be confirmed any more.
    #[must_use]
    pub fn is_over(&self, ledger: &Ledger, broken: bool, now: Duration) -> Option<Ended> {
        let late = broken || self.deadline().is_some_and(|until| now >= until);
        match self {
            Self::Reading => None,
            Self::Draining { then, .. } => (late || ledger.is_settled()).then(|| then.clone()),
            Self::Halting { trouble, .. } => (late || ledger.commits_settled()).then(|| Ended::Failed(trouble.clone())),
        }
    }
}
