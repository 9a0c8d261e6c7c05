//! One connection: two ways, each read, held up and passed on.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::watch,
    time::{Duration, sleep},
};

use super::{Fuse, Orders, Way, Weather, reset};

/// What is passed on at once.
const PIECE: usize = 64 << 10;
/// Between the pieces of a slow connection.
const TICK: Duration = Duration::from_millis(50);

/// From its beginning to its end.
pub(super) async fn connection(mut client: TcpStream, server: SocketAddr, orders: watch::Sender<Orders>, fuse: Fuse) {
    let born = *orders.borrow();
    let Ok(mut server) = TcpStream::connect(server).await else { return reset(&client) };
    for stream in [&client, &server] {
        drop(stream.set_nodelay(true));
    }
    let ended_well = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = Pump { way: Way::Requests, from: from_client, to: to_server, orders: &orders, fuse: &fuse };
        let answers = Pump { way: Way::Answers, from: from_server, to: to_client, orders: &orders, fuse: &fuse };
        let mut seen = orders.subscribe();
        tokio::select! {
            () = until(&mut seen, |now| now.generation > born.generation) => false,
            both = async { tokio::try_join!(requests.run(born), answers.run(born)) } => both.is_ok(),
        }
    };
    if !ended_well {
        reset(&client);
        reset(&server);
    }
}

/// Until the orders are such; the sender outlives us.
async fn until(seen: &mut watch::Receiver<Orders>, such: impl Fn(&Orders) -> bool) {
    drop(seen.wait_for(such).await);
}

struct Pump<'a> {
    way: Way,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    orders: &'a watch::Sender<Orders>,
    fuse: &'a Fuse,
}

impl Pump<'_> {
    async fn run(mut self, born: Orders) -> io::Result<()> {
        let place = self.way as usize;
        let (mut buffer, mut closed) = (vec![0; PIECE], false);
        let mut seen = self.orders.subscribe();
        loop {
            let read = tokio::select! {
                biased;
                () = until(&mut seen, |now| now.closed[place] > born.closed[place]), if !closed => None,
                read = self.from.read(&mut buffer) => Some(read?),
            };
            match read {
                None => {
                    closed = true;
                    self.to.shutdown().await?;
                }
                Some(0) if closed => return Ok(()),
                Some(0) => return self.to.shutdown().await,
                Some(_) if closed => {}
                Some(read) => self.forward(&buffer[..read]).await?,
            }
        }
    }

    async fn forward(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut seen = self.orders.subscribe();
        until(&mut seen, |now| now.weather != Weather::Held).await;
        let weather = self.orders.borrow().weather;
        match weather {
            Weather::Deaf if self.way == Way::Answers => return Ok(()),
            Weather::Delayed(by) => sleep(by).await,
            Weather::Slow(rate) => {
                let mut rest = bytes;
                while !rest.is_empty() && self.orders.borrow().weather == weather {
                    let (piece, after) = rest.split_at(rest.len().min(rate as usize / 20));
                    self.to.write_all(piece).await?;
                    rest = after;
                    sleep(TICK).await;
                }
                return self.to.write_all(rest).await;
            }
            _ => {}
        }
        let Some(last) = self.burnt(bytes.len()) else { return self.to.write_all(bytes).await };
        self.to.write_all(&bytes[..last]).await?;
        self.orders.send_modify(|orders| orders.generation += 1);
        Err(io::Error::other("cut"))
    }

    /// How much of so many bytes still goes through, if the connection is to be cut within them.
    fn burnt(&self, len: usize) -> Option<usize> {
        let mut fuse = self.fuse.lock().unwrap();
        match &mut *fuse {
            Some((way, left)) if *way == self.way && *left <= len => fuse.take().map(|(_, left)| left),
            Some((way, left)) if *way == self.way => {
                *left -= len;
                None
            }
            _ => None,
        }
    }
}
