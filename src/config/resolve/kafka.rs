//! Kafka connections: their structure. What a property means is known to `sink::kafka`.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use secrecy::{ExposeSecret as _, SecretString};

use super::{
    super::{
        error::{KeyPath, PropertyError, Wrong},
        raw,
        types::KafkaClient,
        values::Property,
    },
    host_and_port, name, secret,
};

/// Properties that are secrets: each may be given as `<property>_file`, and its value must be text.
const SECRETS: &[&str] = &[
    "sasl.password",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.assertion.private.key.pem",
    "sasl.oauthbearer.assertion.private.key.passphrase",
    "ssl.key.password",
    "ssl.key.pem",
    "ssl.keystore.password",
];

pub(super) fn clients(
    raw: BTreeMap<String, raw::KafkaClient>,
    check: &dyn Fn(&KafkaClient) -> Result<(), PropertyError>,
) -> Result<BTreeMap<String, Arc<KafkaClient>>, Wrong> {
    let table = KeyPath::of(["kafka_clients"]);
    raw.into_iter()
        .map(|(key, raw)| client(&table.key(&key), &key, raw, check).map(|client| (key, Arc::new(client))))
        .collect()
}

fn client(
    path: &KeyPath,
    key: &str,
    raw: raw::KafkaClient,
    check: &dyn Fn(&KafkaClient) -> Result<(), PropertyError>,
) -> Result<KafkaClient, Wrong> {
    name(path)?;
    let remedy = "write host:port of some brokers: endpoints = [\"kafka1:9092\", \"kafka2:9092\"]";
    let endpoints = path.key("endpoints");
    if raw.endpoints.is_empty() {
        return Err(Wrong::at(&endpoints, "empty", remedy));
    }
    for (index, endpoint) in raw.endpoints.iter().enumerate() {
        if host_and_port(endpoint).is_none_or(|(_, port)| port == 0) {
            return Err(Wrong::at(&endpoints.key(&index.to_string()), "not host:port", remedy));
        }
    }
    let properties = properties(&path.key("properties"), raw.properties)?;
    let client = KafkaClient { name: key.to_owned(), endpoints: raw.endpoints, properties };
    check(&client).map_err(|error| {
        let path = error.property.map_or_else(|| path.clone(), |property| path.key("properties").key(&property));
        Wrong::at(&path, error.message, error.remedy)
    })?;
    Ok(client)
}

fn properties(path: &KeyPath, raw: BTreeMap<String, Property>) -> Result<BTreeMap<String, SecretString>, Wrong> {
    let mut properties = BTreeMap::new();
    for (key, Property { text, verbatim }) in raw {
        let at = path.key(&key);
        let (property, value) = match key.strip_suffix("_file") {
            None if !verbatim && SECRETS.contains(&key.as_str()) => {
                return Err(Wrong::at(
                    &at,
                    "not text",
                    "put the secret in quotes: what looks like a number may be changed",
                ));
            }
            None => (key.as_str(), text),
            Some(property) if SECRETS.contains(&property) => (property, secret(&at, Path::new(text.expose_secret()))?),
            Some(_) => {
                let forms: Vec<String> = SECRETS.iter().map(|secret| format!("{secret}_file")).collect();
                return Err(Wrong::at(&at, "unknown property", format!("secrets from files: {}", forms.join(", "))));
            }
        };
        if properties.insert(property.to_owned(), value).is_some() {
            return Err(Wrong::at(&path.key(property), "given twice, also as a file", "remove one of the two"));
        }
    }
    Ok(properties)
}
