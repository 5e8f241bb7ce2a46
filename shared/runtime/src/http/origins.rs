//! Which browser origins may talk to the edge: an exact-match list that a reload can replace.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};

use crate::http::Problem;

/// What a page may read of an answer besides its type. With credentials a wildcard means nothing, so they are named.
const EXPOSED: &str =
    "x-request-id, retry-after, allow, throughline-cursor, throughline-more, throughline-gap";

/// A cheap-clone handle. An empty list means no browser origin at all; requests without an Origin always pass.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<RwLock<Allowed>>);

#[derive(Debug, Default)]
struct Allowed {
    exact: HashSet<String>,
    localhost: bool,
}

impl Origins {
    pub fn new(origins: impl IntoIterator<Item = String>) -> Self {
        let handle = Self::default();
        handle.replace(origins);
        handle
    }

    /// Development: pages served from this machine, on any port, besides the list.
    #[must_use]
    pub fn with_localhost(self) -> Self {
        self.0.write().unwrap_or_else(PoisonError::into_inner).localhost = true;
        self
    }

    pub fn replace(&self, origins: impl IntoIterator<Item = String>) {
        let exact = origins.into_iter().map(|origin| origin.trim_end_matches('/').to_owned());
        self.0.write().unwrap_or_else(PoisonError::into_inner).exact = exact.collect();
    }

    pub fn allows(&self, origin: Option<&str>) -> bool {
        let Some(origin) = origin else { return true };
        let allowed = self.0.read().unwrap_or_else(PoisonError::into_inner);
        allowed.exact.contains(origin) || (allowed.localhost && is_localhost(origin))
    }

    /// By the request's headers; an Origin that is not text is refused.
    pub fn allows_request(&self, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => true,
            (Some(origin), None) => origin.to_str().is_ok_and(|text| self.allows(Some(text))),
            (Some(_), Some(_)) => false,
        }
    }
}

/// `http://localhost:5173` and its like; the host must be exactly a name of this machine.
pub(crate) fn is_localhost(origin: &str) -> bool {
    let Some((_, rest)) = origin.split_once("://") else { return false };
    let host = match rest.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => rest.split(':').next(),
    };
    matches!(host, Some("localhost" | "127.0.0.1" | "::1"))
}

/// Refuses requests of other origins with 403 and answers allowed ones with what CORS asks for, credentials included.
pub(super) fn with_origins(router: Router, origins: Origins) -> Router {
    router.layer(from_fn_with_state(origins, check))
}

async fn check(State(origins): State<Origins>, request: Request, next: Next) -> Response {
    if !origins.allows_request(request.headers()) {
        let detail =
            "This origin may not connect; add it to the allowed origins of its application.";
        let problem = Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", detail);
        return vary(problem.into_response());
    }
    let Some(origin) = request.headers().get(header::ORIGIN).cloned() else {
        return vary(next.run(request).await);
    };
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight { preflight_answer(asked) } else { next.run(request).await };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    vary(response)
}

/// With credentials a wildcard is not allowed, so the headers asked for are named back.
fn preflight_answer(asked: Option<HeaderValue>) -> Response {
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    let methods = HeaderValue::from_static("GET, HEAD, POST, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    if let Some(asked) = asked {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
    }
    response
}

fn vary(mut response: Response) -> Response {
    response.headers_mut().append(header::VARY, HeaderValue::from_static("origin"));
    response
}
