//! A real Kafka broker for tests: one KRaft node on 127.0.0.1 with a directory of its own.
//!
//! Needs Java 17 or later and Maven (`kafka/install`). A broker does not outlive the test program, however that ends.
// Each test program uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

#[path = "kafka/admin.rs"]
mod admin;
#[path = "kafka/certificates.rs"]
mod certificates;
#[path = "kafka/cluster.rs"]
mod cluster;
#[path = "kafka/process.rs"]
mod process;

use std::{
    net::{Ipv4Addr, TcpListener, TcpStream},
    ops::Deref,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
    time::{Duration, Instant},
};

pub use admin::{Admin, ConsumedRecord, Permission, high_watermarks};
pub use cluster::{BROKERS, Cluster};
use nix::unistd::Pid;
pub use process::Process;

/// The name and password that the SASL listeners accept.
pub const USER: &str = "alice";
/// Its password.
pub const PASSWORD: &str = "canary-of-alice";

/// A door of the broker. All but `Plaintext` are there only with `Options::secured`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Listener {
    /// No encryption, no login: a super user.
    Plaintext,
    /// TLS with a certificate of `ca.pem` for 127.0.0.1; a super user.
    Tls,
    /// TLS with a certificate for another host.
    TlsOtherName,
    /// TLS with a certificate that has expired.
    TlsExpired,
    /// TLS and SCRAM-SHA-256: `USER`, who may do only what `allow` said.
    Scram,
    /// SASL PLAIN without encryption: likewise.
    Plain,
}

const LISTENERS: [(Listener, &str, &str); 6] = [
    (Listener::Plaintext, "PLAINTEXT", "PLAINTEXT"),
    (Listener::Tls, "TLS", "SSL"),
    (Listener::TlsOtherName, "OTHERNAME", "SSL"),
    (Listener::TlsExpired, "EXPIRED", "SSL"),
    (Listener::Scram, "SCRAM", "SASL_SSL"),
    (Listener::Plain, "PLAIN", "SASL_PLAINTEXT"),
];

/// How a broker is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// All listeners, and an authorizer that forbids `USER` everything not allowed.
    pub secured: bool,
    /// Further lines of `server.properties`.
    pub settings: Vec<(String, String)>,
    /// Further options of Java; a later one has the last word. Those of every broker make it start soon, not run fast.
    pub java: Vec<String>,
}

impl Options {
    /// All listeners and an authorizer.
    pub fn secured() -> Self {
        Self { secured: true, ..Self::default() }
    }

    /// A further line of `server.properties`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }
}

/// A broker. It is killed and its files are removed when this is dropped.
pub struct KafkaServer {
    // The process is dropped before its directory.
    process: Mutex<Option<Process>>,
    java: Vec<String>,
    ports: Vec<u16>,
    admin: Admin,
    directory: tempfile::TempDir,
}

/// Its topics.
impl Deref for KafkaServer {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

/// What every broker is set up with.
const SETTINGS: [&str; 12] = [
    "process.roles=broker,controller",
    "inter.broker.listener.name=PLAINTEXT",
    "controller.listener.names=CONTROLLER",
    "log.dirs=data",
    "auto.create.topics.enable=false",
    "offsets.topic.num.partitions=1",
    "transaction.state.log.num.partitions=1",
    "group.initial.rebalance.delay.ms=0",
    // 128 MB of heap by default.
    "log.cleaner.dedupe.buffer.size=4194304",
    // The controller refuses a killed broker's return until its old session is over.
    "broker.session.timeout.ms=2000",
    "broker.heartbeat.interval.ms=500",
    // A deleted topic's directory shall go soon.
    "file.delete.delay.ms=1000",
];

/// The same id for every cluster.
const CLUSTER: &str = "Y2RjLW5vdGlmaWVyLXRlc3Q";

impl KafkaServer {
    /// Starts a broker and waits until it answers.
    pub fn start(options: &Options) -> Self {
        let listeners = if options.secured { LISTENERS.len() } else { 1 };
        let mut failure = String::new();
        // Another program may take a port between our look and the broker's bind.
        for _ in 0..3 {
            let directory = tempfile::Builder::new().prefix("kafka-").tempdir().expect("a temporary directory");
            let ports = free_ports(listeners + 1);
            let admin = Admin { bootstrap: format!("127.0.0.1:{}", ports[1]), replication: 1 };
            let server = Self { process: Mutex::new(None), java: options.java.clone(), ports, admin, directory };
            server.write_configuration(options);
            server.format(options);
            match server.try_start_again() {
                Ok(()) => return server,
                Err(reason) => failure = reason,
            }
        }
        panic!("no broker: {failure}");
    }

