//! The fixed bytes of the messages. A field is its type (u8) and its id (i16); a struct ends with [`STOP`]; a string is
//! its length (i32) and its bytes; all big-endian.

use super::Fault;

/// Ends a struct or a union.
pub(super) const STOP: u8 = 0;
/// Type of a struct or a union.
pub(super) const STRUCT: u8 = 12;

/// `SinkEvent.event`.
pub(super) const EVENT: [u8; 3] = [STRUCT, 0, 1];
/// `MachineEvent.source_ns`.
pub(super) const SOURCE_NS: [u8; 3] = [11, 0, 1];
/// `MachineEvent.source_id`.
pub(super) const SOURCE_ID: [u8; 3] = [11, 0, 2];
/// `MachineEvent.event_id`.
pub(super) const EVENT_ID: [u8; 3] = [10, 0, 3];
/// `MachineEvent.created_at`.
pub(super) const EVENT_CREATED_AT: [u8; 3] = [11, 0, 4];
/// `MachineEvent.format_version`.
pub(super) const FORMAT_VERSION: [u8; 3] = [8, 0, 5];
/// `MachineEvent.data`.
pub(super) const DATA: [u8; 3] = [STRUCT, 0, 6];

/// `LifecycleEvent.machine_ns`.
pub(super) const MACHINE_NS: [u8; 3] = [11, 0, 1];
/// `LifecycleEvent.machine_id`.
pub(super) const MACHINE_ID: [u8; 3] = [11, 0, 2];
/// `LifecycleEvent.created_at`.
pub(super) const LIFECYCLE_CREATED_AT: [u8; 3] = [11, 0, 3];
/// `LifecycleEvent.data = machine.created`, to the end.
pub(super) const CREATED: [u8; 13] = [STRUCT, 0, 4, STRUCT, 0, 1, STRUCT, 0, 1, 0, 0, 0, 0];
/// `LifecycleEvent.data = machine.removed`, to the end.
pub(super) const REMOVED: [u8; 13] = [STRUCT, 0, 4, STRUCT, 0, 1, STRUCT, 0, 3, 0, 0, 0, 0];
/// `LifecycleEvent.data = machine.status_changed.new_status.working`, to the end.
pub(super) const WORKING: [u8; 21] =
    [STRUCT, 0, 4, STRUCT, 0, 1, STRUCT, 0, 2, STRUCT, 0, 1, STRUCT, 0, 1, 0, 0, 0, 0, 0, 0];
/// `LifecycleEvent.data = machine.status_changed.new_status.failed.reason`, up to the reason.
pub(super) const FAILED: [u8; 18] = [STRUCT, 0, 4, STRUCT, 0, 1, STRUCT, 0, 2, STRUCT, 0, 1, STRUCT, 0, 2, 11, 0, 1];
/// What follows the reason.
pub(super) const FAILED_END: [u8; 6] = [STOP; 6];

/// The arms of `msgpack.Value` by their field ids.
pub(super) mod arm {
    pub(in super::super) const NL: u8 = 1;
    pub(in super::super) const B: u8 = 2;
    pub(in super::super) const I: u8 = 3;
    pub(in super::super) const FLT: u8 = 4;
    pub(in super::super) const STR: u8 = 5;
    pub(in super::super) const BIN: u8 = 6;
    pub(in super::super) const OBJ: u8 = 7;
    pub(in super::super) const ARR: u8 = 8;
}

/// `nl`, whole.
pub(super) const NL: [u8; 5] = [STRUCT, 0, arm::NL, STOP, STOP];
/// `b`, up to its value.
pub(super) const B: [u8; 3] = [2, 0, arm::B];
/// `i`, up to its value.
pub(super) const I: [u8; 3] = [10, 0, arm::I];
/// `flt`, up to its value.
pub(super) const FLT: [u8; 3] = [4, 0, arm::FLT];
/// `str`, up to its length.
pub(super) const STR: [u8; 3] = [11, 0, arm::STR];
/// `bin`, up to its length.
pub(super) const BIN: [u8; 3] = [11, 0, arm::BIN];
/// `obj`, up to the number of its entries.
pub(super) const OBJ: [u8; 5] = [13, 0, arm::OBJ, STRUCT, STRUCT];
/// `arr`, up to the number of its elements.
pub(super) const ARR: [u8; 4] = [15, 0, arm::ARR, STRUCT];

/// Appends a string or binary with its length.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Fault> {
    let length = i32::try_from(bytes.len()).map_err(|_| "it is longer than a Thrift string can be")?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}
