//! The states of a replication slot and what leads from one to another.
//!
//! ```text
//!            ┌──────────── settled and due ────────────┐
//!            ▼                                         │
//! Idle ─▶ Connecting ─▶ Streaming ─▶ Closing ─▶ Waiting (retry) ──┐
//!            │              │           │                         │
//!            └──────────────┴───────────┴──▶ Halted ── resume ────┘
//!                           └─▶ Draining ─▶ Stopped
//! ```
//!
//! A session is one life of the replication connection. It is opened only when nothing of an earlier one is with Kafka any
//! more, because a message must not be handed over again while an earlier copy is unsettled.

use std::time::Duration;

use super::policy::{Disposition, Phase, RetryTimes, disposition};
use crate::change::{Class, Trouble};

/// What a slot is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Not started yet.
    Idle,
    /// A session prepares database and topics.
    Connecting,
    /// The stream runs.
    Streaming,
    /// The session has been told to end.
    Closing(Then),
    /// Until the delay is over and nothing is with Kafka any more.
    Waiting {
        /// Nothing is with Kafka any more.
        settled: bool,
        /// The delay is over.
        due: bool,
    },
    /// Until a person decides.
    Halted,
    /// Told to stop: what is in flight is waited for.
    Draining,
    /// Done.
    Stopped,
}

/// What follows once the session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// A new session, after this delay.
    Reconnect(Duration),
    /// Halt.
    Halt,
    /// Stop.
    Stop,
}

/// How a session came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Closed,
    /// By a trouble. If that halts the slot, all commits before it have been confirmed and acknowledged as far as possible.
    Failed(Trouble),
    /// A namespace can join the stream now.
    Rejoin,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Begin.
    Start,
    /// The session's stream runs.
    Streaming,
    /// The session has stopped reading before this, and ends once the commits before it are confirmed.
    Halting(Trouble),
    /// The session has ended.
    Ended(Ended),
    /// Kafka did not take a message, or a topic is not what it was. `progressed`: something was confirmed in this session.
    SendFailed {
        /// Why.
        trouble: Trouble,
        /// Whether anything was confirmed since the session began.
        progressed: bool,
    },
    /// The server is being shut down and waits for us.
    ServerStopping,
    /// Somebody else streams from the replication slot while we do not.
    Taken(Trouble),
    /// Nothing is with Kafka any more.
    Settled,
    /// A timer of this generation is over.
    Timer(u64),
    /// A person decided to go on.
    Resume,
    /// Stop as asked.
    Drain,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Open a session.
    Open,
    /// End the session at once.
    Abort,
    /// End the session once everything read is confirmed and acknowledged; at the latest after the bound.
    Drain {
        /// `None`: `shutdown_timeout`.
        bound: Option<Duration>,
    },
    /// Stop reading, wait until every commit is confirmed and acknowledged (or cannot be any more), then end the session with this.
    Halt(Trouble),
    /// Wait until nothing is with Kafka, replacing producers that are broken; then `Settled`.
    Settle,
    /// Give up what is queued for Kafka and has not left.
    Purge,
    /// `Timer(generation)` after this time.
    Arm {
        /// The delay.
        after: Duration,
        /// Tells a timer from one that was armed before.
        generation: u64,
    },
    /// The slot has stopped.
    Stopped,
}

/// PostgreSQL's fast shutdown waits for us; this is how long we let it wait for Kafka.
const SHUTDOWN_OF_SERVER: Duration = Duration::from_secs(5);

/// The decisions of one slot.
#[derive(Debug)]
pub struct SlotMachine {
    times: RetryTimes,
    state: State,
    failed_sends: u32,
    generation: u64,
    last_error: Option<Trouble>,
}

impl SlotMachine {
    /// A slot that has not started.
    #[must_use]
    pub const fn new(times: RetryTimes) -> Self {
        Self { times, state: State::Idle, failed_sends: 0, generation: 0, last_error: None }
    }

