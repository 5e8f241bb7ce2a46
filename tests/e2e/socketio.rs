//! The stock `socket.io-client` against the platform: every transport, recovery after whatever happened to the
//! gateway, refusals in the words that applications compare.

mod recovery;
mod requests;
mod transports;

use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use crate::checker::History;
use crate::clients::publisher::Publisher;
use crate::clients::socketio::SocketIo;
use crate::clients::token;
use crate::harness::TENANT;

fn client(history: &History, name: &str) -> SocketIo {
    let own = format!("user:{name}");
    let automatic = ["team", "system", "admin:broadcast", &own];
    SocketIo::new(history, name, &token::token(TENANT, name, "agent"), &automatic)
}

fn websocket() -> Json {
    json!({ "transports": ["websocket"] })
}

/// An agent that follows the calls and has seen five of them.
async fn follower(
    history: &History,
    name: &str,
    to: SocketAddr,
    options: Json,
    writer: &mut Publisher,
    ingest: SocketAddr,
) -> SocketIo {
    let mut client = client(history, name);
    let connected = client.connect(to, options).await;
    assert_eq!(connected["recovered"], false);
    client.join("subscribe_to_calls", Json::Null, "calls").await;
    writer.publish(ingest, 5).await;
    client.receive(5).await;
    client
}
