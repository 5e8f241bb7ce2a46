//! From a verified body to what became of it: stored events, and what had to be kept for an operator.
//! Webhooks and their redrives come through here; it must not know HTTP.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::catalogue::{Admitted, Publication};
use domain::providers::elevenlabs::StoredAudio;
use domain::signatures::standard_webhooks;
use runtime::event_log::AppendError;
use time::OffsetDateTime;

use crate::gate::Refused;
use crate::intake::{Intake, IntakeError, Stored};
use crate::mapping::{self, Fact, Unreadable, Verified};
use crate::metrics::Way;
use crate::protection;
use crate::quarantine::{self, Quarantined, header};
use crate::sources::{ATTRIBUTE_PREFIX, Provider, Source};

/// Kept beside a quarantined body whose audio was taken out.
const AUDIO: &str = "tl-audio";

/// One verified request.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub kind: String,
    pub body: Bytes,
    pub content_type: Option<String>,
    /// The header `webhook-id`.
    pub id: Option<String>,
    pub audio: Option<StoredAudio>,
    pub received: OffsetDateTime,
}

#[derive(Debug)]
pub(crate) struct Received {
    pub events: Vec<Stored>,
    /// Why not everything was understood.
    pub unread: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReceiveError {
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    #[error(transparent)]
    NotStored(#[from] IntakeError),
    /// Earlier events of the same webhook are stored.
    #[error(transparent)]
    NotAllStored(IntakeError),
    #[error("what was not understood could not be kept")]
    NotKept(#[source] AppendError),
}

impl ReceiveError {
    /// Whether an event of the webhook may be in the log, and refer to what came with it.
    pub(crate) fn may_be_stored(&self) -> bool {
        match self {
            Self::Unreadable(_) => false,
            Self::NotStored(error) => error.may_be_stored(),
            Self::NotAllStored(_) | Self::NotKept(_) => true,
        }
    }
}

/// Stores everything that is understood.
pub(crate) async fn store(
    intake: &Intake,
    source: &Source,
    webhook: &Webhook,
    way: Way,
) -> Result<Received, ReceiveError> {
    let _place = intake.enter()?;
    let contact = match mapping::contact_number(source, &webhook.body) {
        Some(number) => intake.contacts().name(&source.tenant, &number).await,
        None => None,
    };
    let contact = contact.as_deref();
    let verified = Verified {
        kind: &webhook.kind,
        id: webhook.id.as_deref(),
        body: &webhook.body,
        audio: webhook.audio.as_ref(),
        received: webhook.received,
    };
    let reading = mapping::read(source, &verified, contact)?;
    let mut reasons: Vec<String> = reading.unread.into_iter().collect();
    let mut events = Vec::with_capacity(reading.facts.len());
    for Fact { publication, earlier_key } in reading.facts {
        match admit(intake, source, publication, contact) {
            Ok(admitted) => match intake.store_unless_known(way, admitted, earlier_key).await {
                Ok(stored) => events.push(stored),
                Err(error) if events.is_empty() => return Err(error.into()),
                Err(error) => return Err(ReceiveError::NotAllStored(error)),
            },
            Err(refused) => reasons.push(refused.to_string()),
        }
    }
    Ok(Received { events, unread: (!reasons.is_empty()).then(|| reasons.join("; ")) })
}

/// What a known provider reports is a fact; any other sender is a publisher.
fn admit(
    intake: &Intake,
    source: &Source,
    publication: Publication,
    contact: Option<&str>,
) -> Result<Admitted, Refused> {
    let admitted = match source.provider {
        Provider::Standard => intake.admit(&source.tenant, publication),
        Provider::Twilio | Provider::ElevenLabs | Provider::CallerDesk | Provider::WhatsApp => {
            intake.admit_own(&source.tenant, publication)
        }
    };
    protection::refuse_copied(admitted?, contact)
}

/// Keeps what was not understood; returns its id.
pub(crate) async fn keep(
    intake: &Intake,
    source: &Source,
    webhook: &Webhook,
    reason: String,
) -> Result<String, ReceiveError> {
    let entry = Quarantined {
        tenant: source.tenant.clone(),
        origin: source.name.clone(),
        place: format!("{ATTRIBUTE_PREFIX}{}/{}", source.name, webhook.kind),
        source: source.name.to_string(),
        reason,
        received: webhook.received,
        kept: webhook.kept(),
        payload: webhook.body.clone(),
    };
    let id = quarantine::keep(intake.log(), &entry).await.map_err(ReceiveError::NotKept)?;
    intake.metrics().quarantined.inc();
    Ok(id.to_string())
}

impl Webhook {
    fn kept(&self) -> BTreeMap<String, String> {
        let audio = self.audio.as_ref().map(|audio| {
            let StoredAudio { bucket, key, size, content_type } = audio;
            serde_json::json!([bucket, key, size, content_type]).to_string()
        });
        let headers = [
            (header::CONTENT_TYPE, self.content_type.clone()),
            (standard_webhooks::ID_HEADER, self.id.clone()),
            (AUDIO, audio),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
    }

    /// As it was when it was kept; `None` if it was no webhook.
    pub(crate) fn again(entry: &Quarantined) -> Option<Self> {
        let (_, kind) = entry.place.strip_prefix(ATTRIBUTE_PREFIX)?.split_once('/')?;
        let audio = entry.kept.get(AUDIO).and_then(|text| serde_json::from_str(text).ok());
        let audio = audio.map(|(bucket, key, size, content_type)| StoredAudio {
            bucket,
            key,
            size,
            content_type,
        });
        Some(Self {
            kind: kind.to_owned(),
            body: entry.payload.clone(),
            content_type: entry.kept.get(header::CONTENT_TYPE).cloned(),
            id: entry.kept.get(standard_webhooks::ID_HEADER).cloned(),
            audio,
            received: entry.received,
        })
    }
}

#[cfg(test)]
mod tests;
