//! A TCP or Unix socket that can leave the event loop for a while.

use std::{
    io, mem, net,
    os::unix,
    pin::Pin,
    task::{Context, Poll},
};

use rustix::io::ioctl_fionread;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

/// A connected socket.
#[derive(Debug)]
pub struct Socket(State);

#[derive(Debug)]
enum State {
    Tcp(TcpStream),
    Unix(UnixStream),
    DeregisteredTcp(net::TcpStream),
    DeregisteredUnix(unix::net::UnixStream),
    Closed,
}

impl From<TcpStream> for Socket {
    fn from(stream: TcpStream) -> Self {
        Self(State::Tcp(stream))
    }
}

impl From<UnixStream> for Socket {
    fn from(stream: UnixStream) -> Self {
        Self(State::Unix(stream))
    }
}

impl Socket {
    pub(super) const fn is_unix(&self) -> bool {
        matches!(self.0, State::Unix(_) | State::DeregisteredUnix(_))
    }

    /// Leaves the event loop until the next read or write. The event loop is edge-triggered: whatever arrives wakes it,
    /// whether or not anybody wants to read, and who sends small pieces pays for each wake-up.
    pub(super) fn deregister(&mut self) {
        self.0 = match mem::replace(&mut self.0, State::Closed) {
            State::Tcp(stream) => stream.into_std().map_or(State::Closed, State::DeregisteredTcp),
            State::Unix(stream) => stream.into_std().map_or(State::Closed, State::DeregisteredUnix),
            state => state,
        };
    }

    /// Bytes that have arrived and wait to be read. 0 if that cannot be told.
    pub(super) fn arrived(&self) -> usize {
        let count = match &self.0 {
            State::Tcp(stream) => ioctl_fionread(stream),
            State::Unix(stream) => ioctl_fionread(stream),
            State::DeregisteredTcp(stream) => ioctl_fionread(stream),
            State::DeregisteredUnix(stream) => ioctl_fionread(stream),
            State::Closed => return 0,
        };
        count.ok().and_then(|count| usize::try_from(count).ok()).unwrap_or(0)
    }

    fn registered(&mut self) -> io::Result<Pin<&mut dyn Registered>> {
        self.0 = match mem::replace(&mut self.0, State::Closed) {
            State::DeregisteredTcp(stream) => State::Tcp(TcpStream::from_std(stream)?),
            State::DeregisteredUnix(stream) => State::Unix(UnixStream::from_std(stream)?),
            state => state,
        };
        match &mut self.0 {
            State::Tcp(stream) => Ok(Pin::new(stream)),
            State::Unix(stream) => Ok(Pin::new(stream)),
            State::DeregisteredTcp(_) | State::DeregisteredUnix(_) | State::Closed => {
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }
}

trait Registered: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Registered for T {}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.registered()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// Says this, and then nothing more until it has heard something.
    async fn talk(mut socket: Socket, mut other: impl AsyncRead + AsyncWrite + Unpin) {
        let mut heard = [0; 5];
        for said in [b"first", b"other"] {
            socket.deregister();
            other.write_all(said).await.unwrap();
            tokio::task::yield_now().await;
            socket.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, said);
            socket.deregister();
            socket.deregister();
            socket.write_all(said).await.unwrap();
            other.read_exact(&mut heard).await.unwrap();
            assert_eq!(&heard, said);
        }
        socket.deregister();
        drop(other);
        assert_eq!(socket.read(&mut heard).await.unwrap(), 0, "the end is seen as well");
    }

    #[tokio::test]
    async fn nothing_is_lost_while_a_socket_is_out_of_the_event_loop() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        talk(ours.into(), theirs).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        talk(ours.into(), theirs).await;
    }

    /// A reader that waits when the socket comes back is woken.
    #[tokio::test]
    async fn who_waits_afterwards_is_woken() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut socket = Socket::from(ours);
        socket.deregister();
        let reader = tokio::spawn(async move { socket.read_u8().await.unwrap() });
        tokio::task::yield_now().await;
        theirs.write_u8(7).await.unwrap();
        assert_eq!(reader.await.unwrap(), 7);
    }
}
