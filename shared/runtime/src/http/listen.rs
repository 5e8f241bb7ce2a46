//! Binding listeners, with an error that says how to move them.

use std::net::SocketAddr;

use tokio::net::TcpListener;

#[derive(Debug, thiserror::Error)]
#[error("{address} cannot be listened on; stop what uses it or set {variable} to another address")]
pub struct BindError {
    pub address: SocketAddr,
    pub variable: &'static str,
    source: std::io::Error,
}

/// Binds every address; `variable` names what moves them. Listening sockets are non-blocking and reusable after a restart.
pub async fn bind(
    addresses: &[SocketAddr],
    variable: &'static str,
) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        let bound = TcpListener::bind(address).await;
        listeners.push(bound.map_err(|source| BindError { address, variable, source })?);
    }
    Ok(listeners)
}
