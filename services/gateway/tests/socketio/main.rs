//! Engine.IO and Socket.IO as their protocols say, from outside: the engine and the namespaces with short times and
//! handlers that answer with what they were given.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "the whole crate is a test"
)]

mod client;
mod engine;
mod namespaces;
mod polling;
#[path = "../../examples/conformance/suite.rs"]
mod suite;
mod upgrade;

use std::net::SocketAddr;
use std::time::Duration;

use gateway::socketio::{Options, routes};
use runtime::http::{Origins, ServeOptions, edge, serve};
use runtime::tasks::{Connections, Owned, owned};
use suite::{Echoes, Suites};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const ORIGIN: &str = "http://localhost:5173";
const INTERVAL: Duration = Duration::from_millis(400);

/// The server at `/engine.io/` and `/socket.io/`, gone with its handle.
struct Server {
    address: SocketAddr,
    _serving: Owned<()>,
}

impl Server {
    async fn start() -> Self {
        let options = Options {
            ping_interval: INTERVAL,
            ping_timeout: Duration::from_millis(300),
            upgrade_timeout: Duration::from_millis(300),
            connect_timeout: Duration::from_millis(600),
            max_payload: 10_000,
            max_packet: 10_000,
            waiting_per_address: 32,
            controls_per_second: 50,
        };
        let connections = Connections::new();
        let engine = routes("/engine.io", options, Echoes, connections.clone());
        let app = engine.merge(routes("/socket.io", options, Suites(options), connections));
        let app = edge(app, Some(Origins::new([ORIGIN.to_owned()])));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = owned(async move {
            let stop = CancellationToken::new();
            serve(vec![listener], app, ServeOptions::default(), stop).await.unwrap();
        });
        Self { address, _serving: serving }
    }
}
