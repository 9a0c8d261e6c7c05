//! The one buffer between the socket and the decoder.

use std::ops::Range;

use super::error::Failure;

/// Size while little comes.
const IDLE: usize = 32 * 1024;
/// Largest size while much comes: what a pause brings (`coalesce`) is taken by one read. More than was set only for a message that is
/// larger, and only as long as that is there.
const BUSY: usize = 1024 * 1024;
/// Smallest size while much comes.
const BUSY_AT_LEAST: usize = 64 * 1024;
/// Reads in a row that filled less than a quarter, before the buffer gets smaller.
const QUIET_READS: u8 = 32;
/// Type and length.
const HEADER: usize = 5;
/// No message of PostgreSQL is longer (its `MaxAllocSize`).
pub(super) const LONGEST: usize = 1 << 30;

/// Bytes that were read and not yet taken, and room for more. Keeps messages whole and in one piece.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the longest message that is taken.
    limit: usize,
    /// Size while much comes.
    busy: usize,
    /// Bytes that the message at `start` has in all, if it is known and not all there.
    wanted: usize,
    was_full: bool,
    quiet: u8,
}

impl ReadBuffer {
    /// An empty one that takes messages up to this length.
    pub(super) fn new(limit: usize) -> Self {
        Self { bytes: vec![0; IDLE], start: 0, end: 0, limit, busy: BUSY, wanted: 0, was_full: false, quiet: 0 }
    }

    pub(super) const fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// About how large it is while much comes, in bytes.
    pub(super) fn set_busy(&mut self, bytes: usize) {
        self.busy = bytes.clamp(BUSY_AT_LEAST, BUSY);
    }

    /// Whether the last read left no room.
    pub(super) const fn was_full(&self) -> bool {
        self.was_full
    }

