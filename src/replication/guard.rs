//! What an SQL connection may hear before it is logged in, when the other side may be anybody: `tokio_postgres` answers a request for
//! the password in clear text, and keeps whatever it is told.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::transport::Stream;

/// Bytes of all that a server says up to its first ReadyForQuery.
const LONGEST_LOGIN: usize = 128 * 1024;
/// Bytes of one message of it, for which the library makes room as soon as it is announced.
const LONGEST_MESSAGE: u32 = 64 * 1024;
/// Type and length of a message.
const HEADER: usize = 5;
/// The same of an Authentication message, with what is asked for.
const REQUEST: usize = 9;

/// A stream that ends when the login asks for too much.
#[derive(Debug)]
pub(super) struct Guard {
    stream: Stream,
    login: Option<Login>,
    asks_for_clear_text: Arc<AtomicBool>,
}

impl Guard {
    pub(super) fn new(stream: Stream) -> Self {
        let login = Login { private: stream.is_private(), heard: 0, head: Vec::with_capacity(REQUEST), body: 0 };
        Self { stream, login: Some(login), asks_for_clear_text: Arc::default() }
    }

    /// Whether it ended because the server asked for the password in clear text.
    pub(super) fn asks_for_clear_text(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.asks_for_clear_text)
    }
}

/// What has been heard of a login.
#[derive(Debug)]
struct Login {
    private: bool,
    heard: usize,
    /// What is there of the beginning of a message.
    head: Vec<u8>,
    /// Bytes of its body to come.
    body: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    GoesOn,
    Over,
    TooLong,
    ClearText,
}

impl Login {
    fn hear(&mut self, mut bytes: &[u8]) -> Verdict {
        self.heard += bytes.len();
        while let Some((byte, rest)) = bytes.split_first() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            self.head.push(*byte);
            bytes = rest;
            if let [_, a, b, c, d] = *self.head
                && u32::from_be_bytes([a, b, c, d]) > LONGEST_MESSAGE
            {
                return Verdict::TooLong;
            }
            let whole = if self.head.first() == Some(&b'R') { REQUEST } else { HEADER };
            if self.head.len() < whole {
                continue;
            }
            match *self.head {
                [b'Z', ..] => return Verdict::Over,
                [b'R', _, _, _, _, 0, 0, 0, 3] if !self.private => return Verdict::ClearText,
                [_, a, b, c, d, ..] => {
                    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                    self.body = length.saturating_sub(whole - 1);
                    self.head.clear();
                }
                _ => {}
            }
        }
        if self.heard > LONGEST_LOGIN { Verdict::TooLong } else { Verdict::GoesOn }
    }
}

impl AsyncRead for Guard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let Some(login) = &mut self.login else { return Poll::Ready(Ok(())) };
        match login.hear(buf.filled().get(before..).unwrap_or_default()) {
            Verdict::GoesOn => return Poll::Ready(Ok(())),
            Verdict::Over => {
                self.login = None;
                return Poll::Ready(Ok(()));
            }
            Verdict::TooLong => {}
            Verdict::ClearText => self.asks_for_clear_text.store(true, Ordering::Release),
        }
        buf.set_filled(before);
        Poll::Ready(Err(io::Error::other("the server's part of the login is not PostgreSQL's")))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(private: bool, bytes: &[u8], piece: usize) -> Vec<Verdict> {
        let mut login = Login { private, heard: 0, head: Vec::new(), body: 0 };
        bytes.chunks(piece).map(|piece| login.hear(piece)).filter(|verdict| *verdict != Verdict::GoesOn).collect()
    }

    #[test]
    fn a_login_is_followed_in_whatever_pieces_it_comes() {
        let settings = b"S\0\0\0\x0aR\0\0\0\x03ZS\0\0\0\x04";
        let clear = b"R\0\0\0\x08\0\0\0\x03";
        for piece in 1..40 {
            let asked = [&settings[..], clear].concat();
            assert_eq!(hear(false, &asked, piece).first(), Some(&Verdict::ClearText), "{piece}");
            assert_eq!(hear(true, &asked, piece), [], "{piece}");
            for request in [0, 5, 10, 11] {
                let asked = [&settings[..], b"R\0\0\0\x0a\0\0\0", &[request], b"\0\x03Z\0\0\0\x05I"].concat();
                assert_eq!(hear(false, &asked, piece).first(), Some(&Verdict::Over), "{piece} {request}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_too_long() {
        assert_eq!(hear(false, b"R\x7f\xff\xff\xff", 1), [Verdict::TooLong], "before there is more");
        for endless in [&b"S\0\0\0\x08a\0b\0"[..], b"N\0\0\0\0"] {
            let bytes = endless.repeat(LONGEST_LOGIN / endless.len() + 1);
            assert_eq!(hear(false, &bytes, 8192).first(), Some(&Verdict::TooLong), "{endless:?}");
        }
    }
}
