//! Which slot feeds which namespaces, and what must not meet: names, slots, topics.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    super::{
        error::{KeyPath, Place, Wrong},
        raw,
        types::{Database, KafkaClient, Namespace, OnInvalid, Partitioner, Postgres, Slot},
    },
    choose, name, postgres,
};

type RawSlots = BTreeMap<String, BTreeMap<String, raw::Namespace>>;
type Clients = BTreeMap<String, Arc<KafkaClient>>;

/// PostgreSQL's limit on identifiers, in bytes, less the longest of a namespace's suffixes, `_processes`.
const MAX_NAMESPACE: usize = 63 - "_processes".len();

/// Namespaces of one slot: they are counted in 16 bits.
const MAX_NAMESPACES: usize = 65_535;

const PARTITIONERS: &[(&str, Partitioner)] =
    &[("phash2", Partitioner::Phash2), ("murmur2", Partitioner::Murmur2), ("consistent", Partitioner::Consistent)];

/// The databases that have streams.
pub(super) fn databases(
    raw: BTreeMap<String, raw::Database>,
    mut streams: BTreeMap<String, RawSlots>,
    clients: &Clients,
) -> Result<Vec<Arc<Database>>, Wrong> {
    let (databases_path, streams_path) = (KeyPath::of(["databases"]), KeyPath::of(["streams"]));
    if streams.is_empty() {
        return Err(Wrong::at(
            &streams_path,
            "no streams",
            "add [streams.DATABASE.SLOT.\"NAMESPACE\"] with kafka_client, eventsink_topic and lifecycle_topic",
        ));
    }
    let known = names(raw.keys());
    let mut databases = Vec::new();
    for (key, mut database) in raw {
        let path = databases_path.key(&key);
        name(&path)?;
        let settings = std::mem::take(&mut database.slots);
        let postgres = postgres::postgres(&path, database)?;
        let streams = streams.remove(&key);
        let slots = slots(&path.key("slots"), &streams_path.key(&key), settings, streams, clients)?;
        if !slots.is_empty() {
            databases.push(Arc::new(Database { name: key, postgres, slots }));
        }
    }
    if let Some(unknown) = streams.keys().next() {
        let path = streams_path.key(unknown);
        return Err(Wrong::at(&path, format!("no database {unknown:?}"), format!("databases: {known}")));
    }
    meetings(&databases, &streams_path)?;
    Ok(databases)
}

fn slots(
    settings_path: &KeyPath,
    streams_path: &KeyPath,
    mut settings: BTreeMap<String, raw::Slot>,
    streams: Option<RawSlots>,
    clients: &Clients,
) -> Result<Vec<Arc<Slot>>, Wrong> {
    if streams.as_ref().is_some_and(BTreeMap::is_empty) {
        return Err(Wrong::at(streams_path, "no slots", "add a slot with its namespaces, or remove it"));
    }
    let streams = streams.unwrap_or_default();
    let known = names(streams.keys());
    let mut slots = Vec::new();
    for (key, namespaces) in streams {
        let path = streams_path.key(&key);
        slot_name(&path)?;
        let create_slot = postgres::slot(&settings_path.key(&key), &settings.remove(&key).unwrap_or_default())?;
        if !(1..=MAX_NAMESPACES).contains(&namespaces.len()) {
            let message = format!("{} namespaces", namespaces.len());
            return Err(Wrong::at(&path, message, format!("give a slot 1 to {MAX_NAMESPACES} namespaces")));
        }
        let namespaces = namespaces
            .into_iter()
            .map(|(key, raw)| namespace(&path.key(&key), &key, raw, clients).map(Arc::new))
            .collect::<Result<_, _>>()?;
        slots.push(Arc::new(Slot { name: key, create_slot, namespaces }));
    }
    // Settings that nothing reads are a misspelt name.
    match settings.keys().next() {
        None => Ok(slots),
        Some(unused) => {
            let path = settings_path.key(unused);
            Err(Wrong::at(&path, "no streams for this slot", format!("slots with streams: {known}")))
        }
    }
}

/// PostgreSQL's rule for names of replication slots.
fn slot_name(path: &KeyPath) -> Result<(), Wrong> {
    let text = path.last();
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=63).contains(&text.len()) && text.bytes().all(allowed) {
        return Ok(());
    }
    Err(Wrong::at(path, "no name of a replication slot", "use 1 to 63 of: a to z, 0 to 9, _"))
}

