//! A request to the admin address, as bytes on a socket.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cdc_notifier::{
    config::{Overrides, load},
    observability::{Streams, serve},
};

use super::CANARY;

const CONFIGURATION: &str = "
[databases.db]
host = \"localhost\"
database = \"d\"
username = \"u\"
[kafka_clients.k]
endpoints = [\"kafka:9092\"]
[streams.db.slot.\"default/default\"]
kafka_client = \"k\"
eventsink_topic = \"events\"
lifecycle_topic = \"lifecycle\"
";

struct Server {
    address: SocketAddr,
    resumed: Arc<AtomicBool>,
}

/// Every answer is HTTP of a status that the documents know, with JSON of ours, and never shows the token; a slot is resumed only by
/// a POST, and where the request names an origin (a browser's page) only with the token.
pub fn check(bytes: &[u8]) {
    let server = server();
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that has heard enough may close before all is written.
    let _unwritten = socket.write_all(&[bytes, b"\r\n\r\n"].concat());
    let _closed = socket.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let read = socket.read_to_end(&mut answer);
    // A connection that is closed with bytes unread is reset.
    let hangs = read.is_err_and(|error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    assert!(!hangs, "no answer in time");
    let lossy = String::from_utf8_lossy(&answer);
    assert!(!lossy.contains(CANARY));
    // HTTP/0.9 and half a request have no answer.
    if let Some((head, body)) = lossy.split_once("\r\n\r\n") {
        let mut status = head.split(' ');
        assert!(matches!(status.next(), Some("HTTP/1.1" | "HTTP/1.0")), "{head}");
        let status = status.next().unwrap();
        assert!(["200", "400", "403", "404", "405", "409", "414", "431", "503"].contains(&status), "{head}");
        let is_json = head.contains("content-type: application/json");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if let (true, Some(length)) = (is_json && !bytes.starts_with(b"HEAD"), length) {
            let body = body.get(..length.parse().unwrap()).expect("the whole body");
            assert!(serde_json::from_str::<serde_json::Value>(body).unwrap().is_object(), "{body}");
        }
    }
    if server.resumed.swap(false, Ordering::SeqCst) {
        let text = String::from_utf8_lossy(bytes).to_ascii_lowercase().replace('\r', "");
        let (head, more) = text.split_once("\n\n").unwrap_or((&text, ""));
        assert!(text.contains("post"), "{text}");
        // More may hold a second request, which was resumed, and has headers of its own.
        let alone = !more.contains("post");
        let token = text.contains(&CANARY.to_ascii_lowercase());
        assert!(token || !alone || !head.contains("\norigin:"), "{text}");
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.toml");
        std::fs::write(&path, CONFIGURATION).unwrap();
        let config = load(&path, &|_| None, &Overrides::default(), &|_| Ok(())).unwrap();
        let streams = Streams::new(&config);
        let slot = streams.slot("db", "slot").unwrap();
        slot.show("halted", None);
        let resumed = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&resumed);
        slot.on_resume(Box::new(move || seen.store(true, Ordering::SeqCst)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                serve(listener, streams, Some(CANARY.to_owned().into())).await
            })
        });
        Server { address, resumed }
    })
}
