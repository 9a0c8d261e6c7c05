//! The three parties with several namespaces, slots and databases, a load, and the oracle over all of it.

use std::ops::Deref;

use cdc_notifier::demo::postgres::TemporaryPostgres;
use postgres::{Client, Config, NoTls};

use crate::{
    kafka::{self, KafkaServer, Options},
    lanes::{self, Lane},
    oracle::{self, Tally},
    scene::{self, Configuration, Namespace},
    service::{PATIENCE, Service, eventually},
    writer::{Load, Writer},
};

/// Short times, so that faults show and heal within a test.
pub const QUICK: &str = "resend_timeout = \"200ms\"\nreconnect_timeout = \"300ms\"\nsend_timeout = \"5s\"\n";

/// A Kafka that others use, or one that may be harmed.
pub enum Broker {
    Shared(&'static KafkaServer),
    Own(Box<KafkaServer>),
}

impl Broker {
    pub fn shared() -> Self {
        Self::Shared(kafka::shared())
    }

    pub fn own() -> Self {
        Self::Own(Box::new(KafkaServer::start(&Options::default())))
    }
}

impl Deref for Broker {
    type Target = KafkaServer;

    fn deref(&self) -> &KafkaServer {
        match self {
            Self::Shared(server) => server,
            Self::Own(server) => server,
        }
    }
}

/// Two databases, three slots, four namespaces.
pub const WIDE: [(&str, &str, &str); 4] = [
    ("first", "slot_a", "default/default"),
    ("first", "slot_a", "orders/v1"),
    ("first", "slot_b", "quiet"),
    ("second", "slot_c", "default/default"),
];
/// One of each.
pub const NARROW: [(&str, &str, &str); 1] = [("first", "slot_a", "default/default")];

pub struct World {
    // In the order in which they are to end.
    service: Option<Service>,
    pub server: TemporaryPostgres,
    pub kafka: Broker,
    pub lanes: Vec<Lane>,
    configuration: String,
    /// The numbers of partitions that the topics have had.
    counts: Vec<i32>,
}

impl World {
    /// Everything but the service. `general`: settings before the first table.
    pub fn new(kafka: Broker, general: &str, lanes: &[(&str, &str, &str)]) -> Self {
        Self::with(kafka, general, lanes, &[])
    }

    /// With settings of the topics.
    pub fn with(kafka: Broker, general: &str, lanes: &[(&str, &str, &str)], topics: &[(&str, &str)]) -> Self {
        Self::on(scene::postgres(&lanes::SETTINGS), kafka, general, lanes, topics)
    }

    /// Everything, over TCP, and every slot streams.
    pub fn streaming_over_tcp(kafka: Broker, general: &str, lanes: &[(&str, &str, &str)]) -> Self {
        let mut world = Self::on(scene::postgres_over_tcp(&lanes::SETTINGS), kafka, general, lanes, &[]);
        world.start_service();
        world.wait_for_all("streaming");
        world
    }

    fn on(
        server: TemporaryPostgres,
        kafka: Broker,
        general: &str,
        lanes: &[(&str, &str, &str)],
        topics: &[(&str, &str)],
    ) -> Self {
        let lanes: Vec<_> = lanes
            .iter()
            .map(|(database, slot, namespace)| Lane {
                database: (*database).to_owned(),
                slot: (*slot).to_owned(),
                namespace: Namespace::new(namespace),
            })
            .collect();
        let mut configuration = Configuration::new(general, &kafka.bootstrap());
        let mut sql = scene::connect(&server, "postgres");
        for database in databases(&lanes) {
            sql.batch_execute(&format!("CREATE DATABASE {database}")).unwrap();
            scene::connect(&server, &database).batch_execute(oracle::SCHEMA).unwrap();
            configuration = configuration.database(&database, &server, &database);
        }
        let counts = vec![4];
        for Lane { database, slot, namespace } in &lanes {
            let settings: Vec<_> =
                [("message.timestamp.type", "LogAppendTime")].iter().chain(topics).copied().collect();
            namespace.create_topics_with(&kafka, counts[0], &settings);
            lanes::create_tables(&mut scene::connect(&server, database), namespace);
            configuration = configuration.stream(database, slot, namespace);
        }
        let configuration = configuration.text().to_owned();
        Self { service: None, server, kafka, lanes, configuration, counts }
    }

    /// Everything, and every slot streams.
    pub fn streaming(kafka: Broker, general: &str, lanes: &[(&str, &str, &str)]) -> Self {
        let mut world = Self::new(kafka, general, lanes);
        world.start_service();
        world.wait_for_all("streaming");
        world
    }

