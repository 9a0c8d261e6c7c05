//! What goes wrong in a schedule.

use std::time::Duration;

use cdc_notifier::{
    change::{Class, Lsn, Trouble},
    delivery::Input,
};

use super::{
    kafka::{Failure, MOST_PARTITIONS},
    oracle::Tampering,
    schedule::Schedule,
    service::Mail,
};

impl Schedule<'_> {
    pub(super) fn fail(&mut self) {
        let (postgres, random, oracle) = (&mut self.postgres, &mut self.random, &mut self.oracle);
        match random.below(22) {
            0..3 => {
                oracle.saw("a lost connection");
                postgres.link = None;
            }
            3..5 => {
                oracle.saw("a crash of the server");
                postgres.crash(random);
            }
            5..7 => {
                oracle.saw("a message given up");
                self.break_producer(Failure::GivenUp);
            }
            7..9 => {
                oracle.saw("a fatal error");
                self.break_producer(Failure::Fatal);
            }
            9..11 => {
                oracle.saw("a broker that hangs");
                self.kafka.hang(self.service.now + Duration::from_secs(random.between(5, 150)));
            }
            11 => {
                oracle.saw("a process that sleeps");
                self.service.now += Duration::from_secs(random.between(10, 70));
            }
            12 => {
                oracle.saw("a server that is shut down");
                self.service.tell(Mail::Input(Input::ServerStopping));
            }
            13 => {
                if self.service.is_away() {
                    self.service.stopped = true;
                }
                self.service.tell(Mail::Input(Input::Drain));
            }
            14 => self.restart(),
            15..17 => {
                self.service.crash(postgres, oracle);
                if random.one_in(4) {
                    self.service.crash_again(postgres, oracle);
                }
            }
            17 => {
                oracle.saw("a fail-over");
                // Whoever has seen the other timeline halts; what was changed before lies behind the fork.
                if postgres.fail_over(random) || oracle.tampering.is_some() {
                    oracle.tampering = Some(Tampering { forbidden: None });
                }
            }
            18..20 => {
                oracle.saw("a slot taken by another");
                postgres.take();
                oracle.overtaken_after(self.service.sessions());
                if random.one_in(4) {
                    let busy = Trouble::new(Class::SlotBusy, "somebody else streams", "");
                    self.service.tell(Mail::Input(Input::Taken(busy)));
                }
            }
            20 => {
                oracle.saw("partitions added");
                self.kafka.partitions = MOST_PARTITIONS.min(self.kafka.partitions + 1);
            }
            _ => self.tamper(),
        }
    }

    /// History is changed behind the service's back.
    fn tamper(&mut self) {
        let (postgres, random, service) = (&mut self.postgres, &mut self.random, &self.service);
        // Only once at a time, and only what the service can know.
        let seen = service.known.server.as_ref().is_some_and(|(_, timeline)| *timeline == postgres.timeline);
        if self.oracle.tampering.is_some() || !seen || service.known.acknowledged == Lsn::ZERO {
            return;
        }
        self.oracle.saw("a history that is changed");
        let number = postgres.newest();
        let forbidden = match random.below(3) {
            0 => {
                postgres.replace();
                Some(number)
            }
            1 => {
                self.oracle.excuse(postgres, postgres.wal_end);
                postgres.advance();
                (postgres.wal_end > service.known.acknowledged.get()).then_some(number)
            }
            _ => {
                let end = postgres.restore(random);
                service.remembers(postgres.confirmed, end).then_some(number)
            }
        };
        self.oracle.tampering = Some(Tampering { forbidden });
    }
}
