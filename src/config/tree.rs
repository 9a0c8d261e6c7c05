//! The file's values, whatever its format, and serde's way into them.
//!
//! Own rather than a library's, because the usual errors of serde quote the value they could not use. [`Fault`] keeps only
//! kinds and keys, so no error can carry a secret.

use std::{collections::BTreeMap, fmt::Display};

use config::{Value, ValueKind};
use serde::{
    de::{
        self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};

/// A value of the file. No `Debug`: it may be a secret.
pub(super) enum Tree {
    Null,
    Boolean(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Tree>),
    Table(BTreeMap<String, Tree>),
}

impl From<Value> for Tree {
    /// Recursive: the parsers have bounded the depth.
    fn from(value: Value) -> Self {
        match value.kind {
            ValueKind::Nil => Self::Null,
            ValueKind::Boolean(value) => Self::Boolean(value),
            ValueKind::I64(value) => Self::Integer(value.into()),
            ValueKind::I128(value) => Self::Integer(value),
            ValueKind::U64(value) => Self::Integer(value.into()),
            ValueKind::U128(value) => Self::Integer(i128::try_from(value).unwrap_or(i128::MAX)),
            ValueKind::Float(value) => Self::Float(value),
            ValueKind::String(value) => Self::Text(value),
            ValueKind::Array(values) => Self::List(values.into_iter().map(Self::from).collect()),
            ValueKind::Table(table) => Self::Table(table.into_iter().map(|(key, value)| (key, value.into())).collect()),
        }
    }
}

/// Why a value does not fit.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// Of another kind.
    #[error("is {found}")]
    Kind { found: &'static str, expected: String },
    /// Of the right kind, but not one that is allowed.
    #[error("has a value that is not allowed")]
    Value { expected: String },
    /// A key that does not exist.
    #[error("unknown key")]
    UnknownKey { key: String, allowed: &'static [&'static str] },
    /// A key that must be there.
    #[error("missing")]
    Missing(&'static str),
    /// A message of serde's own, without any value.
    #[error("{0}")]
    Other(String),
}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Kind { found: kind(&found), expected: plain(expected) }
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::Value { expected: plain(expected) }
    }

    fn unknown_field(key: &str, allowed: &'static [&'static str]) -> Self {
        Self::UnknownKey { key: key.to_owned(), allowed }
    }

    fn missing_field(key: &'static str) -> Self {
        Self::Missing(key)
    }
}

fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) => "a number with a fraction",
        Unexpected::Char(_) | Unexpected::Str(_) => "text",
        Unexpected::Unit | Unexpected::Option => "empty",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a table",
        _ => "something else",
    }
}

/// Serde's words for what it wants, in the operator's.
fn plain(expected: &dyn Expected) -> String {
    let text = expected.to_string();
    match text.as_str() {
        "u16" => "a whole number from 0 to 65535".to_owned(),
        "u32" => "a whole number from 0 to 4294967295".to_owned(),
        "a boolean" => "true or false, without quotes".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a sequence" => "a list".to_owned(),
        "a map" => "a table".to_owned(),
        other if other.starts_with("struct ") => "a table".to_owned(),
        _ => text,
    }
}

impl IntoDeserializer<'_, Fault> for Tree {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Tree {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Boolean(value) => visitor.visit_bool(value),
            Self::Integer(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(value),
            },
            Self::Float(value) => visitor.visit_f64(value),
            Self::Text(value) => visitor.visit_string(value),
            Self::List(values) => visitor.visit_seq(SeqDeserializer::new(values.into_iter())),
            Self::Table(table) => visitor.visit_map(MapDeserializer::new(table.into_iter())),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Self::Null => visitor.visit_none(),
            some => visitor.visit_some(some),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}
