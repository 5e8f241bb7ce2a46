//! `DELETE /v1/subjects/{kind}/{id}`: makes a person's sealed data unreadable everywhere, by destroying its key.
//!
//! The log stays as it is; what was opened is kept nowhere, so there is nothing else to remove. That it was done is an
//! event, which the write side appends.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use domain::Token;
use domain::protection::Subject;
use runtime::http::Problem;
use runtime::vault::Destroyed;
use serde_json::json;
use tracing::info;

use crate::edge::{Edge, UNAVAILABLE};
use crate::{admin, problems, publish};

/// The event that tells of it.
const ERASED: &str = "subject.erased";

/// Of whom there is personal data.
const KINDS: [&str; 2] = ["user", "contact"];

pub(crate) async fn erase(
    State(edge): State<Edge>,
    headers: HeaderMap,
    uri: Uri,
    Path((kind, id)): Path<(String, String)>,
) -> Result<Response, Response> {
    let identity = admin::admin(&edge, &headers, &uri).await?;
    let unknown = || {
        let detail = "Data is kept of a `user` or a `contact`: /v1/subjects/user/7.";
        Problem::new(StatusCode::NOT_FOUND, "not_found", detail).into_response()
    };
    if !KINDS.contains(&kind.as_str()) {
        return Err(unknown());
    }
    let kind = Token::parse(&kind).map_err(|_| unknown())?;
    let subject = Subject::new(&identity.tenant, &kind, &id);
    let destroyed = edge.vault.destroy(&subject).await;
    let destroyed = destroyed.map_err(|_| problems::refused(UNAVAILABLE).into_response())?;
    // Who had it done and for whom is on record; what it was is not.
    info!(tenant = %subject.tenant, kind = %subject.kind, subject = %subject.id, by = &*identity.user, ?destroyed, "erased");
    let source = format!("/erasures/{}", identity.user);
    let data = json!({ "kind": subject.kind.as_str(), "id": id, "erasedBy": &*identity.user });
    // Who repeats what fails here has it recorded then: that nothing was left to destroy is no reason to be silent.
    publish::record(&edge, &identity.tenant, ERASED, source, data)
        .await
        .map_err(|refused| problems::refused(refused).into_response())?;
    let answer = json!({ "ok": true, "erased": destroyed == Destroyed::Now });
    Ok(Json(answer).into_response())
}
