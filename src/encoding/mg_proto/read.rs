//! Reading the messages back, for people and tests.
//!
//! Drives the `thrift` crate's protocol layer value by value instead of generated code: that recurses, and stops at a
//! depth of 64.

mod json;
mod value;

use thrift::{
    TConfiguration,
    protocol::{TBinaryInputProtocol, TFieldIdentifier, TInputProtocol, TType},
};

pub use self::value::{MAX_DEPTH, Value};

/// An event of a machine (`SinkEvent.event`).
#[derive(Clone, Debug, PartialEq)]
pub struct MachineEvent {
    /// The namespace.
    pub source_ns: Vec<u8>,
    /// The id of the machine.
    pub source_id: Vec<u8>,
    /// The number of the event, rising within a machine.
    pub event_id: i64,
    /// `YYYY-MM-DDTHH:MM:SSZ`
    pub created_at: Vec<u8>,
    /// The version of the data's format.
    pub format_version: Option<i32>,
    /// The data.
    pub data: Value,
}

/// A step in the life of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// The namespace.
    pub machine_ns: Vec<u8>,
    /// The id of the machine.
    pub machine_id: Vec<u8>,
    /// `YYYY-MM-DDTHH:MM:SSZ`
    pub created_at: Vec<u8>,
    /// The step.
    pub data: Step,
}

/// What has happened to a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `machine.created`
    Created,
    /// `machine.status_changed.new_status.failed`
    Failed {
        /// Why, if it is known.
        reason: Option<Vec<u8>>,
    },
    /// `machine.status_changed.new_status.working`
    Working,
    /// `machine.removed`
    Removed,
}

