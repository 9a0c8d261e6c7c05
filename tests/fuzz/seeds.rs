//! Where fuzzing begins: what the servers and the Erlang service really wrote (`tests/fixtures`), and what is written by hand where
//! nothing is recorded.

use std::{fs, path::Path};

use cdc_notifier::change::{Column, Relation, ReplicaIdentity};
use serde_json::Value as Json;

use crate::properties::{
    CANARY,
    encoder::{Field, OldRow, Sent},
    pipeline,
};

/// Longer ones make slow mutants.
const LONGEST: usize = 4096;

fn lines(file: &str) -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(file);
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The field of a file's lines that is bytes in hexadecimal.
fn column(file: &str, field: &str) -> Vec<Vec<u8>> {
    lines(file).iter().map(|line| hex::decode(line[field].as_str().unwrap()).unwrap()).collect()
}

/// Short ones, few enough to be read in a moment.
fn some(all: impl IntoIterator<Item = Vec<u8>>) -> Vec<Vec<u8>> {
    let mut some: Vec<_> = all.into_iter().filter(|bytes| bytes.len() <= LONGEST).collect();
    some.sort();
    some.dedup();
    let step = some.len().div_ceil(120);
    some.into_iter().step_by(step).collect()
}

pub fn copy_data() -> Vec<Vec<u8>> {
    let data = |payload: &[u8]| [&b"w"[..], &[1; 24], payload].concat();
    let keepalive = |reply: u8| [&b"k"[..], &[0xff; 16], &[reply]].concat();
    vec![data(b""), data(b"payload"), keepalive(0), keepalive(1)]
}

fn captured() -> Vec<Vec<u8>> {
    ["text", "binary"]
        .iter()
        .flat_map(|format| column(&format!("pgoutput/postgres-15-{format}.jsonl"), "message"))
        .collect()
}

pub fn pgoutput() -> Vec<Vec<u8>> {
    some(captured())
}

pub fn external_term() -> Vec<Vec<u8>> {
    let files = ["eventsink", "invalid", "accepted_hostile"];
    some(files.iter().flat_map(|file| column(&format!("vectors/{file}.jsonl"), "payload_hex")))
}

pub fn thrift() -> Vec<Vec<u8>> {
    some(["eventsink", "lifecycle"].iter().flat_map(|file| column(&format!("vectors/{file}.jsonl"), "value_hex")))
}

/// The captured streams in parts, and transactions whose rows are messages.
pub fn pipeline() -> Vec<Vec<u8>> {
    let captured: Vec<_> = captured().into_iter().filter(|message| message.len() < LONGEST).collect();
    let parts = captured.chunks(40).map(|part| pipeline::join(part.iter().map(Vec::as_slice)));
    let payloads = some(column("vectors/eventsink.jsonl", "payload_hex"));
    let streams = payloads.iter().enumerate().map(|(number, payload)| stream(payload, number % 2 == 0));
    parts.chain(streams).collect()
}

const PROCESSES: u32 = 1;
const EVENTS: u32 = 2;

fn relation(oid: u32, kind: &str, columns: &[(&str, u32)]) -> Sent {
    let column = |&(name, type_oid): &(&str, u32)| Column { name: name.to_owned(), identity: true, type_oid };
    Sent::Relation(Relation {
        oid,
        schema: "public".into(),
        name: format!("{}_{kind}", pipeline::NAMESPACE),
        identity: ReplicaIdentity::Full,
        columns: columns.iter().map(column).collect(),
    })
}

/// A process begins, has an event, fails, works again and ends.
fn stream(payload: &[u8], binary: bool) -> Vec<u8> {
    let text = |text: &str| Field::Text(text.into());
    let process = |status: &str, detail: Field| vec![text("2Ab3"), text(status), detail];
    let update =
        |old: Vec<Field>, new: Vec<Field>| Sent::Update { relation: PROCESSES, old: Some(OldRow::Full(old)), new };
    let event = if binary {
        let at = 764_400_000_000_000_i64.to_be_bytes().to_vec();
        let metadata = [b"\x01", metadata().as_bytes()].concat();
        vec![
            text("2Ab3"),
            Field::Binary(vec![0, 1]),
            Field::Binary(at),
            Field::Binary(metadata),
            Field::Binary(payload.into()),
        ]
    } else {
        let payload = format!("\\x{}", hex::encode(payload));
        vec![text("2Ab3"), text("1"), text("2024-03-22 06:12:27.5+00"), text(&metadata()), text(&payload)]
    };
    let (commit_lsn, commit_time) = (1000, 764_400_000_000_000);
    let messages = [
        Sent::Begin { commit_lsn, commit_time, xid: 9 },
        relation(PROCESSES, "processes", &[("process_id", 1043), ("status", 16_500), ("detail", 25)]),
        Sent::Insert { relation: PROCESSES, new: process("running", Field::Null) },
        relation(
            EVENTS,
            "events",
            &[("process_id", 1043), ("event_id", 21), ("timestamp", 1184), ("metadata", 3802), ("payload", 17)],
        ),
        Sent::Insert { relation: EVENTS, new: event },
        update(process("running", Field::Null), process("error", text(CANARY))),
        update(process("error", text(CANARY)), process("running", Field::Unchanged)),
        Sent::Delete { relation: PROCESSES, old: OldRow::Full(process("running", Field::Null)) },
        Sent::Commit { commit_lsn, end_lsn: 1050, commit_time },
        Sent::Begin { commit_lsn: 2000, commit_time, xid: 10 },
        Sent::Commit { commit_lsn: 2000, end_lsn: 2050, commit_time },
    ];
    let messages: Vec<_> = messages.iter().map(Sent::encode).collect();
    pipeline::join(messages.iter().map(Vec::as_slice))
}

