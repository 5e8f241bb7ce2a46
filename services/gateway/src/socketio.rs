//! Socket.IO at its path: Engine.IO sessions over long polls and WebSockets, namespaces on top of them.
//!
//! The engine moves messages, the namespaces read packets, a handler acts on events. None knows what is above it,
//! so the official suites run against the same engine and namespaces with handlers of their own.

use std::time::Duration;

use axum::Router;
use runtime::auth::Credentials;
use runtime::http::Peer;
use runtime::tasks::Connections;

mod closing;
mod connect;
mod engine;
mod http;
mod namespaces;
mod outbox;
mod platform;
mod polling;
mod probe;
mod requests;
mod sessions;

pub use closing::Closing;
pub(crate) use http::forbid_in_its_words;
pub use namespaces::{Handler, Namespaces};
pub use outbox::Outbox;
pub(crate) use platform::routes_of as platform;
use sessions::Waiting;

pub use crate::wires::engineio::Message;
pub use crate::wires::socketio::Event;

/// How the engine treats its clients.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    pub ping_interval: Duration,
    pub ping_timeout: Duration,
    /// How long a WebSocket that was tried out may take to take over from polling.
    pub upgrade_timeout: Duration,
    /// How long a client may be in no namespace.
    pub connect_timeout: Duration,
    /// The longest message of text, and the most bytes of a posted payload.
    pub max_payload: usize,
    /// The most bytes of a packet with its attachments.
    pub max_packet: usize,
    /// Sessions of one address that poll and have not said who they are.
    pub waiting_per_address: usize,
    /// Packets and frames a second that carry no message: pongs, pings, noops. A client needs one in a heartbeat.
    pub controls_per_second: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(25),
            ping_timeout: Duration::from_secs(20),
            upgrade_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(45),
            max_payload: 1_000_000,
            max_packet: 1_000_000,
            waiting_per_address: 16_384,
            controls_per_second: 10,
        }
    }
}

/// What the request that opened a session tells of its client.
#[derive(Debug)]
pub struct Handshake {
    pub credentials: Credentials,
    peer: Peer,
    /// Counts a session that polls, which holds no connection, against its address.
    waiting: Option<Waiting>,
}

impl Handshake {
    /// The client has said who it is and no longer counts against its address.
    pub fn authenticated(&mut self) {
        self.peer.authenticated();
        self.waiting = None;
    }
}

/// What runs on top of an Engine.IO session.
pub trait Application: Send + 'static {
    /// Takes a client's message.
    fn receive(
        &mut self,
        message: Message,
        outbox: &mut Outbox,
    ) -> impl Future<Output = Result<(), Closing>> + Send;

    /// Waits until there is something to do; safe to drop while waiting.
    /// Unless everything sent has left (`drained`), nothing new is to be sent.
    fn wait(&mut self, drained: bool) -> impl Future<Output = ()> + Send;

    /// Does what has been waited for, or what is due by the clock.
    fn act(
        &mut self,
        drained: bool,
        outbox: &mut Outbox,
    ) -> impl Future<Output = Result<(), Closing>> + Send;

    /// A ping goes out behind everything that was sent so far.
    fn pinged(&mut self) {}

    /// The client has answered the last ping, and with it has everything that was sent before.
    fn ponged(&mut self) {}

    /// When to act even if nothing else happens.
    fn deadline(&self) -> Option<tokio::time::Instant>;

    /// The session has ended.
    fn closed(&mut self, closing: Closing) -> impl Future<Output = ()> + Send;
}

/// Makes the application of each new session.
pub trait Applications: Clone + Send + Sync + 'static {
    type Application: Application;

    fn open(&self, handshake: Handshake) -> Self::Application;
}

/// An Engine.IO server at a path, with and without a slash at its end. Sessions run as `connections`.
pub fn routes<A: Applications>(
    path: &str,
    options: Options,
    applications: A,
    connections: Connections,
) -> Router {
    let path = path.trim_end_matches('/');
    let server = http::Server::new(options, applications, connections);
    let handle = axum::routing::any(http::handle::<A>);
    Router::new().route(path, handle.clone()).route(&format!("{path}/"), handle).with_state(server)
}
