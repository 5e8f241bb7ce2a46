//! An id per request and the access log. Query strings hold tokens, so they are never logged.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use futures_util::future::BoxFuture;
use tower::Service as _;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, debug, info_span};

use crate::http::origins::with_origins;
use crate::http::{Origins, Peer, Problem};
use crate::ids;
use crate::telemetry::{TARGET, is_tracing};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Made here for each request; one brought by a client is ignored, since it could name another's.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// Answers a request, or gives it back for the routes.
type Ahead = dyn Fn(Request) -> Result<BoxFuture<'static, Response>, Request> + Send + Sync;

/// What is served: routes, and what stands around them.
#[derive(Clone)]
pub struct Edge {
    routes: Router,
    ahead: Option<Arc<Ahead>>,
    /// Routes alone have neither ids nor an access log.
    is_bare: bool,
}

/// What every service puts around its routes: an id per request (in problems and in `X-Request-Id`), the access log,
/// problems for unknown paths and methods, and the check of origins where browsers may come.
pub fn edge(routes: Router, origins: Option<Origins>) -> Edge {
    // The fallbacks come before the layers, or preflights of known paths would miss the check of origins.
    let routes = routes
        .fallback(async || {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this path.")
        })
        .method_not_allowed_fallback(async || {
            let detail = "This path does not know this method; see the Allow header.";
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
        });
    let routes = match origins {
        Some(origins) => with_origins(routes, origins),
        None => routes,
    };
    let routes =
        if is_logging() || is_tracing() { routes.layer(from_fn(tell_route)) } else { routes };
    Edge { routes, ahead: None, is_bare: false }
}

impl From<Router> for Edge {
    fn from(routes: Router) -> Self {
        Self { routes, ahead: None, is_bare: true }
    }
}

impl Edge {
    /// Asks `ahead` before the routes, for a path that is called so often that finding its route shows.
    /// It must answer as that route does; what it does not know it gives back.
    #[must_use]
    pub fn ahead<F>(mut self, ahead: F) -> Self
    where
        F: Fn(Request) -> Result<BoxFuture<'static, Response>, Request> + Send + Sync + 'static,
    {
        self.ahead = Some(Arc::new(ahead));
        self
    }

    /// Puts more around everything, the check of origins included.
    #[must_use]
    pub fn wrapped(mut self, wrap: impl FnOnce(Router) -> Router) -> Self {
        self.routes = wrap(self.routes);
        self
    }

    pub async fn answer(&self, mut request: Request) -> Response {
        if self.is_bare {
            return self.routed(request).await;
        }
        let id: Arc<str> = ids::unguessable().into();
        request.extensions_mut().insert(RequestId(id.clone()));
        let entry = Entry::of(&request, &id);
        let span = span_of(&request, &id);
        let method = (!span.is_disabled()).then(|| request.method().clone());
        let answering = async {
            match &self.ahead {
                None => self.routed(request).await,
                Some(ahead) => match ahead(request) {
                    Ok(answering) => answering.await,
                    Err(request) => self.routed(request).await,
                },
            }
        };
        let mut response = answering.instrument(span.clone()).await;
        if let Some(method) = method {
            note(&span, &method, &response);
        }
        if let Some(entry) = entry {
            entry.log(&response);
        }
        finish(&mut response, &id);
        response
    }

    async fn routed(&self, request: Request) -> Response {
        // A router is always ready and never fails.
        self.routes.clone().call(request).await.unwrap_or_else(|never| match never {})
    }
}

/// Names the request in its answer, and in the problem that the answer may be.
fn finish(response: &mut Response<Body>, id: &str) {
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| of_extractor(response));
    if let Some(problem) = problem {
        let named = problem.render(Some(id));
        let (parts, body) = named.into_parts();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(HEADER, value);
    }
}

/// Each request is a trace of its own, or part of the one that its sender names.
fn span_of(request: &Request, id: &str) -> Span {
    if !is_tracing() {
        return Span::none();
    }
    let context = request.headers().get("traceparent").and_then(|value| value.to_str().ok());
    info_span!(
        target: TARGET, parent: None, "request",
        "request.id" = id,
        "http.request.method" = request.method().as_str(),
        "otel.name" = Empty,
        "http.route" = Empty,
        "http.response.status_code" = Empty,
        traceparent = context,
    )
}

fn note(span: &Span, method: &Method, response: &Response) {
    let route =
        response.extensions().get::<MatchedPath>().map_or("(no route)", MatchedPath::as_str);
    span.record("otel.name", format!("{method} {route}"));
    span.record("http.route", route);
    span.record("http.response.status_code", response.status().as_u16());
}

fn is_logging() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// The route's pattern, not the path: paths may hold secrets of senders that sign nothing. Only a layer around the
/// route can see it.
async fn tell_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// What the framework's own extractors refuse comes as plain text.
fn of_extractor(response: &Response) -> Option<Problem> {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE)?.to_str().ok()?;
    if !status.is_client_error() || !kind.starts_with("text/plain") {
        return None;
    }
    let (code, detail) = match status {
        StatusCode::PAYLOAD_TOO_LARGE => ("too_large", "The body is larger than allowed."),
        _ => ("bad_query", "The query or the body is not what this path expects."),
    };
    Some(Problem::new(status, code, detail))
}

/// What the access log tells about a request.
struct Entry {
    id: Arc<str>,
    method: Method,
    peer: Option<Peer>,
    started: Instant,
}

impl Entry {
    /// `None` while the access log is off, since a busy edge should not pay for a line nobody reads.
    fn of(request: &Request, id: &Arc<str>) -> Option<Self> {
        if !is_logging() {
            return None;
        }
        Some(Self {
            id: id.clone(),
            method: request.method().clone(),
            peer: request.extensions().get::<Peer>().cloned(),
            started: Instant::now(),
        })
    }

    fn log(self, response: &Response) {
        let route = response.extensions().get::<MatchedPath>();
        let address = self.peer.map(|peer| peer.address.to_string()).unwrap_or_default();
        debug!(
            request.id = %self.id,
            peer = address,
            status = response.status().as_u16(),
            duration_ms = self.started.elapsed().as_millis(),
            "{} {}",
            self.method,
            route.map_or("(no route)", MatchedPath::as_str)
        );
    }
}
