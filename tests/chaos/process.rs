//! Faults of the service's own process.

use std::{fs, path::PathBuf, process::Command};

use nix::sys::signal::Signal;

use crate::{
    bed,
    fault::{Fault, Undo},
    proxy::Weather,
    round::Round,
    writer::Random,
};

/// What the process is killed with most.
pub const KILLED: &str = "service killed";

pub fn faults() -> Vec<Fault> {
    let all = vec![
        Fault::new(KILLED, 12, |round, _| {
            round.kill_service();
            Box::new(|round| round.service.start_again())
        }),
        Fault::new("service stopped", 2, |round, _| {
            round.service.stop();
            Box::new(|round| round.service.start_again())
        }),
        Fault::new("service suspended", 4, |round, _| {
            round.service.signal(Signal::SIGSTOP);
            Box::new(|round| round.service.signal(Signal::SIGCONT))
        }),
        Fault::new("out of file descriptors", 3, |round, _| {
            let open = fs::read_dir(format!("/proc/{}/fd", round.service.pid())).unwrap().count();
            limit(round, &format!("--nofile={open}:"));
            round.bed.doors().for_each(crate::proxy::Proxy::cut);
            Box::new(|round| limit(round, "--nofile=1024:"))
        }),
        Fault::new("out of memory", 3, out_of_memory),
        Fault::new("clock jumps", 3, clock_jumps).needs(faketime().map(drop)),
    ];
    all.into_iter().map(Fault::alone).collect()
}

fn limit(round: &Round<'_>, limit: &str) {
    bed::run(Command::new("prlimit").args(["--pid", &round.service.pid().to_string(), limit])).unwrap();
}

/// No more memory than now, while a backlog grows. If the process ends of that it is started again, as by its supervisor.
fn out_of_memory(round: &mut Round<'_>, _: &mut Random) -> Undo {
    let status = fs::read_to_string(format!("/proc/{}/status", round.service.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
    let now: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
    limit(round, &format!("--data={}:", (now + 256) * 1024));
    round.may_be_late();
    hold_kafka(round, Weather::Held);
    Box::new(|round| {
        hold_kafka(round, Weather::Clear);
        if round.service.has_ended() {
            round.service.start_again();
        } else {
            limit(round, "--data=unlimited:");
        }
    })
}

fn hold_kafka(round: &Round<'_>, weather: Weather) {
    for door in &round.bed.to_brokers {
        door.set(weather);
    }
}

/// Debian's libfaketime.
fn faketime() -> Result<PathBuf, String> {
    let folders = fs::read_dir("/usr/lib").map_err(|error| error.to_string())?;
    let library = |folder: fs::DirEntry| folder.path().join("faketime/libfaketimeMT.so.1");
    let found = folders.flatten().map(library).find(|library| library.is_file());
    found.ok_or_else(|| "libfaketime is missing: apt-get install faketime".to_owned())
}

/// The process's own clock, and no other's.
fn clock_jumps(round: &mut Round<'_>, random: &mut Random) -> Undo {
    let library = faketime().unwrap();
    let clock = round.folder().join("clock");
    fs::write(&clock, "+0").unwrap();
    round.service.stop();
    round.service.set_environment(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ]);
    round.service.start_again();
    round.wait_for_all("streaming");
    let jumps = ["+30s", "-30s", "+1h", "-1h", "+1d", "-1d", "+400d"];
    fs::write(&clock, jumps[random.place(jumps.len())]).unwrap();
    Box::new(move |round| {
        fs::write(&clock, "+0").unwrap();
        let pid = round.service.pid();
        round.service.stop();
        // The program began itself anew, by which the library forgot its shared memory.
        for left in [format!("/dev/shm/faketime_shm_{pid}"), format!("/dev/shm/sem.faketime_sem_{pid}")] {
            drop(fs::remove_file(left));
        }
        round.service.set_environment(&[]);
        round.service.start_again();
    })
}
