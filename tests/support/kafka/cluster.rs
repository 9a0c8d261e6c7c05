//! Three KRaft nodes, each broker and controller, with a door for clients that others may stand before.

use std::{fmt::Write as _, fs, ops::Deref, path::Path};

use super::{Admin, Process, SETTINGS, format, free_ports, launch, wait_for_answer};

/// How many there are.
pub const BROKERS: usize = 3;

/// Little memory each.
const JAVA: [&str; 2] = ["-Xms64m", "-Xmx180m"];

/// What a cluster has beside the settings of every broker.
const CLUSTER_SETTINGS: &str = "\
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CLIENTS:PLAINTEXT,CONTROLLER:PLAINTEXT
default.replication.factor=3
min.insync.replicas=2
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
log.message.timestamp.type=LogAppendTime
replica.lag.time.max.ms=3000
controlled.shutdown.enable=true
";

/// A cluster. Its brokers are killed and their files are removed when this is dropped.
pub struct Cluster {
    // The processes are dropped before their directories.
    nodes: Vec<Node>,
    admin: Admin,
    /// The clients' doors, as they are advertised.
    pub advertised: String,
    directory: tempfile::TempDir,
}

struct Node {
    process: Option<Process>,
    /// Without anybody before it.
    address: String,
}

/// Its topics, without anybody before the brokers.
impl Deref for Cluster {
    type Target = Admin;

    fn deref(&self) -> &Admin {
        &self.admin
    }
}

impl Cluster {
    /// Starts the brokers. `advertise` makes of the port of a broker's door for clients the one that clients are told.
    pub fn start(mut advertise: impl FnMut(u16) -> u16) -> Self {
        let directory = tempfile::Builder::new().prefix("kafka-").tempdir().expect("a temporary directory");
        let ports = free_ports(3 * BROKERS);
        let local = |port: &u16| format!("127.0.0.1:{port}");
        let of_each: Vec<_> = ports.chunks(3).collect();
        let voters: Vec<_> = of_each.iter().enumerate().map(|(n, ports)| format!("{n}@{}", local(&ports[0]))).collect();
        let mut advertised = Vec::new();
        for (number, ports) in of_each.iter().enumerate() {
            let [controller, direct, clients] = [local(&ports[0]), local(&ports[1]), local(&ports[2])];
            advertised.push(local(&advertise(ports[2])));
            let mut text = SETTINGS.join("\n");
            write!(
                text,
                "\n{CLUSTER_SETTINGS}node.id={number}\ncontroller.quorum.voters={}\n\
                 listeners=PLAINTEXT://{direct},CLIENTS://{clients},CONTROLLER://{controller}\n\
                 advertised.listeners=PLAINTEXT://{direct},CLIENTS://{}\n",
                voters.join(","),
                advertised[number]
            )
            .unwrap();
            let folder = directory.path().join(number.to_string());
            fs::create_dir(&folder).unwrap();
            fs::write(folder.join("server.properties"), text).unwrap();
        }
        let addresses: Vec<_> = of_each.iter().map(|ports| local(&ports[1])).collect();
        let admin = Admin { bootstrap: addresses.join(","), replication: 3 };
        let nodes = addresses.into_iter().map(|address| Node { process: None, address }).collect();
        let mut cluster = Self { nodes, admin, advertised: advertised.join(","), directory };
        let folders = (0..BROKERS).map(|broker| cluster.folder(broker)).collect::<Vec<_>>();
        std::thread::scope(|scope| {
            for folder in &folders {
                scope.spawn(|| format(folder, &[]));
            }
        });
        cluster.start_missing();
        cluster
    }

    fn folder(&self, broker: usize) -> std::path::PathBuf {
        self.directory.path().join(broker.to_string())
    }

    /// Where a broker keeps its data.
    pub fn data(&self, broker: usize) -> std::path::PathBuf {
        self.folder(broker).join("data")
    }

    /// The process of a broker that runs.
    pub fn process(&mut self, broker: usize) -> &mut Process {
        self.nodes[broker].process.as_mut().expect("a running broker")
    }

    /// SIGKILL, and waits until it is gone.
    pub fn kill(&mut self, broker: usize) {
        self.nodes[broker].process = None;
    }

    /// SIGTERM, and waits until it is gone.
    pub fn stop(&mut self, broker: usize) {
        self.nodes[broker].process.take().expect("a running broker").stop();
    }

    /// Starts all that do not run, and waits until they answer: fewer than two are no quorum.
    pub fn start_missing(&mut self) {
        let mut started = Vec::new();
        for broker in 0..BROKERS {
            if self.nodes[broker].process.is_none() {
                let folder = self.folder(broker);
                self.nodes[broker].process = Some(launch(&folder, &JAVA.map(str::to_owned)));
                started.push(broker);
            }
        }
        for broker in started {
            let folder = self.folder(broker);
            let Node { process, address } = &mut self.nodes[broker];
            wait_for_answer(process.as_mut().unwrap(), &folder, address).unwrap_or_else(|said| panic!("{said}"));
        }
    }

    /// Empties a killed broker's disk: all, or what of it has this name.
    pub fn wipe(&self, broker: usize, what: Option<&str>) {
        let data = self.data(broker);
        if let Some(name) = what {
            return remove(&data.join(name));
        }
        remove(&data);
        format(&self.folder(broker), &[]);
    }
}

fn remove(path: &Path) {
    fs::remove_dir_all(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
