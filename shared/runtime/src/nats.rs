//! The connections of one service to NATS.
//!
//! Publishing, signals, direct gets and every follower have a connection each: a get is answered in the server's read
//! loop of the connection that asked, and a burst of deliveries must not delay an acknowledgement. Those that read
//! stored messages are lean ones of our own ([`wire`]), the others the client library's.
//! Nothing here knows what an event is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::event_log::EventLog;
use crate::log_reader::LogReader;

mod connection;
mod credentials;
pub(crate) mod headers;
mod link;
pub(crate) mod names;
pub(crate) mod pull;
pub(crate) mod replies;
mod servers;
mod settings;
pub(crate) mod wire;

pub(crate) use connection::Connection;
pub use credentials::{Credentials, UnknownCredentials};
pub use headers::Headers;
pub(crate) use link::{Link, wait_answered, wait_up};
pub(crate) use servers::Servers;

/// Where NATS is and who connects.
#[derive(Clone)]
pub struct NatsConfig {
    /// One or more URLs, separated by commas; `nats://user:password@host:port` carries credentials itself.
    pub url: String,
    pub credentials: Option<Credentials>,
    /// Names the connections and their inbox prefix `_INBOX_<service>`, which the server's permissions rely on.
    pub service: String,
}

// The URL may hold a password.
impl fmt::Debug for NatsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsConfig").field("service", &self.service).finish_non_exhaustive()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the NATS URL is not usable")]
    Url(#[source] std::io::Error),
    #[error("the NATS client could not be started")]
    Client(#[source] async_nats::ConnectError),
    #[error("the NATS client refused a subscription of its own")]
    Subscribe(#[source] async_nats::SubscribeError),
    #[error("the server refused the user or the password")]
    Refused,
    #[error("NATS did not become reachable in time")]
    Unreachable,
}

/// A handle that is cheap to clone; connections close when the last one is dropped.
#[derive(Clone)]
pub struct Nats {
    inner: Arc<Inner>,
}

struct Inner {
    servers: Servers,
    publish: Connection,
    tail: Connection,
    log: EventLog,
    reader: LogReader,
}

impl Nats {
    /// Returns at once, connected or not: services start in any order and say meanwhile that NATS is missing.
    pub async fn connect(config: &NatsConfig) -> Result<Self, ConnectError> {
        let servers = Servers::read(config)?;
        // Boxed: the client's handshake would make every future that connects tens of kilobytes large.
        let (publish, tail) = tokio::try_join!(
            Box::pin(Connection::open(&servers, "publish")),
            Box::pin(Connection::open(&servers, "tail"))
        )?;
        let servers = servers.informed_by(publish.client());
        let reader = LogReader::start(&servers);
        let log = EventLog::start(&publish, reader.clone()).await?;
        Ok(Self { inner: Arc::new(Inner { servers, publish, tail, log, reader }) })
    }

    pub fn service(&self) -> &str {
        self.inner.servers.service()
    }

    pub fn event_log(&self) -> EventLog {
        self.inner.log.clone()
    }

    pub fn log_reader(&self) -> LogReader {
        self.inner.reader.clone()
    }

    /// Whether all connections stand right now.
    pub fn is_connected(&self) -> bool {
        self.links().iter().all(|link| link.borrow().up)
    }

    /// Waits until all connections stand; no longer once the server has refused the credentials of one.
    pub async fn wait_connected(&self, within: Duration) -> Result<(), ConnectError> {
        let deadline = Instant::now() + within;
        for link in self.links() {
            wait_answered(link, deadline).await?;
        }
        Ok(())
    }

    /// Changes whenever the publishing connection comes or goes; the value says which.
    pub fn connected(&self) -> watch::Receiver<bool> {
        self.inner.publish.up()
    }

    /// The version of the server, once one has been seen.
    pub fn server_version(&self) -> Option<String> {
        self.inner.publish.client().try_server_info().map(|info| info.version)
    }

    /// Hands what is buffered to the server, for an orderly stop.
    pub async fn flush(&self, within: Duration) -> Result<(), ConnectError> {
        // A flush blocks for as long as the connection is down.
        match tokio::time::timeout(within, self.inner.publish.client().flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(ConnectError::Unreachable),
        }
    }

    pub(crate) fn publishing(&self) -> &Connection {
        &self.inner.publish
    }

    pub(crate) fn tailing(&self) -> &Connection {
        &self.inner.tail
    }

    /// For connections that their owners keep to themselves.
    pub(crate) fn servers(&self) -> &Servers {
        &self.inner.servers
    }

    fn links(&self) -> [watch::Receiver<Link>; 3] {
        let Inner { publish, tail, reader, .. } = &*self.inner;
        [publish.watch_link(), tail.watch_link(), reader.watch_link()]
    }
}
