//! Maps in Erlang's term order of their keys.
//!
//! `term_to_binary/1` writes maps of up to 32 keys in this order, larger ones in an order that changes from run to run.
//! The Erlang service wrote each map as it came; here all are in term order, so that a repeat is identical.
//!
//! A map is written as it comes, and put in order when it ends. So a key that holds maps itself is in order already when
//! it is compared, and two keys are the same if and only if their bytes are.

use std::cmp::Ordering;

use super::{
    Fault, KEPT_SCRATCH,
    wire::{STOP, arm},
};

/// Steps of work for each byte of a term that sorting may take. A flat map of the smallest keys needs 4.
const STEPS_PER_BYTE: u64 = 16;
/// Bytes of a string, or bytes moved, that count as one step.
const BYTES_PER_STEP: usize = 64;

const COSTLY: Fault = "its maps take too much work to put in order";
const TWICE: Fault = "its term has a map with a key twice";
const BROKEN: Fault = "its value was written wrongly: a defect of this program";

/// An entry of a map, by positions in the value.
#[derive(Clone, Copy)]
struct Entry {
    key: u32,
    end: u32,
}

/// The entries of all maps that are being written, those of inner maps behind those of outer ones.
#[derive(Default)]
pub(super) struct Entries {
    /// Where the value begins in the output.
    base: usize,
    open: Vec<Entry>,
    merged: Vec<Entry>,
    moved: Vec<u8>,
    comparison: Comparison,
}

impl Entries {
    /// Begins a value at this position of the output, of a term of so many bytes.
    pub(super) fn start(&mut self, base: usize, term: usize) {
        self.base = base;
        self.open.clear();
        self.comparison.steps = Steps((term as u64).saturating_mul(STEPS_PER_BYTE));
    }

    /// Gives memory back after a large value.
    pub(super) fn shrink(&mut self) {
        let kept = KEPT_SCRATCH / size_of::<Entry>();
        self.open.clear();
        self.open.shrink_to(kept);
        self.merged.clear();
        self.merged.shrink_to(kept);
        self.moved.clear();
        self.moved.shrink_to(KEPT_SCRATCH);
        self.comparison.open.clear();
        self.comparison.open.shrink_to(KEPT_SCRATCH / size_of::<Open>());
    }

    /// Number of entries of all open maps.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// An entry of the innermost map begins at this position of the output.
    pub(super) fn begin(&mut self, position: usize) -> Result<(), Fault> {
        let key = u32::try_from(position - self.base).map_err(|_| BROKEN)?;
        self.open.push(Entry { key, end: key });
        Ok(())
    }

    /// Puts the innermost map, whose entries begin at `first` and whose last one ends with the output, in order.
    ///
    /// # Errors
    /// If a key is there twice, or the value is not worth the work.
    pub(super) fn finish(&mut self, first: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let value = out.get(self.base..).ok_or(BROKEN)?;
        let entries = self.open.get_mut(first..).ok_or(BROKEN)?;
        let mut sorted = true;
        for [one, next] in entries.array_windows() {
            match self.comparison.keys(value, *one, *next)? {
                Ordering::Less => {}
                Ordering::Equal => return Err(TWICE),
                Ordering::Greater => {
                    sorted = false;
                    break;
                }
            }
        }
        if !sorted {
            let mut end = u32::try_from(value.len()).map_err(|_| BROKEN)?;
            for entry in entries.iter_mut().rev() {
                entry.end = end;
                end = entry.key;
            }
            sort(entries, &mut self.merged, |one, other| self.comparison.keys(value, one, other))?;
            let start = end as usize;
            self.moved.clear();
            self.moved.extend_from_slice(value.get(start..).ok_or(BROKEN)?);
            self.comparison.steps.take(2 * self.moved.len())?;
            out.truncate(self.base + start);
            for entry in entries {
                let bytes = self.moved.get(entry.key as usize - start..entry.end as usize - start);
                out.extend_from_slice(bytes.ok_or(BROKEN)?);
            }
        }
        self.open.truncate(first);
        Ok(())
    }
}

/// Merge sort, since the standard library's cannot be left when a comparison fails: with a key twice, or no steps left.
fn sort(
    entries: &mut [Entry],
    merged: &mut Vec<Entry>,
    mut compare: impl FnMut(Entry, Entry) -> Result<Ordering, Fault>,
) -> Result<(), Fault> {
    let mut width = 1;
    while width < entries.len() {
        merged.clear();
        for pair in entries.chunks(2 * width) {
            let (mut left, mut right) = pair.split_at(width.min(pair.len()));
            while let ([one, left_rest @ ..], [other, right_rest @ ..]) = (left, right) {
                match compare(*one, *other)? {
                    Ordering::Less => {
                        merged.push(*one);
                        left = left_rest;
                    }
                    Ordering::Greater => {
                        merged.push(*other);
                        right = right_rest;
                    }
                    Ordering::Equal => return Err(TWICE),
                }
            }
            merged.extend_from_slice(left);
            merged.extend_from_slice(right);
        }
        entries.copy_from_slice(merged);
        width *= 2;
    }
    Ok(())
}

/// Two containers in comparison, equal so far.
#[derive(Clone, Copy)]
enum Open {
    /// Element by element; then the shorter one is first.
    List { left: u32, other_left: u32 },
    /// Maps of the same size: all keys in their order (`values` is false), then all values.
    Map { left: u32, size: u32, first: (usize, usize), values: bool },
}

/// Compares values within a budget of steps.
#[derive(Default)]
struct Comparison {
    steps: Steps,
    open: Vec<Open>,
}

