//! A message of pgoutput.

use cdc_notifier::pgoutput::{Message, Reason, decode};

use super::{encoder::Sent, held};

/// A success accounts for every byte, and one byte more or less is no message; an error names a place within the message; what is
/// allocated is in proportion to the bytes that are there, whatever they announce.
pub fn check(bytes: &[u8]) {
    let memory = held(|| drop(decode(bytes)));
    assert!(memory <= 8 * bytes.len() + 1024, "{memory} for {}", bytes.len());
    match decode(bytes) {
        Ok(message) => {
            assert_accounted(&message, bytes);
            let error = decode(&bytes[..bytes.len() - 1]).expect_err("one byte less");
            assert!(error.offset < bytes.len(), "{error}");
            let error = decode(&[bytes, b"N"].concat()).expect_err("one byte more");
            assert_eq!((error.offset, error.reason), (bytes.len(), Reason::LeftOver(1)));
        }
        Err(error) => {
            assert!(error.offset <= bytes.len() && error.tag == bytes.first().copied(), "{error}");
            assert!(error.to_string().len() < 250 && !error.to_string().contains('\n'), "{error}");
        }
    }
}

/// Of a Relation the type modifiers are not kept, and an empty schema has a name.
fn assert_accounted(message: &Message<'_>, bytes: &[u8]) {
    let again = Sent::of(message).encode();
    if let Message::Relation(relation) = message {
        assert_eq!(decode(&again).as_ref(), Ok(message));
        assert!(again.len() == bytes.len() || relation.schema == "pg_catalog" && again.len() == bytes.len() + 10);
    } else {
        assert_eq!(again, bytes);
    }
}