    /// `host:port` of the listener without encryption and login.
    pub fn bootstrap(&self) -> String {
        self.bootstrap_of(Listener::Plaintext)
    }

    /// `host:port` of a listener.
    pub fn bootstrap_of(&self, listener: Listener) -> String {
        format!("127.0.0.1:{}", self.ports[listener as usize + 1])
    }

    /// The certificate of the authority that all certificates of the broker are of.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// The certificate of an authority that no certificate of the broker is of.
    pub fn other_ca(&self) -> PathBuf {
        self.directory.path().join("other-ca.pem")
    }

    /// The directory of a partition's log.
    pub fn log_directory(&self, topic: &str, partition: i32) -> PathBuf {
        self.directory.path().join(format!("data/{topic}-{partition}"))
    }

    /// The broker's process id.
    pub fn pid(&self) -> Pid {
        self.process.lock().unwrap().as_ref().expect("a running broker").pid()
    }

    /// SIGKILL, and waits until the broker is gone.
    pub fn kill(&self) {
        *self.process.lock().unwrap() = None;
    }

    /// SIGTERM, and waits until the broker is gone.
    pub fn stop(&self) {
        self.process.lock().unwrap().take().expect("a running broker").stop();
    }

    /// SIGSTOP.
    pub fn suspend(&self) {
        self.process.lock().unwrap().as_ref().expect("a running broker").suspend();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process.lock().unwrap().as_ref().expect("a running broker").resume();
    }

    /// Starts the broker on the same ports and the same data, and waits until it answers.
    pub fn start_again(&self) {
        self.try_start_again().unwrap_or_else(|reason| panic!("{reason}"));
    }

    fn try_start_again(&self) -> Result<(), String> {
        let mut process = self.process.lock().unwrap();
        assert!(process.is_none(), "the broker runs already");
        let broker = process.insert(launch(self.directory.path(), &self.java));
        let answering = wait_for_answer(broker, self.directory.path(), &self.bootstrap());
        if answering.is_err() {
            *process = None;
        }
        answering
    }

    fn write_configuration(&self, options: &Options) {
        let controller = self.ports[0];
        let names = LISTENERS.iter().zip(&self.ports[1..]);
        let addresses: Vec<_> =
            names.clone().map(|((_, name, _), port)| format!("{name}://127.0.0.1:{port}")).collect();
        let protocols: Vec<_> = names.map(|((_, name, protocol), _)| format!("{name}:{protocol}")).collect();
        let mut lines = SETTINGS.map(str::to_owned).to_vec();
        lines.extend([
            "node.id=1".to_owned(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller}"),
            format!("listeners={},CONTROLLER://127.0.0.1:{controller}", addresses.join(",")),
            format!("advertised.listeners={}", addresses.join(",")),
            format!("listener.security.protocol.map={},CONTROLLER:PLAINTEXT", protocols.join(",")),
            "default.replication.factor=1".into(),
            "offsets.topic.replication.factor=1".into(),
            "transaction.state.log.replication.factor=1".into(),
            "transaction.state.log.min.isr=1".into(),
            "share.coordinator.state.topic.replication.factor=1".into(),
            "share.coordinator.state.topic.min.isr=1".into(),
        ]);
        if options.secured {
            lines.extend(self.security());
        }
        lines.extend(options.settings.iter().map(|(key, value)| format!("{key}={value}")));
        std::fs::write(self.directory.path().join("server.properties"), lines.join("\n")).unwrap();
    }

