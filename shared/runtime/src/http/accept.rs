//! The accept loop and the life of one HTTP connection, before and beside upgrades.
//! Limits are set here because they must hold before any route has run.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::http::admission::Admission;
use crate::http::{Edge, Peer};
use crate::tasks::{BoxError, Connections, Tasks};

/// The most an HTTP/1 connection keeps for reading, and with it the most that request headers may take.
pub const READ_BUFFER_BYTES: usize = 16 * 1024;
/// From accept to the first request, and from then on for the headers of each.
const HEADER_DEADLINE: Duration = Duration::from_secs(10);
const PING_EVERY: Duration = Duration::from_secs(20);
/// Pause after a failed accept, which mostly means that file descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections of one address that have not authenticated (`Peer::authenticated`).
    pub per_address: usize,
    /// `TCP_NOTSENT_LOWAT`: what the kernel may hold unsent, so that an urgent frame waits behind little.
    pub send_lowat: u32,
    /// A peer that acknowledges nothing, or takes nothing, for so long is gone (`TCP_USER_TIMEOUT`).
    pub dead_after: Duration,
    /// How long requests in flight may take once the server stops.
    pub grace: Duration,
    pub header_deadline: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            tls: None,
            per_address: 16_384,
            send_lowat: 16 * 1024,
            dead_after: Duration::from_secs(60),
            grace: Duration::from_secs(10),
            header_deadline: HEADER_DEADLINE,
        }
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the server stopped")]
pub struct ServeError(#[from] crate::tasks::TaskError);

struct Server {
    edge: Edge,
    options: ServeOptions,
    builder: Builder<TokioExecutor>,
    admission: Admission,
    connections: Connections,
    shutdown: CancellationToken,
}

/// Serves until `shutdown`, then finishes requests in flight within the grace period.
/// Connections that were upgraded belong to their handlers, which drain them themselves.
pub async fn serve(
    listeners: Vec<TcpListener>,
    edge: impl Into<Edge>,
    options: ServeOptions,
    shutdown: CancellationToken,
) -> Result<(), ServeError> {
    let grace = options.grace;
    let connections = Connections::traced();
    let server = Arc::new(Server {
        edge: edge.into(),
        builder: builder(options.header_deadline),
        admission: Admission::new(options.per_address),
        connections: connections.clone(),
        shutdown: shutdown.clone(),
        options,
    });
    let mut tasks = Tasks::new(&shutdown);
    for listener in listeners {
        let server = server.clone();
        tasks.spawn("accept", async move { server.accept(listener).await });
    }
    let stopped = tasks.finish(Duration::from_secs(1)).await;
    let late = connections.drain(grace).await;
    if late > 0 {
        warn!(connections = late, "closed connections whose requests did not finish in time");
    }
    Ok(stopped?)
}

fn builder(header_deadline: Duration) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_deadline)
        .max_buf_size(READ_BUFFER_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(READ_BUFFER_BYTES as u32)
        .max_concurrent_streams(100)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_EVERY);
    builder
}

impl Server {
    async fn accept(self: Arc<Self>, listener: TcpListener) -> Result<(), BoxError> {
        loop {
            let accepted = tokio::select! {
                () = self.shutdown.cancelled() => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => self.admit(stream, address),
                Err(error) if is_of_the_peer(&error) => debug!(%error, "accept"),
                Err(error) => {
                    warn!(%error, "cannot accept connections; are file descriptors used up?");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let Some(peer) = self.admission.admit(address, self.options.tls.is_some()) else {
            debug!(peer = %address, "too many connections of one address without a credential");
            return;
        };
        if let Err(error) = self.prepare(&stream) {
            debug!(peer = %address, %error, "socket options");
            return;
        }
        let server = self.clone();
        self.connections.spawn(async move { server.connection(stream, peer).await });
    }

    fn prepare(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        #[cfg(target_os = "linux")]
        {
            let socket = socket2::SockRef::from(stream);
            socket.set_tcp_notsent_lowat(self.options.send_lowat)?;
            // Where the network has lost the peer, nobody else would say so for a quarter of an hour.
            socket.set_tcp_user_timeout(Some(self.options.dead_after))?;
            let often = self.options.dead_after / 4;
            let alive = socket2::TcpKeepalive::new().with_time(often).with_interval(often);
            socket.set_tcp_keepalive(&alive)?;
        }
        Ok(())
    }

    async fn connection(self: &Arc<Self>, stream: TcpStream, peer: Peer) {
        let Some(tls) = self.options.tls.clone() else {
            return self.requests(TokioIo::new(stream), peer).await;
        };
        let handshake = TlsAcceptor::from(tls).accept(stream);
        match timeout(self.options.header_deadline, handshake).await {
            Ok(Ok(stream)) => self.requests(TokioIo::new(Box::new(stream)), peer).await,
            Ok(Err(error)) => debug!(peer = %peer.address, %error, "TLS handshake"),
            Err(_) => debug!(peer = %peer.address, "TLS handshake took too long"),
        }
    }

    async fn requests<I>(self: &Arc<Self>, io: I, peer: Peer)
    where
        I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
    {
        let (address, whose) = (peer.address, peer.clone());
        let asked = Arc::new(AtomicBool::new(false));
        let (server, first) = (self.clone(), asked.clone());
        let service = service_fn(move |request: Request<Incoming>| {
            first.store(true, Ordering::Relaxed);
            answer(server.clone(), request, peer.clone())
        });
        let mut connection = pin!(self.builder.serve_connection_with_upgrades(io, service));
        // hyper's own deadline starts once it knows the protocol; this one covers a peer that sends nothing.
        let mut silent = pin!(sleep(self.options.header_deadline));
        let mut waiting = true;
        let mut stopping = false;
        loop {
            tokio::select! {
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        debug!(peer = %address, error = %crate::telemetry::chain(&*error), "connection");
                    }
                    return;
                }
                () = &mut silent, if waiting => {
                    if !asked.load(Ordering::Relaxed) {
                        return;
                    }
                    waiting = false;
                }
                () = whose.closing() => return,
                () = self.shutdown.cancelled(), if !stopping => {
                    stopping = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
        }
    }
}

async fn answer(
    server: Arc<Server>,
    request: Request<Incoming>,
    peer: Peer,
) -> Result<Response<Body>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer.address));
    request.extensions_mut().insert(peer);
    Ok(server.edge.answer(request).await)
}

/// Failures of the one connection that was to be accepted, not of the listener.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