    /// Room to read into, after what is there. Empty only if nothing was taken from a full buffer.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let pending = self.end - self.start;
        let size = self.bytes.len();
        let target = if pending == 0 && size > self.busy {
            self.busy
        } else if self.was_full && size < self.busy {
            (size * 2).min(self.busy)
        } else if pending == 0 && self.quiet >= QUIET_READS && size > IDLE {
            (size / 2).max(IDLE)
        } else {
            size
        };
        let target = target.max(self.wanted).max(pending);
        if target == size {
            // What is there moves to the front when the room behind it would make for short reads.
            if self.start > 0 && (pending == 0 || size - self.end < size / 2 || self.start + self.wanted > size) {
                self.bytes.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, pending);
            }
        } else {
            // Zeroed memory of the system costs nothing until it is touched.
            let mut bytes = vec![0; target];
            for (to, from) in bytes.iter_mut().zip(self.taken(self.start..self.end)) {
                *to = *from;
            }
            self.bytes = bytes;
            (self.start, self.end, self.quiet, self.was_full) = (0, pending, 0, false);
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes have been read into the room.
    pub(super) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
        self.was_full = self.end == self.bytes.len();
        self.quiet = if count < self.bytes.len() / 4 { self.quiet.saturating_add(1) } else { 0 };
    }

    /// Takes the next whole message: its type and where its body is, until the next call of `room`.
    pub(super) fn frame(&mut self) -> Result<Option<(u8, Range<usize>)>, Failure> {
        let there = self.taken(self.start..self.end);
        let Some((header, _)) = there.split_first_chunk::<HEADER>() else {
            self.wanted = HEADER;
            return Ok(None);
        };
        let [kind, length @ ..] = *header;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if !(4..self.limit).contains(&length) {
            return Err(Failure::Protocol("a message has an impossible length: this is not PostgreSQL's protocol"));
        }
        let total = length + 1;
        if there.len() < total {
            self.wanted = total;
            return Ok(None);
        }
        self.wanted = 0;
        let body = self.start + HEADER..self.start + total;
        self.start += total;
        Ok(Some((kind, body)))
    }

    /// The bytes of a range that `frame` has given.
    pub(super) fn taken(&self, range: Range<usize>) -> &[u8] {
        self.bytes.get(range).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(kind: u8, length: usize) -> Vec<u8> {
        let mut bytes = vec![kind];
        bytes.extend(u32::try_from(length + 4).unwrap().to_be_bytes());
        bytes.extend((0..length).map(|i| u8::try_from(i % 251).unwrap()));
        bytes
    }

    /// Hands the bytes over in pieces, as a socket does, and takes what is whole.
    fn through(buffer: &mut ReadBuffer, bytes: &[u8], piece: usize) -> Vec<(u8, Vec<u8>)> {
        let (mut rest, mut messages) = (bytes, Vec::new());
        while !rest.is_empty() {
            let room = buffer.room();
            let count = piece.min(room.len()).min(rest.len());
            assert!(count > 0, "there is always room");
            room[..count].copy_from_slice(&rest[..count]);
            buffer.filled(count);
            rest = &rest[count..];
            while let Some((kind, body)) = buffer.frame().expect("frame") {
                messages.push((kind, buffer.taken(body).to_vec()));
            }
        }
        messages
    }

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in(
            lengths in prop::collection::vec(prop_oneof![0..100usize, 0..40_000usize, 250_000..600_000usize], 1..12),
            piece in prop_oneof![1..7usize, 1..400_000usize],
        ) {
            // Many tiny pieces of large messages only take time.
            let piece = if lengths.iter().sum::<usize>() > 100_000 { piece.max(1000) } else { piece };
            let messages: Vec<_> = lengths.iter().map(|length| message(b'd', *length)).collect();
            let mut buffer = ReadBuffer::new(LONGEST);
            let got = through(&mut buffer, &messages.concat(), piece);
            let expected: Vec<_> = messages.iter().map(|m| (m[0], m[HEADER..].to_vec())).collect();
            prop_assert_eq!(got, expected);
        }
    }

    #[test]
    fn it_grows_to_the_message_and_shrinks_when_idle() {
        let mut buffer = ReadBuffer::new(LONGEST);
        assert_eq!(buffer.room().len(), IDLE);
        through(&mut buffer, &message(b'd', 10_000_000), usize::MAX);
        assert_eq!(buffer.bytes.len(), 10_000_005, "exactly as large as the message");
        assert_eq!(buffer.room().len(), BUSY);
        for _ in 0..200 {
            through(&mut buffer, &message(b'd', 10), usize::MAX);
        }
        assert_eq!(buffer.room().len(), IDLE);
        let stream = message(b'd', 1000).repeat(2000);
        through(&mut buffer, &stream, usize::MAX);
        assert_eq!(buffer.bytes.len(), BUSY, "full reads make it larger");
        for (set, is) in [(100_000, 100_000), (1, BUSY_AT_LEAST), (usize::MAX, BUSY)] {
            buffer.set_busy(set);
            through(&mut buffer, &stream, usize::MAX);
            assert_eq!(buffer.bytes.len(), is, "but not larger than was set");
        }
    }

    #[test]
    fn impossible_lengths_are_refused_before_anything_is_allocated() {
        for length in [0_u32, 3, 1 << 30, u32::MAX] {
            let mut buffer = ReadBuffer::new(LONGEST);
            let mut bytes = vec![b'd'];
            bytes.extend(length.to_be_bytes());
            buffer.room()[..5].copy_from_slice(&bytes);
            buffer.filled(5);
            assert!(buffer.frame().is_err(), "{length}");
            assert_eq!(buffer.bytes.len(), IDLE);
        }
    }

    #[test]
    fn a_full_buffer_that_nobody_empties_has_no_room() {
        let mut buffer = ReadBuffer::new(LONGEST);
        loop {
            let room = buffer.room().len();
            if room == 0 {
                break;
            }
            buffer.filled(room);
        }
        assert_eq!(buffer.bytes.len(), BUSY);
    }
}
