//! A `msgpack.Value` as a tree.

use thrift::protocol::{TBinaryInputProtocol, TInputProtocol, TType};

use super::ReadError;

/// Nested `obj` and `arr` that the reading side takes. A tree is dropped, compared and printed by recursion; this many
/// levels fit into any thread's stack.
pub const MAX_DEPTH: usize = 1024;

/// A `msgpack.Value`.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `nl`
    Nil,
    /// `b`
    Bool(bool),
    /// `i`
    Int(i64),
    /// `flt`
    Float(f64),
    /// `str`; not necessarily UTF-8.
    Str(Vec<u8>),
    /// `bin`
    Bin(Vec<u8>),
    /// `obj`, in the order of the bytes.
    Obj(Vec<(Value, Value)>),
    /// `arr`
    Arr(Vec<Value>),
}

/// A container whose values are being read.
enum Open {
    List { left: i32, values: Vec<Value> },
    Map { left: i32, key: Option<Value>, entries: Vec<(Value, Value)> },
}

/// What has been read.
enum Read {
    Whole(Value),
    Begun(Open),
}

/// Reads a value: without recursion, whatever the bytes say.
pub(super) fn read(protocol: &mut TBinaryInputProtocol<&[u8]>) -> Result<Value, ReadError> {
    let mut open: Vec<Open> = Vec::new();
    loop {
        let mut done = match arm(protocol)? {
            Read::Whole(value) => Some(value),
            Read::Begun(_) if open.len() == MAX_DEPTH => {
                return Err(ReadError::Shape("a value nested deeper than 1024"));
            }
            Read::Begun(container) => {
                open.push(container);
                None
            }
        };
        loop {
            let Some(container) = open.pop() else {
                match done {
                    Some(value) => return Ok(value),
                    None => return Err(ReadError::Shape("a value without an arm")),
                }
            };
            match container.with(done.take()) {
                Ok(more) => {
                    open.push(more);
                    break;
                }
                Err(value) => {
                    end(protocol)?;
                    done = Some(value);
                }
            }
        }
    }
}

impl Open {
    /// Takes in a value. `Err` is the container, if it is complete.
    fn with(self, value: Option<Value>) -> Result<Self, Value> {
        match self {
            Self::List { mut left, mut values } => {
                values.extend(value);
                if left <= 0 {
                    return Err(Value::Arr(values));
                }
                left -= 1;
                Ok(Self::List { left, values })
            }
            Self::Map { mut left, mut key, mut entries } => {
                match (key.take(), value) {
                    (Some(key), Some(value)) => entries.push((key, value)),
                    (None, Some(first)) => return Ok(Self::Map { left, key: Some(first), entries }),
                    (_, None) => {}
                }
                if left <= 0 {
                    return Err(Value::Obj(entries));
                }
                left -= 1;
                Ok(Self::Map { left, key, entries })
            }
        }
    }
}

/// Reads the field of the union: a scalar with the union's end, or the beginning of a container.
fn arm(protocol: &mut TBinaryInputProtocol<&[u8]>) -> Result<Read, ReadError> {
    protocol.read_struct_begin()?;
    let field = protocol.read_field_begin()?;
    let value = match (field.field_type, field.id) {
        (TType::Struct, Some(1)) => {
            protocol.read_struct_begin()?;
            while let field = protocol.read_field_begin()?
                && field.field_type != TType::Stop
            {
                protocol.skip(field.field_type)?;
            }
            protocol.read_struct_end()?;
            Value::Nil
        }
        (TType::Bool, Some(2)) => Value::Bool(protocol.read_bool()?),
        (TType::I64, Some(3)) => Value::Int(protocol.read_i64()?),
        (TType::Double, Some(4)) => Value::Float(protocol.read_double()?),
        (TType::String, Some(5)) => Value::Str(protocol.read_bytes()?),
        (TType::String, Some(6)) => Value::Bin(protocol.read_bytes()?),
        (TType::Map, Some(7)) => {
            let map = protocol.read_map_begin()?;
            if map.size > 0 && (map.key_type, map.value_type) != (Some(TType::Struct), Some(TType::Struct)) {
                return Err(ReadError::Shape("an obj of something else than values"));
            }
            return Ok(Read::Begun(Open::Map { left: map.size, key: None, entries: Vec::new() }));
        }
        (TType::List, Some(8)) => {
            let list = protocol.read_list_begin()?;
            if list.size > 0 && list.element_type != TType::Struct {
                return Err(ReadError::Shape("an arr of something else than values"));
            }
            return Ok(Read::Begun(Open::List { left: list.size, values: Vec::new() }));
        }
        _ => return Err(ReadError::Shape("a value of an unknown kind")),
    };
    end(protocol)?;
    Ok(Read::Whole(value))
}

/// Reads the end of the union.
fn end(protocol: &mut TBinaryInputProtocol<&[u8]>) -> Result<(), ReadError> {
    if protocol.read_field_begin()?.field_type != TType::Stop {
        return Err(ReadError::Shape("a value of more than one kind"));
    }
    Ok(protocol.read_struct_end()?)
}
