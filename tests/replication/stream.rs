//! The stream itself.

use std::time::Duration;

use cdc_notifier::{
    change::{Class, Lsn, PgTimestamp},
    config::{Postgres, SslMode},
    demo::postgres::{Mode, Options, TemporaryPostgres},
    replication::{
        connection::Connection,
        copy_data::{CopyData, StatusUpdate},
        sql::Sql,
        stream::{Frame, ReplicationStream},
    },
};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{
    NS, contains, end_of, major, message, prepared, refused, settings, slot, until, value, with_tables,
};

async fn streaming(options: &Options, binary: bool) -> (TemporaryPostgres, Postgres, Sql, ReplicationStream) {
    let (server, db, admin) = with_tables(options, &[NS]).await;
    prepared(&db, &slot("cdc", &[NS])).await.expect("prepare");
    let connection = Connection::open(&db).await.expect("open");
    let stream = connection.start_replication("cdc", Lsn::ZERO, &[NS], binary).await.expect("start");
    (server, db, admin, stream)
}

async fn restart(db: &Postgres, binary: bool) -> ReplicationStream {
    let connection = Connection::open(db).await.expect("open");
    connection.start_replication("cdc", Lsn::ZERO, &[NS], binary).await.expect("start")
}

async fn insert(admin: &Sql, id: &str, bytes: usize) {
    let insert = "INSERT INTO \"default/default_processes\" (process_id, status, aux_state, created_at)
                  VALUES ($1::text, 'running', decode(repeat('ab', $2), 'hex'), '2000-01-01 00:00:01+00')";
    admin.execute(insert, &[&id, &i32::try_from(bytes).unwrap()]).await.expect("insert");
}

fn status(lsn: Lsn) -> Vec<u8> {
    let mut out = Vec::new();
    StatusUpdate { write: lsn, flush: lsn, reply_requested: false }.encode(PgTimestamp(0), &mut out);
    out
}

