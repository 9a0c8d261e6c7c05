//! Faults of Kafka.

use std::{fs, io::Write as _, path::Path, process::Command, thread::sleep, time::Duration};

use crate::{
    bed::{self, brokers, can_mount, mount, unmount},
    fault::{Fault, Undo, nothing},
    round::Round,
    service::{PATIENCE, eventually},
};

pub fn faults() -> Vec<Fault> {
    vec![
        Fault::new("broker killed", 6, |round, random| killed(round, &[random.place(3)])),
        Fault::new("two brokers killed", 2, |round, random| {
            let stays = random.place(3);
            killed(round, &brokers().filter(|broker| *broker != stays).collect::<Vec<_>>())
        }),
        Fault::new("all brokers killed", 2, |round, _| killed(round, &brokers().collect::<Vec<_>>())),
        Fault::new("broker suspended", 3, |round, random| {
            let broker = random.place(3);
            round.bed.cluster.process(broker).suspend();
            Box::new(move |round| round.bed.cluster.process(broker).resume())
        }),
        Fault::new("broker restarted", 2, |round, random| {
            round.bed.cluster.stop(random.place(3));
            back()
        }),
        Fault::new("leaders moved", 2, |round, random| {
            round.bed.cluster.stop(random.place(3));
            round.bed.cluster.start_missing();
            round.wait_in_sync();
            round.bed.cluster.elect_preferred_leaders();
            nothing()
        }),
        Fault::new("in-sync replicas lost", 3, |round, random| {
            round.every_topic(|cluster, topic| cluster.set_topic_option(topic, "min.insync.replicas", "3"));
            round.bed.cluster.kill(random.place(3));
            Box::new(|round| {
                round.bed.cluster.start_missing();
                round.every_topic(|cluster, topic| cluster.set_topic_option(topic, "min.insync.replicas", "2"));
            })
        }),
        Fault::new("throttled by a quota", 2, |round, random| {
            let rate = 5_000.0 + f64::from(u32::try_from(random.below(50_000)).unwrap());
            round.bed.cluster.set_quota(Some(rate));
            Box::new(|round| round.bed.cluster.set_quota(None))
        }),
        Fault::new("partitions added", 1, |round, random| {
            round.add_partitions(1 + random.place(3));
            nothing()
        }),
        Fault::new("broker's disk lost", 2, |round, random| {
            let broker = random.place(3);
            round.wait_in_sync();
            round.bed.cluster.kill(broker);
            round.bed.cluster.wipe(broker, None);
            Box::new(|round| {
                round.bed.cluster.start_missing();
                round.wait_in_sync();
            })
        }),
        Fault::new("broker's disk full", 2, |round, random| disk_full(round, random.place(3))).needs(can_mount()),
    ]
}

fn back() -> Undo {
    Box::new(|round| round.bed.cluster.start_missing())
}

fn killed(round: &mut Round<'_>, which: &[usize]) -> Undo {
    for broker in which {
        round.bed.cluster.kill(*broker);
    }
    back()
}

/// The broker goes on on a small disk with its data, which is then filled.
fn disk_full(round: &mut Round<'_>, broker: usize) -> Undo {
    round.bed.cluster.kill(broker);
    let data = round.bed.cluster.data(broker);
    let aside = data.with_file_name("aside");
    fs::rename(&data, &aside).unwrap();
    fs::create_dir(&data).unwrap();
    mount(&data, &format!("{}k", used(&aside) + ROOM)).unwrap();
    copy(&aside, &data);
    fs::remove_dir_all(&aside).unwrap();
    round.bed.cluster.start_missing();
    let filler = data.with_file_name("data/filler");
    let mut file = fs::File::create(&filler).unwrap();
    while file.write_all(&[0; 1 << 12]).is_ok() {}
    Box::new(move |round| {
        eventually("the broker gives up its full disk", PATIENCE, || {
            if round.bed.cluster.process(broker).has_ended() { Ok(()) } else { Err("it runs".to_owned()) }
        });
        round.bed.cluster.kill(broker);
        fs::remove_file(&filler).unwrap();
        fs::create_dir(&aside).unwrap();
        copy(&data, &aside);
        unmount(&data);
        fs::remove_dir(&data).unwrap();
        fs::rename(&aside, &data).unwrap();
        round.bed.cluster.start_missing();
        sleep(Duration::from_secs(1));
    })
}

/// KiB that the broker needs to start.
const ROOM: u64 = 16 << 10;

/// KiB.
fn used(folder: &Path) -> u64 {
    let output = Command::new("du").arg("-sk").arg(folder).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

fn copy(from: &Path, to: &Path) {
    bed::run(Command::new("cp").args(["-a", "--sparse=always"]).arg(from.join(".")).arg(to)).unwrap();
}
