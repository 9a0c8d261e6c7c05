//! A byte stream to the server: TCP or Unix socket, encrypted or not.

use std::{
    future::Future,
    io,
    path::Path,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use postgres_protocol::authentication::sasl::ChannelBinding;
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout, timeout_at},
};

use super::{
    error::{Doing, Failure, Place},
    socket::Socket,
    tls::{self, TlsStream},
};
use crate::{
    change::{Class, Trouble},
    config::{Postgres, SslMode},
};

/// A peer that is gone without a word is noticed after 30 + 3 x 10 s.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(10)).with_retries(3);

/// The SSLRequest message: its length and the code that stands in place of a protocol version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xD2, 0x16, 0x2F];

/// A connection, ready for the startup message.
#[derive(Debug)]
pub enum Stream {
    /// TCP, or a Unix socket.
    Plain(Socket),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
}

impl Stream {
    /// Whether nobody on the way can read along.
    #[must_use]
    pub const fn is_private(&self) -> bool {
        matches!(self, Self::Tls(_)) || self.is_unix()
    }

    pub(super) const fn is_unix(&self) -> bool {
        matches!(self, Self::Plain(socket) if socket.is_unix())
    }

    /// Whether one read gives no more than one TLS record, so that more may be there at once.
    pub(super) const fn is_in_records(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Leaves the event loop until the next read or write.
    pub(super) fn deregister(&mut self) {
        match self {
            Self::Plain(socket) => socket.deregister(),
            Self::Tls(stream) => stream.get_mut().get_mut().deregister(),
        }
    }

    /// Bytes that have arrived and wait to be read.
    pub(super) fn arrived(&self) -> usize {
        match self {
            Self::Plain(socket) => socket.arrived(),
            Self::Tls(stream) => stream.get_ref().get_ref().arrived(),
        }
    }

    /// The server's certificate, as SCRAM binds itself to it.
    pub(super) fn server_end_point(&self) -> Option<Vec<u8>> {
        match self {
            Self::Tls(stream) => tls::server_end_point(stream),
            Self::Plain(_) => None,
        }
    }

    pub(super) fn channel_binding(&self) -> ChannelBinding {
        match self.server_end_point() {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::unsupported(),
        }
    }
}

/// One way to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encryption {
    Off,
    IfOffered,
    On,
}

/// The ways that `sslmode` allows, in libpq's order. On a Unix socket it means nothing.
fn ways(db: &Postgres) -> &'static [Encryption] {
    match db.tls.mode {
        _ if db.host.starts_with('/') => &[Encryption::Off],
        SslMode::Disable => &[Encryption::Off],
        SslMode::Allow => &[Encryption::Off, Encryption::On],
        SslMode::Prefer => &[Encryption::IfOffered, Encryption::Off],
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => &[Encryption::On],
    }
}

/// Connects without logging in: what `sslmode` prefers among the ways that the server takes.
///
/// # Errors
/// If the server cannot be reached within `connect_timeout`, or not in the way `sslmode` demands.
pub async fn connect(db: &Postgres) -> Result<Stream, Trouble> {
    login(db, |stream| async { Ok(stream) }).await
}

/// Connects and logs in, within `connect_timeout`. Under `allow` and `prefer` the other way is tried too, as libpq does, if the
/// server refuses the login or the TLS handshake fails: the lines of `pg_hba.conf` may differ for both.
pub(super) async fn login<T, F: Future<Output = Result<T, Failure>>>(
    db: &Postgres,
    start: impl Fn(Stream) -> F,
) -> Result<T, Trouble> {
    let attempts = async {
        let mut first: Option<Failure> = None;
        for way in ways(db) {
            let result = match open(db, *way).await {
                Ok(stream) => start(stream).await,
                Err(failure) => Err(failure),
            };
            match (result, &first) {
                (Ok(it), _) => return Ok(it),
                (Err(failure), None) if failure.is_refused_login() || matches!(failure, Failure::Tls(_)) => {
                    first = Some(failure);
                }
                (Err(failure), None) => return Err(failure),
                // "No line in pg_hba.conf" says less than what the other line said.
                (Err(failure), Some(before))
                    if before.is("28000") && failure.is_refused_login() && !failure.is("28000") =>
                {
                    return Err(failure);
                }
                (Err(_), Some(_)) => {}
            }
        }
        Err(first.unwrap_or(Failure::Closed))
    };
    let result = timeout(db.connect_timeout, attempts).await.unwrap_or(Err(Failure::Timeout(db.connect_timeout)));
    result.map_err(|failure| failure.trouble(&Place::of(db), Doing::Login))
}

async fn open(db: &Postgres, way: Encryption) -> Result<Stream, Failure> {
    if db.host.starts_with('/') {
        let path = Path::new(&db.host).join(format!(".s.PGSQL.{}", db.port));
        return Ok(Stream::Plain(UnixStream::connect(path).await?.into()));
    }
    let mut socket = open_tcp(db).await?;
    if way == Encryption::Off {
        return Ok(Stream::Plain(socket.into()));
    }
    socket.write_all(&SSL_REQUEST).await?;
    // One byte and no more: what came with it unencrypted could be anybody's.
    match socket.read_u8().await? {
        b'S' => Ok(Stream::Tls(Box::new(tls::connect(db, socket.into()).await?))),
        b'N' if way == Encryption::IfOffered => Ok(Stream::Plain(socket.into())),
        b'N' => Err(Failure::Tls(Trouble::new(
            Class::PostgresLogin,
            format!("{}: the server does not offer TLS, and sslmode demands it", Place::of(db).server),
            "ALTER SYSTEM SET ssl = on (with ssl_cert_file and ssl_key_file), then SELECT pg_reload_conf(); or set sslmode to prefer",
        ))),
        _ => Err(Failure::Protocol("the answer to the request for TLS is not PostgreSQL's")),
    }
}

/// Tries every address of the host; each gets its share of the time.
async fn open_tcp(db: &Postgres) -> Result<TcpStream, Failure> {
    let end = Instant::now() + db.connect_timeout;
    let addresses: Vec<_> = tokio::net::lookup_host((db.host.as_str(), db.port)).await?.collect();
    let mut failure = Failure::Io(io::Error::other("the host name has no address"));
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        let share = end.saturating_duration_since(Instant::now()) / left;
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                socket.set_nodelay(true)?;
                SockRef::from(&socket).set_tcp_keepalive(&KEEPALIVE)?;
                return Ok(socket);
            }
            Ok(Err(error)) => failure = Failure::Io(error),
            Err(_) => failure = Failure::Timeout(share),
        }
    }
    Err(failure)
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