/// The bytes are not the message that was expected.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// They are no Thrift, or end too early.
    #[error("{0}")]
    Thrift(#[from] thrift::Error),
    /// They are Thrift, of something else.
    #[error("{0}")]
    Shape(&'static str),
}

/// Reads the value of a record of an eventsink topic.
///
/// # Errors
/// If it is something else, or its data is nested deeper than [`MAX_DEPTH`].
pub fn sink_event(bytes: &[u8]) -> Result<MachineEvent, ReadError> {
    let mut reader = Reader::new(bytes)?;
    let event = reader.union(|reader, field| match (field.field_type, field.id) {
        (TType::Struct, Some(1)) => reader.machine_event(),
        _ => Err(ReadError::Shape("a SinkEvent of an unknown kind")),
    })?;
    reader.end(event)
}

/// Reads the value of a record of a lifecycle topic.
///
/// # Errors
/// If it is something else.
pub fn lifecycle_event(bytes: &[u8]) -> Result<LifecycleEvent, ReadError> {
    let mut reader = Reader::new(bytes)?;
    let event = reader.lifecycle_event()?;
    reader.end(event)
}

/// A protocol over bytes in memory. Nothing is allocated that the bytes do not hold.
struct Reader<'a> {
    protocol: TBinaryInputProtocol<&'a [u8]>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, ReadError> {
        let limits = TConfiguration::builder()
            .max_frame_size(None)
            .max_message_size(Some(bytes.len()))
            .max_string_size(Some(bytes.len()))
            .max_container_size(Some(bytes.len()))
            // The nesting of our messages is fixed, that of values has a bound of its own.
            .max_recursion_depth(None)
            .build()?;
        Ok(Self { protocol: TBinaryInputProtocol::with_config(bytes, false, limits) })
    }

    fn end<T>(&self, message: T) -> Result<T, ReadError> {
        if self.protocol.transport.is_empty() { Ok(message) } else { Err(ReadError::Shape("bytes after the message")) }
    }

    /// Reads the fields of a struct; the caller reads or skips each.
    fn fields(
        &mut self,
        mut read: impl FnMut(&mut Self, &TFieldIdentifier) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        self.protocol.read_struct_begin()?;
        loop {
            let field = self.protocol.read_field_begin()?;
            if field.field_type == TType::Stop {
                return Ok(self.protocol.read_struct_end()?);
            }
            read(self, &field)?;
        }
    }

    /// Reads a struct of exactly one field.
    fn union<T>(
        &mut self,
        mut read: impl FnMut(&mut Self, &TFieldIdentifier) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let mut arm = None;
        self.fields(|reader, field| match arm.replace(read(reader, field)?) {
            None => Ok(()),
            Some(_) => Err(ReadError::Shape("a union of more than one field")),
        })?;
        arm.ok_or(ReadError::Shape("a union without a field"))
    }

    /// Skips a field that a later version may have added.
    fn skip(&mut self, field: &TFieldIdentifier) -> Result<(), ReadError> {
        Ok(self.protocol.skip(field.field_type)?)
    }

    fn bytes(&mut self) -> Result<Vec<u8>, ReadError> {
        Ok(self.protocol.read_bytes()?)
    }

    fn machine_event(&mut self) -> Result<MachineEvent, ReadError> {
        let (mut source_ns, mut source_id, mut event_id) = (None, None, None);
        let (mut created_at, mut format_version, mut data) = (None, None, None);
        self.fields(|reader, field| {
            match (field.field_type, field.id) {
                (TType::String, Some(1)) => source_ns = Some(reader.bytes()?),
                (TType::String, Some(2)) => source_id = Some(reader.bytes()?),
                (TType::I64, Some(3)) => event_id = Some(reader.protocol.read_i64()?),
                (TType::String, Some(4)) => created_at = Some(reader.bytes()?),
                (TType::I32, Some(5)) => format_version = Some(reader.protocol.read_i32()?),
                (TType::Struct, Some(6)) => data = Some(value::read(&mut reader.protocol)?),
                _ => reader.skip(field)?,
            }
            Ok(())
        })?;
        let missing = ReadError::Shape("a MachineEvent without a required field");
        match (source_ns, source_id, event_id, created_at, data) {
            (Some(source_ns), Some(source_id), Some(event_id), Some(created_at), Some(data)) => {
                Ok(MachineEvent { source_ns, source_id, event_id, created_at, format_version, data })
            }
            _ => Err(missing),
        }
    }

    fn lifecycle_event(&mut self) -> Result<LifecycleEvent, ReadError> {
        let (mut machine_ns, mut machine_id, mut created_at, mut data) = (None, None, None, None);
        self.fields(|reader, field| {
            match (field.field_type, field.id) {
                (TType::String, Some(1)) => machine_ns = Some(reader.bytes()?),
                (TType::String, Some(2)) => machine_id = Some(reader.bytes()?),
                (TType::String, Some(3)) => created_at = Some(reader.bytes()?),
                (TType::Struct, Some(4)) => data = Some(reader.step()?),
                _ => reader.skip(field)?,
            }
            Ok(())
        })?;
        match (machine_ns, machine_id, created_at, data) {
            (Some(machine_ns), Some(machine_id), Some(created_at), Some(data)) => {
                Ok(LifecycleEvent { machine_ns, machine_id, created_at, data })
            }
            _ => Err(ReadError::Shape("a LifecycleEvent without a required field")),
        }
    }

    /// `LifecycleEvent.data`
    fn step(&mut self) -> Result<Step, ReadError> {
        self.union(|reader, field| match (field.field_type, field.id) {
            (TType::Struct, Some(1)) => reader.union(|reader, field| match (field.field_type, field.id) {
                (TType::Struct, Some(1)) => reader.fields(Self::skip).map(|()| Step::Created),
                (TType::Struct, Some(2)) => reader.status_changed(),
                (TType::Struct, Some(3)) => reader.fields(Self::skip).map(|()| Step::Removed),
                _ => Err(ReadError::Shape("an unknown event of a machine's life")),
            }),
            _ => Err(ReadError::Shape("an unknown kind of lifecycle event")),
        })
    }

    fn status_changed(&mut self) -> Result<Step, ReadError> {
        let mut status = None;
        self.fields(|reader, field| match (field.field_type, field.id) {
            (TType::Struct, Some(1)) => {
                status = Some(reader.union(|reader, field| match (field.field_type, field.id) {
                    (TType::Struct, Some(1)) => reader.fields(Self::skip).map(|()| Step::Working),
                    (TType::Struct, Some(2)) => reader.failed(),
                    _ => Err(ReadError::Shape("an unknown status of a machine")),
                })?);
                Ok(())
            }
            _ => reader.skip(field),
        })?;
        status.ok_or(ReadError::Shape("a change of status without the new one"))
    }

    fn failed(&mut self) -> Result<Step, ReadError> {
        let mut reason = None;
        self.fields(|reader, field| match (field.field_type, field.id) {
            (TType::String, Some(1)) => {
                reason = Some(reader.bytes()?);
                Ok(())
            }
            _ => reader.skip(field),
        })?;
        Ok(Step::Failed { reason })
    }
}