    fn security(&self) -> Vec<String> {
        let directory = self.directory.path();
        certificates::write(directory);
        let mut lines = vec![
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer".to_owned(),
            "super.users=User:ANONYMOUS".into(),
            "ssl.truststore.type=PEM".into(),
            format!("ssl.truststore.location={}/ca.pem", directory.display()),
            "listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-256".into(),
            "listener.name.scram.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;"
                .into(),
            "listener.name.plain.sasl.enabled.mechanisms=PLAIN".into(),
            format!(
                "listener.name.plain.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";"
            ),
        ];
        for (listener, keystore) in
            [("tls", "server"), ("scram", "server"), ("othername", "other-name"), ("expired", "expired")]
        {
            lines.push(format!("listener.name.{listener}.ssl.keystore.type=PEM"));
            lines
                .push(format!("listener.name.{listener}.ssl.keystore.location={}/{keystore}.pem", directory.display()));
        }
        lines
    }

    fn format(&self, options: &Options) {
        let scram = ["--add-scram".to_owned(), format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]")];
        format(self.directory.path(), if options.secured { &scram } else { &[] });
    }
}

/// The plain broker that the tests of one program share: a start costs three seconds. Topics are to have names of their
/// own.
pub fn shared() -> &'static KafkaServer {
    static SERVER: OnceLock<KafkaServer> = OnceLock::new();
    SERVER.get_or_init(|| KafkaServer::start(&Options::default()))
}

/// Makes the storage of the broker of this directory.
fn format(directory: &Path, more: &[String]) {
    let mut command = java();
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", "server.properties"]).args(more);
    let output = command.current_dir(directory).output().expect("java");
    assert!(output.status.success(), "format: {output:?}");
}

/// Starts the broker of this directory.
fn launch(directory: &Path, options: &[String]) -> Process {
    let mut command = java();
    command.args(options).args(["kafka.Kafka", "server.properties"]).current_dir(directory);
    Process::start(&mut command, &directory.join("server.log"))
}

/// Waits until a broker answers; else, what it has said.
fn wait_for_answer(broker: &mut Process, directory: &Path, address: &str) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(90);
    // The connection first: a client that finds the port closed waits before it tries again.
    while TcpStream::connect(address).is_err() || !admin::answers(address) {
        if broker.has_ended() || Instant::now() > deadline {
            let said = std::fs::read_to_string(directory.join("server.log")).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(20).collect();
            return Err(tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn java() -> Command {
    static JARS: OnceLock<PathBuf> = OnceLock::new();
    let support = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/kafka");
    let jars = JARS.get_or_init(|| {
        let output = Command::new(support.join("install")).output().expect("bash");
        assert!(output.status.success(), "install: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().into()
    });
    let mut command = Command::new("java");
    command
        .args(["-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dkafka.logs.dir=logs"])
        .arg(format!("-Dlog4j2.configurationFile={}", support.join("log4j2.properties").display()))
        .arg("-cp")
        .arg(jars.join("*"));
    command
}

/// Free ports below the kernel's range for outgoing connections, which would otherwise take them while the broker is
/// down.
pub fn free_ports(count: usize) -> Vec<u16> {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    let mut random = [0; 2];
    openssl::rand::rand_bytes(&mut random).unwrap();
    let first = 10_000 + u16::from_be_bytes(random) % 20_000;
    let ports: Vec<_> = (first..32_768).filter(free).take(count).collect();
    assert_eq!(ports.len(), count, "not enough free ports");
    ports
}
