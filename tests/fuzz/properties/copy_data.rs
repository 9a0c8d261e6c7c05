//! The content of a CopyData message.

use cdc_notifier::{
    change::{Lsn, PgTimestamp},
    replication::{CopyData, StatusUpdate, copy_data::CopyDataError},
};

/// What is read can be written again, byte by byte; a refusal says the kind and the length that are wrong; a status update made of
/// what was read says the same.
pub fn check(bytes: &[u8]) {
    match CopyData::parse(bytes) {
        Ok(CopyData::XLogData { start, end, server_time, payload }) => {
            let head = [&b"w"[..], &start.get().to_be_bytes(), &end.get().to_be_bytes(), &server_time.0.to_be_bytes()];
            assert_eq!([&head.concat(), payload].concat(), bytes);
            answer(start, end, server_time, payload.len() % 2 == 0);
        }
        Ok(CopyData::PrimaryKeepalive { wal_end, server_time, reply_requested }) => {
            let head = [&b"k"[..], &wal_end.get().to_be_bytes(), &server_time.0.to_be_bytes()];
            assert_eq!([&head.concat()[..], &[reply_requested.into()]].concat(), bytes);
            answer(wal_end, wal_end, server_time, reply_requested);
        }
        Err(CopyDataError::Empty) => assert!(bytes.is_empty()),
        Err(CopyDataError::Unknown(kind)) => assert!(bytes[0] == kind && !b"wk".contains(&kind)),
        Err(CopyDataError::XLogData(length)) => assert!(bytes[0] == b'w' && length == bytes.len() && length < 25),
        Err(CopyDataError::Keepalive(length)) => {
            let wrong = length != 18 || bytes[17] > 1;
            assert!(bytes[0] == b'k' && length == bytes.len() && wrong);
        }
    }
}

fn answer(write: Lsn, flush: Lsn, time: PgTimestamp, reply_requested: bool) {
    let mut out = Vec::new();
    StatusUpdate { write, flush, reply_requested }.encode(time, &mut out);
    let number = |at: usize| u64::from_be_bytes(out[at..at + 8].try_into().unwrap());
    assert_eq!((out.len(), out[0], out[33]), (StatusUpdate::LEN, b'r', u8::from(reply_requested)));
    assert_eq!([number(1), number(9), number(17)], [write.get(), flush.get(), flush.get()]);
    assert_eq!(number(25), time.0.cast_unsigned());
}
