//! Where the servers are, and who connects to them.

use async_nats::{Client, ServerAddr};

use super::{ConnectError, Credentials, NatsConfig};

/// As configured, with the credentials that an URL may hold.
#[derive(Clone)]
pub(crate) struct Servers {
    service: String,
    configured: Vec<ServerAddr>,
    credentials: Option<Credentials>,
    /// A connection that has been told of the other servers of the cluster.
    informed: Option<Client>,
}

impl Servers {
    /// Credentials are taken out of the URLs: the client library logs its addresses.
    pub(crate) fn read(config: &NatsConfig) -> Result<Self, ConnectError> {
        let (mut embedded, mut configured) = (None, Vec::new());
        for one in config.url.split(',').map(str::trim) {
            let (scheme, rest) = one.split_once("://").unwrap_or(("nats", one));
            let place = match rest.rsplit_once('@') {
                None => rest,
                Some((user, place)) => {
                    let decoded = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
                    embedded = embedded.or(Credentials::parse(&decoded).ok());
                    place
                }
            };
            configured.push(format!("{scheme}://{place}").parse().map_err(ConnectError::Url)?);
        }
        let credentials = config.credentials.clone().or(embedded);
        Ok(Self { service: config.service.clone(), configured, credentials, informed: None })
    }

    /// Those that a connection has been told of count as well.
    pub(super) fn informed_by(mut self, client: &Client) -> Self {
        self.informed = Some(client.clone());
        self
    }

    pub(crate) fn service(&self) -> &str {
        &self.service
    }

    /// What the inboxes of this service begin with, which the server's permissions rely on.
    pub(crate) fn inboxes(&self) -> String {
        format!("_INBOX_{}", self.service)
    }

    /// An inbox that nobody else has.
    pub(crate) fn inbox(&self) -> String {
        format!("{}.{:016x}", self.inboxes(), u64::from_be_bytes(crate::ids::random_bytes()))
    }

    pub(super) fn configured(&self) -> &[ServerAddr] {
        &self.configured
    }

    pub(super) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// All that are known, beginning with any of them, so that no dead one is always tried first.
    pub(super) fn all(&self) -> Vec<ServerAddr> {
        let mut all = self.configured.clone();
        let info = self.informed.as_ref().and_then(Client::try_server_info);
        let told = info.into_iter().flat_map(|info| info.connect_urls);
        let is_tls = all.first().is_some_and(ServerAddr::tls_required);
        let scheme = if is_tls { "tls" } else { "nats" };
        for address in told.filter_map(|url| format!("{scheme}://{url}").parse().ok()) {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        let first = usize::from(crate::ids::random_bytes::<1>()[0]) % all.len().max(1);
        all.rotate_left(first);
        all
    }
}
