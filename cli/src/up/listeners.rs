//! Every port of the platform, bound before anything starts, so that a taken one is told at once.

use std::net::SocketAddr;

use runtime::http::bind;
use tokio::net::TcpListener;

use crate::data::Endpoints;
use crate::failure::Failure;
use crate::up::settings::Settings;

pub(crate) struct Listeners {
    pub(crate) gateway: Vec<TcpListener>,
    pub(crate) ingest: Vec<TcpListener>,
    /// In the order of [`NAMES`].
    pub(crate) ops: [TcpListener; 4],
}

/// The services in the order of their operations ports.
pub(crate) const NAMES: [&str; 4] = ["gateway", "ingest", "ai-proxy", "replay"];

impl Listeners {
    pub(crate) async fn bind(settings: &Settings) -> Result<Self, Failure> {
        let gateway = many(&settings.gateway, "GATEWAY_LISTEN").await?;
        let ingest = many(&settings.ingest, "INGEST_LISTEN").await?;
        let ops = |index: u16| {
            let port = if settings.ops_base == 0 { 0 } else { settings.ops_base + index };
            one(SocketAddr::from(([127, 0, 0, 1], port)), "OPS_PORT_BASE")
        };
        let ops = [ops(0).await?, ops(1).await?, ops(2).await?, ops(3).await?];
        Ok(Self { gateway, ingest, ops })
    }

    pub(crate) fn endpoints(
        &self,
        nats: String,
        settings: &Settings,
    ) -> Result<Endpoints, Failure> {
        let scheme = if settings.tls { "https" } else { "http" };
        Ok(Endpoints {
            gateway: url(scheme, self.gateway.first())?,
            ingest: url(scheme, self.ingest.first())?,
            nats,
            tenant: settings.tenant.clone(),
        })
    }

    pub(crate) fn ops_urls(&self) -> Result<Vec<(&'static str, String)>, Failure> {
        NAMES
            .into_iter()
            .zip(&self.ops)
            .map(|(name, ops)| Ok((name, url("http", Some(ops))?)))
            .collect()
    }
}

async fn many(
    addresses: &[SocketAddr],
    variable: &'static str,
) -> Result<Vec<TcpListener>, Failure> {
    bind(addresses, variable).await.map_err(|error| Failure::failed(variable, error))
}

async fn one(address: SocketAddr, variable: &'static str) -> Result<TcpListener, Failure> {
    let mut bound = many(&[address], variable).await?;
    bound.pop().ok_or_else(|| Failure::configuration(format!("{variable}: names no address")))
}

/// How a client on this machine reaches it.
fn url(scheme: &str, listener: Option<&TcpListener>) -> Result<String, Failure> {
    let listener = listener.ok_or_else(|| Failure::configuration("no address to listen on"))?;
    let mut address =
        listener.local_addr().map_err(|error| Failure::failed("a listener", error))?;
    if address.ip().is_unspecified() {
        address.set_ip([127, 0, 0, 1].into());
    }
    Ok(format!("{scheme}://{address}"))
}
