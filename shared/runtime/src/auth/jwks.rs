//! Key sets of issuers, asked again every minute. A set that cannot be fetched stays as it was.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use futures_util::future::join_all;
use http::Uri;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::auth::Authenticator;
use crate::telemetry;

const EVERY: Duration = Duration::from_secs(60);
/// Until every set has been fetched once, since nobody with such a token can connect before.
const AT_FIRST: Duration = Duration::from_secs(2);

impl Authenticator {
    pub(super) async fn keep_fresh(&self, shutdown: CancellationToken) {
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.refresh_keys() => {}
            }
            let pause = if self.knows_its_keys() { EVERY } else { AT_FIRST };
            tokio::select! {
                () = shutdown.cancelled() => return,
                // Either the minute is over or a reload asks for it.
                _ = timeout(pause, self.0.refresh.notified()) => {}
            }
        }
    }

    /// Fetches every key set once.
    pub async fn refresh_keys(&self) {
        let addresses = self.state().set_addresses();
        join_all(addresses.into_iter().map(|url| self.refresh_set(url))).await;
    }

    async fn refresh_set(&self, url: Uri) {
        let body = match self.fetch_set(&url).await {
            Ok(body) => body,
            Err(reason) => {
                warn!(
                    url = shown(&url),
                    reason, "cannot fetch the key set; keeping the keys there are"
                );
                return;
            }
        };
        let Some(keys) = self.0.keys.set(&body) else {
            let reason = "it is not a JWK set";
            warn!(url = shown(&url), reason, "cannot use the key set; keeping the keys there are");
            return;
        };
        let count = keys.len();
        let mut state = self.0.state.write().unwrap_or_else(PoisonError::into_inner);
        let Some(changed) = state.with_set(&url, keys) else { return };
        *state = Arc::new(changed);
        drop(state);
        info!(url = shown(&url), keys = count, "the key set has changed");
        self.changed();
    }

    async fn fetch_set(&self, url: &Uri) -> Result<Bytes, String> {
        let request = Request::get(url.clone()).body(Bytes::new());
        let request = request.map_err(|error| telemetry::chain(&error))?;
        let response = self.0.client.send(request).await;
        let response = response.map_err(|error| telemetry::chain(&error))?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            status => Err(format!("it answered {status}")),
        }
    }
}

/// Without path and query, which may hold a key of its own.
fn shown(url: &Uri) -> &str {
    url.host().unwrap_or_default()
}