    /// A slot that crashed past its restart intensity.
    #[must_use]
    pub const fn halted(times: RetryTimes, trouble: Trouble) -> Self {
        Self { times, state: State::Halted, failed_sends: 0, generation: 0, last_error: Some(trouble) }
    }

    /// What the slot is doing.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The last trouble.
    #[must_use]
    pub const fn last_error(&self) -> Option<&Trouble> {
        self.last_error.as_ref()
    }

    /// Takes an input and says what to do.
    pub fn handle(&mut self, input: Input) -> Vec<Effect> {
        match input {
            Input::Start => match self.state {
                State::Idle => self.connect(),
                _ => vec![],
            },
            Input::Streaming => {
                if self.state == State::Connecting {
                    self.state = State::Streaming;
                }
                vec![]
            }
            Input::Halting(trouble) => {
                self.halting(trouble);
                vec![]
            }
            Input::Ended(ended) => self.ended(ended),
            Input::SendFailed { trouble, progressed } => self.send_failed(trouble, progressed),
            Input::ServerStopping => self.server_stopping(),
            Input::Taken(trouble) => self.taken(trouble),
            Input::Settled => self.waited(|settled, _| *settled = true),
            Input::Timer(generation) if generation == self.generation => self.waited(|_, due| *due = true),
            Input::Timer(_) => vec![],
            Input::Resume => match self.state {
                State::Halted => {
                    self.failed_sends = 0;
                    self.wait(Duration::ZERO)
                }
                _ => vec![],
            },
            Input::Drain => self.drain(),
        }
    }

    fn connect(&mut self) -> Vec<Effect> {
        self.state = State::Connecting;
        vec![Effect::Open]
    }

    fn wait(&mut self, delay: Duration) -> Vec<Effect> {
        self.generation += 1;
        self.state = State::Waiting { settled: false, due: false };
        vec![Effect::Settle, Effect::Arm { after: delay, generation: self.generation }]
    }

    fn waited(&mut self, what: impl FnOnce(&mut bool, &mut bool)) -> Vec<Effect> {
        let State::Waiting { settled, due } = &mut self.state else { return vec![] };
        what(settled, due);
        if *settled && *due { self.connect() } else { vec![] }
    }

    fn halt(&mut self) -> Vec<Effect> {
        self.state = State::Halted;
        vec![]
    }

    fn stop(&mut self) -> Vec<Effect> {
        self.state = State::Stopped;
        vec![Effect::Stopped]
    }

    fn ended(&mut self, ended: Ended) -> Vec<Effect> {
        let phase = match self.state {
            State::Connecting => Phase::Start,
            State::Streaming => Phase::Running,
            State::Closing(then) => {
                return match then {
                    Then::Reconnect(delay) => self.wait(delay),
                    Then::Halt => self.halt(),
                    Then::Stop => self.stop(),
                };
            }
            State::Draining => return self.stop(),
            State::Idle | State::Waiting { .. } | State::Halted | State::Stopped => return vec![],
        };
        match ended {
            Ended::Failed(trouble) => {
                let disposition = disposition(trouble.class, phase);
                self.last_error = Some(trouble);
                match disposition {
                    Disposition::Wait => self.wait(self.times.reconnect_timeout),
                    Disposition::Resend => {
                        let delay = self.resend_delay(false);
                        self.wait(delay)
                    }
                    Disposition::Halt => self.halt(),
                }
            }
            Ended::Rejoin => self.wait(Duration::ZERO),
            Ended::Closed => self.wait(self.times.reconnect_timeout),
        }
    }

    /// A failed send is tried again after `resend_timeout`; after `max_retries` of them in a row everything starts again after
    /// `reconnect_timeout`.
    fn resend_delay(&mut self, progressed: bool) -> Duration {
        if progressed {
            self.failed_sends = 0;
        }
        self.failed_sends += 1;
        if self.failed_sends > self.times.max_retries {
            self.failed_sends = 0;
            self.times.reconnect_timeout
        } else {
            self.times.resend_timeout
        }
    }

