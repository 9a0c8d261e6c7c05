//! Another consumer of a slot, which reads and never confirms.

use std::process::{Child, Command, Stdio};

use cdc_notifier::demo::postgres::TemporaryPostgres;
use postgres::Client;

use crate::service::{PATIENCE, eventually};

/// Ends with this value.
pub struct Holder(Child);

impl Holder {
    pub fn start(server: &TemporaryPostgres, database: &str, slot: &str, publication: &str) -> Self {
        let beside = server.bin_dir().join("pg_recvlogical");
        let mut command = Command::new(if beside.is_file() { beside } else { "pg_recvlogical".into() });
        command.args(["-h", server.host(), "-p", &server.port().to_string(), "-U", "postgres", "-d", database]);
        command.args(["--slot", slot, "--start", "--no-loop", "-f", "/dev/null", "-o", "proto_version=1"]);
        command.args(["-o", &format!("publication_names=\"{publication}\"")]);
        // Without these it would confirm what it has read.
        command.args(["--status-interval", "0", "--fsync-interval", "0"]).env("PGOPTIONS", "-c wal_sender_timeout=0");
        let child = command.env("PGAPPNAME", "the other one").stdin(Stdio::null()).spawn().unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// The server's process that holds a slot, once there is one.
pub fn pid(sql: &mut Client, slot: &str) -> i32 {
    eventually("the other consumer holds the slot", PATIENCE, || {
        let row = sql.query_one("SELECT active_pid FROM pg_replication_slots WHERE slot_name = $1::text", &[&slot]);
        row.unwrap().get::<_, Option<i32>>(0).ok_or_else(|| "nobody".to_owned())
    })
}
