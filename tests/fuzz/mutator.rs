//! Mutants of seeds, the same in every run.

/// Bytes that mean something in one of the formats, or lie at an edge.
const TELLING: &[u8] = b"\0\x01\x02\x7f\x80\xff\x0b\x0cNKOnutbdwkRZSEahjlmptw,.:/${}[]\"'\n %";
/// Counts and lengths at an edge.
const EDGES: [u32; 8] = [0, 1, 4, 0xffff, 1 << 30, 0x7fff_ffff, 0x8000_0000, u32::MAX];
/// Longer mutants only take time.
const LONGEST: usize = 1 << 16;

pub struct Mutator<'a> {
    seeds: &'a [Vec<u8>],
    state: u64,
}

impl<'a> Mutator<'a> {
    pub fn new(seeds: &'a [Vec<u8>]) -> Self {
        Self { seeds, state: 0x9e37_79b9_7f4a_7c15 }
    }

    /// A number below this one (xorshift: only variety is wanted).
    fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap() % limit.max(1)
    }

    fn byte(&mut self) -> u8 {
        match self.below(3) {
            0 => u8::try_from(self.below(256)).unwrap(),
            _ => TELLING[self.below(TELLING.len())],
        }
    }

    /// A seed with one to five changes.
    pub fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.seeds[self.below(self.seeds.len())].clone();
        for _ in 0..=self.below(5) {
            self.change(&mut bytes);
            bytes.truncate(LONGEST);
        }
        bytes
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let from = self.below(bytes.len());
        let to = (from + 1 + self.below(24)).min(bytes.len());
        match self.below(9) {
            0 => bytes.insert(from, self.byte()),
            1 if to > from => drop(bytes.drain(from..to)),
            2 => bytes.truncate(from),
            3 => bytes.extend_from_within(from..to),
            // A part again, where it stood or elsewhere.
            4 => {
                let part = bytes[from..to].to_vec();
                let at = self.below(bytes.len() + 1);
                bytes.splice(at..at, part);
            }
            5 => {
                let edge = EDGES[self.below(EDGES.len())].to_be_bytes();
                let part = from..(from + 4).min(bytes.len());
                bytes.splice(part, edge);
            }
            // The head of this one with the tail of another.
            6 => {
                let other = &self.seeds[self.below(self.seeds.len())];
                let at = self.below(other.len());
                bytes.truncate(from);
                bytes.extend_from_slice(&other[at..]);
            }
            7 if from < bytes.len() => bytes[from] ^= 1 << self.below(8),
            _ if from < bytes.len() => bytes[from] = self.byte(),
            _ => bytes.push(self.byte()),
        }
    }
}