    fn send_failed(&mut self, trouble: Trouble, progressed: bool) -> Vec<Effect> {
        let halts = disposition(trouble.class, Phase::Running) == Disposition::Halt;
        match self.state {
            State::Connecting | State::Streaming => {}
            // The producer has failed before, and then the record at fault was found.
            State::Closing(Then::Reconnect(_)) if halts => {
                self.last_error = Some(trouble);
                self.state = State::Closing(Then::Halt);
                return vec![];
            }
            State::Waiting { .. } if halts => {
                self.last_error = Some(trouble);
                return self.halt();
            }
            // Whoever settles finds the broken producer; a draining session sees it itself.
            State::Idle
            | State::Closing(_)
            | State::Waiting { .. }
            | State::Halted
            | State::Draining
            | State::Stopped => return vec![],
        }
        self.last_error = Some(trouble.clone());
        if halts {
            self.state = State::Closing(Then::Halt);
            vec![Effect::Halt(trouble)]
        } else {
            let delay = self.resend_delay(progressed);
            self.state = State::Closing(Then::Reconnect(delay));
            vec![Effect::Abort]
        }
    }

    /// What follows is known from here on, whatever ends the session.
    fn halting(&mut self, trouble: Trouble) {
        match self.state {
            State::Connecting | State::Streaming | State::Closing(Then::Reconnect(_)) => {
                self.last_error = Some(trouble);
                self.state = State::Closing(Then::Halt);
            }
            State::Closing(Then::Halt | Then::Stop) | State::Draining => self.last_error = Some(trouble),
            State::Idle | State::Waiting { .. } | State::Halted | State::Stopped => {}
        }
    }

    fn server_stopping(&mut self) -> Vec<Effect> {
        match self.state {
            State::Streaming => {
                self.last_error = Some(Trouble::new(
                    Class::PostgresUnavailable,
                    "the server is shutting down",
                    "nothing to do: the slot reconnects when the server is back",
                ));
                self.state = State::Closing(Then::Reconnect(self.times.reconnect_timeout));
            }
            // It must not hang on these either.
            State::Closing(_) | State::Draining => {}
            State::Idle | State::Connecting | State::Waiting { .. } | State::Halted | State::Stopped => return vec![],
        }
        vec![Effect::Drain { bound: Some(SHUTDOWN_OF_SERVER) }]
    }

    /// What is still queued would come to Kafka after what the other one has sent by then; it comes again once the slot is ours.
    fn taken(&mut self, trouble: Trouble) -> Vec<Effect> {
        match self.state {
            State::Waiting { settled: false, .. } => {
                self.last_error = Some(trouble);
                vec![Effect::Purge]
            }
            // Why it stands is worth more than who reads on.
            State::Idle | State::Halted => vec![Effect::Purge],
            State::Waiting { settled: true, .. }
            | State::Connecting
            | State::Streaming
            | State::Closing(_)
            | State::Draining
            | State::Stopped => vec![],
        }
    }

    fn drain(&mut self) -> Vec<Effect> {
        match self.state {
            State::Streaming => {
                self.state = State::Draining;
                vec![Effect::Drain { bound: None }]
            }
            State::Connecting => {
                self.state = State::Closing(Then::Stop);
                vec![Effect::Abort]
            }
            State::Closing(_) => {
                self.state = State::Closing(Then::Stop);
                vec![Effect::Drain { bound: None }]
            }
            State::Idle | State::Waiting { .. } | State::Halted => self.stop(),
            State::Draining | State::Stopped => vec![],
        }
    }
}

impl State {
    /// The name that log and HTTP show (`connecting`, `streaming`, `draining`, `waiting`, `halted`).
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Idle | Self::Connecting => "connecting",
            Self::Streaming => "streaming",
            Self::Closing(Then::Reconnect(_)) | Self::Waiting { .. } => "waiting",
            Self::Halted => "halted",
            Self::Closing(Then::Halt | Then::Stop) | Self::Draining | Self::Stopped => "draining",
        }
    }
}
