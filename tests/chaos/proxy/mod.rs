//! A TCP proxy that does to a connection what networks do.

#[cfg(test)]
mod proof;
mod pump;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener as Listener},
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
    task::JoinHandle,
};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the service to the server.
    Requests,
    /// Back.
    Answers,
}

/// What happens to all bytes, for as long as it lasts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Weather {
    Clear,
    /// Nobody gets in.
    Closed,
    /// Nothing comes through; it is kept.
    Held,
    /// Every piece comes later.
    Delayed(Duration),
    /// Bytes a second, each way.
    Slow(u32),
    /// Requests come through, answers are thrown away.
    Deaf,
}

/// What the proxy is told.
#[derive(Clone, Copy, Debug)]
struct Orders {
    weather: Weather,
    /// Connections of an earlier generation are cut.
    generation: u64,
    /// Connections that are older than this have this way closed; what comes there then is thrown away.
    closed: [u64; 2],
}

/// A door before a server. It is closed when this is dropped.
pub struct Proxy {
    port: u16,
    orders: watch::Sender<Orders>,
    fuse: Fuse,
    door: JoinHandle<()>,
}

/// Cut every connection after so many bytes more this way.
type Fuse = Arc<Mutex<Option<(Way, usize)>>>;

fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap())
}

impl Proxy {
    /// Opens a door before this port of this machine.
    pub fn start(server: u16) -> Self {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let orders = watch::Sender::new(Orders { weather: Weather::Clear, generation: 0, closed: [0; 2] });
        let fuse = Fuse::default();
        let door = runtime().spawn(accept(listener, server, orders.clone(), Arc::clone(&fuse)));
        Self { port, orders, fuse, door }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// From here on. Held bytes go on when it clears up.
    pub fn set(&self, weather: Weather) {
        self.orders.send_modify(|orders| orders.weather = weather);
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.orders.send_modify(|orders| orders.generation += 1);
    }

    /// Cuts every connection once so many bytes more have come through this way: in the middle of a message, most often.
    pub fn cut_after(&self, way: Way, bytes: usize) {
        *self.fuse.lock().unwrap() = Some((way, bytes));
    }

    /// Whether a cut is still to come; it does not come any more.
    pub fn forget_cut(&self) -> bool {
        self.fuse.lock().unwrap().take().is_some()
    }

    /// Ends one way of every connection; the other stays open.
    pub fn half_close(&self, way: Way) {
        self.orders.send_modify(|orders| orders.closed[way as usize] += 1);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.door.abort();
        self.cut();
    }
}

async fn accept(listener: Listener, server: u16, orders: watch::Sender<Orders>, fuse: Fuse) {
    let listener = TcpListener::from_std(listener).unwrap();
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, server));
    while let Ok((client, _)) = listener.accept().await {
        if orders.borrow().weather == Weather::Closed {
            reset(&client);
        } else {
            tokio::spawn(pump::connection(client, server, orders.clone(), Arc::clone(&fuse)));
        }
    }
}

/// Closing it will be an RST.
fn reset(stream: &TcpStream) {
    drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
}
