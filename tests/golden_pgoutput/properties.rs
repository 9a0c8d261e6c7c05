//! What holds for all messages: what is encoded is decoded; what is decoded is all that was there; nothing panics.

use cdc_notifier::{
    change::{Column, Relation, ReplicaIdentity},
    pgoutput::{Message, Reason, decode},
};
use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{
    encoder::{Field, OldRow, Sent},
    fixture::Format,
};

fn name() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=u8::MAX, 0..12)
}

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        Just(Field::Null),
        Just(Field::Unchanged),
        vec(any::<u8>(), 0..300).prop_map(Field::Text),
        vec(any::<u8>(), 0..300).prop_map(Field::Binary),
    ]
}

fn row() -> impl Strategy<Value = Vec<Field>> {
    vec(field(), 0..12)
}

fn old() -> impl Strategy<Value = OldRow> {
    prop_oneof![row().prop_map(OldRow::Key), row().prop_map(OldRow::Full)]
}

fn relation() -> impl Strategy<Value = Relation> {
    use ReplicaIdentity::{Default, Full, Index, Nothing};
    let column = (any::<bool>(), "[^\0]{0,12}", any::<u32>()).prop_map(|(identity, name, type_oid)| Column {
        name,
        identity,
        type_oid,
    });
    (any::<u32>(), "[^\0]{1,12}", "[^\0]{0,12}", select(&[Default, Nothing, Full, Index][..]), vec(column, 0..12))
        .prop_map(|(oid, schema, name, identity, columns)| Relation { oid, schema, name, identity, columns })
}

fn sent() -> impl Strategy<Value = Sent> {
    prop_oneof![
        any::<(u64, i64, u32)>().prop_map(|(commit_lsn, commit_time, xid)| Sent::Begin {
            commit_lsn,
            commit_time,
            xid
        }),
        any::<(u64, u64, i64)>().prop_map(|(commit_lsn, end_lsn, commit_time)| Sent::Commit {
            commit_lsn,
            end_lsn,
            commit_time
        }),
        (any::<u64>(), name()).prop_map(|(commit_lsn, name)| Sent::Origin { commit_lsn, name }),
        relation().prop_map(Sent::Relation),
        (any::<u32>(), name(), name()).prop_map(|(oid, schema, name)| Sent::Type { oid, schema, name }),
        (any::<u32>(), row()).prop_map(|(relation, new)| Sent::Insert { relation, new }),
        (any::<u32>(), option::of(old()), row()).prop_map(|(relation, old, new)| Sent::Update { relation, old, new }),
        (any::<u32>(), old()).prop_map(|(relation, old)| Sent::Delete { relation, old }),
        (vec(any::<u32>(), 0..5), any::<bool>(), any::<bool>())
            .prop_map(|(relations, cascade, restart_identity)| Sent::Truncate { relations, cascade, restart_identity }),
        (any::<bool>(), any::<u64>(), name(), vec(any::<u8>(), 0..300))
            .prop_map(|(transactional, lsn, prefix, content)| Sent::Logical { transactional, lsn, prefix, content }),
    ]
}

/// Bytes that are nearly a message: some changed, inserted, removed or repeated.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let edit = (any::<prop::sample::Index>(), 0..5_u8, prop_oneof![any::<u8>(), select(&b"NKOnutb\0\x01\x7f\xff"[..])]);
    (sent(), vec(edit, 1..4)).prop_map(|(sent, edits)| {
        let mut bytes = sent.encode();
        for (at, kind, byte) in edits {
            let at = at.index(bytes.len());
            match kind {
                0 => bytes.insert(at, byte),
                1 if bytes.len() > 1 => drop(bytes.remove(at)),
                2 => bytes.extend_from_within(at..),
                3 if at > 0 => bytes.truncate(at),
                _ => bytes[at] = byte,
            }
        }
        bytes
    })
}

/// A success accounts for every byte; of a Relation, the type modifiers are not kept, and an empty schema has a name.
fn accounts_for_all(bytes: &[u8]) {
    let Ok(message) = decode(bytes) else { return };
    let again = Sent::of(&message).encode();
    if let Message::Relation(relation) = &message {
        assert_eq!(decode(&again).as_ref(), Ok(&message));
        assert!(again.len() == bytes.len() || relation.schema == "pg_catalog" && again.len() == bytes.len() + 10);
    } else {
        assert_eq!(again, bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_encoded_is_decoded(sent in sent()) {
        let bytes = sent.encode();
        let message = decode(&bytes).expect("decodes");
        prop_assert_eq!(Sent::of(&message), sent);
    }

    #[test]
    fn nothing_shorter_or_longer_is_a_message(sent in sent(), more in vec(any::<u8>(), 1..20)) {
        cut_and_extended(&sent.encode(), &more);
    }

    #[test]
    fn nearly_a_message_is_understood_whole_or_not_at_all(bytes in nearly()) {
        accounts_for_all(&bytes);
    }

    #[test]
    fn any_bytes_are_understood_whole_or_not_at_all(tag in select(&b"BCORYIUDTMSEcApbPKr?"[..]), rest in vec(any::<u8>(), 0..100)) {
        accounts_for_all(&[&[tag][..], &rest].concat());
        accounts_for_all(&rest);
    }
}

fn cut_and_extended(bytes: &[u8], more: &[u8]) {
    for length in 0..bytes.len() {
        let error = decode(&bytes[..length]).expect_err("cut");
        assert!(error.offset <= length, "{error}");
    }
    let long = [bytes, more].concat();
    let error = decode(&long).expect_err("too long");
    assert_eq!((error.offset, error.reason), (bytes.len(), Reason::LeftOver(more.len())));
}

#[test]
fn nothing_shorter_or_longer_than_a_captured_message_is_one() {
    for captured in Format::ALL.into_iter().flat_map(Format::load) {
        cut_and_extended(&captured.bytes(), b"N");
    }
}

#[test]
fn captured_messages_are_encoded_to_the_same_bytes() {
    for captured in Format::ALL.into_iter().flat_map(Format::load) {
        let bytes = captured.bytes();
        let message = decode(&bytes).unwrap();
        if !matches!(message, Message::Relation(_)) {
            assert_eq!(hex::encode(Sent::of(&message).encode()), captured.message);
        }
        accounts_for_all(&bytes);
    }
}

#[test]
fn a_captured_byte_changed_is_understood_whole_or_not_at_all() {
    for captured in Format::Text.load() {
        let mut bytes = captured.bytes();
        for at in 0..bytes.len().min(300) {
            let original = bytes[at];
            for changed in [0, 1, 2, b'N', b'n', b'u', 0x7f, 0x80, 0xff] {
                bytes[at] = changed;
                accounts_for_all(&bytes);
            }
            bytes[at] = original;
        }
    }
}
