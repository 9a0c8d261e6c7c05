//! Messages over a stream: one buffer to read into, one to write from. Nothing is lost when a future is dropped.

use std::{
    future::poll_fn,
    io,
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::{
    buffer::ReadBuffer,
    error::{Failure, ServerError},
    transport::Stream,
};

/// The longest message before the login is done: nothing of ours is large then, and the other side may be anybody.
const LONGEST_AT_LOGIN: usize = 64 * 1024;
/// Unsent bytes at which writing more is refused.
const UNSENT: usize = 1024 * 1024;

/// A message, copied out of the buffer.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) kind: u8,
    pub(super) body: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    incoming: ReadBuffer,
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that are sent.
    sent: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, incoming: ReadBuffer::new(LONGEST_AT_LOGIN), outgoing: Vec::new(), sent: 0 }
    }

    pub(super) const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Leaves the event loop until the next read or write.
    pub(super) fn deregister(&mut self) {
        self.stream.deregister();
    }

    /// From now on messages may be as long as PostgreSQL makes them.
    pub(super) const fn allow_long_messages(&mut self) {
        self.incoming.set_limit(super::buffer::LONGEST);
    }

    pub(super) fn set_buffer(&mut self, bytes: usize) {
        self.incoming.set_busy(bytes);
    }

    pub(super) const fn was_full(&self) -> bool {
        self.incoming.was_full()
    }

    /// Reads what is there, waiting only if nothing is; the number of bytes. Also sends what is unsent.
    pub(super) async fn read(&mut self) -> Result<usize, Failure> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Failure>> {
        if self.sent < self.outgoing.len() {
            // A failure to write shows in reading too; what the server said before it closed is worth reading.
            let _unsent = self.poll_send(cx);
        }
        let mut count = 0;
        loop {
            let room = self.incoming.room();
            if room.is_empty() {
                return Poll::Ready(Ok(count));
            }
            let mut buf = ReadBuf::new(room);
            match Pin::new(&mut self.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() && count == 0 => {
                    return Poll::Ready(Err(Failure::Closed));
                }
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(count)),
                Poll::Ready(Ok(())) => {
                    let filled = buf.filled().len();
                    self.incoming.filled(filled);
                    count += filled;
                    if !self.stream.is_in_records() {
                        return Poll::Ready(Ok(count));
                    }
                }
                // It comes again at the next read.
                Poll::Ready(Err(_)) | Poll::Pending if count > 0 => return Poll::Ready(Ok(count)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The next whole message of what was read: its type and where its body is.
    pub(super) fn frame(&mut self) -> Result<Option<(u8, Range<usize>)>, Failure> {
        self.incoming.frame()
    }

    pub(super) fn body(&self, range: Range<usize>) -> &[u8] {
        self.incoming.taken(range)
    }

    /// Waits for the next message.
    pub(super) async fn receive(&mut self) -> Result<Message, Failure> {
        loop {
            if let Some((kind, range)) = self.frame()? {
                return Ok(Message { kind, body: self.body(range).to_vec() });
            }
            self.read().await?;
        }
    }

    /// Puts a message behind what is unsent.
    pub(super) fn queue(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), Failure> {
        self.outgoing.drain(..self.sent);
        self.sent = 0;
        let length = u32::try_from(body.len() + 4).ok().filter(|_| self.outgoing.len() < UNSENT);
        let Some(length) = length else {
            return Err(Failure::Protocol("too much is unsent: the server does not read"));
        };
        self.outgoing.extend(kind);
        self.outgoing.extend_from_slice(&length.to_be_bytes());
        self.outgoing.extend_from_slice(body);
        Ok(())
    }

    /// Sends what is unsent.
    pub(super) async fn flush(&mut self) -> Result<(), Failure> {
        Ok(poll_fn(|cx| self.poll_send(cx)).await?)
    }

    /// A message, sent.
    pub(super) async fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), Failure> {
        self.queue(Some(kind), body)?;
        self.flush().await
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let unsent = self.outgoing.get(self.sent..).unwrap_or_default();
            if unsent.is_empty() {
                self.outgoing.clear();
                self.sent = 0;
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            match Pin::new(&mut self.stream).poll_write(cx, unsent) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

/// Reads a message's body from front to back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Body<'a>(pub(super) &'a [u8]);

const SHORT: Failure = Failure::Protocol("a message is shorter than it says");

impl<'a> Body<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Failure> {
        let (bytes, rest) = self.0.split_at_checked(count).ok_or(SHORT)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*bytes)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Failure> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn i16(&mut self) -> Result<i16, Failure> {
        self.array().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Failure> {
        self.array().map(i32::from_be_bytes)
    }

    /// Bytes up to a zero byte.
    pub(super) fn text(&mut self) -> Result<String, Failure> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(SHORT)?;
        let text = String::from_utf8_lossy(self.bytes(length)?).into_owned();
        self.bytes(1)?;
        Ok(text)
    }

    /// The columns of a DataRow. They are text under the pinned `client_encoding`.
    pub(super) fn row(&mut self) -> Result<Vec<Option<String>>, Failure> {
        let count = self.i16()?;
        (0..count)
            .map(|_| match usize::try_from(self.i32()?) {
                Ok(length) => Ok(Some(String::from_utf8_lossy(self.bytes(length)?).into_owned())),
                Err(_) => Ok(None),
            })
            .collect()
    }

    /// The fields of an ErrorResponse or NoticeResponse.
    pub(super) fn server_error(&mut self) -> Result<ServerError, Failure> {
        let mut error = ServerError::default();
        loop {
            match self.u8()? {
                0 => return Ok(error),
                b'C' => error.sqlstate = self.text()?,
                b'M' => error.message = self.text()?,
                b'R' => error.routine = self.text()?,
                _ => drop(self.text()?),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncReadExt as _, net::UnixStream, time::timeout};

    use super::*;

    #[tokio::test]
    async fn what_was_abandoned_half_way_is_sent_once_and_whole() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Stream::Plain(ours.into()));
        // More than a socket holds, and nobody reads.
        let large = vec![7; 600_000];
        let abandoned = timeout(Duration::from_millis(50), wire.send(b'd', &large)).await;
        assert!(abandoned.is_err() && wire.sent > 0, "a part was sent");
        let reader = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.map(|_| all)
        });
        wire.send(b'e', b"small").await.unwrap();
        drop(wire);
        let all = reader.await.unwrap().unwrap();
        let expected = [&b"d"[..], &600_004_u32.to_be_bytes(), &large, b"e", &9_u32.to_be_bytes(), b"small"].concat();
        assert!(all == expected, "{} bytes of {}", all.len(), expected.len());
    }

    #[tokio::test]
    async fn what_nobody_reads_is_bounded() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let mut wire = Wire::new(Stream::Plain(ours.into()));
        let mut refused = false;
        for _ in 0..100 {
            refused |= wire.queue(Some(b'd'), &vec![0; 60_000]).is_err();
        }
        assert!(refused && wire.outgoing.len() < 2 * UNSENT);
    }

    #[test]
    fn bodies_are_read_without_trust() {
        let error = b"SERROR\0C42704\0Mno such thing\0Rf\0\0";
        let read = Body(error).server_error().unwrap();
        assert_eq!(
            (read.sqlstate.as_str(), read.message.as_str(), read.routine.as_str()),
            ("42704", "no such thing", "f")
        );
        for length in 0..error.len() {
            assert!(Body(&error[..length]).server_error().is_err(), "{length}");
        }
        let row = b"\0\x02\0\0\0\x01x\xff\xff\xff\xff";
        assert_eq!(Body(row).row().unwrap(), [Some("x".to_owned()), None]);
        for length in 0..row.len() {
            assert!(Body(&row[..length]).row().is_err(), "{length}");
        }
        assert!(Body(b"\0\x01\x7f\xff\xff\xff").row().is_err(), "a length beyond the message");
    }
}