fn namespace(path: &KeyPath, key: &str, raw: raw::Namespace, clients: &Clients) -> Result<Namespace, Wrong> {
    if key.is_empty() || key.contains('\0') {
        return Err(Wrong::at(path, "no namespace", "use a name that is not empty and has no NUL"));
    }
    if key.len() > MAX_NAMESPACE {
        return Err(Wrong::at(
            path,
            format!("{} bytes: its table's name would pass PostgreSQL's 63 bytes", key.len()),
            format!("use a namespace of at most {MAX_NAMESPACE} bytes"),
        ));
    }
    match raw.on_invalid.as_deref() {
        None | Some("halt") => {}
        Some("dead_letter") => {
            let remedy = "write on_invalid = \"halt\", or remove it";
            return Err(Wrong::not_built(&path.key("on_invalid"), "dead letters", remedy));
        }
        Some(_) => {
            let remedy = "write \"halt\"";
            return Err(Wrong::at(&path.key("on_invalid"), "none of the words that are allowed", remedy));
        }
    }
    if raw.dead_letter_topic.is_some() {
        return Err(Wrong::not_built(&path.key("dead_letter_topic"), "dead letters", "remove it"));
    }
    if raw.park_key == Some(true) {
        let remedy = "write park_key = false, or remove it";
        return Err(Wrong::not_built(&path.key("park_key"), "parking rows behind a dead letter", remedy));
    }
    let kafka_client = clients.get(&raw.kafka_client).cloned().ok_or_else(|| {
        Wrong::at(
            &path.key("kafka_client"),
            "no such kafka client",
            format!("kafka_clients: {}", names(clients.keys())),
        )
    })?;
    topic(&path.key("eventsink_topic"), &raw.eventsink_topic)?;
    topic(&path.key("lifecycle_topic"), &raw.lifecycle_topic)?;
    if raw.eventsink_topic == raw.lifecycle_topic {
        return Err(Wrong::at(
            &path.key("lifecycle_topic"),
            "the same topic as eventsink_topic",
            "use two topics: a consumer cannot tell the two kinds of messages apart",
        ));
    }
    let partitioner = match raw.partitioner {
        None => Partitioner::Phash2,
        Some(text) => choose(Place::Key(path.key("partitioner")), &text, PARTITIONERS)?,
    };
    Ok(Namespace {
        name: key.to_owned(),
        kafka_client,
        eventsink_topic: raw.eventsink_topic,
        lifecycle_topic: raw.lifecycle_topic,
        partitioner,
        on_invalid: OnInvalid::Halt,
        headers: raw.headers.unwrap_or(false),
    })
}

/// Kafka's rule for names of topics.
fn topic(path: &KeyPath, text: &str) -> Result<(), Wrong> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=249).contains(&text.len()) && text.bytes().all(allowed) && text != "." && text != ".." {
        return Ok(());
    }
    Err(Wrong::at(path, "no name of a topic", "use 1 to 249 of: letters, digits, . _ -; not . or .. alone"))
}

/// One slot, or one namespace's rows on one topic, must not be reached in two ways, whatever the references are called.
fn meetings(databases: &[Arc<Database>], streams: &KeyPath) -> Result<(), Wrong> {
    let mut slots: BTreeMap<(Server<'_>, &str), KeyPath> = BTreeMap::new();
    let mut namespaces: BTreeMap<(Server<'_>, &str), Vec<(KeyPath, &Namespace)>> = BTreeMap::new();
    for database in databases {
        let server = Server::of(&database.postgres);
        for slot in &database.slots {
            let path = streams.key(&database.name).key(&slot.name);
            if let Some(other) = slots.insert((server.clone(), &slot.name), path.clone()) {
                return Err(Wrong::at(
                    &path,
                    format!("the same slot of the same database as {other}"),
                    "put all namespaces of a slot under one database reference",
                ));
            }
            for namespace in &slot.namespaces {
                let path = path.key(&namespace.name);
                let others = namespaces.entry((server.clone(), &namespace.name)).or_default();
                if let Some((other, _)) = others.iter().find(|(_, other)| share_topic(namespace, other)) {
                    return Err(Wrong::at(
                        &path,
                        format!("{other} writes the same rows to the same topic"),
                        "remove one of the two, or give it topics of its own",
                    ));
                }
                others.push((path, namespace));
            }
        }
    }
    Ok(())
}

/// A database, as far as a configuration can tell two apart.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Server<'a> {
    host: String,
    port: u16,
    database: &'a str,
}

impl<'a> Server<'a> {
    fn of(postgres: &'a Postgres) -> Self {
        Self { host: postgres.host.to_ascii_lowercase(), port: postgres.port, database: &postgres.database }
    }
}

/// Whether both write to one topic. Two Kafka connections are the same cluster when they share an endpoint.
fn share_topic(one: &Namespace, other: &Namespace) -> bool {
    let (client, other_client) = (&one.kafka_client, &other.kafka_client);
    let one_cluster = client.name == other_client.name
        || client.endpoints.iter().any(|a| other_client.endpoints.iter().any(|b| a.eq_ignore_ascii_case(b)));
    let others = [&other.eventsink_topic, &other.lifecycle_topic];
    one_cluster && (others.contains(&&one.eventsink_topic) || others.contains(&&one.lifecycle_topic))
}

fn names<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<String> = keys.map(|name| format!("{name:?}")).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
