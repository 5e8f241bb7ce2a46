//! One client connection: its options, and whether it stands.

use std::time::Duration;

use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::watch;
use tracing::{error, info, warn};

use super::link::Link;
use super::servers::Servers;
use super::{ConnectError, Credentials};

/// The longest pause between two attempts: what an outage costs beyond the outage itself.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Two pings without an answer end a connection that died silently.
const PING_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    link: watch::Receiver<Link>,
    up: watch::Receiver<bool>,
}

impl Connection {
    pub(crate) async fn open(servers: &Servers, purpose: &str) -> Result<Self, ConnectError> {
        let (link_sender, link) = watch::channel(Link::default());
        let (up_sender, up) = watch::channel(false);
        let name = format!("{}-{purpose}", servers.service());
        let spoken = name.clone();
        let options = options(servers).name(name).event_callback(move |event| {
            note(&spoken, &event, &link_sender, &up_sender);
            std::future::ready(())
        });
        let client = options.connect(servers.configured()).await.map_err(ConnectError::Client)?;
        Ok(Self { client, link, up })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn link(&self) -> Link {
        *self.link.borrow()
    }

    pub(crate) fn watch_link(&self) -> watch::Receiver<Link> {
        self.link.clone()
    }

    pub(crate) fn up(&self) -> watch::Receiver<bool> {
        self.up.clone()
    }
}

fn options(servers: &Servers) -> ConnectOptions {
    let options = ConnectOptions::new()
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .custom_inbox_prefix(servers.inboxes())
        .reconnect_delay_callback(|attempts| match attempts {
            0 | 1 => Duration::ZERO,
            more => RECONNECT_PAUSE.min(Duration::from_millis(10).saturating_mul(more as u32)),
        });
    match servers.credentials() {
        None => options,
        Some(credentials) => credentials.apply(options),
    }
}

fn note(name: &str, event: &Event, link: &watch::Sender<Link>, up: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            link.send_modify(Link::rise);
            up.send_replace(true);
            info!(connection = name, "connected to NATS");
        }
        Event::Disconnected | Event::Closed => {
            link.send_modify(|link| link.up = false);
            up.send_replace(false);
            warn!(connection = name, "disconnected from NATS");
        }
        Event::SlowConsumer(_) => {
            warn!(
                connection = name,
                "a NATS subscription dropped messages: its reader is too slow"
            );
        }
        // A refused call is not answered to the caller, who sees a time-out; this is the only trace of it.
        Event::ServerError(ServerError::Other(text)) if text.contains("ermissions") => {
            error!(connection = name, violation = %text, "NATS refused a call: permissions violation");
        }
        Event::ServerError(reason) => error!(connection = name, %reason, "NATS reported an error"),
        Event::ClientError(ClientError::Other(text)) if *text == refusal() => {
            // Every attempt meets the same, ten times a second; it is told once.
            let is_news = link.send_if_modified(|link| !std::mem::replace(&mut link.refused, true));
            if is_news {
                warn!(connection = name, "NATS refuses the user or the password");
            }
        }
        Event::ClientError(reason) => warn!(connection = name, %reason, "NATS client"),
        Event::LameDuckMode | Event::Draining => {
            info!(connection = name, "the NATS server is about to stop or drains");
        }
    }
}

/// How the client words a refusal of the credentials.
fn refusal() -> String {
    ConnectErrorKind::AuthorizationViolation.to_string()
}

impl Credentials {
    fn apply(&self, options: ConnectOptions) -> ConnectOptions {
        match self {
            Self::Password { user, password } => {
                options.user_and_password(user.clone(), password.clone())
            }
            Self::Seed(seed) => options.nkey(seed.clone()),
            Self::File { jwt, seed } => {
                let seed = seed.clone();
                options.jwt(jwt.clone(), move |nonce| {
                    std::future::ready(super::credentials::sign(&seed, &nonce))
                })
            }
        }
    }
}
