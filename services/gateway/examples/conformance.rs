//! The listener that the official Engine.IO and Socket.IO suites talk to: the gateway's own engine and namespaces
//! with the suites' options and handlers.
//!
//! `cargo run --release -p gateway --example conformance -- 127.0.0.1:3000`

use std::future::pending;
use std::net::SocketAddr;
use std::time::Duration;

use gateway::socketio::{
    Application, Applications, Closing, Event, Handler, Handshake, Message, Namespaces, Options,
    Outbox, routes,
};
use runtime::http::{ServeOptions, bind, edge, serve};
use runtime::tasks::{BoxError, Connections, stop_on_signals};
use serde_json::Value;
use tokio::time::Instant;

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
        connections,
    ));
    let (shutdown, _signals) = stop_on_signals()?;
    let listeners = bind(&[address], "the first argument").await?;
    Ok(serve(listeners, edge(app, None), ServeOptions::default(), shutdown).await?)
}

#[derive(Clone, Copy)]
struct Echoes;

impl Applications for Echoes {
    type Application = Echo;

    fn open(&self, _handshake: Handshake) -> Echo {
        Echo
    }
}

/// Sends every message back.
struct Echo;

impl Application for Echo {
    async fn receive(&mut self, message: Message, outbox: &mut Outbox) -> Result<(), Closing> {
        outbox.send(&message);
        Ok(())
    }

    async fn wait(&mut self, _drained: bool) {
        pending().await
    }

    async fn act(&mut self, _drained: bool, _outbox: &mut Outbox) -> Result<(), Closing> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    async fn closed(&mut self, _closing: Closing) {}
}

#[derive(Clone, Copy)]
struct Suites(Options);

impl Applications for Suites {
    type Application = Namespaces<Suite>;

    fn open(&self, _handshake: Handshake) -> Self::Application {
        Namespaces::new(Suite, self.0)
    }
}

/// Tells what it was given: `auth` with the CONNECT payload, `message-back`, acknowledgements.
struct Suite;

impl Handler for Suite {
    async fn connect(
        &mut self,
        namespace: &str,
        auth: Value,
        outbox: &mut Outbox,
    ) -> Result<bool, Closing> {
        let is_known = matches!(namespace, "/" | "/custom");
        if is_known {
            outbox.connected(namespace, &runtime::ids::unguessable(), None);
            outbox.emit(namespace, "auth", &[auth], &[]);
        } else {
            outbox.refuse(namespace, "Invalid namespace", None);
        }
        Ok(is_known)
    }

    async fn event(
        &mut self,
        namespace: &str,
        event: Event,
        outbox: &mut Outbox,
    ) -> Result<(), Closing> {
        match (&*event.name, event.id) {
            ("message", _) => {
                outbox.emit(namespace, "message-back", &event.arguments, &event.attachments);
            }
            ("message-with-ack", Some(id)) => {
                outbox.ack(namespace, id, &event.arguments, &event.attachments);
            }
            _ => {}
        }
        Ok(())
    }

    async fn disconnect(&mut self, _namespace: &str) {}

    async fn wait(&mut self, _drained: bool) {
        pending().await
    }

    async fn act(&mut self, _drained: bool, _outbox: &mut Outbox) -> Result<(), Closing> {
        Ok(())
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    async fn closed(&mut self, _closing: Closing) {}
}
