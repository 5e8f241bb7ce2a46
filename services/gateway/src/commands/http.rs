//! Commands over HTTP: for clients without a socket, and the path that a dashboard ends calls by.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use domain::Identity;
use runtime::http::Problem;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Asked, UNKNOWN_COMMAND};
use crate::admin::{identify, read};
use crate::edge::{Edge, Shared, UNAVAILABLE};

/// Names the same as a body's `id`.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
const TERMINATE: &str = "call.terminate";

#[derive(Debug, Deserialize)]
struct Posted {
    #[serde(rename = "type")]
    kind: String,
    data: Option<Value>,
    id: Option<String>,
}

/// `POST /v1/commands` `{type, data, id?}`: 200 with the decision, 202 when it is stored and not decided yet.
pub(crate) async fn command(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    body: Body,
) -> Result<Response, Response> {
    let identity = identify(&edge, &headers, &uri).await?;
    let Posted { kind, data, id } = read(&edge, body).await?;
    let id = id.or_else(|| key_of(&headers));
    let answer = submit(&edge, &identity, &kind, data, id).await;
    if !answer.is_ok() {
        return Err(problem(answer).into_response());
    }
    let status = if answer.is_pending() { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok((status, Json(answer.into_payload())).into_response())
}

/// `POST /api/calls/{callSid}/terminate`: the outcome comes as events.
pub(crate) async fn terminate(
    State(edge): State<Edge>,
    Path(call): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Response> {
    let identity = identify(&edge, &headers, &uri).await?;
    let data = Some(json!({ "callSid": call }));
    let answer = submit(&edge, &identity, TERMINATE, data, key_of(&headers)).await;
    if !answer.is_ok() {
        return Err(problem(answer).into_response());
    }
    Ok((StatusCode::ACCEPTED, Json(answer.into_payload())).into_response())
}

fn key_of(headers: &HeaderMap) -> Option<String> {
    headers.get(IDEMPOTENCY_KEY)?.to_str().ok().map(str::to_owned)
}

async fn submit(
    edge: &Shared,
    identity: &Identity,
    kind: &str,
    argument: Option<Value>,
    id: Option<String>,
) -> Answer {
    let Some(kind) = edge.catalogue.command(kind) else { return UNKNOWN_COMMAND.into() };
    let asked = Asked { argument, id, ..Asked::default() };
    match super::prepare(kind, identity, asked) {
        Ok(command) => super::decide(edge, command).await,
        Err(refused) => refused,
    }
}

/// A refusal or a rejection, whose own code and fields stand in the problem.
fn problem(answer: Answer) -> Problem {
    let status = status(answer.code());
    let mut problem = Problem::new(status, "refused", answer.message().to_owned());
    if let Value::Object(fields) = answer.into_error() {
        for (name, value) in fields.into_iter().filter(|(name, _)| name != "message") {
            problem = problem.with(&name, value);
        }
    }
    if status == StatusCode::SERVICE_UNAVAILABLE { problem.retry_after(1) } else { problem }
}

fn status(code: &str) -> StatusCode {
    match code {
        "not_allowed" | "forbidden" => StatusCode::FORBIDDEN,
        "unknown_type" | "invalid_data" | "no_conversation" => StatusCode::UNPROCESSABLE_ENTITY,
        "bad_id" => StatusCode::BAD_REQUEST,
        "too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        code if code == UNAVAILABLE.code => StatusCode::SERVICE_UNAVAILABLE,
        code if code.starts_with("unknown_") || code == "not_found" => StatusCode::NOT_FOUND,
        _ => StatusCode::CONFLICT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rejection_is_a_problem_with_its_own_code_and_fields() {
        let answer = Answer::refused("already_assigned", "Somebody else has this alert.")
            .with("assignedTo", "8")
            .with("commandId", "k");
        let problem = problem(answer);
        let body = problem.body(Some("r-1"));
        assert_eq!(problem.status, StatusCode::CONFLICT);
        assert_eq!(
            (&body["code"], &body["assignedTo"], &body["commandId"], &body["status"]),
            (&json!("already_assigned"), &json!("8"), &json!("k"), &json!(409))
        );
        assert_eq!(body["detail"], "Somebody else has this alert.");
    }

    #[test]
    fn who_may_not_and_what_cannot_are_told_apart() {
        for (code, expected) in [
            ("not_allowed", 403),
            ("invalid_data", 422),
            ("unknown_call", 404),
            ("already_resolved", 409),
            ("unavailable", 503),
        ] {
            assert_eq!(status(code).as_u16(), expected, "{code}");
        }
    }
}
