//! The accept loop as peers on a socket see it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo};
use runtime::http::{self, Peer, READ_BUFFER_BYTES, RawStream, ServeOptions};
use runtime::tasks::{Connections, Owned, owned};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

const SOON: Duration = Duration::from_secs(5);

struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    running: Owned<()>,
}

async fn start(router: Router, options: ServeOptions) -> Server {
    let listeners = http::bind(&[SocketAddr::from(([127, 0, 0, 1], 0))], "LISTEN").await.unwrap();
    let address = listeners[0].local_addr().unwrap();
    let stop = CancellationToken::new();
    let token = stop.clone();
    let running = owned(async move {
        http::serve(listeners, router, options, token).await.unwrap();
    });
    Server { address, stop, running }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

/// Everything until the peer closes, which it must do soon.
async fn rest(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    let read = timeout(SOON, stream.read_to_end(&mut text)).await.expect("the peer did not close");
    // A reset is a close, too.
    drop(read);
    String::from_utf8_lossy(&text).into_owned()
}

/// What comes until `end` has come.
async fn until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let byte = timeout(SOON, stream.read_u8()).await.expect("nothing came").unwrap();
        text.push(char::from(byte));
    }
    text
}

#[tokio::test]
async fn a_taken_port_is_named_with_the_variable_that_moves_it() {
    let holder = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = holder.local_addr().unwrap();
    let error = http::bind(&[address], "GATEWAY_LISTEN").await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()) && error.contains("GATEWAY_LISTEN"), "{error}");
}

#[tokio::test]
async fn a_handler_knows_its_peer() {
    let peer = async |ConnectInfo(address): ConnectInfo<SocketAddr>, request: Request| {
        let peer = request.extensions().get::<Peer>().unwrap();
        assert_eq!((peer.address, peer.tls), (address, false));
        address.to_string()
    };
    let server = start(Router::new().route("/", get(peer)), ServeOptions::default()).await;
    let mut stream = server.connect().await;
    let own = stream.local_addr().unwrap().to_string();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    assert!(rest(&mut stream).await.ends_with(&own));
}

#[tokio::test]
async fn a_peer_that_sends_nothing_or_half_a_preface_is_closed() {
    let options =
        ServeOptions { header_deadline: Duration::from_millis(200), ..ServeOptions::default() };
    let server = start(hello(), options).await;
    for beginning in ["", "PRI * HTT", "GET / HTTP/1.1\r\nhost:"] {
        let mut stream = server.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let started = Instant::now();
        let answer = rest(&mut stream).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(started.elapsed() < Duration::from_secs(2), "{beginning:?}");
    }
}

#[tokio::test]
async fn headers_beyond_the_read_buffer_are_refused() {
    assert_eq!(READ_BUFFER_BYTES, 16 * 1024, "the buffer is what an idle connection costs");
    let server = start(hello(), ServeOptions::default()).await;
    let request = |size: usize| {
        let padding = "x".repeat(size);
        format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-padding: {padding}\r\n\r\n")
    };
    let mut stream = server.connect().await;
    stream.write_all(request(READ_BUFFER_BYTES - 1_000).as_bytes()).await.unwrap();
    assert!(rest(&mut stream).await.contains("200 OK"));
    let mut stream = server.connect().await;
    // The server may close before it has read everything.
    let _sent = stream.write_all(request(READ_BUFFER_BYTES + 1_000).as_bytes()).await;
    assert!(!rest(&mut stream).await.contains("200 OK"));
}

#[tokio::test]
async fn an_address_with_too_many_silent_connections_is_turned_away() {
    let admit = async |request: Request| {
        request.extensions().get::<Peer>().unwrap().authenticated();
        "in"
    };
    let router = Router::new().route("/", get(admit));
    let server = start(router, ServeOptions { per_address: 2, ..ServeOptions::default() }).await;
    let mut first = server.connect().await;
    let _second = server.connect().await;
    let mut third = server.connect().await;
    assert_eq!(rest(&mut third).await, "", "the third must be closed at once");

    first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&mut first, "in").await;
    let mut fourth = server.connect().await;
    fourth.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    until(&mut fourth, "in").await;
}

