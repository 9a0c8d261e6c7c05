//! machinegun-proto's `SinkEvent` and `LifecycleEvent` in Thrift's binary protocol (`thrift/` has their definition).
//!
//! ```text
//! payload ─▶ inflate ─▶ term (ETF) ─▶ transcode ─▶ Thrift bytes
//!                                        └ order: maps in Erlang's term order
//! ```
//!
//! Written straight into the caller's buffer: no tree, no copy, and no allocation once the buffers have grown. A value
//! has no message header. What a payload can make us spend is bounded, whatever it says:
//!
//! | what | bound |
//! | --- | --- |
//! | payload, also inflated | `max_payload_size` |
//! | nesting | `max_payload_depth`; nothing recurses |
//! | output | 12/7 of the term: an integer takes at least 7 bytes of ETF and 12 of Thrift, all else grows less |
//! | scratch | 7 times `max_payload_size` and 100 bytes a level of nesting; a buffer above 256 KiB is given back after each message |
//! | time | linear in the term; sorting maps may take 16 steps a byte, a step is one value or 64 bytes |

mod created_at;
mod inflate;
mod order;
pub mod read;
mod term;
mod transcode;
mod wire;

use self::{created_at::CreatedAt, transcode::Transcoder, wire::put_bytes};
use super::{Encoder, Limits};
use crate::change::{InvalidRow, Lifecycle, Notification, PgTimestamp, Transaction};

/// Why something has no encoding, without its content.
type Fault = &'static str;

/// Scratch above this is given back after each message.
const KEPT_SCRATCH: usize = 256 * 1024;

/// The encoder of a namespace.
pub(super) struct MgProto {
    /// What every key begins with: the namespace and a space.
    key: Vec<u8>,
    /// SinkEvent up to the machine's id.
    event: Vec<u8>,
    /// LifecycleEvent up to the machine's id.
    lifecycle: Vec<u8>,
    created_at: CreatedAt,
    transcoder: Transcoder,
}

impl MgProto {
    pub(super) fn new(namespace: &str, limits: Limits) -> Self {
        // PostgreSQL's names have at most 63 bytes, so its length fits.
        let length = u32::try_from(namespace.len()).unwrap_or(u32::MAX).to_be_bytes();
        let string = [&length[..], namespace.as_bytes()].concat();
        Self {
            key: [namespace.as_bytes(), b" "].concat(),
            event: [&wire::EVENT[..], &wire::SOURCE_NS, &string, &wire::SOURCE_ID].concat(),
            lifecycle: [&wire::MACHINE_NS[..], &string, &wire::MACHINE_ID].concat(),
            created_at: CreatedAt::default(),
            transcoder: Transcoder::new(limits),
        }
    }

    fn write(
        &mut self,
        transaction: &Transaction,
        notification: &Notification<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidRow> {
        match notification {
            Notification::MachineEvent { machine_id, event_id, created_at, format_version, payload } => {
                out.extend_from_slice(&self.event);
                put_bytes(out, machine_id).map_err(|fault| InvalidRow::new("process_id", fault))?;
                out.extend_from_slice(&wire::EVENT_ID);
                out.extend_from_slice(&event_id.to_be_bytes());
                self.put_time(*created_at, wire::EVENT_CREATED_AT, "timestamp", out)?;
                if let Some(version) = format_version {
                    out.extend_from_slice(&wire::FORMAT_VERSION);
                    out.extend_from_slice(&version.to_be_bytes());
                }
                out.extend_from_slice(&wire::DATA);
                self.transcoder.transcode(payload, out).map_err(|fault| InvalidRow::new("payload", fault))?;
                out.extend_from_slice(&[wire::STOP; 2]);
            }
            Notification::Lifecycle { machine_id, event } => {
                out.extend_from_slice(&self.lifecycle);
                put_bytes(out, machine_id).map_err(|fault| InvalidRow::new("process_id", fault))?;
                self.put_time(transaction.commit_time, wire::LIFECYCLE_CREATED_AT, "commit time", out)?;
                match event {
                    Lifecycle::Created => out.extend_from_slice(&wire::CREATED),
                    Lifecycle::Removed => out.extend_from_slice(&wire::REMOVED),
                    Lifecycle::Working => out.extend_from_slice(&wire::WORKING),
                    Lifecycle::Failed { reason } => {
                        out.extend_from_slice(&wire::FAILED);
                        put_bytes(out, reason).map_err(|fault| InvalidRow::new("detail", fault))?;
                        out.extend_from_slice(&wire::FAILED_END);
                    }
                }
            }
        }
        Ok(())
    }

    fn put_time(
        &mut self,
        at: PgTimestamp,
        field: [u8; 3],
        column: &'static str,
        out: &mut Vec<u8>,
    ) -> Result<(), InvalidRow> {
        out.extend_from_slice(&field);
        self.created_at.put(at, out).map_err(|fault| InvalidRow::new(column, fault))
    }
}

impl Encoder for MgProto {
    fn encode(
        &mut self,
        transaction: &Transaction,
        notification: &Notification<'_>,
        out: &mut Vec<u8>,
    ) -> Result<usize, InvalidRow> {
        let before = out.len();
        out.extend_from_slice(&self.key);
        out.extend_from_slice(notification.machine_id());
        let key = out.len() - before;
        match self.write(transaction, notification, out) {
            Ok(()) => Ok(key),
            Err(invalid) => {
                out.truncate(before);
                Err(invalid)
            }
        }
    }
}
