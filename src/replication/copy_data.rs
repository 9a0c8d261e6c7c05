//! What travels in the CopyData messages of a replication connection, without their frame.
//!
//! Source of the format: PostgreSQL's documentation, "Streaming Replication Protocol".

use crate::change::{Lsn, PgTimestamp};

/// A message from the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyData<'a> {
    /// `w`: one message of the output plugin.
    XLogData {
        /// Position of what the payload tells; 0/0 where it has none. Never progress: changes of concurrent transactions interleave.
        start: Lsn,
        /// The same as `start` in logical replication.
        end: Lsn,
        /// The server's clock.
        server_time: PgTimestamp,
        /// The plugin's message.
        payload: &'a [u8],
    },
    /// `k`: the server lives, and has read its log up to here.
    PrimaryKeepalive {
        /// Everything before it that concerns us has been sent.
        wal_end: Lsn,
        /// The server's clock.
        server_time: PgTimestamp,
        /// Whether it wants a status update now.
        reply_requested: bool,
    },
}

/// Bytes that are neither XLogData nor a keepalive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CopyDataError {
    /// There is no byte.
    #[error("an empty CopyData message")]
    Empty,
    /// No such message exists.
    #[error("a CopyData message of the unknown kind '{}'", .0.escape_ascii())]
    Unknown(u8),
    /// An XLogData without its 24 bytes before the payload.
    #[error("an XLogData message of {0} bytes")]
    XLogData(usize),
    /// A keepalive that has not 18 bytes, or another request than yes and no.
    #[error("a malformed keepalive message of {0} bytes")]
    Keepalive(usize),
}

impl<'a> CopyData<'a> {
    /// Reads the content of one CopyData message, all of it.
    ///
    /// # Errors
    /// If it is no message of the replication protocol.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CopyDataError> {
        let (kind, body) = bytes.split_first().ok_or(CopyDataError::Empty)?;
        match kind {
            b'w' => Self::xlog_data(body).ok_or(CopyDataError::XLogData(bytes.len())),
            b'k' => Self::keepalive(body).ok_or(CopyDataError::Keepalive(bytes.len())),
            kind => Err(CopyDataError::Unknown(*kind)),
        }
    }

    fn xlog_data(body: &'a [u8]) -> Option<Self> {
        let (start, body) = split_u64(body)?;
        let (end, body) = split_u64(body)?;
        let (time, payload) = split_u64(body)?;
        let server_time = PgTimestamp(time.cast_signed());
        Some(Self::XLogData { start: Lsn::new(start), end: Lsn::new(end), server_time, payload })
    }

    fn keepalive(body: &'a [u8]) -> Option<Self> {
        let (wal_end, body) = split_u64(body)?;
        let (time, body) = split_u64(body)?;
        let reply_requested = match body {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        let server_time = PgTimestamp(time.cast_signed());
        Some(Self::PrimaryKeepalive { wal_end: Lsn::new(wal_end), server_time, reply_requested })
    }
}

fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

/// A message to the server: how far we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusUpdate {
    /// Received up to here. Only shown by the server, but it answers a status whose write and flush are both behind.
    pub write: Lsn,
    /// Acknowledged up to here: the server may forget what comes before. 0/0 means "no news".
    pub flush: Lsn,
    /// Whether the server shall answer at once.
    pub reply_requested: bool,
}

impl StatusUpdate {
    /// Bytes of one.
    pub const LEN: usize = 34;

    /// Appends the message, without its frame, to `out`. The applied position is the flushed one.
    pub fn encode(&self, client_time: PgTimestamp, out: &mut Vec<u8>) {
        out.reserve(Self::LEN);
        out.push(b'r');
        for lsn in [self.write, self.flush, self.flush] {
            out.extend_from_slice(&lsn.get().to_be_bytes());
        }
        out.extend_from_slice(&client_time.0.to_be_bytes());
        out.push(self.reply_requested.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const XLOG_DATA: &str = "77 0000000001577ab0 0000000001577ab1 0002f5a3c1d2e3f4 424344";
    const KEEPALIVE: &str = "6b 0000000101577ab0 fffffffffffffffe 01";

    fn bytes(text: &str) -> Vec<u8> {
        hex::decode(text.replace(' ', "")).unwrap()
    }

    #[test]
    fn reads_both_kinds() {
        assert_eq!(
            CopyData::parse(&bytes(XLOG_DATA)),
            Ok(CopyData::XLogData {
                start: Lsn::new(0x0157_7ab0),
                end: Lsn::new(0x0157_7ab1),
                server_time: PgTimestamp(0x0002_f5a3_c1d2_e3f4),
                payload: b"BCD",
            })
        );
        assert_eq!(
            CopyData::parse(&bytes(KEEPALIVE)),
            Ok(CopyData::PrimaryKeepalive {
                wal_end: Lsn::new(0x1_0157_7ab0),
                server_time: PgTimestamp(-2),
                reply_requested: true,
            })
        );
    }

    #[test]
    fn refuses_what_is_cut_or_too_long() {
        for length in 0..bytes(XLOG_DATA).len() {
            let cut = &bytes(XLOG_DATA)[..length];
            match CopyData::parse(cut) {
                Ok(CopyData::XLogData { payload, .. }) => assert_eq!(payload.len(), length - 25),
                Err(CopyDataError::XLogData(_)) => assert!((1..25).contains(&length)),
                Err(CopyDataError::Empty) => assert_eq!(length, 0),
                other => panic!("{other:?}"),
            }
        }
        for length in 1..bytes(KEEPALIVE).len() {
            assert_eq!(CopyData::parse(&bytes(KEEPALIVE)[..length]), Err(CopyDataError::Keepalive(length)));
        }
        let long = bytes(&format!("{KEEPALIVE}00"));
        assert_eq!(CopyData::parse(&long), Err(CopyDataError::Keepalive(19)));
        let mut two = bytes(KEEPALIVE);
        *two.last_mut().unwrap() = 2;
        assert_eq!(CopyData::parse(&two), Err(CopyDataError::Keepalive(18)));
        let unknown = CopyData::parse(b"s").unwrap_err();
        assert_eq!(unknown.to_string(), "a CopyData message of the unknown kind 's'");
    }

    #[test]
    fn writes_a_status_update() {
        let status = StatusUpdate { write: Lsn::new(0x22), flush: Lsn::new(0x11), reply_requested: true };
        let mut out = vec![0xff];
        status.encode(PgTimestamp(-1), &mut out);
        let expected = "ff 72 0000000000000022 0000000000000011 0000000000000011 ffffffffffffffff 01";
        assert_eq!(hex::encode(&out), expected.replace(' ', ""));
        assert_eq!(out.len(), 1 + StatusUpdate::LEN);
    }
}
