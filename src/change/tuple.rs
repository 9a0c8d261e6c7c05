//! A row as it lies in the read buffer: nothing is copied, columns are found when they are asked for.

/// The value of one column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// SQL NULL; in a key-only old row also "not part of the key".
    Null,
    /// A TOASTed value that the update did not change and that is not in the message.
    Unchanged,
    /// In PostgreSQL's text format, under the pinned session settings.
    Text(&'a [u8]),
    /// In the type's binary send format.
    Binary(&'a [u8]),
}

/// The bytes are not a tuple: wrong kind of column, or shorter than they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed tuple: {0}")]
pub struct TupleError(&'static str);

/// The columns of a row, in the relation's order: a checked view of TupleData.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    count: u16,
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// Checks a TupleData at the start of `bytes` and returns it with what follows it.
    ///
    /// # Errors
    /// If a column's kind is unknown or the bytes end too early.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), TupleError> {
        let (count, columns) = bytes.split_first_chunk::<2>().ok_or(TupleError("no column count"))?;
        let count = u16::from_be_bytes(*count);
        let mut rest = columns;
        for _ in 0..count {
            (_, rest) = split_column(rest)?;
        }
        let length = columns.len() - rest.len();
        let (bytes, rest) = columns.split_at_checked(length).ok_or(TupleError("length"))?;
        Ok((Self { count, bytes }, rest))
    }

    /// Number of columns.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether the row has no column.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values in the relation's order.
    pub fn values(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || {
            let (value, after) = split_column(rest).ok()?;
            rest = after;
            Some(value)
        })
    }

    /// The value at a place of the relation; `None` if the row has fewer columns.
    #[must_use]
    pub fn value(&self, position: usize) -> Option<Value<'a>> {
        self.values().nth(position)
    }

    /// Length of the row on the wire, in bytes.
    #[must_use]
    pub const fn wire_len(&self) -> usize {
        self.bytes.len()
    }
}

fn split_column(bytes: &[u8]) -> Result<(Value<'_>, &[u8]), TupleError> {
    let (kind, rest) = bytes.split_first().ok_or(TupleError("ends before a column"))?;
    match kind {
        b'n' => Ok((Value::Null, rest)),
        b'u' => Ok((Value::Unchanged, rest)),
        b't' | b'b' => {
            let (length, rest) = rest.split_first_chunk::<4>().ok_or(TupleError("ends in a length"))?;
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| TupleError("negative length"))?;
            let (value, rest) = rest.split_at_checked(length).ok_or(TupleError("ends in a value"))?;
            Ok((if *kind == b't' { Value::Text(value) } else { Value::Binary(value) }, rest))
        }
        _ => Err(TupleError("unknown kind of column")),
    }
}

/// The old row of an update or a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old<'a> {
    /// `K`: only the columns of the replica identity are there; the others read as NULL and mean nothing.
    Key(Tuple<'a>),
    /// `O`: the whole row (REPLICA IDENTITY FULL).
    Full(Tuple<'a>),
}

impl<'a> Old<'a> {
    /// Its columns.
    #[must_use]
    pub const fn tuple(&self) -> Tuple<'a> {
        match self {
            Self::Key(tuple) | Self::Full(tuple) => *tuple,
        }
    }
}

/// One change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// A new row.
    Insert {
        /// The row.
        new: Tuple<'a>,
    },
    /// A changed row.
    Update {
        /// The row before, as far as the replica identity carries it.
        old: Option<Old<'a>>,
        /// The row after; TOASTed columns that did not change are `Unchanged`.
        new: Tuple<'a>,
    },
    /// A removed row.
    Delete {
        /// The row before.
        old: Old<'a>,
    },
}

impl Change<'_> {
    /// `insert`, `update` or `delete`.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Insert { .. } => "insert",
            Self::Update { .. } => "update",
            Self::Delete { .. } => "delete",
        }
    }
}