impl Comparison {
    /// Compares the keys of two entries. Keys of inner maps come before their values, so the first difference decides.
    fn keys(&mut self, value: &[u8], one: Entry, other: Entry) -> Result<Ordering, Fault> {
        let mut at = (one.key as usize, other.key as usize);
        self.open.clear();
        loop {
            let (one, other) = (Token::read(value, at.0)?, Token::read(value, at.1)?);
            self.steps.take(one.body.len().min(other.body.len()))?;
            let order = rank(one.arm).cmp(&rank(other.arm)).then_with(|| match one.arm {
                arm::ARR => Ordering::Equal,
                arm::I => one.number().cmp(&other.number()),
                // -0.0 is before 0.0, as in OTP 27; others are finite.
                arm::FLT => f64::from_bits(one.number().cast_unsigned())
                    .total_cmp(&f64::from_bits(other.number().cast_unsigned())),
                // Strings by bytes, then by length; maps by their number of entries.
                _ => one.body.cmp(other.body),
            });
            if order != Ordering::Equal {
                return Ok(order);
            }
            at = (one.next, other.next);
            match one.arm {
                arm::ARR => self.open.push(Open::List { left: one.count(), other_left: other.count() }),
                arm::OBJ => {
                    let size = one.count();
                    self.open.push(Open::Map { left: size, size, first: at, values: false });
                }
                _ => {}
            }
            if let Some(order) = self.next(value, &mut at)? {
                return Ok(order);
            }
        }
    }

    /// Moves to the next pair of values to compare, past the ends of containers. The result, if there is none.
    fn next(&mut self, value: &[u8], at: &mut (usize, usize)) -> Result<Option<Ordering>, Fault> {
        while let Some(open) = self.open.last_mut() {
            match open {
                Open::List { left, other_left } => {
                    if *left > 0 && *other_left > 0 {
                        *left -= 1;
                        *other_left -= 1;
                        return Ok(None);
                    }
                    if left != other_left {
                        return Ok(Some(left.cmp(&other_left)));
                    }
                }
                Open::Map { left, size, first, values } => {
                    if !*values {
                        if *left < *size {
                            *at = (self.steps.skip(value, at.0)?, self.steps.skip(value, at.1)?);
                        }
                        if *left > 0 {
                            *left -= 1;
                            return Ok(None);
                        }
                        (*values, *left, *at) = (true, *size, *first);
                    }
                    if *left > 0 {
                        *left -= 1;
                        *at = (self.steps.skip(value, at.0)?, self.steps.skip(value, at.1)?);
                        return Ok(None);
                    }
                }
            }
            self.open.pop();
            *at = (at.0 + 1, at.1 + 1);
        }
        Ok(Some(Ordering::Equal))
    }
}

/// What is left of the work that a value may take.
#[derive(Default)]
struct Steps(u64);

impl Steps {
    /// A step, and one more for each 64 of these bytes.
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.0 = self.0.checked_sub(1 + (bytes / BYTES_PER_STEP) as u64).ok_or(COSTLY)?;
        Ok(())
    }

    /// The position after the value at a position. Needs no stack: a container ends with a byte that begins no value.
    fn skip(&mut self, value: &[u8], mut at: usize) -> Result<usize, Fault> {
        let mut depth = 0_usize;
        loop {
            self.take(0)?;
            if value.get(at) == Some(&STOP) {
                depth = depth.checked_sub(1).ok_or(BROKEN)?;
                at += 1;
            } else {
                let token = Token::read(value, at)?;
                depth += usize::from(matches!(token.arm, arm::ARR | arm::OBJ));
                at = token.next;
            }
            if depth == 0 {
                return Ok(at);
            }
        }
    }
}

/// A scalar, or the beginning of a container.
struct Token<'a> {
    arm: u8,
    /// The scalar, or the number of elements.
    body: &'a [u8],
    /// After the scalar and its end, or at the first element.
    next: usize,
}

impl<'a> Token<'a> {
    fn read(value: &'a [u8], at: usize) -> Result<Self, Fault> {
        let bytes = value.get(at..).ok_or(BROKEN)?;
        let arm = *bytes.get(2).ok_or(BROKEN)?;
        let (from, length, end) = match arm {
            arm::NL | arm::B => (3, 1, 1),
            arm::I | arm::FLT => (3, 8, 1),
            arm::STR | arm::BIN => (7, length(bytes, 3)?, 1),
            arm::OBJ => (5, 4, 0),
            arm::ARR => (4, 4, 0),
            _ => return Err(BROKEN),
        };
        let body = bytes.get(from..from + length).ok_or(BROKEN)?;
        Ok(Self { arm, body, next: at + from + length + end })
    }

    /// The number of elements of a container.
    fn count(&self) -> u32 {
        self.body.first_chunk().map_or(0, |count| u32::from_be_bytes(*count))
    }

    /// An `i`, or the bits of a `flt`.
    fn number(&self) -> i64 {
        self.body.first_chunk().map_or(0, |number| i64::from_be_bytes(*number))
    }
}

fn length(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    let length = bytes.get(at..).and_then(<[u8]>::first_chunk).ok_or(BROKEN)?;
    Ok(u32::from_be_bytes(*length) as usize)
}

/// Values are tuples in Erlang and compare first by their tag, an atom, in the order of its text.
const fn rank(arm: u8) -> u8 {
    match arm {
        arm::ARR => 0,
        arm::B => 1,
        arm::BIN => 2,
        arm::FLT => 3,
        arm::I => 4,
        arm::NL => 5,
        arm::OBJ => 6,
        _ => 7,
    }
}
