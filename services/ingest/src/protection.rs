//! Personal data at the gate: sealed on its way into the log, refused where a team should have sealed it.
//!
//! Who stands behind a request is believed to have sent it in confidence: what comes over HTTP is sealed here. What
//! comes over NATS has been in a stream in the clear already, so the team hears of it.

use domain::catalogue::{Admitted, Publication};
use domain::protection::holds_sealed_besides;
use domain::token::Tenant;
use runtime::vault::VaultError;
use serde_json::Value;

use crate::gate::Refused;
use crate::inbox::Outcome;
use crate::intake::{Intake, IntakeError};
use crate::metrics::Way;

/// Seals what is personal in an event that is about to be stored.
pub(crate) async fn seal(intake: &Intake, event: &mut Admitted) -> Result<(), VaultError> {
    let catalogue = intake.catalogue();
    let kind = catalogue.by_type(&event.envelope.event_type);
    let tenant = event.envelope.tenant.clone();
    match kind.and_then(|kind| catalogue.protection(&tenant, kind)) {
        Some(protection) => intake.vault().seal_event(&mut event.envelope, protection).await,
        None => Ok(()),
    }
}

/// A publication from NATS with what a gateway sealed in it opened, so that it is looked at like any other; what
/// should be sealed and is not is refused. An administrator who redrives it has it sealed.
pub(crate) async fn open(
    intake: &Intake,
    tenant: &Tenant,
    mut publication: Publication,
    way: Way,
) -> Result<Publication, Outcome> {
    let catalogue = intake.catalogue();
    let kind = catalogue.resolve(&publication.event_type).filter(|kind| kind.stream.is_some());
    let protection = kind.and_then(|kind| catalogue.protection(tenant, kind));
    let (Some(protection), Value::Object(data)) = (protection, &mut publication.data) else {
        return Ok(publication);
    };
    let Some(subject) = protection.subject(tenant, data) else { return Ok(publication) };
    if way != Way::Redrive
        && let Some(field) = protection.clear(data).next()
    {
        return Err(Outcome::Refused(unprotected(field)));
    }
    let opened = intake.vault().open_for(tenant, data, protection, |owner| *owner == subject);
    opened.await.map_err(|error| Outcome::Failed(IntakeError::Seal(error)))?;
    Ok(publication)
}

fn unprotected(field: &str) -> Refused {
    let pointer = format!("/data/{}", field.replace('.', "/"));
    let detail = format!(
        "{field} is personal and sealed for this tenant, and came over NATS in the clear; \
         publish it by POST /v1/events"
    );
    Refused::new("unprotected_field", Some(&pointer), detail)
}

/// Nobody outside has a key: what looks sealed was copied from somewhere, and would be opened for who reads it here.
/// `own` is what the platform itself has added, which stays sealed for whom it was.
pub(crate) fn refuse_copied(event: Admitted, own: Option<&str>) -> Result<Admitted, Refused> {
    let envelope = &event.envelope;
    if !holds_sealed_besides(&envelope.data, &envelope.tenant, own) {
        return Ok(event);
    }
    let detail = "the data holds a sealed text of the platform's, which cannot be published";
    Err(Refused::new("invalid_data", Some("/data"), detail))
}
