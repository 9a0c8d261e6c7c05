//! All that a PostgreSQL server says, from the login to the stream, as bytes on a socket.

use std::{fmt::Write as _, time::Duration};

use cdc_notifier::{
    change::{Lsn, Trouble},
    config::{Postgres, SslMode, Tls},
    replication::{Connection, CopyData, Frame, ReplicationStream, sql},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    runtime::Runtime,
};

use super::{CANARY, held};

/// Sizes of the pieces in which the bytes arrive.
const PIECES: [usize; 2] = [1 << 20, 11];
/// What a connection holds before the login is done, whatever the server says: buffers, and a message of at most 64 KiB.
const BEFORE_LOGIN: usize = 1024 * 1024;

/// In whatever pieces the bytes arrive, they mean the same; the end of the connection ends everything; no error shows the password;
/// before the login memory is bounded, on the SQL connection too; afterwards it follows what is there.
pub fn check(bytes: &[u8]) {
    if announces_much(bytes) {
        return;
    }
    PEER.with(|peer| {
        let [whole, pieces] = PIECES.map(|piece| peer.listen(bytes, piece));
        assert_eq!(whole, pieces);
        assert!(!whole.contains(CANARY), "{whole}");
        peer.sql(bytes);
    });
}

/// Whether a message announces more than a MiB, and no more than PostgreSQL may send. The buffer grows to it, and the allocator that counts
/// touches all of it, which takes a second; `replication::buffer` has tests of its own for that.
fn announces_much(mut bytes: &[u8]) -> bool {
    while let Some(([_, length @ ..], rest)) = bytes.split_first_chunk::<5>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
        if (1 << 20..1 << 30).contains(&length) {
            return true;
        }
        bytes = rest.get(length.saturating_sub(4)..).unwrap_or_default();
    }
    false
}

thread_local! {
    static PEER: Peer = Peer::new();
}

struct Peer {
    runtime: Runtime,
    listener: UnixListener,
    db: Postgres,
    _directory: TempDir,
}

impl Peer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap()
        };
        let db = Postgres {
            host: directory.path().to_str().unwrap().to_owned(),
            port: 5432,
            database: "d".to_owned(),
            username: "u".to_owned(),
            password: Some(CANARY.to_owned().into()),
            tls: Tls { mode: SslMode::Disable, root_cert: None, cert: None, key: None },
            connect_timeout: Duration::from_secs(20),
        };
        Self { runtime, listener, db, _directory: directory }
    }

    /// What the client makes of it.
    fn listen(&self, bytes: &[u8], piece: usize) -> String {
        let mut seen = String::new();
        let mut logged_in = false;
        let memory = held(|| {
            self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = async {
                        if let Err(trouble) = client(&self.db, &mut seen, &mut logged_in).await {
                            write!(seen, "{trouble:?}").unwrap();
                        }
                    } => {}
                    () = self.serve(bytes, piece) => unreachable!("a server listens for ever"),
                }
            });
        });
        assert!(logged_in || memory <= BEFORE_LOGIN + 8 * seen.len(), "{memory} for {}", bytes.len());
        seen
    }

    /// The SQL connection, which a library logs in.
    fn sql(&self, bytes: &[u8]) {
        let mut result = Ok(());
        let memory = held(|| {
            self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    logged_in = sql(&self.db) => result = logged_in.map(drop),
                    () = self.serve(bytes, PIECES[0]) => unreachable!("a server listens for ever"),
                }
            });
        });
        // The library reads on after the login, as much as there is.
        assert!(result.is_ok() || memory <= BEFORE_LOGIN, "{memory} for {}", bytes.len());
        assert!(result.is_ok() || !format!("{result:?}").contains(CANARY), "{result:?}");
    }

    /// The first connection hears everything, others nothing.
    async fn serve(&self, bytes: &[u8], piece: usize) {
        let (socket, _) = self.listener.accept().await.unwrap();
        let talk = talk(socket, bytes, piece);
        let refuse = async { while self.listener.accept().await.is_ok() {} };
        tokio::join!(talk, refuse);
    }
}

async fn talk(mut socket: UnixStream, bytes: &[u8], piece: usize) {
    let (mut heard, mut said) = socket.split();
    let say = async {
        for piece in bytes.chunks(piece) {
            if said.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _closed = said.shutdown().await;
    };
    let mut answers = [0; 4096];
    let hear = async { while heard.read(&mut answers).await.is_ok_and(|count| count > 0) {} };
    tokio::join!(say, hear);
}

async fn client(db: &Postgres, seen: &mut String, logged_in: &mut bool) -> Result<(), Trouble> {
    let mut connection = Connection::open(db).await?;
    *logged_in = true;
    write!(seen, "{} {}", connection.server_version(), connection.pid()).unwrap();
    write!(seen, "{:?}", connection.identify_system().await?).unwrap();
    write!(seen, "{:?}", connection.timeline_history(2).await?).unwrap();
    let mut stream = connection.start_replication("slot", Lsn::ZERO, &["p"], true).await?;
    loop {
        while let Some(frame) = stream.next()? {
            match frame {
                Frame::CopyData(bytes) => write!(seen, "{:?}", CopyData::parse(bytes)).unwrap(),
                other => write!(seen, "{other:?}").unwrap(),
            }
        }
        read(&mut stream).await?;
    }
}

async fn read(stream: &mut ReplicationStream) -> Result<(), Trouble> {
    stream.read().await.map(drop)
}
