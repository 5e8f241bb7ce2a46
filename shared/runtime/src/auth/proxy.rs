//! Sessions of other systems: the application's own check is asked with what the browser sent.

use axum::http::header::{ACCEPT, AUTHORIZATION, COOKIE};
use axum::http::{HeaderValue, Request, StatusCode};
use bytes::Bytes;
use tracing::warn;

use crate::auth::claims::{Claims, NO_KEY};
use crate::auth::{Admitted, Application, AuthError, Authenticator, Credentials};
use crate::{clock, telemetry};

impl Authenticator {
    /// `None` when no application has such a check or nothing was sent that it could judge.
    pub(super) async fn by_proxy(
        &self,
        credentials: &Credentials,
    ) -> Option<Result<Admitted, AuthError>> {
        let request = {
            let state = self.state();
            let mut applications = state.applications();
            let application = applications.find(|application| {
                application.auth_proxy.is_some() && self.may_use_cookies(application, credentials)
            })?;
            question(application, credentials).map(|request| (application.clone(), request))?
        };
        let (application, request) = request;
        let answer = self.ask(request).await.and_then(|claims| {
            let now = clock::unix_seconds();
            let identity = claims.identity(&application, NO_KEY, now)?;
            self.unless_revoked(identity, now)
        });
        let ask_again = Some(credentials.clone());
        Some(answer.map(|identity| Admitted { identity, ask_again }))
    }

    async fn ask(&self, request: Request<Bytes>) -> Result<Claims, AuthError> {
        let response = self.0.client.send(request).await.map_err(|error| {
            warn!(error = %telemetry::chain(&error), "the session check cannot be reached");
            AuthError::Unavailable
        })?;
        match response.status() {
            StatusCode::OK => {
                serde_json::from_slice(response.body()).map_err(|_| AuthError::Session)
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(AuthError::Session),
            status => {
                warn!(status = status.as_u16(), "the session check did not answer 200 or 401");
                Err(AuthError::Unavailable)
            }
        }
    }
}

/// Cookie and Authorization, and nothing else of what the browser sent.
fn question(application: &Application, credentials: &Credentials) -> Option<Request<Bytes>> {
    let sent = [(COOKIE, &credentials.cookie), (AUTHORIZATION, &credentials.authorization)];
    if sent.iter().all(|(_, value)| value.is_none()) {
        return None;
    }
    let mut request = Request::get(application.auth_proxy.clone()?)
        .header(ACCEPT, HeaderValue::from_static("application/json"));
    for (name, value) in sent {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    request.body(Bytes::new()).ok()
}