/// End of the next commit.
async fn commit_end(stream: &mut ReplicationStream) -> Lsn {
    let commit = message(stream, b'C').await;
    Lsn::new(u64::from_be_bytes(commit[10..18].try_into().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_text_and_in_binary_and_what_is_confirmed_does_not_come_again() {
    let (_server, db, admin, mut stream) = streaming(&settings(&[]), true).await;
    let major = major(&admin).await;
    assert_eq!(stream.server_version().major(), major);
    insert(&admin, "first", 2).await;
    let row = message(&mut stream, b'I').await;
    assert!(contains(&row, b"first"));
    // Before 14 it was not to be had.
    assert_eq!(contains(&row, b"b\0\0\0\x02\xab\xab"), major >= 14, "binary");
    assert_eq!(contains(&row, &1_000_000_i64.to_be_bytes()), major >= 14);
    let first = commit_end(&mut stream).await;
    let end = Instant::now() + Duration::from_secs(20);
    stream.finish(end).await.expect("finish without a confirmation");

    let mut stream = restart(&db, false).await;
    let row = message(&mut stream, b'I').await;
    assert!(contains(&row, b"first") && contains(&row, b"\\xabab"), "again, in text");
    assert!(contains(&row, b"2000-01-01 00:00:01+00"));
    assert_eq!(commit_end(&mut stream).await, first);
    stream.send(&status(first)).await.expect("send");
    // CopyDone comes behind the confirmation and its answer says that both were taken.
    stream.finish(end).await.expect("finish");
    assert_eq!(value(&admin, "SELECT confirmed_flush_lsn::text FROM pg_replication_slots").await, first.to_string());

    insert(&admin, "second", 2).await;
    let mut stream = restart(&db, true).await;
    assert!(contains(&message(&mut stream, b'I').await, b"second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_and_sending_can_be_abandoned_at_any_moment() {
    let (_server, _db, admin, mut stream) = streaming(&settings(&[]), true).await;
    let rows = 3000_i64;
    let inserts = tokio::spawn(async move {
        let insert = "INSERT INTO \"default/default_processes\" (process_id, status, detail)
                      SELECT 'p' || n, 'running', repeat('x', n::int % 3000) FROM generate_series($1::int8, $2::int8) n";
        for start in (0..rows).step_by(100) {
            admin.execute(insert, &[&start, &(start + 99)]).await.expect("insert");
        }
    });
    let (mut seen, mut abandoned) = (0, 0);
    let end = Instant::now() + Duration::from_mins(1);
    while seen < rows {
        assert!(Instant::now() < end, "{seen} of {rows}");
        tokio::select! {
            biased;
            () = sleep(Duration::from_micros(u64::try_from(abandoned % 7).unwrap() * 100)) => {
                abandoned += 1;
                let status = status(Lsn::new(1));
                tokio::select! { biased; result = stream.send(&status) => result.expect("send"), () = std::future::ready(()) => {} }
            }
            count = stream.read() => assert!(count.expect("read") > 0),
        }
        while let Some(frame) = stream.next().expect("next") {
            if let Frame::CopyData(bytes) = frame
                && let CopyData::XLogData { payload, .. } = CopyData::parse(bytes).expect("copy data")
                && payload[0] == b'I'
            {
                // Relation id, kind of tuple, columns, kind and length of the first.
                let id = format!("p{seen}");
                assert_eq!(&payload[13..13 + id.len()], id.as_bytes(), "in order, none missing, none twice");
                seen += 1;
            }
        }
    }
    assert!(abandoned > 0);
    inserts.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_huge_row_passes() {
    let (_server, _db, admin, mut stream) = streaming(&settings(&[]), true).await;
    for (id, size) in [("huge", 10 << 20), ("small", 10), ("huge again", 11 << 20)] {
        insert(&admin, id, size).await;
        let row = message(&mut stream, b'I').await;
        assert!(row.len() > size && contains(&row[..row.len().min(100)], id.as_bytes()), "{id} {}", row.len());
        let value = if major(&admin).await >= 14 { vec![0xab; size] } else { b"ab".repeat(size) };
        assert!(contains(&row, &value));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fast_shutdown_waits_for_the_confirmation_and_ends_the_stream() {
    let (mut server, _db, admin, mut stream) = streaming(&settings(&[]), true).await;
    insert(&admin, "last", 10).await;
    drop(admin);
    let end = commit_end(&mut stream).await;
    let stopping = tokio::task::spawn_blocking(move || {
        server.stop(Mode::Fast).expect("stop");
        server
    });
    let mut ended = false;
    let watch = async {
        loop {
            let mut asked = None;
            loop {
                match stream.next().expect("no error") {
                    None => break,
                    Some(Frame::End) => ended = true,
                    Some(Frame::CopyData(bytes)) => {
                        if let CopyData::PrimaryKeepalive { wal_end, reply_requested, .. } =
                            CopyData::parse(bytes).unwrap()
                        {
                            asked = reply_requested.then_some(wal_end);
                        }
                    }
                    Some(_) => {}
                }
            }
            if let Some(lsn) = asked {
                assert!(lsn >= end);
                stream.send(&status(lsn)).await.expect("send");
            }
            if let Err(trouble) = stream.read().await {
                break trouble;
            }
        }
    };
    let trouble = timeout(Duration::from_secs(30), watch).await.expect("the stream ends");
    assert!(ended, "CommandComplete before the end");
    assert_eq!(trouble.class, Class::PostgresUnavailable);
    let _server = stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_of_the_server_ends_the_stream() {
    let (mut server, _db, _admin, mut stream) = streaming(&settings(&[]), true).await;
    server.kill().expect("kill");
    let trouble = end_of(&mut stream).await;
    assert_eq!(trouble.class, Class::PostgresUnavailable, "{trouble:?}");
    assert!(trouble.message.contains("\"cdc\""), "{trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn finishing_is_bounded() {
    let (server, _db, admin, stream) = streaming(&settings(&[]), true).await;
    let pid = value(&admin, "SELECT active_pid::text FROM pg_replication_slots").await;
    let signal = |name: &str| {
        let done = server.command("/bin/kill").args([name, &pid]).status().unwrap();
        assert!(done.success());
    };
    signal("-STOP");
    let begun = Instant::now();
    let result = stream.finish(begun + Duration::from_millis(300)).await;
    assert!((Duration::from_millis(300)..Duration::from_secs(10)).contains(&begun.elapsed()));
    refused(result, Class::PostgresUnavailable, &[]);
    signal("-CONT");
    let free = "SELECT count(*)::text FROM pg_replication_slots WHERE active";
    until("the end of the walsender", || async { value(&admin, free).await == "0" }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_was_missing_is_told_from_a_missing_slot() {
    let (_server, db, admin, stream) = streaming(&settings(&[]), true).await;
    drop(stream);
    until("the free slot", || async { prepared(&db, &slot("cdc", &[NS])).await.is_ok() }).await;
    let connection = Connection::open(&db).await.unwrap();
    let mut stream = connection.start_replication("cdc", Lsn::ZERO, &["no such"], true).await.expect("start");
    insert(&admin, "p", 1).await;
    let trouble = end_of(&mut stream).await;
    assert_eq!(trouble.class, Class::Publication, "{trouble:?}");
    assert!(trouble.message.contains("\"cdc\"") && trouble.remedy.contains("join"), "{trouble:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_out_of_the_server_is_ours_to_see() {
    let options = Options { listen_tcp: true, ..settings(&[("wal_sender_timeout", "500ms")]) };
    let (_server, mut db, _admin, mut stream) = streaming(&options, true).await;
    assert_eq!(end_of(&mut stream).await.class, Class::PostgresUnavailable);
    db.tls.mode = SslMode::Disable;
    let prepared = prepared(&db, &slot("cdc", &[NS])).await.expect("free again");
    assert_eq!(prepared.wal_sender_timeout, Some(Duration::from_millis(500)));
}
