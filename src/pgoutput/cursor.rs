//! Reading a message from its beginning to its end, each part checked and named.

use super::error::{DecodeError, Reason};
use crate::change::{Lsn, PgTimestamp, Tuple};

/// What is left of one message.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    tag: u8,
    length: usize,
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Behind the tag of `message`.
    pub(super) fn new(message: &'a [u8]) -> Result<(u8, Self), DecodeError> {
        let empty = DecodeError { tag: None, offset: 0, reason: Reason::Empty };
        let (tag, rest) = message.split_first().ok_or(empty)?;
        Ok((*tag, Self { tag: *tag, length: message.len(), rest }))
    }

    /// An error about the byte that comes next.
    pub(super) const fn error(&self, reason: Reason) -> DecodeError {
        DecodeError { tag: Some(self.tag), offset: self.length - self.rest.len(), reason }
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or_else(|| self.error(Reason::EndsIn(part)))?;
        self.rest = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self, part: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(part)?))
    }

    pub(super) fn u16(&mut self, part: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(part)?))
    }

    pub(super) fn u32(&mut self, part: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(part)?))
    }

    pub(super) fn lsn(&mut self, part: &'static str) -> Result<Lsn, DecodeError> {
        Ok(Lsn::new(u64::from_be_bytes(self.array(part)?)))
    }

    pub(super) fn timestamp(&mut self, part: &'static str) -> Result<PgTimestamp, DecodeError> {
        Ok(PgTimestamp(i64::from_be_bytes(self.array(part)?)))
    }

    /// A byte of which only the bits of `known` may be set.
    pub(super) fn flags(&mut self, known: u8, part: &'static str) -> Result<u8, DecodeError> {
        match self.rest.first() {
            Some(flags) if flags & !known != 0 => Err(self.error(Reason::Unknown(part))),
            _ => self.u8(part),
        }
    }

    /// So many bytes.
    pub(super) fn take(&mut self, length: usize, part: &'static str) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or_else(|| self.error(Reason::EndsIn(part)))?;
        self.rest = rest;
        Ok(bytes)
    }

    /// Up to a zero byte, without it.
    pub(super) fn name(&mut self, part: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.rest.iter().position(|byte| *byte == 0).ok_or_else(|| self.error(Reason::EndsIn(part)))?;
        let name = self.take(length, part)?;
        self.u8(part)?;
        Ok(name)
    }

    /// Up to a zero byte, without it, in UTF-8.
    pub(super) fn text(&mut self, part: &'static str) -> Result<&'a str, DecodeError> {
        let not_utf8 = self.error(Reason::NotUtf8(part));
        std::str::from_utf8(self.name(part)?).map_err(|_| not_utf8)
    }

    /// A row.
    pub(super) fn tuple(&mut self) -> Result<Tuple<'a>, DecodeError> {
        let (tuple, rest) = Tuple::parse(self.rest).map_err(|error| self.error(Reason::Tuple(error)))?;
        self.rest = rest;
        Ok(tuple)
    }

    /// Number of bytes left.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The end of the message.
    pub(super) const fn end(self) -> Result<(), DecodeError> {
        match self.left() {
            0 => Ok(()),
            left => Err(self.error(Reason::LeftOver(left))),
        }
    }
}