fn metadata() -> String {
    format!("{{\"format_version\": 1, \"note\": \"{CANARY}\"}}")
}

/// The reference in all three formats, each with a secret from the environment.
pub fn configuration() -> Vec<Vec<u8>> {
    let toml = include_str!("../../config/reference.toml");
    let example = include_str!("../../config/example.toml").replace("${PROGRESSOR_PASSWORD}", "${SECRET}");
    let bare: String = toml.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    let bare = bare.replace("${PROGRESSOR_PASSWORD:-progressor}", "${SECRET}");
    let json = |text: &str| serde_json::to_string_pretty(&toml::from_str::<Json>(text).unwrap()).unwrap();
    let (json, small) = (json(&bare), json(&example));
    let files = [(0, &bare), (0, &example), (1, &json), (1, &small), (2, &json), (2, &small)];
    let yaml = "databases:\n  db: {host: h, database: d, username: u, password: \"${SECRET}\"}\nlog:\n  level: info\n";
    let other = [[&[1], yaml.as_bytes()].concat(), b"\0max_retries = \"${SECRET}\"\n".to_vec()];
    files.iter().map(|(format, text)| [&[*format], text.as_bytes()].concat()).chain(other).collect()
}

pub fn admin() -> Vec<Vec<u8>> {
    let resume = "POST /api/v1/streams/db/slot/resume HTTP/1.1\r\nHost: h\r\n";
    let requests = [
        "GET /health/live HTTP/1.1\r\nHost: h".to_owned(),
        "GET /health/ready?verbose=1 HTTP/1.0".to_owned(),
        "HEAD /api/v1/streams HTTP/1.1\r\nHost: h\r\nConnection: close".to_owned(),
        "GET /api/v1/%73treams HTTP/1.1\r\nHost: h\r\nAccept: text/html".to_owned(),
        resume.to_owned(),
        format!("{resume}Origin: http://localhost:8022"),
        format!("{resume}Authorization: Bearer {CANARY}"),
        format!("{resume}Origin: null\r\nAuthorization: Bearer {CANARY}x"),
        format!("{resume}Content-Length: 3\r\n\r\nabc"),
        format!("{resume}Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0"),
        "POST /api/v1/streams/d%2Fb/..%2f/resume HTTP/1.1\r\nHost: h".to_owned(),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\nHost: h".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: h\r\nUpgrade: h2c".to_owned(),
    ];
    requests.map(String::into_bytes).into()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind], &u32::try_from(body.len() + 4).unwrap().to_be_bytes()[..], body].concat()
}

fn row(columns: &[&[u8]]) -> Vec<u8> {
    let fields =
        columns.iter().flat_map(|column| [&u32::try_from(column.len()).unwrap().to_be_bytes(), *column].concat());
    let body: Vec<u8> = [0, u8::try_from(columns.len()).unwrap()].into_iter().chain(fields).collect();
    message(b'D', &body)
}

/// A login that asks for nothing, as far as the answer to it.
pub fn login() -> Vec<Vec<u8>> {
    vec![
        message(b'R', &[0; 4]),
        message(b'S', b"server_version\x0015.18\0"),
        message(b'S', b"TimeZone\0UTC\0"),
        message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]),
        message(b'Z', b"I"),
    ]
}

/// A server that answers everything, and one that asks for each kind of password.
pub fn server() -> Vec<Vec<u8>> {
    let complete = [message(b'C', b"OK\0"), message(b'Z', b"I")].concat();
    let history = b"1\t0/3000148\tno recovery target specified\n\n# a comment\n";
    let error = |sqlstate: &str| message(b'E', format!("SFATAL\0C{sqlstate}\0Mno\0Rf\0\0").as_bytes());
    let answers = [
        vec![message(b'T', &[0, 0]), row(&[b"7300000000000000001", b"2", b"16/B374D848", b"d"]), complete.clone()],
        vec![row(&[b"00000002.history", history]), complete.clone()],
        vec![message(b'W', &[0, 0, 0])],
    ]
    .concat();
    let data: Vec<_> = copy_data().iter().map(|data| message(b'd', data)).collect();
    let notice = message(b'N', b"SWARNING\0C01000\0Mtake care\0\0");
    let rest = [data.concat(), notice, message(b'c', &[]), message(b'C', b"COPY 0\0"), message(b'Z', b"I")].concat();
    let whole = [login().concat(), answers.concat(), rest.clone()].concat();
    let md5 = [message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), whole.clone()].concat();
    let clear = [message(b'R', &[0, 0, 0, 3]), whole.clone()].concat();
    let first = b"\0\0\0\x0br=nonce,s=c2FsdA==,i=4096";
    let scram =
        [message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"), message(b'R', first), message(b'R', b"\0\0\0\x0cv=eA==")]
            .concat();
    let refused = [login().concat(), answers[..2].concat(), error("57P01")].concat();
    let stopped = [login().concat(), answers.concat(), error("57P01")].concat();
    vec![whole, md5, clear, scram, error("28P01"), refused, stopped, rest]
}
