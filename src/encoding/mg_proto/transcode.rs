//! One pass from a term to the Thrift bytes of a `msgpack.Value`, without a tree and without recursion.

use super::{
    Fault, KEPT_SCRATCH,
    inflate::Inflater,
    order::Entries,
    term::Term,
    wire::{self, STOP, put_bytes},
};
use crate::encoding::Limits;

/// No bytea is larger. Keeps counts and positions within 32 bits, as Thrift needs.
const LARGEST: usize = 1 << 30;

/// A list or map whose values are being read.
#[derive(Clone, Copy)]
enum Frame {
    /// `arr`: its count is known, and written, at the end, because the tail of a list may be another list.
    List {
        /// Values to come before the next tail.
        left: usize,
        /// Values so far.
        count: u32,
        /// Where the count belongs.
        count_at: usize,
    },
    /// `obj`
    Map {
        /// Keys and values to come; the next is a key if it is even.
        left: usize,
        /// Where its entries begin.
        first: usize,
    },
}

/// Transcodes payloads; keeps its buffers.
pub(super) struct Transcoder {
    limits: Limits,
    inflater: Inflater,
    frames: Vec<Frame>,
    entries: Entries,
}

impl Transcoder {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, inflater: Inflater::default(), frames: Vec::new(), entries: Entries::default() }
    }

    /// Appends the value that a payload holds. What follows its term is ignored, as Erlang does.
    ///
    /// # Errors
    /// If the payload is malformed, is no `msgpack.Value`, or passes a limit; `out` has a part of it then.
    pub(super) fn transcode(&mut self, payload: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let max_size = self.limits.max_payload_size.min(LARGEST);
        let mut size = usize::MAX;
        let result = self.inflater.term(payload, max_size).and_then(|bytes| {
            size = bytes.len();
            self.frames.clear();
            self.entries.start(out.len(), bytes.len());
            let mut values = Values {
                term: Term::new(bytes),
                max_depth: self.limits.max_payload_depth,
                frames: &mut self.frames,
                entries: &mut self.entries,
                out,
            };
            values.transcode()
        });
        // No buffer grows to more than 8 times the term.
        if size > KEPT_SCRATCH / 8 {
            self.inflater.shrink();
            self.entries.shrink();
            self.frames.clear();
            self.frames.shrink_to(KEPT_SCRATCH / size_of::<Frame>());
        }
        result
    }
}

/// The values of one term on their way.
struct Values<'a> {
    term: Term<'a>,
    max_depth: usize,
    frames: &'a mut Vec<Frame>,
    entries: &'a mut Entries,
    out: &'a mut Vec<u8>,
}

impl Values<'_> {
    fn transcode(&mut self) -> Result<(), Fault> {
        loop {
            self.value()?;
            if !self.next()? {
                return Ok(());
            }
        }
    }

    /// One value; of a container its beginning.
    fn value(&mut self) -> Result<(), Fault> {
        if self.term.tuple()? != 2 {
            return Err("its term has a tuple that is no msgpack.Value");
        }
        match self.term.atom()? {
            b"nl" => {
                let arity = self.term.tuple()?;
                if arity == 0 || self.term.atom()? != b"mg_msgpack_Nil" {
                    return Err("its term has an nl that is no mg_msgpack_Nil record");
                }
                // The Erlang codec looks at the record's name only.
                self.term.skip(arity - 1)?;
                self.out.extend_from_slice(&wire::NL);
            }
            b"b" => {
                let [kind, _, arm] = wire::B;
                match self.term.atom()? {
                    b"true" => self.out.extend_from_slice(&[kind, 0, arm, 1, STOP]),
                    b"false" => self.out.extend_from_slice(&[kind, 0, arm, 0, STOP]),
                    _ => return Err("its term has a b that is neither true nor false"),
                }
            }
            b"i" => {
                let number = self.term.integer()?;
                self.fixed(wire::I, number.to_be_bytes());
            }
            b"flt" => {
                let number = self.term.float()?;
                self.fixed(wire::FLT, number.to_be_bytes());
            }
            b"str" => self.string(wire::STR)?,
            b"bin" => self.string(wire::BIN)?,
            b"arr" => self.open_list()?,
            b"obj" => self.open_map()?,
            _ => return Err("its term has a tag that no msgpack.Value has"),
        }
        Ok(())
    }

    fn fixed(&mut self, field: [u8; 3], value: [u8; 8]) {
        let mut bytes = [STOP; 12];
        let (head, rest) = bytes.split_at_mut(3);
        head.copy_from_slice(&field);
        if let Some(body) = rest.first_chunk_mut() {
            *body = value;
        }
        self.out.extend_from_slice(&bytes);
    }

    fn string(&mut self, field: [u8; 3]) -> Result<(), Fault> {
        let bytes = self.term.binary()?;
        self.out.extend_from_slice(&field);
        put_bytes(self.out, bytes)?;
        self.out.push(STOP);
        Ok(())
    }

    fn open_list(&mut self) -> Result<(), Fault> {
        self.deeper()?;
        self.out.extend_from_slice(&wire::ARR);
        let count_at = self.out.len();
        self.out.extend_from_slice(&[0; 4]);
        match self.term.list()? {
            Some(left) => self.frames.push(Frame::List { left, count: 0, count_at }),
            None => self.out.push(STOP),
        }
        Ok(())
    }

    fn open_map(&mut self) -> Result<(), Fault> {
        self.deeper()?;
        let count = self.term.map()?;
        self.out.extend_from_slice(&wire::OBJ);
        self.out.extend_from_slice(&i32::try_from(count).map_err(|_| "its term has too large a map")?.to_be_bytes());
        self.frames.push(Frame::Map { left: 2 * count, first: self.entries.len() });
        Ok(())
    }

    fn deeper(&self) -> Result<(), Fault> {
        if self.frames.len() < self.max_depth { Ok(()) } else { Err("it is nested deeper than max_payload_depth") }
    }

    /// Ends the containers that are complete. Whether another value follows.
    fn next(&mut self) -> Result<bool, Fault> {
        while let Some(frame) = self.frames.last_mut() {
            match frame {
                Frame::List { left: 0, count, count_at } => match self.term.list()? {
                    Some(more) => {
                        *frame = Frame::List { left: more, count: *count, count_at: *count_at };
                        continue;
                    }
                    None => {
                        if let Some(place) = self.out.get_mut(*count_at..).and_then(<[u8]>::first_chunk_mut) {
                            *place = count.to_be_bytes();
                        }
                    }
                },
                Frame::List { left, count, .. } => {
                    *left -= 1;
                    *count += 1;
                    return Ok(true);
                }
                Frame::Map { left: 0, first } => {
                    let first = *first;
                    self.entries.finish(first, self.out)?;
                }
                Frame::Map { left, .. } => {
                    if left.is_multiple_of(2) {
                        self.entries.begin(self.out.len())?;
                    }
                    *left -= 1;
                    return Ok(true);
                }
            }
            self.out.push(STOP);
            self.frames.pop();
        }
        Ok(false)
    }
}
