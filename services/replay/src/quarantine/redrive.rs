//! Gives a quarantined message to the write side once more. The stream keeps it; that it was accepted is recorded
//! beside, so that the list can say so. Asking twice is harmless: the write side knows what it has stored.

use std::time::Duration;

use bytes::Bytes;
use domain::replay::quarantine::RedriveAnswer;
use domain::replay::{Answer, refusal};
use domain::{Tenant, subject};
use serde_json::Value;
use tracing::warn;

use super::shelf::{Shelf, record};
use crate::answer::Refusal;

const REDRIVE_WITHIN: Duration = Duration::from_secs(5);

pub(super) async fn redrive(
    shelf: &Shelf,
    tenant: &Tenant,
    id: &str,
) -> Result<RedriveAnswer, Refusal> {
    let message = shelf.message(tenant, id).await?;
    let target = subject::redrive(tenant);
    let answer = shelf
        .nats
        .request_with_headers(&target, &message.headers, message.payload, REDRIVE_WITHIN)
        .await
        .map_err(|error| Refusal::new(refusal::UNAVAILABLE, format!("ingest: {error}")))?;
    let result = accepted(&answer)?;
    let note = Bytes::from(result.to_string());
    if let Err(error) = shelf.redriven.put(&record(tenant, message.sequence), note).await {
        let error = runtime::telemetry::chain(&error);
        warn!(error, sequence = message.sequence, "redriven, but it could not be recorded");
    }
    Ok(RedriveAnswer { result })
}

fn accepted(answer: &[u8]) -> Result<Value, Refusal> {
    match serde_json::from_slice(answer) {
        Ok(Answer::Ok(result)) => Ok(result),
        Ok(Answer::Refused { code, message }) => Err(Refusal { code: code.into(), message }),
        Err(_) => Err(Refusal::new(refusal::UNAVAILABLE, "ingest's answer is not understood")),
    }
}
