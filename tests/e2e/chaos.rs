//! A TCP proxy that breaks things on demand: cuts, one-way black holes, delay, throttle, tiny slices.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

#[derive(Clone, Default)]
struct Rules {
    /// Raised by each cut; connections of an earlier number are reset.
    generation: u64,
    refusing: bool,
    /// Nothing passes this way; what is under way waits, as on a network that loses every packet.
    hole: Option<Direction>,
    /// Reset each connection once so many bytes have gone to the client.
    cut_after: Option<u64>,
    delay: Duration,
    /// Bytes a second, to the client.
    rate: Option<u64>,
    /// The most bytes that go in one write.
    slice: Option<usize>,
}

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    rules: watch::Sender<Rules>,
    /// Ends with the proxy.
    _tasks: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, watching) = watch::channel(Rules::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, upstream, watching));
        Self { address, rules, _tasks: tasks }
    }

    pub(crate) fn cut(&self) {
        self.rules.send_modify(|rules| rules.generation += 1);
    }

    /// Cuts everything and lets nobody in until [`Self::heal`].
    pub(crate) fn part(&self) {
        self.rules.send_modify(|rules| {
            rules.generation += 1;
            rules.refusing = true;
        });
    }

    pub(crate) fn cut_after(&self, bytes: u64) {
        self.rules.send_modify(|rules| rules.cut_after = Some(bytes));
    }

    pub(crate) fn black_hole(&self, direction: Direction) {
        self.rules.send_modify(|rules| rules.hole = Some(direction));
    }

    pub(crate) fn delay(&self, delay: Duration) {
        self.rules.send_modify(|rules| rules.delay = delay);
    }

    pub(crate) fn throttle(&self, bytes_a_second: u64) {
        self.rules.send_modify(|rules| rules.rate = Some(bytes_a_second));
    }

    pub(crate) fn slice(&self, bytes: usize) {
        self.rules.send_modify(|rules| rules.slice = Some(bytes));
    }

    /// Back to an honest network; what waited in a hole goes on.
    pub(crate) fn heal(&self) {
        self.rules.send_modify(|rules| {
            *rules = Rules { generation: rules.generation, ..Rules::default() };
        });
    }
}

async fn accept(listener: TcpListener, upstream: SocketAddr, rules: watch::Receiver<Rules>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        if rules.borrow().refusing {
            reset(&client);
            continue;
        }
        connections.spawn(carry(client, upstream, rules.clone()));
    }
}

async fn carry(mut client: TcpStream, upstream: SocketAddr, mut rules: watch::Receiver<Rules>) {
    let Ok(mut server) = TcpStream::connect(upstream).await else { return reset(&client) };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let generation = rules.borrow_and_update().generation;
    let cut = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = pump(Direction::ToServer, from_client, to_server, rules.clone());
        let down = pump(Direction::ToClient, from_server, to_client, rules.clone());
        tokio::select! {
            cut = up => cut,
            cut = down => cut,
            _ = rules.wait_for(|rules| rules.generation != generation) => true,
        }
    };
    if cut {
        reset(&client);
        reset(&server);
    }
}

/// Makes the following close a reset: no goodbye, as when a machine is gone.
fn reset(socket: &TcpStream) {
    let _ = socket.set_zero_linger();
}

/// Carries one way; says whether it ended by a cut.
async fn pump(
    direction: Direction,
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut rules: watch::Receiver<Rules>,
) -> bool {
    let mut buffer = vec![0; 16 * 1024];
    let mut carried = 0;
    loop {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { return false };
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let now = rules.wait_for(|rules| rules.hole != Some(direction)).await;
            let Ok(now) = now.map(|rules| rules.clone()) else { return true };
            let mut piece = rest.len().min(now.slice.unwrap_or(usize::MAX));
            let mut last = false;
            if direction == Direction::ToClient {
                let left = now.cut_after.map(|after| after.saturating_sub(carried));
                piece = piece.min(left.unwrap_or(u64::MAX).try_into().unwrap_or(usize::MAX));
                last = left.is_some_and(|left| piece as u64 == left);
                let pace =
                    now.rate.map(|rate| Duration::from_micros(piece as u64 * 1_000_000 / rate));
                tokio::time::sleep(pace.unwrap_or_default()).await;
            }
            if now.delay > Duration::ZERO {
                tokio::time::sleep(now.delay).await;
            }
            if to.write_all(&rest[..piece]).await.is_err() {
                return false;
            }
            carried += piece as u64;
            rest = &rest[piece..];
            if last {
                let _ = to.flush().await;
                return true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> (JoinSet<()>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut socket, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut from, mut to) = socket.split();
                    let _ = tokio::io::copy(&mut from, &mut to).await;
                });
            }
        });
        (tasks, address)
    }

    #[tokio::test]
    async fn the_proxy_carries_cuts_after_bytes_and_holds_back() {
        let (_tasks, address) = echo().await;
        let proxy = Proxy::start(address).await;
        let mut socket = TcpStream::connect(proxy.address).await.unwrap();
        let mut buffer = [0; 4];
        socket.write_all(b"ping").await.unwrap();
        socket.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"ping");

        proxy.black_hole(Direction::ToClient);
        socket.write_all(b"more").await.unwrap();
        let held = Duration::from_millis(50);
        assert!(tokio::time::timeout(held, socket.read_exact(&mut buffer)).await.is_err());
        proxy.heal();
        socket.read_exact(&mut buffer).await.unwrap();
        assert_eq!(&buffer, b"more");

        proxy.cut_after(10);
        socket.write_all(b"lost").await.unwrap();
        let mut rest = Vec::new();
        let end = socket.read_to_end(&mut rest).await;
        assert!(end.is_err() || rest.len() == 2, "{end:?} {rest:?}");
    }
}
