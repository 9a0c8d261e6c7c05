//! From notifications to the bytes of a record's key and value.
//!
//! Owns the wire formats, and for each of them the reading side that `tail` and the tests need. Must not know rows,
//! tables or where records go.

pub mod mg_proto;

use crate::change::{InvalidRow, Notification, Transaction};

/// The wire formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The Thrift messages of machinegun-proto, binary protocol.
    MgProto,
}

/// What one payload may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a payload, also after inflating. Above 1 GiB, which no bytea reaches, it is taken as 1 GiB.
    pub max_payload_size: usize,
    /// Nested `obj` and `arr`; a scalar is 0.
    pub max_payload_depth: usize,
}

/// Writes the records of one namespace. The same notification gives the same bytes, always.
pub trait Encoder: Send {
    /// Appends the key and then the value to `out`, and returns the key's length.
    ///
    /// # Errors
    /// If the notification has no encoding: `out` is as before then.
    fn encode(
        &mut self,
        transaction: &Transaction,
        notification: &Notification<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, InvalidRow>;
}

/// The encoder of this kind for a namespace.
#[must_use]
pub fn build(kind: Kind, namespace: &str, limits: Limits) -> Box<dyn Encoder> {
    match kind {
        Kind::MgProto => Box::new(mg_proto::MgProto::new(namespace, limits)),
    }
}
