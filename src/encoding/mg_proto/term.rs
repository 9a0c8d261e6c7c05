//! Reading a term in Erlang's External Term Format, as far as a `msgpack.Value` uses it. Accepts what
//! `binary_to_term/1` and the Erlang codec accept.

use super::Fault;

const SHORT: Fault = "its term ends too early";

const NEW_FLOAT: u8 = 70;
const BIT_BINARY: u8 = 77;
const SMALL_INTEGER: u8 = 97;
const INTEGER: u8 = 98;
const FLOAT: u8 = 99;
const ATOM: u8 = 100;
const SMALL_TUPLE: u8 = 104;
const LARGE_TUPLE: u8 = 105;
const NIL: u8 = 106;
const STRING: u8 = 107;
const LIST: u8 = 108;
const BINARY: u8 = 109;
const SMALL_BIG: u8 = 110;
const LARGE_BIG: u8 = 111;
const SMALL_ATOM: u8 = 115;
const MAP: u8 = 116;
const ATOM_UTF8: u8 = 118;
const SMALL_ATOM_UTF8: u8 = 119;

/// A position in a term.
pub(super) struct Term<'a> {
    rest: &'a [u8],
}

impl<'a> Term<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(SHORT)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(SHORT)?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(|[byte]| byte)
    }

    fn length8(&mut self) -> Result<usize, Fault> {
        self.u8().map(usize::from)
    }

    fn length16(&mut self) -> Result<usize, Fault> {
        self.array().map(u16::from_be_bytes).map(usize::from)
    }

    fn length32(&mut self) -> Result<usize, Fault> {
        self.array().map(u32::from_be_bytes).and_then(|length| usize::try_from(length).map_err(|_| SHORT))
    }

    /// The number of terms that a container announces: each has at least one byte.
    fn count32(&mut self) -> Result<usize, Fault> {
        let count = self.length32()?;
        if count > self.rest.len() { Err(SHORT) } else { Ok(count) }
    }

    /// The beginning of a tuple: its arity.
    pub(super) fn tuple(&mut self) -> Result<usize, Fault> {
        match self.u8()? {
            SMALL_TUPLE => self.length8(),
            LARGE_TUPLE => self.count32(),
            _ => Err("its term has something else where a tuple must be"),
        }
    }

    /// The name of an atom in whatever encoding; the names that mean something are ASCII, the same in all.
    pub(super) fn atom(&mut self) -> Result<&'a [u8], Fault> {
        let length = match self.u8()? {
            SMALL_ATOM_UTF8 | SMALL_ATOM => self.length8()?,
            ATOM_UTF8 | ATOM => self.length16()?,
            _ => return Err("its term has something else where an atom must be"),
        };
        self.take(length)
    }

    /// A binary; a bit string of whole bytes is one.
    pub(super) fn binary(&mut self) -> Result<&'a [u8], Fault> {
        match self.u8()? {
            BINARY => {
                let length = self.length32()?;
                self.take(length)
            }
            BIT_BINARY => {
                let length = self.length32()?;
                if self.u8()? != 8 || length == 0 {
                    return Err("its term has a bit string where a binary must be");
                }
                self.take(length)
            }
            _ => Err("its term has something else where a binary must be"),
        }
    }

    /// An integer of any encoding that fits into 64 bits.
    pub(super) fn integer(&mut self) -> Result<i64, Fault> {
        let length = match self.u8()? {
            SMALL_INTEGER => return self.u8().map(i64::from),
            INTEGER => return self.array().map(i32::from_be_bytes).map(i64::from),
            SMALL_BIG => self.length8()?,
            LARGE_BIG => self.length32()?,
            _ => return Err("its term has something else where an integer must be"),
        };
        let negative = self.u8()? != 0;
        let mut digits = self.take(length)?;
        while let [shorter @ .., 0] = digits {
            digits = shorter;
        }
        let too_large = "its term has an integer of more than 64 bits";
        if digits.len() > 8 {
            return Err(too_large);
        }
        let magnitude = digits.iter().rev().fold(0, |sum: u64, digit| sum << 8 | u64::from(*digit));
        let number =
            if negative { 0_i64.checked_sub_unsigned(magnitude) } else { 0_i64.checked_add_unsigned(magnitude) };
        number.ok_or(too_large)
    }

    /// A float in binary or in the old text.
    pub(super) fn float(&mut self) -> Result<f64, Fault> {
        let float = match self.u8()? {
            NEW_FLOAT => f64::from_be_bytes(self.array()?),
            FLOAT => old_float(&self.array()?).ok_or("its term has a malformed float")?,
            _ => return Err("its term has something else where a float must be"),
        };
        if float.is_finite() { Ok(float) } else { Err("its term has a float that is not finite") }
    }

    /// The beginning of a list or of its tail, which may be a list again: the number of elements that follow before the
    /// next tail, or `None` for the end of the list.
    pub(super) fn list(&mut self) -> Result<Option<usize>, Fault> {
        match self.u8()? {
            NIL => Ok(None),
            LIST => self.count32().map(Some),
            STRING => match self.length16()? {
                0 => Ok(None),
                _ => Err("its term has a list of bytes where a list of values must be"),
            },
            _ => Err("its term has something else where a proper list must be"),
        }
    }

    /// The beginning of a map: the number of its entries.
    pub(super) fn map(&mut self) -> Result<usize, Fault> {
        match self.u8()? {
            MAP => self.count32(),
            _ => Err("its term has something else where a map must be"),
        }
    }

    /// Steps over so many terms of plain data. Only their shape is checked.
    pub(super) fn skip(&mut self, terms: usize) -> Result<(), Fault> {
        let mut left = terms;
        // Ends: each turn takes a byte. Cannot overflow: a count is at most the bytes that are left.
        while left > 0 {
            left -= 1;
            let length = match self.u8()? {
                SMALL_INTEGER => 1,
                INTEGER => 4,
                NEW_FLOAT => 8,
                FLOAT => 31,
                NIL => 0,
                SMALL_ATOM | SMALL_ATOM_UTF8 => self.length8()?,
                ATOM | ATOM_UTF8 | STRING => self.length16()?,
                BINARY => self.length32()?,
                BIT_BINARY | LARGE_BIG => self.length32()?.saturating_add(1),
                SMALL_BIG => self.length8()? + 1,
                SMALL_TUPLE => {
                    left += self.length8()?;
                    0
                }
                LARGE_TUPLE => {
                    left += self.count32()?;
                    0
                }
                LIST => {
                    left += self.count32()? + 1;
                    0
                }
                MAP => {
                    left += 2 * self.count32()?;
                    0
                }
                _ => return Err("its term has something that is no plain data"),
            };
            self.take(length)?;
        }
        Ok(())
    }
}

