//! What providers report, as the platform's events: pure mappings from a verified body to observations.
//! Nothing here knows HTTP, NATS, a clock or the catalogue's checks, which come afterwards.

pub mod callerdesk;
pub mod elevenlabs;
mod fields;
pub mod standard;
pub mod twilio;
pub mod whatsapp;

use std::borrow::Cow;

use serde_json::Value;
use time::OffsetDateTime;

use crate::catalogue::Publication;

pub use fields::is_utf8_form;

/// One fact that a provider reported.
#[derive(Clone, PartialEq, Debug)]
pub struct Observation {
    pub event_type: Cow<'static, str>,
    /// The same for every repeat of the fact.
    pub key: String,
    /// The key that a repeat has if it came a span of time earlier, where a key is good for a span only.
    pub earlier_key: Option<String>,
    /// When the provider says it happened.
    pub time: Option<OffsetDateTime>,
    pub data: Value,
    /// Users whose channels get it besides the catalogue's channels.
    pub audience: Vec<String>,
}

/// A verified body that cannot be understood, in whole or in part.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Unmappable {
    /// For the operator; it never repeats the body.
    pub reason: String,
    /// What the rest of a body with several facts says; to be stored all the same.
    pub understood: Vec<Observation>,
}

pub type Mapped = Result<Vec<Observation>, Unmappable>;

impl Observation {
    fn new(
        event_type: &'static str,
        key: String,
        time: Option<OffsetDateTime>,
        data: Value,
    ) -> Self {
        Self {
            event_type: event_type.into(),
            key,
            earlier_key: None,
            time,
            data,
            audience: Vec::new(),
        }
    }

    /// As a publication of the configured source; its key is the event's id too, so that a repeat is the same event.
    pub fn into_publication(self, source: &str) -> Publication {
        Publication {
            id: Some(self.key.clone()),
            key: Some(self.key),
            time: self.time,
            audience: self.audience,
            ..Publication::new(self.event_type, source, self.data)
        }
    }
}

impl Unmappable {
    fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), understood: Vec::new() }
    }
}

/// The facts of a body that holds several: one that is not understood does not take the others with it.
fn collect(parts: impl Iterator<Item = Mapped>) -> Mapped {
    let mut understood = Vec::new();
    let mut reasons: Vec<String> = Vec::new();
    for part in parts {
        match part {
            Ok(observations) => understood.extend(observations),
            Err(unmappable) => {
                understood.extend(unmappable.understood);
                if !reasons.contains(&unmappable.reason) {
                    reasons.push(unmappable.reason);
                }
            }
        }
    }
    if reasons.is_empty() {
        Ok(understood)
    } else {
        Err(Unmappable { reason: reasons.join("; "), understood })
    }
}

#[cfg(test)]
mod tests;
