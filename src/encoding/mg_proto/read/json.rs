//! The messages as JSON, for people. Not every value has a JSON of its own, so this cannot be read back.

use serde_json::{Map, Value as Json, json};

use super::{LifecycleEvent, MachineEvent, Step, Value};

impl MachineEvent {
    /// The event as JSON, field names as in `thrift/`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        json!({
            "source_ns": text(&self.source_ns),
            "source_id": text(&self.source_id),
            "event_id": self.event_id,
            "created_at": text(&self.created_at),
            "format_version": self.format_version,
            "data": self.data.to_json(),
        })
    }
}

impl LifecycleEvent {
    /// The event as JSON, field names as in `thrift/`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let machine = match &self.data {
            Step::Created => json!({"created": {}}),
            Step::Removed => json!({"removed": {}}),
            Step::Working => json!({"status_changed": {"new_status": {"working": {}}}}),
            Step::Failed { reason } => {
                json!({"status_changed": {"new_status": {"failed": {"reason": reason.as_deref().map(text)}}}})
            }
        };
        json!({
            "machine_ns": text(&self.machine_ns),
            "machine_id": text(&self.machine_id),
            "created_at": text(&self.created_at),
            "data": {"machine": machine},
        })
    }
}

impl Value {
    /// The value as JSON. A `bin`, and a `str` that is no UTF-8, is `{"hex": ...}`; a `flt` that is no number in JSON is
    /// its text; an `obj` with keys other than strings is `{"entries": [[key, value], ...]}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Bool(value) => json!(value),
            Self::Int(value) => json!(value),
            Self::Float(value) if value.is_finite() => json!(value),
            Self::Float(value) => json!(value.to_string()),
            Self::Str(bytes) => text(bytes),
            Self::Bin(bytes) => hex(bytes),
            Self::Arr(values) => values.iter().map(Self::to_json).collect(),
            Self::Obj(entries) => object(entries).unwrap_or_else(|| {
                let entry = |(key, value): &(Self, Self)| json!([key.to_json(), value.to_json()]);
                json!({"entries": entries.iter().map(entry).collect::<Vec<_>>()})
            }),
        }
    }
}

/// A JSON object, if all keys are strings.
fn object(entries: &[(Value, Value)]) -> Option<Json> {
    if entries.iter().any(|(key, _)| !matches!(key, Value::Str(text) if std::str::from_utf8(text).is_ok())) {
        return None;
    }
    let mut object = Map::new();
    for (key, value) in entries {
        if let Value::Str(key) = key {
            object.insert(String::from_utf8_lossy(key).into_owned(), value.to_json());
        }
    }
    Some(Json::Object(object))
}

fn text(bytes: &[u8]) -> Json {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), Into::into)
}

fn hex(bytes: &[u8]) -> Json {
    use std::fmt::Write;
    let mut digits = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a String cannot fail.
        _ = write!(digits, "{byte:02x}");
    }
    json!({"hex": digits})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        let str = |text: &str| Value::Str(text.as_bytes().to_vec());
        let value = Value::Obj(vec![
            (str("a"), Value::Arr(vec![Value::Nil, Value::Bool(true), Value::Int(-1), Value::Float(0.5)])),
            (str("b"), Value::Bin(vec![0, 255])),
            (str("c"), Value::Str(vec![0xff])),
            (str("d"), Value::Obj(vec![(Value::Int(1), str("x"))])),
            (str("e"), Value::Float(f64::INFINITY)),
        ]);
        let expected = json!({
            "a": [null, true, -1, 0.5],
            "b": {"hex": "00ff"},
            "c": {"hex": "ff"},
            "d": {"entries": [[1, "x"]]},
            "e": "inf",
        });
        assert_eq!(value.to_json(), expected);
    }

    #[test]
    fn messages() {
        let (machine_ns, machine_id) = (b"ns".to_vec(), b"id".to_vec());
        let event = |data| LifecycleEvent {
            machine_ns: machine_ns.clone(),
            machine_id: machine_id.clone(),
            created_at: b"2024-03-22T06:12:27Z".to_vec(),
            data,
        };
        let failed = event(Step::Failed { reason: Some(b"why".to_vec()) }).to_json();
        assert_eq!(failed["data"]["machine"]["status_changed"]["new_status"]["failed"]["reason"], "why");
        assert_eq!(failed["machine_id"], "id");
        assert_eq!(event(Step::Created).to_json()["data"]["machine"], json!({"created": {}}));
    }
}
