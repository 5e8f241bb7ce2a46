//! A clock as it waits in the log: where it is set, where it runs out, what it says.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use super::Due;
use crate::envelope::rfc3339;
use crate::subject;
use crate::token::{EntityToken, Tenant};

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Timer {
    /// The id of the event that started it: a repeat sets the same one.
    pub id: String,
    pub alert_id: String,
    pub due: OffsetDateTime,
    pub what: Due,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this is no timer of an alert")]
pub struct UnreadableTimer;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    id: String,
    alert_id: String,
    due: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round: Option<u64>,
}

impl Timer {
    /// The id of the event that it brings about: the same however often it runs out, and of one length however long
    /// the chain goes on.
    pub fn event_id(&self) -> String {
        let what = match self.what {
            Due::Escalation { step } => format!("step {step}"),
            Due::Reopening { round } => format!("round {round}"),
        };
        let digest = Sha256::digest(format!("{} {what}", self.id));
        format!("k{}", URL_SAFE_NO_PAD.encode(&digest[..15]))
    }

    /// The entity whose events it is about.
    pub fn entity(&self) -> &str {
        entity_of(&self.alert_id)
    }

    /// Where it is set.
    pub fn subject(&self, tenant: &Tenant) -> String {
        subject::timer(tenant, &self.entity_token(), &self.id_token())
    }

    /// Where it appears when it has run out.
    pub fn due_subject(&self, tenant: &Tenant) -> String {
        subject::due_timer(tenant, &self.entity_token(), &self.id_token())
    }

    fn entity_token(&self) -> EntityToken {
        EntityToken::from_external(self.entity())
    }

    fn id_token(&self) -> EntityToken {
        EntityToken::from_external(&self.id)
    }

    pub fn payload(&self) -> Vec<u8> {
        let (step, round) = match self.what {
            Due::Escalation { step } => (Some(step), None),
            Due::Reopening { round } => (None, Some(round)),
        };
        let kept = Kept {
            id: self.id.clone(),
            alert_id: self.alert_id.clone(),
            due: rfc3339(self.due),
            step,
            round,
        };
        serde_json::to_vec(&kept).unwrap_or_default()
    }

    pub fn parse(payload: &[u8]) -> Result<Self, UnreadableTimer> {
        let kept: Kept = serde_json::from_slice(payload).map_err(|_| UnreadableTimer)?;
        let what = match (kept.step, kept.round) {
            (Some(step), None) => Due::Escalation { step },
            (None, Some(round)) => Due::Reopening { round },
            _ => return Err(UnreadableTimer),
        };
        let due = crate::envelope::parse_rfc3339(&kept.due).ok_or(UnreadableTimer)?;
        Ok(Self { id: kept.id, alert_id: kept.alert_id, due, what })
    }
}

/// The entity of an alert: its id without the number behind it.
fn entity_of(alert_id: &str) -> &str {
    alert_id.rsplit_once('-').map_or(alert_id, |(entity, _)| entity)
}