/// A float as OTP wrote it before release 17: `printf("%.20e")`, padded with zeros. A comma counts as decimal point.
fn old_float(text: &[u8; 31]) -> Option<f64> {
    let length = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
    let mut text = *text;
    let text = text.get_mut(..length)?;
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = |text: &[u8]| usize::from(matches!(text.first(), Some(b'+' | b'-')));

    let mut at = unsigned(text);
    let whole = digits(text.get(at..)?);
    at += whole;
    let point = text.get_mut(at)?;
    if *point == b',' {
        *point = b'.';
    }
    if *point != b'.' {
        return None;
    }
    at += 1;
    let fraction = digits(text.get(at..)?);
    at += fraction;
    if whole == 0 || fraction == 0 {
        return None;
    }
    if let Some(b'e' | b'E') = text.get(at) {
        at += 1;
        at += unsigned(text.get(at..)?);
        let exponent = digits(text.get(at..)?);
        if exponent == 0 {
            return None;
        }
        at += exponent;
    }
    if at != text.len() {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn float(text: &str) -> Option<f64> {
        let mut bytes = [0; 31];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        old_float(&bytes)
    }

    #[test]
    fn old_floats() {
        for (text, expected) in
            [("1.5", 1.5), ("-1.50e+00", -1.5), ("+2,5E2", 250.0), ("007.5e0", 7.5), ("1.0e-400", 0.0)]
        {
            assert_eq!(float(text), Some(expected), "{text}");
        }
        assert_eq!(float("-0.0").map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(float("1.0\0x"), Some(1.0));
        assert_eq!(float("1.0000000000000000000000000e+01"), Some(10.0));
        for wrong in ["", ".", "1", "1.", ".5", " 1.5", "1.5 ", "1.5e", "1.5e+", "0x1.8", "1.5x", "--1.5", "inf", "1e5"]
        {
            assert_eq!(float(wrong), None, "{wrong}");
        }
        let mut text = [0; 31];
        text[..7].copy_from_slice(b"1.0e400");
        let bytes = [&[FLOAT][..], &text].concat();
        assert!(Term::new(&bytes).float().is_err());
    }

    #[test]
    fn integers() {
        let read = |bytes: &[u8]| Term::new(bytes).integer().ok();
        assert_eq!(read(&[SMALL_INTEGER, 255]), Some(255));
        assert_eq!(read(&[INTEGER, 255, 255, 255, 255]), Some(-1));
        assert_eq!(read(&[SMALL_BIG, 0, 1]), Some(0));
        assert_eq!(read(&[SMALL_BIG, 9, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0]), Some(-1));
        assert_eq!(read(&[SMALL_BIG, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128]), Some(i64::MIN));
        assert_eq!(read(&[SMALL_BIG, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128]), None);
        assert_eq!(read(&[SMALL_BIG, 8, 1, 1, 0, 0, 0, 0, 0, 0, 128]), None);
        assert_eq!(read(&[SMALL_BIG, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), None);
        assert_eq!(read(&[LARGE_BIG, 0, 0, 0, 1, 0, 9]), Some(9));
        assert_eq!(read(&[LARGE_BIG, 255, 255, 255, 255, 0]), None);
        assert_eq!(read(&[NIL]), None);
    }

    #[test]
    fn a_count_without_that_many_bytes_is_refused() {
        for (count, fine) in [(3, true), (4, false), (255, false)] {
            let counted = |tag| [tag, 0, 0, 0, count, NIL, NIL, NIL];
            assert_eq!(Term::new(&counted(LIST)).list().is_ok(), fine);
            assert_eq!(Term::new(&counted(MAP)).map().is_ok(), fine);
            assert_eq!(Term::new(&counted(LARGE_TUPLE)).tuple().is_ok(), fine);
        }
    }

    #[test]
    fn skipping_takes_whole_terms_and_nothing_else() {
        let list = [LIST, 0, 0, 0, 2, SMALL_INTEGER, 1, NIL, NIL];
        let map = [&[MAP, 0, 0, 0, 1, SMALL_ATOM, 1, b'a'][..], &[BINARY, 0, 0, 0, 1, 7]].concat();
        let tuple = [&[SMALL_TUPLE, 2][..], &list, &[LARGE_TUPLE, 0, 0, 0, 0]].concat();
        let big = [SMALL_BIG, 1, 0, 9, LARGE_BIG, 0, 0, 0, 1, 0, 9, BIT_BINARY, 0, 0, 0, 1, 3, 0xe0];
        let bytes = [&list[..], &map, &tuple, &big, &[STRING, 0, 1, 5], &[99]].concat();
        let mut term = Term::new(&bytes);
        assert_eq!(term.skip(7), Ok(()));
        assert_eq!(term.rest, [99]);
        for wrong in
            [&[][..], &[LIST, 0, 0, 0, 1, NIL], &[LIST, 255, 255, 255, 255], &[MAP, 255, 255, 255, 255], &[103]]
        {
            assert!(Term::new(wrong).skip(1).is_err(), "{wrong:?}");
        }
        assert!(Term::new(&[SMALL_TUPLE, 1].repeat(1_000_000)).skip(1).is_err());
    }
}
