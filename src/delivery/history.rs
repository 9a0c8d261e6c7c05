//! Whether the server's history is still the one this process has acknowledged.

use super::ledger::Ledger;
use crate::change::{Class, Lsn, Trouble};

/// What this process knows of a slot from its earlier sessions.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The cluster and the timeline that the slot was last streamed from.
    pub server: Option<(String, u32)>,
    /// Highest position that was reported as flushed.
    pub acknowledged: Lsn,
    /// Highest position of which all messages were confirmed.
    pub confirmed: Lsn,
}

/// What the server says of itself now.
#[derive(Clone, Debug)]
pub struct Server {
    /// `systemid` of IDENTIFY_SYSTEM.
    pub system_identifier: String,
    /// Its timeline.
    pub timeline: u32,
    /// The end of its log.
    pub wal_position: Lsn,
    /// Its timeline's history: earlier timelines and where they were left. Needed only if the timeline is another one.
    pub history: Vec<(u32, Lsn)>,
}

/// What follows from a history that may be gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// It is the same.
    Same,
    /// A later timeline that left ours at this position, at or after everything confirmed.
    Forked(Lsn),
    /// A later timeline that left ours before what is confirmed: what lies between exists in Kafka, but not there.
    Lost {
        /// Where it left ours.
        from: Lsn,
        /// Up to where all messages were confirmed.
        to: Lsn,
    },
}

impl Known {
    /// Holds what a server says against what is known.
    ///
    /// # Errors
    /// If it is another cluster, or the same one set back.
    pub fn compare(&self, slot: &str, server: &Server) -> Result<Continuation, Trouble> {
        let Some((system_identifier, timeline)) = &self.server else { return Ok(Continuation::Same) };
        if *system_identifier != server.system_identifier {
            return Err(changed(
                slot,
                &format!("the server's system identifier is {} and was {system_identifier}", server.system_identifier),
            ));
        }
        if *timeline == server.timeline {
            if server.wal_position < self.confirmed {
                return Err(changed(
                    slot,
                    &format!("its log ends at {}, but {} was confirmed already", server.wal_position, self.confirmed),
                ));
            }
            return Ok(Continuation::Same);
        }
        let left = server.history.iter().find(|(id, _)| id == timeline).map(|(_, lsn)| *lsn);
        match left {
            None => Err(changed(
                slot,
                &format!("its timeline {} does not descend from timeline {timeline}", server.timeline),
            )),
            Some(fork) if fork < self.confirmed => Ok(Continuation::Lost { from: fork, to: self.confirmed }),
            Some(fork) => Ok(Continuation::Forked(fork)),
        }
    }

    /// A session begins: holds what its server says against what is known, and forgets what an earlier stream left open and what is
    /// not in the server's history any more.
    ///
    /// # Errors
    /// As [`Self::compare`].
    pub fn follow(&mut self, slot: &str, server: &Server, ledger: &mut Ledger) -> Result<Continuation, Trouble> {
        ledger.restart(ledger.position());
        self.confirmed = self.confirmed.max(ledger.position());
        let continuation = self.compare(slot, server)?;
        match continuation {
            // Nothing that is confirmed lies behind the fork.
            Continuation::Same | Continuation::Forked(_) => {}
            Continuation::Lost { from, .. } => {
                ledger.cut(from);
                self.confirmed = from;
                self.acknowledged = self.acknowledged.min(from);
            }
        }
        Ok(continuation)
    }

    /// A slot is about to be moved to this position, which the log may not have reached.
    pub fn may_be_acknowledged(&mut self, position: Lsn) {
        self.acknowledged = self.acknowledged.max(position);
    }

    /// A position is about to be acknowledged, or is acknowledged already. To be said before: one that the server might have seen
    /// must not look foreign later.
    pub fn acknowledging(&mut self, position: Lsn) {
        self.acknowledged = self.acknowledged.max(position);
        self.confirmed = self.confirmed.max(position);
    }

    /// Holds the position at which the slot starts against what was acknowledged.
    ///
    /// # Errors
    /// If the slot is further than we acknowledged: someone else consumed it, or it is another one of the same name.
    pub fn check_start(&self, slot: &str, start: Lsn) -> Result<(), Trouble> {
        if self.acknowledged != Lsn::ZERO && start > self.acknowledged {
            return Err(changed(
                slot,
                &format!(
                    "the slot stands at {start}, but only {} was acknowledged: it was recreated, advanced or read by someone \
                     else, and the changes between may be missing",
                    self.acknowledged
                ),
            ));
        }
        Ok(())
    }
}

fn changed(slot: &str, what: &str) -> Trouble {
    Trouble::new(
        Class::HistoryChanged,
        format!("slot \"{slot}\": history is not the one that was streamed so far: {what}"),
        "find out what was done to the server and which rows are missing in Kafka; then resume the slot to go on from where it stands",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        Known { server: Some(("7".into(), 1)), acknowledged: Lsn::new(90), confirmed: Lsn::new(100) }
    }

    fn server(system: &str, timeline: u32, wal: u64, fork: u64) -> Server {
        let history = vec![(1, Lsn::new(fork))];
        Server { system_identifier: system.into(), timeline, wal_position: Lsn::new(wal), history }
    }

    #[test]
    fn each_history_has_its_answer() {
        let compare = |server| known().compare("s", &server).map_err(|trouble| trouble.class);
        assert_eq!(compare(server("7", 1, 100, 0)), Ok(Continuation::Same));
        assert_eq!(compare(server("8", 1, 100, 0)), Err(Class::HistoryChanged));
        assert_eq!(compare(server("7", 1, 99, 0)), Err(Class::HistoryChanged), "set back on the same timeline");
        assert_eq!(compare(server("7", 2, 200, 100)), Ok(Continuation::Forked(Lsn::new(100))));
        assert_eq!(compare(server("7", 2, 200, 99)), Ok(Continuation::Lost { from: Lsn::new(99), to: Lsn::new(100) }));
        let mut unrelated = server("7", 3, 200, 150);
        unrelated.history = vec![(2, Lsn::new(150))];
        assert_eq!(compare(unrelated), Err(Class::HistoryChanged));
        assert_eq!(Known::default().compare("s", &server("8", 5, 0, 0)).ok(), Some(Continuation::Same));
    }

    #[test]
    fn a_slot_ahead_of_what_was_acknowledged_halts() {
        assert!(known().check_start("s", Lsn::new(90)).is_ok());
        assert!(known().check_start("s", Lsn::new(91)).is_err());
        assert!(Known::default().check_start("s", Lsn::new(91)).is_ok());
    }
}
