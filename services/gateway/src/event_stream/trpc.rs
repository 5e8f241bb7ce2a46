//! `GET /api/trpc/callLog.onCallEvent`: the calls of the token's tenant as a tRPC subscription.

use axum::Extension;
use axum::extract::{Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::Channel;
use runtime::auth::{AuthError, Credentials};
use runtime::http::Peer;
use serde::Deserialize;
use serde_json::Value;

use super::dialect::Dialect;
use super::{EventStream, ended_at_once, response};
use crate::edge::{Edge, FORBIDDEN};
use crate::wires::trpc::{self, ErrorCode, Mode};

/// What the subscription follows.
const CHANNEL: &str = "calls";

#[derive(Debug, Deserialize)]
pub(crate) struct Asked {
    input: Option<String>,
    tracked: Option<String>,
    #[serde(rename = "lastEventId")]
    last_event_id: Option<String>,
    #[serde(rename = "Last-Event-Id")]
    last_event_id_header: Option<String>,
}

pub(crate) async fn subscribe(
    State(edge): State<Edge>,
    Extension(peer): Extension<Peer>,
    uri: axum::http::Uri,
    Query(asked): Query<Asked>,
    request: Request,
) -> Response {
    let path = uri.path().rsplit('/').next().unwrap_or_default();
    let input = asked.input.as_deref().and_then(|input| serde_json::from_str(input).ok());
    let mode = mode(&asked, input.as_ref());
    // The stream opens and says why it closes: an error status would tell the hook nothing.
    let refuse = |code, message: &str| ended_at_once(trpc::error(mode, code, message, path));
    let credentials = Credentials::of(request.headers(), request.uri().query());
    let admitted = match edge.auth.authenticate(&credentials).await {
        Ok(admitted) => admitted,
        Err(error @ AuthError::Unavailable) => {
            return refuse(ErrorCode::Unavailable, error.seed_message());
        }
        Err(error) => return refuse(ErrorCode::Unauthorized, error.seed_message()),
    };
    peer.authenticated();
    let Ok(channel) = edge.authorise(&admitted.identity, CHANNEL) else {
        return refuse(ErrorCode::Forbidden, FORBIDDEN.message);
    };
    let opening = match last_id(request.headers(), &asked, input.as_ref(), mode) {
        Some(id) => edge.opening(&admitted.identity.tenant, &id).await,
        None => Ok(edge.opening_now()),
    };
    let opening = match opening {
        Ok(opening) if !edge.is_draining() => opening,
        _ => return refuse(ErrorCode::Unavailable, "Come back in a moment."),
    };
    let channels: [Channel; 1] = [channel];
    let dialect = Dialect::Trpc(mode);
    let stream = EventStream::begin(edge, admitted, dialect, "", &channels, &opening, false);
    response(stream, peer, request.version())
}

fn mode(asked: &Asked, input: Option<&Value>) -> Mode {
    Mode {
        superjson: input.is_some_and(|input| input.get("json").is_some()),
        tracked: asked.tracked.as_deref() == Some("1"),
    }
}

/// An `EventSource` that reconnects by itself says it in a header, a new one in its address or its input.
fn last_id(
    headers: &HeaderMap,
    asked: &Asked,
    input: Option<&Value>,
    mode: Mode,
) -> Option<String> {
    let header = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    let input = if mode.superjson { input.and_then(|input| input.get("json")) } else { input };
    let input = input.and_then(|input| input.get("lastEventId")?.as_str());
    let candidates =
        [header, asked.last_event_id.as_deref(), asked.last_event_id_header.as_deref(), input];
    candidates.into_iter().flatten().find(|id| !id.is_empty()).map(str::to_owned)
}
