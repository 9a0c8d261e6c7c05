//! Payloads as progressor's users write them: a `msgpack.Value` in Erlang's external term format.

use serde_json::Value as Json;

// Tags, from the documentation of the external term format (`erl_ext_dist`).
const VERSION: u8 = 131;
const NEW_FLOAT: u8 = 70;
const INTEGER: u8 = 98;
const SMALL_TUPLE: u8 = 104;
const NIL: u8 = 106;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const MAP: u8 = 116;
const SMALL_ATOM_UTF8: u8 = 119;

/// The term of a value: `{obj, #{{str, Key} => Value}}`, `{arr, List}`, `{str, Binary}`, `{i, Integer}` and so on.
pub(super) fn encode(value: &Json) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(value, &mut out);
    out
}

fn put(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => {
            put_tag("nl", out);
            out.extend([SMALL_TUPLE, 1]);
            put_atom("mg_msgpack_Nil", out);
        }
        Json::Bool(value) => {
            put_tag("b", out);
            put_atom(if *value { "true" } else { "false" }, out);
        }
        Json::Number(number) => {
            if let Some(value) = number.as_i64() {
                put_tag("i", out);
                put_integer(value, out);
            } else {
                put_tag("flt", out);
                out.push(NEW_FLOAT);
                out.extend(number.as_f64().unwrap_or_default().to_be_bytes());
            }
        }
        Json::String(text) => put_str(text, out),
        Json::Array(values) => {
            put_tag("arr", out);
            if !values.is_empty() {
                out.push(LIST);
                put_length(values.len(), out);
                for value in values {
                    put(value, out);
                }
            }
            out.push(NIL);
        }
        Json::Object(entries) => {
            put_tag("obj", out);
            out.push(MAP);
            put_length(entries.len(), out);
            for (key, value) in entries {
                put_str(key, out);
                put(value, out);
            }
        }
    }
}

/// The head of a pair `{Tag, ...}`.
fn put_tag(tag: &str, out: &mut Vec<u8>) {
    out.extend([SMALL_TUPLE, 2]);
    put_atom(tag, out);
}

fn put_atom(name: &str, out: &mut Vec<u8>) {
    // Ours are short.
    out.extend([SMALL_ATOM_UTF8, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    out.extend(name.as_bytes());
}

fn put_str(text: &str, out: &mut Vec<u8>) {
    put_tag("str", out);
    out.push(BINARY);
    put_length(text.len(), out);
    out.extend(text.as_bytes());
}

fn put_integer(value: i64, out: &mut Vec<u8>) {
    if let Ok(value) = i32::try_from(value) {
        out.push(INTEGER);
        out.extend(value.to_be_bytes());
    } else {
        out.extend([SMALL_BIG, 8, u8::from(value < 0)]);
        out.extend(value.unsigned_abs().to_le_bytes());
    }
}

fn put_length(length: usize, out: &mut Vec<u8>) {
    out.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        change::{Lsn, Notification, PgTimestamp, Transaction},
        encoding::{Kind, Limits, build, mg_proto::read},
    };

    #[test]
    fn the_service_reads_what_is_written() {
        let limits = Limits { max_payload_size: 1 << 20, max_payload_depth: 16 };
        let mut encoder = build(Kind::MgProto, "ns", limits);
        let at = PgTimestamp(0);
        let transaction = Transaction { xid: 1, commit_lsn: Lsn::new(1), commit_time: at };
        for value in [
            json!(null),
            json!([true, false, 0, -1, 2_147_483_648_i64, i64::MIN + 1, 0.25, "", "ü", [], {}]),
            json!({"a": {"b": [{"c": 1}]}, "list": ["x", "y"], "amount": 2480}),
        ] {
            let payload = encode(&value);
            let (machine_id, event_id, format_version) = (&b"id"[..], 1, None);
            let payload = payload.into();
            let notification =
                Notification::MachineEvent { machine_id, event_id, created_at: at, format_version, payload };
            let mut out = Vec::new();
            let key = encoder.encode(&transaction, &notification, &mut out).unwrap();
            assert_eq!(read::sink_event(&out[key..]).unwrap().data.to_json(), value);
        }
    }
}
