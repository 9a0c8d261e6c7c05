//! A stream of pgoutput messages, all the way to confirmed records.

use std::time::Duration;

use cdc_notifier::{
    change::{Lsn, Topic, Trouble},
    delivery::{Intake, Judgement, Ledger},
    encoding::{self, Limits, mg_proto::read},
    pgoutput::{self, Message},
    pipeline::{Batch, Line, Pipeline},
    source,
};

use super::CANARY;

pub const NAMESPACE: &str = "default/default";
const LIMITS: Limits = Limits { max_payload_size: 1 << 16, max_payload_depth: 64 };

/// Messages as one input, each behind its length.
pub fn join<'a>(messages: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let framed = messages.into_iter().flat_map(|message| {
        let length = u16::try_from(message.len()).unwrap().to_be_bytes();
        [length.as_slice(), message].concat()
    });
    framed.collect()
}

fn split(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut messages = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk::<2>() {
        let (message, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
        messages.push(message);
        bytes = rest;
    }
    messages
}

struct Session {
    pipeline: Pipeline,
    intake: Intake,
    ledger: Ledger,
}

/// Every record has the key of its namespace and a value that consumers can read; confirming all of them settles the ledger; a
/// refused row is named without what its columns hold; twice the same stream gives the same records.
pub fn check(bytes: &[u8]) {
    let messages = split(bytes);
    assert_eq!(run(&messages), run(&messages));
}

/// Keys and values, and the trouble that ended it.
type Outcome = (Vec<(Vec<u8>, Vec<u8>)>, Option<Trouble>);

fn run(messages: &[&[u8]]) -> Outcome {
    let mut ledger = Ledger::new(4);
    let intake = Intake::begin_at(Lsn::new(1), &mut ledger);
    let line = Line {
        namespace: NAMESPACE.into(),
        source: source::build(source::Kind::Progressor, NAMESPACE),
        encoder: encoding::build(encoding::Kind::MgProto, NAMESPACE, LIMITS),
    };
    let mut session = Session { pipeline: Pipeline::new(vec![line]), intake, ledger };
    let mut records = Vec::new();
    let mut trouble = None;
    // A hand-over after every third message, so that transactions are cut as well.
    for some in messages.chunks(3) {
        trouble = some.iter().find_map(|message| session.take(message).err());
        let position = session.ledger.position();
        let batches = session.hand_over();
        session.confirm(&batches);
        assert!(session.ledger.position() >= position, "acknowledged positions never fall");
        for record in batches.iter().flat_map(Batch::records) {
            let id = record.key.strip_prefix(NAMESPACE.as_bytes()).and_then(|key| key.strip_prefix(b" ")).expect("key");
            let id_of_value = match record.token.topic() {
                Topic::Eventsink => read::sink_event(record.value).expect("an event").source_id,
                Topic::Lifecycle => read::lifecycle_event(record.value).expect("a lifecycle event").machine_id,
            };
            assert_eq!(id_of_value, id);
            records.push((record.key.to_vec(), record.value.to_vec()));
        }
        if trouble.is_some() {
            break;
        }
    }
    assert!(session.intake.is_inside() || session.ledger.is_settled(), "everything is confirmed");
    if let Some(trouble) = &trouble {
        let (_, reason) = trouble.message.rsplit_once("cannot become a message").unwrap_or_default();
        assert!(!reason.contains(CANARY) && !trouble.message.contains('\n'), "{trouble:?}");
    }
    (records, trouble)
}

impl Session {
    /// As a session's task does it.
    fn take(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        let misplaced = |fault| Trouble::new(cdc_notifier::change::Class::Undecodable, format!("{fault:?}"), "none");
        match pgoutput::decode(bytes)? {
            Message::Begin(transaction) => {
                self.pipeline.begin(transaction);
                self.intake.begin(transaction).map_err(misplaced)
            }
            Message::Change { relation, change } => {
                let judgement = self.intake.change().map_err(misplaced)?;
                assert_eq!(judgement, Judgement::Deliver, "nothing was confirmed before this session");
                match self.pipeline.change(Lsn::new(2), relation, &change, self.intake.sequence())? {
                    Some(_) => self.intake.message().map_err(misplaced),
                    None => Ok(()),
                }
            }
            Message::Commit { commit_lsn, end_lsn, .. } => self.intake.commit(commit_lsn, end_lsn).map_err(misplaced),
            Message::Relation(relation) => self.pipeline.relation(&relation).map(drop),
            _ => Ok(()),
        }
    }

    fn hand_over(&mut self) -> Vec<Batch> {
        self.intake.enter(&mut self.ledger, Duration::ZERO);
        self.pipeline.take().map(|(_, batch)| batch).collect()
    }

    fn confirm(&mut self, batches: &[Batch]) {
        for record in batches.iter().flat_map(Batch::records) {
            self.ledger.confirm(record.token.sequence(), Duration::ZERO, |_| {});
        }
    }
}
