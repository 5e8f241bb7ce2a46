//! An id per request and the access log. Query strings hold tokens, so they are never logged.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use tracing::debug;

use crate::http::origins::with_origins;
use crate::http::{Origins, Peer, Problem};
use crate::ids;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Made here for each request; one brought by a client is ignored, since it could name another's.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// What every service puts around its routes: an id per request (in problems and in `X-Request-Id`), the access log,
/// problems for unknown paths and methods, and the check of origins where browsers may come.
pub fn edge(routes: Router, origins: Option<Origins>) -> Router {
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
    routes.layer(from_fn(identify))
}

async fn identify(mut request: Request, next: Next) -> Response {
    let id: Arc<str> = ids::unguessable().into();
    request.extensions_mut().insert(RequestId(id.clone()));
    let entry = Entry::of(&request, &id);
    let mut response = next.run(request).await;
    if let Some(entry) = entry {
        entry.log(&response);
    }
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| of_extractor(&response));
    if let Some(problem) = problem {
        let named = problem.render(Some(&id));
        let (parts, body) = named.into_parts();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().extend(parts.headers);
        *response.body_mut() = body;
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(HEADER, value);
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
    route: String,
    peer: Option<Peer>,
    started: Instant,
}

impl Entry {
    /// `None` while the access log is off, since a busy edge should not pay for a line nobody reads.
    fn of(request: &Request, id: &Arc<str>) -> Option<Self> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return None;
        }
        // The route's pattern, not the path: paths may hold secrets of senders that sign nothing.
        let route = request.extensions().get::<MatchedPath>();
        Some(Self {
            id: id.clone(),
            method: request.method().clone(),
            route: route.map_or("(no route)", MatchedPath::as_str).to_owned(),
            peer: request.extensions().get::<Peer>().cloned(),
            started: Instant::now(),
        })
    }

    fn log(self, response: &Response) {
        let address = self.peer.map(|peer| peer.address.to_string()).unwrap_or_default();
        debug!(
            request.id = %self.id,
            peer = address,
            status = response.status().as_u16(),
            duration_ms = self.started.elapsed().as_millis(),
            "{} {}",
            self.method,
            self.route
        );
    }
}
