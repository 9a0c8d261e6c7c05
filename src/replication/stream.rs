//! A replication connection that streams (CopyBoth).

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::{
    error::{Doing, Failure, Place},
    handshake,
    version::ServerVersion,
    wire::{Body, Wire},
};
use crate::change::{Class, Trouble};

/// A status update is a few bytes: if the socket does not take them for this long, nobody is there.
const SEND: Duration = Duration::from_secs(30);

/// The function that warns of a missing standby (`synchronized_standby_slots`); it shares its SQLSTATE with a skipped publication.
const WAITS_FOR_STANDBY: &str = "StandbySlotsHaveCaughtup";

/// One message of the stream, as it lies in the buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// XLogData or a keepalive.
    CopyData(&'a [u8]),
    /// Something the server wants to be known.
    Notice {
        /// Its SQLSTATE.
        sqlstate: String,
        /// Its text.
        message: String,
    },
    /// The server sends no more of its own accord; CopyData may still follow.
    CopyDone,
    /// The stream has ended (CommandComplete, ReadyForQuery): the server stops, or has taken our CopyDone.
    End,
}

/// The stream of a slot. Both `read` and `send` may be dropped half way without losing or repeating a byte.
#[derive(Debug)]
pub struct ReplicationStream {
    wire: Wire,
    place: Place,
    slot: String,
    server_version: ServerVersion,
}

impl ReplicationStream {
    pub(super) const fn new(wire: Wire, place: Place, slot: String, server_version: ServerVersion) -> Self {
        Self { wire, place, slot, server_version }
    }

    /// The server's version.
    #[must_use]
    pub const fn server_version(&self) -> ServerVersion {
        self.server_version
    }

    /// About how many bytes to read at once at most, between 64 KiB and 1 MiB.
    pub fn set_buffer(&mut self, bytes: usize) {
        self.wire.set_buffer(bytes);
    }

    /// Whether the last read took as much as it could: more is probably there.
    #[must_use]
    pub const fn was_full(&self) -> bool {
        self.wire.was_full()
    }

    /// Reads what is there into the buffer, waiting only if nothing is, and returns the number of bytes. Take every message with
    /// `next` before the next call.
    ///
    /// # Errors
    /// If the connection has ended.
    pub async fn read(&mut self) -> Result<usize, Trouble> {
        let result = self.wire.read().await;
        result.map_err(|failure| self.trouble(failure))
    }

    /// Leaves the event loop until the next `read` or `send`: nothing that arrives wakes this process until then.
    pub fn deregister(&mut self) {
        self.wire.deregister();
    }

    /// Whether it is a Unix socket.
    #[must_use]
    pub const fn is_unix(&self) -> bool {
        self.wire.stream().is_unix()
    }

    /// Bytes that have arrived and wait to be read.
    #[must_use]
    pub fn arrived(&self) -> usize {
        self.wire.stream().arrived()
    }

    /// The next whole message of what was read; `None` when more must be read first.
    ///
    /// # Errors
    /// If the server reports an error, has skipped a publication (PostgreSQL 18), or does not keep to the protocol.
    #[allow(clippy::should_implement_trait)] // It lends, which an iterator cannot.
    pub fn next(&mut self) -> Result<Option<Frame<'_>>, Trouble> {
        loop {
            let Some((kind, range)) = self.wire.frame().map_err(|failure| self.trouble(failure))? else {
                return Ok(None);
            };
            match kind {
                b'd' => return Ok(Some(Frame::CopyData(self.wire.body(range)))),
                b'c' => return Ok(Some(Frame::CopyDone)),
                b'C' | b'Z' => return Ok(Some(Frame::End)),
                b'N' => {
                    let notice = Body(self.wire.body(range)).server_error().map_err(|failure| self.trouble(failure))?;
                    if self.server_version.skips_missing_publications()
                        && notice.sqlstate == "55000"
                        && notice.routine != WAITS_FOR_STANDBY
                    {
                        return Err(self.skipped_publication(&notice.message));
                    }
                    return Ok(Some(Frame::Notice { sqlstate: notice.sqlstate, message: notice.message }));
                }
                b'E' => {
                    let error =
                        Body(self.wire.body(range)).server_error().map_or_else(|failure| failure, Failure::Server);
                    return Err(self.trouble(error));
                }
                b'S' => {
                    let mut body = Body(self.wire.body(range));
                    let parameter = body.text().and_then(|name| Ok((name, body.text()?)));
                    let checked = parameter.and_then(|(name, value)| handshake::check_parameter(&name, &value));
                    checked.map_err(|failure| self.trouble(failure))?;
                }
                b'A' => {}
                _ => return Err(self.trouble(Failure::Protocol("an unknown message in the stream"))),
            }
        }
    }

    /// Sends one CopyData.
    ///
    /// # Errors
    /// If the connection has ended or does not take it within 30 s.
    pub async fn send(&mut self, payload: &[u8]) -> Result<(), Trouble> {
        let sent = timeout(SEND, self.wire.send(b'd', payload)).await;
        sent.unwrap_or(Err(Failure::Timeout(SEND))).map_err(|failure| self.trouble(failure))
    }

    /// Ends the stream: CopyDone, then everything up to the server's answer is read and thrown away, so that the server has taken
    /// all that was sent before.
    ///
    /// # Errors
    /// If the answer has not come by `deadline`, or the connection has broken before it. It is closed in any case.
    pub async fn finish(mut self, deadline: Instant) -> Result<(), Trouble> {
        let ended = timeout_at(deadline, self.end()).await;
        let ended = ended.unwrap_or(Err(Failure::Protocol("the stream did not end in time, and was cut")));
        ended.map_err(|failure| self.trouble(failure))
    }

    async fn end(&mut self) -> Result<(), Failure> {
        self.wire.send(b'c', &[]).await?;
        let mut complete = false;
        loop {
            while let Some((kind, range)) = self.wire.frame()? {
                match kind {
                    b'C' => complete = true,
                    b'Z' => return self.wire.send(b'X', &[]).await,
                    b'E' => return Err(Failure::Server(Body(self.wire.body(range)).server_error()?)),
                    _ => {}
                }
            }
            match self.wire.read().await {
                Ok(_) => {}
                // A server that stops closes the connection after CommandComplete.
                Err(Failure::Closed) if complete => return Ok(()),
                Err(failure) => return Err(failure),
            }
        }
    }

    fn trouble(&self, failure: Failure) -> Trouble {
        failure.trouble(&self.place, Doing::Stream(&self.slot))
    }

    fn skipped_publication(&self, message: &str) -> Trouble {
        Trouble::new(
            Class::Publication,
            format!("{}: replication slot \"{}\": PostgreSQL skips changes: {message}", self.place.server, self.slot),
            "a publication did not exist at this place of the log, that is, it was created or recreated after the slot: \
             its namespace can only join behind that place",
        )
    }
}
