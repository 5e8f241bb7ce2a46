//! One client connection: its options, and whether it stands.

use std::time::Duration;

use async_nats::{Client, ClientError, ConnectErrorKind, ConnectOptions, Event, ServerError};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::{ConnectError, Credentials, NatsConfig};

/// A server that reads its users anew refuses everybody for a moment.
const REFUSAL_LASTS: Duration = Duration::from_secs(3);

/// The longest pause between two attempts: what an outage costs beyond the outage itself.
const RECONNECT_PAUSE: Duration = Duration::from_millis(100);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Two pings without an answer end a connection that died silently.
const PING_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Link {
    pub(crate) up: bool,
    /// Rises with every connect; what was in flight in an older generation may never be answered.
    pub(crate) generation: u64,
    /// The server answered and did not take who we are; it may yet, when its users change.
    pub(crate) refused: bool,
}

#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    link: watch::Receiver<Link>,
    up: watch::Receiver<bool>,
}

impl Connection {
    pub(crate) async fn open(config: &NatsConfig, purpose: &str) -> Result<Self, ConnectError> {
        let (link_sender, link) = watch::channel(Link::default());
        let (up_sender, up) = watch::channel(false);
        let name = format!("{}-{purpose}", config.service);
        let spoken = name.clone();
        let (addresses, embedded) = addresses(&config.url)?;
        let credentials = config.credentials.clone().or(embedded);
        let options =
            options(config, credentials.as_ref()).name(name).event_callback(move |event| {
                note(&spoken, &event, &link_sender, &up_sender);
                std::future::ready(())
            });
        let client = options.connect(addresses).await.map_err(ConnectError::Client)?;
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

    /// Waits until it stands, or the server has refused the credentials for longer than it takes to read its users anew.
    pub(crate) async fn wait_answered(&self, until: Instant) -> Result<(), ConnectError> {
        let mut link = self.link.clone();
        let answered = timeout_at(until, link.wait_for(|link| link.up || link.refused)).await;
        match answered.map(|link| link.map(|link| link.up)) {
            Ok(Ok(true)) => return Ok(()),
            Ok(Ok(false)) => {}
            Ok(Err(_)) | Err(_) => return Err(ConnectError::Unreachable),
        }
        let until = until.min(Instant::now() + REFUSAL_LASTS);
        let stands = timeout_at(until, link.wait_for(|link| link.up)).await;
        if matches!(stands, Ok(Ok(_))) { Ok(()) } else { Err(ConnectError::Refused) }
    }

    pub(crate) async fn wait_up(&self) {
        let mut link = self.link.clone();
        // The sender lives as long as the client, which this holds.
        let _ = link.wait_for(|link| link.up).await;
    }
}

/// The servers, and the credentials that an URL holds. They are taken out of it: the client logs its addresses.
fn addresses(
    url: &str,
) -> Result<(Vec<async_nats::ServerAddr>, Option<Credentials>), ConnectError> {
    let mut credentials = None;
    let mut addresses = Vec::new();
    for one in url.split(',').map(str::trim) {
        let (scheme, rest) = one.split_once("://").unwrap_or(("nats", one));
        let place = match rest.rsplit_once('@') {
            None => rest,
            Some((user, place)) => {
                let decoded = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
                credentials = credentials.or(Credentials::parse(&decoded).ok());
                place
            }
        };
        addresses.push(format!("{scheme}://{place}").parse().map_err(ConnectError::Url)?);
    }
    Ok((addresses, credentials))
}

fn options(config: &NatsConfig, credentials: Option<&Credentials>) -> ConnectOptions {
    let options = ConnectOptions::new()
        .retry_on_initial_connect()
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_EVERY)
        .custom_inbox_prefix(format!("_INBOX_{}", config.service))
        .reconnect_delay_callback(|attempts| match attempts {
            0 | 1 => Duration::ZERO,
            more => RECONNECT_PAUSE.min(Duration::from_millis(10).saturating_mul(more as u32)),
        });
    match credentials {
        None => options,
        Some(credentials) => credentials.apply(options),
    }
}

fn note(name: &str, event: &Event, link: &watch::Sender<Link>, up: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            link.send_modify(|link| {
                *link = Link { up: true, generation: link.generation + 1, refused: false };
            });
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
