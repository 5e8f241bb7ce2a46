//! A small HTTP client for what the platform itself asks: key sets, session checks, providers, the AI service.
//! Every exchange has a deadline and a size; redirects are never followed, since an address comes from configuration only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::tasks::BoxError;

#[cfg(test)]
mod tests;

/// What one exchange may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// From the call to the last byte of the answer.
    pub deadline: Duration,
    pub max_body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10), max_body: 1024 * 1024 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("{0:?} is not an http or https address")]
    Address(String),
    #[error("no answer within {0:?}")]
    Deadline(Duration),
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    #[error("the other side could not be reached")]
    Unreachable(#[source] legacy::Error),
    #[error("the answer broke off")]
    BrokenOff(#[source] BoxError),
}

/// A cheap-clone handle that keeps connections open for reuse.
#[derive(Clone, Debug)]
pub struct Client {
    inner: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    limits: Limits,
}

impl Client {
    /// Trusts what this machine trusts.
    pub fn new(limits: Limits) -> Result<Self, rustls::Error> {
        Ok(Self::with_tls(limits, native_tls()?))
    }

    pub fn with_tls(limits: Limits, tls: ClientConfig) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(limits.deadline));
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let inner = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(32)
            .build(connector.enable_http1().wrap_connector(tcp));
        Self { inner, limits }
    }

    /// The same connections with other limits.
    #[must_use]
    pub fn limited(&self, limits: Limits) -> Self {
        Self { inner: self.inner.clone(), limits }
    }

    /// The whole answer, whatever its status.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let deadline = Instant::now() + self.limits.deadline;
        let (head, body) = self.open_until(request, deadline).await?.into_parts();
        let limited = Limited::new(body, self.limits.max_body).collect();
        match timeout_at(deadline, limited).await {
            Ok(Ok(body)) => Ok(Response::from_parts(head, body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(ClientError::TooLarge(self.limits.max_body))
            }
            Ok(Err(error)) => Err(ClientError::BrokenOff(error)),
            Err(_) => Err(ClientError::Deadline(self.limits.deadline)),
        }
    }

    /// The head within the deadline; the caller bounds the reading of the body, as for streamed answers.
    pub async fn open(&self, request: Request<Bytes>) -> Result<Response<Incoming>, ClientError> {
        self.open_until(request, Instant::now() + self.limits.deadline).await
    }

    async fn open_until(
        &self,
        request: Request<Bytes>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, ClientError> {
        if !is_http(request.uri()) {
            // Without the query, which may hold a secret.
            let shown = request.uri().to_string();
            let shown = shown.split('?').next().unwrap_or_default();
            return Err(ClientError::Address(shown.to_owned()));
        }
        match timeout_at(deadline, self.inner.request(request.map(Full::new))).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(ClientError::Unreachable(error)),
            Err(_) => Err(ClientError::Deadline(self.limits.deadline)),
        }
    }
}

fn is_http(uri: &Uri) -> bool {
    matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
}

/// Trusts what this machine trusts.
pub(crate) fn native_tls() -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()
    };
    match builder()?.with_native_roots() {
        Ok(builder) => Ok(builder.with_no_client_auth()),
        Err(error) => {
            warn!(%error, "this machine has no root certificates; https addresses will be refused");
            Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
        }
    }
}
