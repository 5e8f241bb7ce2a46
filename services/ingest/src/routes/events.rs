//! `POST /v1/events`: publishers with a token, in any form of CloudEvents or as plain JSON.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use domain::Identity;
use domain::catalogue::{Admitted, Refusal};
use domain::identity::Role;
use runtime::auth::{AuthError, Credentials};
use runtime::http::{Peer, Problem, read_body};

use super::App;
use crate::answer::{self, Answer};
use crate::gate::{self, Fallback, Refused};
use crate::intake::Intake;
use crate::metrics::Way;
use crate::protection;
use crate::submission::{self, Required, Submission};

pub(super) async fn publish(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, Problem> {
    let answer = stored(&app, request).await;
    answer.inspect_err(|problem| app.intake.metrics().refused(problem.code))
}

async fn stored(app: &App, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let identity = authenticated(app, &parts.headers).map_err(|error| Problem::from(&error))?;
    if let Some(peer) = parts.extensions.get::<Peer>() {
        peer.authenticated();
    }
    let body = read_body(body, app.bodies.whole).await?;
    let header = |name: &str| parts.headers.get(name).map(|value| value.as_bytes());
    let submissions = submission::read(&header, &body, Required::AsSpecified);
    let submissions = submissions.map_err(|error| answer::refused(error.into()))?;
    // Everything is admitted before anything is written.
    let listed = submissions.len() > 1;
    let mut admitted = Vec::with_capacity(submissions.len());
    for (place, submission) in submissions.into_iter().enumerate() {
        let one = admit(&app.intake, &identity, submission);
        admitted.push(one.map_err(|r| answer::refused(r.at(listed.then_some(place))))?);
    }
    let place = app.intake.enter().map_err(|error| answer::not_stored(&error))?;
    let mut events = Vec::with_capacity(admitted.len());
    for one in admitted {
        // One after the other: a failure must leave the later ones of a publisher unwritten.
        let stored = app.intake.store(Way::Http, one).await;
        events.push(stored.map_err(|error| answer::not_stored(&error))?);
    }
    drop(place);
    Ok(Answer { events: Some(events), quarantined: None }.response())
}

/// A token in a header; neither cookies nor queries publish.
fn authenticated(app: &App, headers: &HeaderMap) -> Result<Identity, AuthError> {
    let token = Credentials::of(headers, None).token.ok_or(AuthError::Missing)?;
    app.auth.verify(token.expose())
}

fn admit(
    intake: &Intake,
    identity: &Identity,
    submission: Submission,
) -> Result<Admitted, Refused> {
    let fallback =
        Fallback { source: format!("/publishers/{}", identity.user), ..Fallback::default() };
    let publication = gate::publication(submission, fallback)?;
    let Some(event) = intake.catalogue().resolve(&publication.event_type) else {
        return Err(Refusal::UnknownType(publication.event_type.chars().take(128).collect()).into());
    };
    if event.closed {
        return Err(Refusal::Closed(event.name.clone()).into());
    }
    if !intake.catalogue().may_publish(identity, event) {
        let detail = format!("this token may not publish {}", event.name);
        return Err(Refused::new("forbidden", Some("/type"), detail));
    }
    let ordinary = matches!(identity.role, Role::Guest | Role::User) && identity.publish.is_empty();
    if ordinary && !publication.audience.is_empty() {
        let detail = "this token may not choose who else gets its events";
        return Err(Refused::new("forbidden", Some("/audience"), detail));
    }
    protection::refuse_copied(intake.admit(&identity.tenant, publication)?, None)
}
