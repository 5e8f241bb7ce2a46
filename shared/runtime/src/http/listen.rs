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

/// Binds the first address that is free, where one listener is enough.
pub async fn bind_one(
    addresses: &[SocketAddr],
    variable: &'static str,
) -> Result<TcpListener, BindError> {
    let mut refused = None;
    for &address in addresses {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => refused = Some(BindError { address, variable, source }),
        }
    }
    let unnamed = || BindError {
        address: SocketAddr::from(([0, 0, 0, 0], 0)),
        variable,
        source: std::io::ErrorKind::AddrNotAvailable.into(),
    };
    Err(refused.unwrap_or_else(unnamed))
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
