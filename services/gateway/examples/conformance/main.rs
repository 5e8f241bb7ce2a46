//! The listener that the official Engine.IO and Socket.IO suites talk to: the gateway's own engine and namespaces
//! with the suites' options and handlers. At its root it echoes what it is sent over a WebSocket, for Autobahn's suite.
//!
//! `cargo run --release -p gateway --example conformance -- 127.0.0.1:3000`

use std::net::SocketAddr;
use std::time::Duration;

use gateway::echo;
use gateway::socketio::{Options, routes};
use runtime::http::{ServeOptions, bind, edge, serve};
use runtime::tasks::{BoxError, Connections, stop_on_signals};

mod suite;

use suite::{Echoes, Suites};

const ADDRESS: &str = "127.0.0.1:3000";

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address: SocketAddr = std::env::args().nth(1).as_deref().unwrap_or(ADDRESS).parse()?;
    let options = Options {
        ping_interval: Duration::from_millis(300),
        ping_timeout: Duration::from_millis(200),
        connect_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let connections = Connections::new();
    let app = routes("/engine.io", options, Echoes, connections.clone()).merge(routes(
        "/socket.io",
        options,
        Suites(options),
        connections.clone(),
    ));
    let app = app.merge(echo("/", connections));
    let (shutdown, _signals) = stop_on_signals()?;
    let listeners = bind(&[address], "the first argument").await?;
    Ok(serve(listeners, edge(app, None), ServeOptions::default(), shutdown).await?)
}
