//! The proxy does what it says.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{Proxy, Way, Weather};

const MOMENT: Duration = Duration::from_millis(300);

/// A server that sends back what it gets, and a connection to it through a proxy.
fn echo() -> (Proxy, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut &stream, &mut &stream));
        }
    });
    let client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    client.set_read_timeout(Some(MOMENT)).unwrap();
    (proxy, client)
}

/// What has come back within a moment.
fn answer(client: &mut TcpStream) -> Result<Vec<u8>, ErrorKind> {
    let mut buffer = [0; 1 << 12];
    client.read(&mut buffer).map(|read| buffer[..read].to_vec()).map_err(|error| error.kind())
}

#[test]
fn what_is_held_comes_later_and_a_cut_ends_it() {
    let (proxy, mut client) = echo();
    client.write_all(b"one").unwrap();
    assert_eq!(answer(&mut client), Ok(b"one".to_vec()));
    proxy.set(Weather::Held);
    client.write_all(b"two").unwrap();
    assert_eq!(answer(&mut client), Err(ErrorKind::WouldBlock));
    proxy.set(Weather::Clear);
    assert_eq!(answer(&mut client), Ok(b"two".to_vec()));
    proxy.cut();
    assert_eq!(answer(&mut client), Err(ErrorKind::ConnectionReset));
    proxy.set(Weather::Closed);
    let mut refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    assert_eq!(answer(&mut refused), Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_cut_inside_a_message() {
    let (proxy, mut client) = echo();
    proxy.cut_after(Way::Answers, 4);
    client.write_all(b"message").unwrap();
    assert_eq!(answer(&mut client), Ok(b"mess".to_vec()));
    assert_eq!(answer(&mut client), Err(ErrorKind::ConnectionReset));
    assert!(!proxy.forget_cut(), "it is done");
}

#[test]
fn an_answer_is_lost_after_it_was_given() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap().port());
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(MOMENT)).unwrap();
    }
    proxy.set(Weather::Deaf);
    client.write_all(b"request").unwrap();
    assert_eq!(answer(&mut server), Ok(b"request".to_vec()), "it comes through");
    server.write_all(b"lost").unwrap();
    assert_eq!(answer(&mut client), Err(ErrorKind::WouldBlock));
    proxy.set(Weather::Clear);
    server.write_all(b"kept").unwrap();
    assert_eq!(answer(&mut client), Ok(b"kept".to_vec()));
}

#[test]
fn one_way_is_closed() {
    let (proxy, mut client) = echo();
    client.write_all(b"one").unwrap();
    assert_eq!(answer(&mut client), Ok(b"one".to_vec()));
    proxy.half_close(Way::Answers);
    assert_eq!(answer(&mut client), Ok(vec![]), "the end");
    client.write_all(b"this way is open").unwrap();
}

#[test]
fn delayed_and_slow() {
    let (proxy, mut client) = echo();
    client.set_read_timeout(None).unwrap();
    proxy.set(Weather::Delayed(Duration::from_millis(100)));
    let began = Instant::now();
    client.write_all(b"later").unwrap();
    assert_eq!(answer(&mut client), Ok(b"later".to_vec()));
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}: both ways", began.elapsed());
    proxy.set(Weather::Slow(1_000));
    let began = Instant::now();
    client.write_all(&[0; 300]).unwrap();
    let mut all = [0; 300];
    client.read_exact(&mut all).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(250), "{:?}", began.elapsed());
}
