//! `DELETE /v1/subjects/{kind}/{id}`: makes a person's sealed data unreadable everywhere, by destroying its key.
//!
//! The log stays as it is; what was opened is kept nowhere, so there is nothing else to remove. That it was done is an
//! event, which the write side appends.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use domain::catalogue::{Defaults, Publication};
use domain::protection::Subject;
use domain::{Identity, Token};
use runtime::http::Problem;
use runtime::vault::Destroyed;
use runtime::{clock, ids};
use serde_json::json;
use tracing::{debug, info};

use crate::edge::{Edge, Refused, Shared, UNAVAILABLE};
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
    record(&edge, &identity, &subject, &id)
        .await
        .map_err(|it| problems::refused(it).into_response())?;
    let answer = json!({ "ok": true, "erased": destroyed == Destroyed::Now });
    Ok(Json(answer).into_response())
}

/// Who repeats what failed here has it recorded then: that nothing was left to destroy is no reason to be silent.
async fn record(
    edge: &Shared,
    identity: &Identity,
    subject: &Subject,
    id: &str,
) -> Result<(), Refused> {
    let data = json!({ "kind": subject.kind.as_str(), "id": id, "erasedBy": &*identity.user });
    let source = format!("/erasures/{}", identity.user);
    let publication = Publication::new(ERASED, source, data);
    let defaults = Defaults { id: ids::ordered(), now: clock::now() };
    let admitted = edge.catalogue.admit_own(&identity.tenant, publication, defaults);
    let admitted = admitted.map_err(|refusal| {
        debug!(%refusal, "an erasure");
        publish::INVALID
    })?;
    publish::store(edge, admitted, None).await.map(drop)
}