    /// Starts the service, or starts it again, and waits until all slots exist.
    pub fn start_service(&mut self) {
        match &mut self.service {
            Some(service) => service.start_again(),
            None => self.service = Some(Service::start(&self.configuration)),
        }
        let mut sql = self.sql("postgres");
        eventually("the slots exist", PATIENCE, || {
            let made =
                sql.query("SELECT FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL", &[]).unwrap();
            if made.len() == self.slots().len() { Ok(()) } else { Err(self.service().log()) }
        });
    }

    pub fn service(&self) -> &Service {
        self.service.as_ref().expect("the service has been started")
    }

    pub fn service_mut(&mut self) -> &mut Service {
        self.service.as_mut().expect("the service has been started")
    }

    pub fn wait_for_all(&self, state: &str) {
        for slot in self.slots() {
            self.service().wait_for_state(&slot, state);
        }
    }

    pub fn slots(&self) -> Vec<String> {
        let mut slots: Vec<_> = self.lanes.iter().map(|lane| lane.slot.clone()).collect();
        slots.dedup();
        slots
    }

    pub fn sql(&self, database: &str) -> Client {
        scene::connect(&self.server, database)
    }

    pub fn write(&self, load: Load) -> Writer {
        let databases = databases(&self.lanes).into_iter().map(|database| {
            let of_it = self.lanes.iter().filter(|lane| lane.database == database);
            let namespaces = of_it.map(|lane| lane.namespace.name.clone()).collect();
            (database, namespaces)
        });
        Writer::start(&self.server, &databases.collect::<Vec<_>>(), load)
    }

    /// More partitions for every topic.
    pub fn add_partitions(&mut self, total: i32) {
        for Lane { namespace, .. } in &self.lanes {
            for topic in [&namespace.eventsink, &namespace.lifecycle] {
                self.kafka.add_partitions(topic, usize::try_from(total).unwrap());
            }
        }
        self.counts.push(total);
    }

    /// Waits until PostgreSQL has everything up to now acknowledged.
    pub fn wait_for_acknowledgement(&self) {
        self.wait_for_acknowledgement_of(&self.slots());
    }

    /// The same, of these slots.
    pub fn wait_for_acknowledgement_of(&self, slots: &[String]) {
        let mut sql = self.sql("postgres");
        let lsn = text(&mut sql, "SELECT pg_current_wal_insert_lsn()::text");
        eventually(&format!("everything up to {lsn} is acknowledged"), 3 * PATIENCE, || {
            lanes::acknowledged(&mut sql, slots, &lsn).map_err(|behind| format!("{behind}\n{}", self.service().log()))
        });
    }

    /// Waits until all is acknowledged, then holds the topics against the tables. What is missing then has been lost.
    pub fn verify(&self) -> Tally {
        self.wait_for_acknowledgement();
        self.verify_now()
    }

    /// Holds the topics against the tables as they are.
    pub fn verify_now(&self) -> Tally {
        let mut tally = Tally::default();
        for lane in &self.lanes {
            let mut sql = self.sql(&lane.database);
            match lanes::check(&mut sql, &self.kafka, &lane.namespace, &self.counts) {
                Ok(found) => tally += found,
                Err(objections) => panic!("{objections}"),
            }
        }
        tally
    }

    /// Ends PostgreSQL's connections of this kind (`walsender`, `client backend`) but ours.
    pub fn terminate(&self, backend_type: &str) -> i64 {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE backend_type = $1 AND pid <> pg_backend_pid()";
        self.sql("postgres").query_one(sql, &[&backend_type]).unwrap().get(0)
    }
}

fn databases(lanes: &[Lane]) -> Vec<String> {
    let mut databases: Vec<_> = lanes.iter().map(|lane| lane.database.clone()).collect();
    databases.dedup();
    databases
}

/// A query's only value.
pub fn text(sql: &mut Client, query: &str) -> String {
    sql.query_one(query, &[]).unwrap().get(0)
}

/// The configuration of a superuser's connection.
pub fn config(server: &TemporaryPostgres, database: &str) -> Config {
    let mut config = Config::new();
    config.host(server.host()).port(server.port()).user("postgres").dbname(database);
    config
}

/// A connection, tried only once.
pub fn try_connect(server: &TemporaryPostgres, database: &str) -> Option<Client> {
    config(server, database).connect(NoTls).ok()
}
