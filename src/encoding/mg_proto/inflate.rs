//! The payload's outermost layer: version byte, and zlib where the term is compressed.

use flate2::{Decompress, FlushDecompress, Status};

use super::{Fault, KEPT_SCRATCH};

/// First byte of every term in External Term Format.
const VERSION: u8 = 131;
/// Tag of a compressed term; the size of the inflated term (u32) and a zlib stream follow.
const COMPRESSED: u8 = 80;
/// Zlib's output is asked for in pieces of at least this size.
const PIECE: usize = 16 * 1024;

const CORRUPT: Fault = "its compressed term is corrupt or not of the size that it declares";
const TOO_LARGE: Fault = "it is larger than max_payload_size";

/// Inflates compressed terms into a buffer that is used again.
#[derive(Default)]
pub(super) struct Inflater {
    zlib: Option<Decompress>,
    inflated: Vec<u8>,
}

impl Inflater {
    /// The bytes of the term, and whatever follows it.
    ///
    /// # Errors
    /// If there is none, or it is larger than `max_size` before or after inflating.
    pub(super) fn term<'a>(&'a mut self, payload: &'a [u8], max_size: usize) -> Result<&'a [u8], Fault> {
        if payload.len() > max_size {
            return Err(TOO_LARGE);
        }
        match payload {
            [VERSION, COMPRESSED, rest @ ..] => {
                let (size, stream) = rest.split_first_chunk().ok_or(CORRUPT)?;
                let size = usize::try_from(u32::from_be_bytes(*size)).unwrap_or(usize::MAX);
                if size > max_size {
                    return Err(TOO_LARGE);
                }
                self.inflate(stream, size)?;
                Ok(&self.inflated)
            }
            [VERSION, term @ ..] => Ok(term),
            _ => Err("it does not begin with version byte 131 of the external term format"),
        }
    }

    /// Gives memory back after a large term.
    pub(super) fn shrink(&mut self) {
        self.inflated.clear();
        self.inflated.shrink_to(KEPT_SCRATCH);
    }

    /// Inflates to exactly `size` bytes. Memory grows with what comes out, not with what was declared; what follows
    /// the stream is left alone, as Erlang does.
    fn inflate(&mut self, mut stream: &[u8], size: usize) -> Result<(), Fault> {
        let zlib = self.zlib.get_or_insert_with(|| Decompress::new(true));
        zlib.reset(true);
        self.inflated.clear();
        loop {
            let (consumed, produced) = (zlib.total_in(), self.inflated.len());
            // One byte more than declared tells a longer stream from one that ends here.
            let room = (size + 1 - produced).min(produced.max(PIECE));
            self.inflated.reserve_exact(room);
            let status = zlib.decompress_vec(stream, &mut self.inflated, FlushDecompress::None).map_err(|_| CORRUPT)?;
            if self.inflated.len() > size {
                return Err(CORRUPT);
            }
            if status == Status::StreamEnd {
                return if self.inflated.len() == size { Ok(()) } else { Err(CORRUPT) };
            }
            let consumed = usize::try_from(zlib.total_in() - consumed).map_err(|_| CORRUPT)?;
            stream = stream.get(consumed..).ok_or(CORRUPT)?;
            if consumed == 0 && self.inflated.len() == produced {
                return Err(CORRUPT);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn compressed(bytes: &[u8], declared: u32) -> Vec<u8> {
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        zlib.write_all(bytes).unwrap();
        [&[VERSION, COMPRESSED][..], &declared.to_be_bytes(), &zlib.finish().unwrap()].concat()
    }

    #[test]
    fn declared_and_real_size_must_agree() {
        let mut inflater = Inflater::default();
        for size in [1, 100, PIECE - 1, PIECE, PIECE + 1, 10 * PIECE + 7, 1 << 20] {
            let bytes: Vec<u8> = (0..size).map(|i| u8::try_from(i * i % 251).unwrap()).collect();
            let declared = u32::try_from(size).unwrap();
            assert_eq!(inflater.term(&compressed(&bytes, declared), 1 << 20), Ok(&bytes[..]), "{size}");
            let trailing = [&compressed(&bytes, declared)[..], b"abc"].concat();
            assert_eq!(inflater.term(&trailing, 2 << 20), Ok(&bytes[..]));
            assert_eq!(inflater.term(&compressed(&bytes, declared - 1), 1 << 20), Err(CORRUPT));
            assert_eq!(inflater.term(&compressed(&bytes, declared + 1), 2 << 20), Err(CORRUPT));
            let mut cut = compressed(&bytes, declared);
            cut.pop();
            assert_eq!(inflater.term(&cut, 1 << 20), Err(CORRUPT));
        }
    }

    #[test]
    fn a_declared_size_allocates_nothing() {
        let mut inflater = Inflater::default();
        assert_eq!(inflater.term(&compressed(&[0; 100], 1 << 30), 1 << 30), Err(CORRUPT));
        assert!(inflater.inflated.capacity() <= 4 * PIECE);
        assert_eq!(inflater.term(&compressed(&vec![0; 1 << 20], 1 << 10), 1 << 30), Err(CORRUPT));
        assert!(inflater.inflated.capacity() <= 4 * PIECE);
        assert_eq!(inflater.term(&compressed(&[0; 100], u32::MAX), 1 << 20), Err(TOO_LARGE));
        assert_eq!(inflater.term(&[VERSION; 11], 10), Err(TOO_LARGE));
        assert!(inflater.term(&compressed(&vec![0; 1 << 20], 1 << 20), 1 << 20).is_ok());
        assert!(inflater.inflated.capacity() <= 2 << 20);
        inflater.shrink();
        assert!(inflater.inflated.capacity() <= KEPT_SCRATCH);
    }
}
