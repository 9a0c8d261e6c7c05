//! Bytes that are no message, and what is said about each.

use cdc_notifier::{
    change::{Relation, ReplicaIdentity},
    pgoutput::{Message, decode},
};

/// Bytes in hexadecimal, and the end of the error: where and what.
const TABLE: &[(&str, &str)] = &[
    ("", "message cannot be decoded at byte 0: it is empty"),
    ("00", r"'\x00' cannot be decoded at byte 0: its kind is unknown"),
    ("78", "'x' cannot be decoded at byte 0: its kind is unknown"),
    (
        "42 0000000000000001 0000000000000002 000000",
        "'B' cannot be decoded at byte 17: it ends before the end of the transaction id",
    ),
    ("42 0000000000000001 0000000000000002 00000003 00", "'B' cannot be decoded at byte 21: 1 bytes are left over"),
    (
        "43 01 0000000000000001 0000000000000002 0000000000000003",
        "'C' cannot be decoded at byte 1: an unknown value of the flags",
    ),
    ("43", "'C' cannot be decoded at byte 1: it ends before the end of the flags"),
    ("4f 0000000000000001 6162", "'O' cannot be decoded at byte 9: it ends before the end of the origin name"),
    ("59 00000001 00 61", "'Y' cannot be decoded at byte 6: it ends before the end of the name of the type"),
    ("4d 02 0000000000000001 00 00000000", "'M' cannot be decoded at byte 1: an unknown value of the flags"),
    (
        "4d 01 0000000000000001 00 00000002 61",
        "'M' cannot be decoded at byte 15: it ends before the end of the content",
    ),
    (
        "4d 00 0000000000000001 00 ffffffff 61",
        "'M' cannot be decoded at byte 15: it ends before the end of the content",
    ),
    ("52 00000001 7000 7400 78 0000", "'R' cannot be decoded at byte 9: an unknown value of the replica identity"),
    ("52 00000001 7000 ff00 64 0000", "'R' cannot be decoded at byte 7: the table name is not UTF-8"),
    ("52 00000001 c300 7400 64 0000", "'R' cannot be decoded at byte 5: the schema is not UTF-8"),
    (
        "52 00000001 7000 7400 64 ffff 00 6100 00000017 ffffffff",
        "'R' cannot be decoded at byte 23: it ends before the end of the column flags",
    ),
    (
        "52 00000001 7000 7400 64 0001 02 6100 00000017 ffffffff",
        "'R' cannot be decoded at byte 12: an unknown value of the column flags",
    ),
    (
        "52 00000001 7000 7400 64 0001 01 6100 00000017 ffff",
        "'R' cannot be decoded at byte 19: it ends before the end of the type modifier",
    ),
    ("54 00000002 00 00000001", "'T' cannot be decoded at byte 6: it ends before the end of the table OIDs"),
    ("54 ffffffff 00 00000001", "'T' cannot be decoded at byte 6: it ends before the end of the table OIDs"),
    ("54 00000001 04 00000001", "'T' cannot be decoded at byte 5: an unknown value of the flags"),
    ("49 00000001 4b 0001 6e", "'I' cannot be decoded at byte 5: an unknown value of the mark of the row"),
    ("49 00000001 00 0001 6e", "'I' cannot be decoded at byte 5: an unknown value of the mark of the row"),
    ("49 00000001", "'I' cannot be decoded at byte 5: it ends before the end of the mark of the row"),
    ("49 00000001 4e 00", "'I' cannot be decoded at byte 6: malformed tuple: no column count"),
    ("49 00000001 4e 0001 78", "'I' cannot be decoded at byte 6: malformed tuple: unknown kind of column"),
    ("49 00000001 4e 0001 74 ffffffff", "'I' cannot be decoded at byte 6: malformed tuple: negative length"),
    ("49 00000001 4e 0001 74 7fffffff 00", "'I' cannot be decoded at byte 6: malformed tuple: ends in a value"),
    ("49 00000001 4e 0001 74 0000", "'I' cannot be decoded at byte 6: malformed tuple: ends in a length"),
    ("49 00000001 4e ffff 6e", "'I' cannot be decoded at byte 6: malformed tuple: ends before a column"),
    ("49 00000001 4e 0001 6e 4e 0001 6e", "'I' cannot be decoded at byte 9: 4 bytes are left over"),
    ("55 00000001 4b 0001 6e", "'U' cannot be decoded at byte 9: it ends before the end of the mark of the row"),
    ("55 00000001 4b 0001 6e 4f 0001 6e", "'U' cannot be decoded at byte 9: an unknown value of the mark of the row"),
    ("55 00000001 4e 0001 6e 4e 0001 6e", "'U' cannot be decoded at byte 9: 4 bytes are left over"),
    ("44 00000001 4e 0001 6e", "'D' cannot be decoded at byte 5: an unknown value of the mark of the row"),
    ("44 00000001 4b 0001 6e 4e 0001 6e", "'D' cannot be decoded at byte 9: 4 bytes are left over"),
];

#[test]
fn each_is_refused_with_its_place_and_reason() {
    for (bytes, expected) in TABLE {
        let bytes = hex::decode(bytes.replace(' ', "")).unwrap();
        let error = decode(&bytes).expect_err(expected).to_string();
        assert!(error.ends_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn messages_of_later_protocol_versions_are_named() {
    let named = [
        (b'S', "Stream Start"),
        (b'E', "Stream Stop"),
        (b'c', "Stream Commit"),
        (b'A', "Stream Abort"),
        (b'p', "Stream Prepare"),
        (b'b', "Begin Prepare"),
        (b'P', "Prepare"),
        (b'K', "Commit Prepared"),
        (b'r', "Rollback Prepared"),
    ];
    for (tag, name) in named {
        let error = decode(&[tag, 0, 0, 0, 1]).expect_err(name);
        assert_eq!((error.tag, error.offset), (Some(tag), 0));
        assert!(error.to_string().contains(&format!(": {name} belongs to ")), "{error}");
        assert_eq!(error.remedy().contains("two_phase"), matches!(tag, b'b' | b'P' | b'K' | b'r'), "{error}");
    }
}

#[test]
fn an_empty_schema_is_pg_catalog() {
    let bytes = hex::decode("5200000001007400640000").unwrap();
    let expected = Relation {
        oid: 1,
        schema: "pg_catalog".into(),
        name: "t".into(),
        identity: ReplicaIdentity::Default,
        columns: vec![],
    };
    assert_eq!(decode(&bytes), Ok(Message::Relation(expected)));
}
