//! The servers, which all rounds share, and the doors before them.

use std::process::Command;

use cdc_notifier::demo::postgres::{Options, TemporaryPostgres};
use postgres::Client;

use crate::{
    kafka::{self, Cluster},
    lanes,
    proxy::{Proxy, Weather},
    scene,
};

/// PostgreSQL beside what the oracle needs: as many connections as are quickly used up.
const SETTINGS: [(&str, &str); 3] =
    [("max_connections", "40"), ("wal_sender_timeout", "20s"), ("checkpoint_timeout", "1h")];

/// One PostgreSQL, three brokers, a door before each.
pub struct Bed {
    pub postgres: TemporaryPostgres,
    pub cluster: Cluster,
    pub to_postgres: Proxy,
    pub to_brokers: Vec<Proxy>,
}

impl Bed {
    pub fn start() -> Self {
        let settings: Vec<_> = lanes::SETTINGS.into_iter().chain(SETTINGS).collect();
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let postgres = TemporaryPostgres::start(&Options { settings, listen_tcp: true, ..Options::default() }).unwrap();
        let to_postgres = Proxy::start(postgres.port());
        let mut to_brokers = Vec::new();
        let cluster = Cluster::start(|port| {
            to_brokers.push(Proxy::start(port));
            to_brokers.last().unwrap().port()
        });
        Self { postgres, cluster, to_postgres, to_brokers }
    }

    /// SQL past the door.
    pub fn sql(&self, database: &str) -> Client {
        scene::connect(&self.postgres, database)
    }

    /// Every door.
    pub fn doors(&self) -> impl Iterator<Item = &Proxy> {
        std::iter::once(&self.to_postgres).chain(&self.to_brokers)
    }

    /// Nothing stands between the service and the servers any more.
    pub fn clear(&self) {
        for door in self.doors() {
            door.forget_cut();
            door.set(Weather::Clear);
        }
    }

    /// A setting of the running PostgreSQL, or its old value.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        let change = value.map_or(format!("RESET {name}"), |value| format!("SET {name} = '{value}'"));
        let mut sql = self.sql("postgres");
        sql.batch_execute(&format!("ALTER SYSTEM {change}")).unwrap();
        sql.batch_execute("SELECT pg_reload_conf()").unwrap();
    }
}

/// Whether root's `mount` and `umount` work here; if not, why.
pub fn can_mount() -> Result<(), String> {
    let folder = tempfile::tempdir().unwrap();
    mount(folder.path(), "64k").map_err(|why| format!("a small disk cannot be mounted: {why}"))?;
    unmount(folder.path());
    Ok(())
}

/// A small disk of its own at this place.
pub fn mount(place: &std::path::Path, size: &str) -> Result<(), String> {
    let mut command = Command::new("mount");
    command.args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "none"]).arg(place);
    run(&mut command)
}

pub fn unmount(place: &std::path::Path) {
    run(Command::new("umount").arg("-l").arg(place)).unwrap();
}

/// Runs a program of the system's; what it says if it fails.
pub fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

/// The brokers' numbers.
pub const fn brokers() -> std::ops::Range<usize> {
    0..kafka::BROKERS
}
