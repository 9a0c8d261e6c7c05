//! A record's value, read back.

use cdc_notifier::encoding::mg_proto::read::{self, LifecycleEvent, MachineEvent, Step, Value};

use super::held;

/// What is read can be written and read again; memory is in proportion to the bytes that are there.
pub fn check(bytes: &[u8]) {
    let memory = held(|| drop((read::sink_event(bytes), read::lifecycle_event(bytes))));
    assert!(memory <= 64 * bytes.len() + 4096, "{memory} for {}", bytes.len());
    if let Ok(event) = read::sink_event(bytes) {
        let again = read::sink_event(&machine_event(&event)).expect("a SinkEvent");
        // Debug text, since no NaN equals another.
        assert_eq!(format!("{again:?}"), format!("{event:?}"));
        assert!(event.to_json().is_object());
    }
    if let Ok(event) = read::lifecycle_event(bytes) {
        assert_eq!(read::lifecycle_event(&lifecycle_event(&event)).expect("a LifecycleEvent"), event);
        assert!(event.to_json().is_object());
    }
}

fn string(id: u8, bytes: &[u8]) -> Vec<u8> {
    [&[11, 0, id][..], &u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

fn field(kind: u8, id: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, id], body].concat()
}

/// A field that is a struct of these fields.
fn structure(id: u8, fields: &[u8]) -> Vec<u8> {
    [&[12, 0, id], fields, &[0]].concat()
}

fn machine_event(event: &MachineEvent) -> Vec<u8> {
    let mut fields = [string(1, &event.source_ns), string(2, &event.source_id)].concat();
    fields.extend(field(10, 3, &event.event_id.to_be_bytes()));
    fields.extend(string(4, &event.created_at));
    fields.extend(event.format_version.iter().flat_map(|version| field(8, 5, &version.to_be_bytes())));
    fields.extend([12, 0, 6]);
    value(&event.data, &mut fields);
    [structure(1, &fields), vec![0]].concat()
}

fn value(value: &Value, out: &mut Vec<u8>) {
    let count = |count: usize| i32::try_from(count).unwrap().to_be_bytes();
    match value {
        Value::Nil => out.extend(structure(1, &[])),
        Value::Bool(value) => out.extend(field(2, 2, &[u8::from(*value)])),
        Value::Int(value) => out.extend(field(10, 3, &value.to_be_bytes())),
        Value::Float(value) => out.extend(field(4, 4, &value.to_be_bytes())),
        Value::Str(bytes) => out.extend(string(5, bytes)),
        Value::Bin(bytes) => out.extend(string(6, bytes)),
        Value::Obj(entries) => {
            out.extend(field(13, 7, &[12, 12]));
            out.extend(count(entries.len()));
            entries.iter().flat_map(|(key, value)| [key, value]).for_each(|inner| self::value(inner, out));
        }
        Value::Arr(values) => {
            out.extend(field(15, 8, &[12]));
            out.extend(count(values.len()));
            for inner in values {
                self::value(inner, out);
            }
        }
    }
    out.push(0);
}

fn lifecycle_event(event: &LifecycleEvent) -> Vec<u8> {
    let status = |status: Vec<u8>| structure(2, &structure(1, &status));
    let step = match &event.data {
        Step::Created => structure(1, &[]),
        Step::Working => status(structure(1, &[])),
        Step::Failed { reason } => {
            let reason: Vec<u8> = reason.iter().flat_map(|reason| string(1, reason)).collect();
            status(structure(2, &reason))
        }
        Step::Removed => structure(3, &[]),
    };
    let data = structure(4, &structure(1, &step));
    [string(1, &event.machine_ns), string(2, &event.machine_id), string(3, &event.created_at), data, vec![0]].concat()
}
