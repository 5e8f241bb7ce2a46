//! The WebSocket wire's shell: the upgrade, the socket and the life of a connection.

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::upgrade::OnUpgrade;
use runtime::auth::Credentials;
use runtime::http::{Peer, Problem, into_raw};
use sha1::{Digest as _, Sha1};
use tracing::debug;

use crate::devices::check_name;
use crate::edge::{Edge, Refused};
use crate::member::Brought;
use crate::problems;

mod connection;
mod echo;
mod ending;
pub(crate) mod io;
mod opening;
mod requests;

use connection::Connection;
pub use echo::echo;
use io::Socket;

const STOPPING: Refused =
    Refused::new("unavailable", "This gateway is stopping; connect again and reach another.");
/// RFC 6455 section 1.3.
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// `GET /ws`.
pub(crate) async fn upgrade(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    Query(brought): Query<Brought>,
    mut request: Request,
) -> Response {
    let Some(accept) = accept_key(request.headers()) else {
        let detail =
            "This path speaks WebSocket (RFC 6455, version 13); open it with a WebSocket client.";
        return Problem::new(StatusCode::UPGRADE_REQUIRED, "not_a_websocket", detail)
            .into_response();
    };
    if edge.connections.is_draining() {
        return problems::refused(STOPPING).into_response();
    }
    if let Err(refused) = check_name(brought.device.as_deref()) {
        return problems::refused(refused).into_response();
    }
    // Other sites can open a WebSocket with the user's cookies, so a cookie is no credential here.
    let credentials = Credentials::of(request.headers(), request.uri().query()).without_cookies();
    let upgrading = hyper::upgrade::on(&mut request);
    let connections = edge.connections.clone();
    connections.spawn(async move {
        if let Some(socket) = upgraded(upgrading).await {
            Box::pin(Connection::run(edge, socket, peer, credentials, brought)).await;
        }
    });
    switching_protocols(accept)
}

/// The socket behind a request that was answered with [`switching_protocols`].
pub(crate) async fn upgraded(upgrading: OnUpgrade) -> Option<Socket> {
    let raw = upgrading.await.map(into_raw);
    match raw {
        Ok(Ok(raw)) => return Some(Socket::new(raw)),
        Ok(Err(error)) => debug!(%error, "upgrade"),
        Err(error) => debug!(%error, "upgrade"),
    }
    None
}

/// The answer to an upgrade, with what [`accept_key`] found.
pub(crate) fn switching_protocols(accept: HeaderValue) -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    response
}

pub(crate) fn accept_key(headers: &HeaderMap) -> Option<HeaderValue> {
    let is = |name, value: &str| {
        let text =
            headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok()).unwrap_or_default();
        text.split(',').any(|token| token.trim().eq_ignore_ascii_case(value))
    };
    if !is(header::UPGRADE, "websocket")
        || !is(header::CONNECTION, "upgrade")
        || !is(header::SEC_WEBSOCKET_VERSION, "13")
    {
        return None;
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?;
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(ACCEPT_GUID);
    HeaderValue::from_str(&STANDARD.encode(digest.finalize())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        assert_eq!(accept_key(&headers).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        headers.remove("upgrade");
        assert_eq!(accept_key(&headers), None);
    }
}