#[tokio::test]
async fn http2_without_tls_is_understood() {
    let server = start(hello(), ServeOptions::default()).await;
    let io = TokioIo::new(server.connect().await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let _driver = owned(connection);
    let request = hyper::Request::get(format!("http://{}/", server.address))
        .body(http_body_util::Empty::<bytes::Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.version(), hyper::Version::HTTP_2);
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn a_request_in_flight_is_finished_and_new_ones_are_not_taken() {
    let (entered, mut entering) = mpsc::channel(1);
    let slow = async move || {
        entered.send(()).await.unwrap();
        sleep(Duration::from_millis(300)).await;
        "finished"
    };
    let server = start(Router::new().route("/", get(slow)), ServeOptions::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    entering.recv().await.unwrap();
    server.stop.cancel();
    let answer = rest(&mut stream).await;
    assert!(answer.contains("connection: close") && answer.ends_with("finished"), "{answer}");
    timeout(SOON, server.running.join()).await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn a_request_that_never_ends_does_not_outlive_the_grace_period() {
    let (entered, mut entering) = mpsc::channel(1);
    let endless = async move || {
        entered.send(()).await.unwrap();
        std::future::pending::<()>().await;
    };
    let options = ServeOptions { grace: Duration::from_millis(200), ..ServeOptions::default() };
    let server = start(Router::new().route("/", get(endless)), options).await;
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    entering.recv().await.unwrap();
    server.stop.cancel();
    timeout(SOON, server.running.join()).await.expect("still running").unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

/// Upgrades and hands over the socket beneath.
fn shout(mut request: Request, streams: mpsc::Sender<RawStream>) -> Response {
    let upgrade = hyper::upgrade::on(&mut request);
    // The task must outlive this handler.
    Connections::new().spawn(async move {
        let raw = http::into_raw(upgrade.await.unwrap()).unwrap();
        streams.send(raw).await.unwrap();
    });
    let headers = [(header::CONNECTION, "upgrade"), (header::UPGRADE, "shout")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn shouting() -> (Router, mpsc::Receiver<RawStream>) {
    let (sender, receiver) = mpsc::channel(1);
    let handler = async move |request| shout(request, sender);
    (Router::new().route("/", get(handler)), receiver)
}

const UPGRADE: &[u8] =
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\nearly";

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut client: S,
    mut server: impl AsyncWrite + Unpin,
) {
    until(&mut client, "\r\n\r\n").await;
    server.write_all(b"raw bytes").await.unwrap();
    server.flush().await.unwrap();
    until(&mut client, "raw bytes").await;
}

#[tokio::test]
async fn an_upgraded_connection_becomes_its_socket_with_what_was_read_already() {
    let (router, mut streams) = shouting();
    let server = start(router, ServeOptions::default()).await;
    let mut client = server.connect().await;
    client.write_all(UPGRADE).await.unwrap();
    let RawStream::Plain(socket, early) = streams.recv().await.unwrap() else {
        panic!("not a plain socket")
    };
    assert_eq!(early, "early");
    assert!(socket.nodelay().unwrap());
    #[cfg(target_os = "linux")]
    assert_eq!(socket2::SockRef::from(&socket).tcp_notsent_lowat().unwrap(), 16 * 1024);

    // Stopping the server leaves upgraded connections to their handlers.
    server.stop.cancel();
    timeout(SOON, server.running.join()).await.unwrap().unwrap();
    converse(client, socket).await;
}

#[tokio::test]
async fn an_upgraded_tls_connection_becomes_its_stream() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let tls = Some(runtime::tls::load(&certificate, &key).unwrap());
    let (router, mut streams) = shouting();
    let server = start(router, ServeOptions { tls, ..ServeOptions::default() }).await;

    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = "localhost".try_into().unwrap();
    let mut client = connector.connect(name, server.connect().await).await.unwrap();
    client.write_all(UPGRADE).await.unwrap();
    let RawStream::Tls(stream, early) = streams.recv().await.unwrap() else {
        panic!("not a TLS stream")
    };
    assert_eq!(early, "early");
    converse(client, stream).await;
}
