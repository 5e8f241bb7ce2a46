//! Who takes part in a journey, with the tokens and rights of their roles.

use std::time::Duration;

use crate::checker::History;
use crate::clients::publisher::{Kind, Publisher};
use crate::clients::sse::EventSource;
use crate::clients::token;
use crate::clients::websocket::WebSocket;

use super::TENANT;

/// Runs a journey and fails it when it hangs.
pub(crate) async fn journey(seconds: u64, story: impl Future<Output = ()>) {
    let within = Duration::from_secs(seconds);
    assert!(tokio::time::timeout(within, story).await.is_ok(), "not done within {within:?}");
}

/// An agent at a WebSocket, and thereby in `team` and the channels of everybody.
pub(crate) fn agent(history: &History, name: &str) -> WebSocket {
    let own = format!("user:{name}");
    let automatic = ["team", "system", "admin:broadcast", &own];
    WebSocket::new(history, name, &token::token(TENANT, name, "agent"), &automatic)
}

/// An admin at a WebSocket, who is in `admin` besides.
pub(crate) fn admin(history: &History, name: &str) -> WebSocket {
    let own = format!("user:{name}");
    let automatic = ["admin", "team", "system", "admin:broadcast", &own];
    WebSocket::new(history, name, &token::token(TENANT, name, "admin"), &automatic)
}

/// An admin's EventSource.
pub(crate) fn source(history: &History, name: &str, channels: &[&str]) -> EventSource {
    EventSource::new(history, name, &token::token(TENANT, name, "admin"), channels)
}

pub(crate) fn publisher(history: &History, writer: &str, kind: Kind) -> Publisher {
    Publisher::new(history, &token::service(TENANT), writer, kind)
}

pub(crate) fn calls(history: &History, writer: &str) -> Publisher {
    publisher(history, writer, Kind::Call("CA42".to_owned()))
}

pub(crate) fn team(history: &History, writer: &str) -> Publisher {
    publisher(history, writer, Kind::Team)
}
