//! What a publisher gave, made into a publication, and what a refusal is called.
//!
//! Pure. The same for every way in, so that no way is wider than another.

use domain::catalogue::{Publication, Refusal};
use time::OffsetDateTime;

use crate::sources::ATTRIBUTE_PREFIX;
use crate::submission::{Submission, Unreadable};

/// What stands in for attributes that a publisher left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fallback {
    pub event_type: Option<String>,
    pub id: Option<String>,
    pub source: String,
    pub time: Option<OffsetDateTime>,
}

/// Why something is refused: a code for programs, a place, a sentence for people.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Refused {
    pub code: &'static str,
    /// RFC 6901, from the event's root.
    pub pointer: Option<String>,
    pub detail: String,
    /// Place in a list of events.
    pub index: Option<usize>,
}

impl Refused {
    pub(crate) fn new(
        code: &'static str,
        pointer: Option<&str>,
        detail: impl Into<String>,
    ) -> Self {
        let pointer = pointer.map(str::to_owned);
        Self { code, pointer, detail: detail.into(), index: None }
    }

    #[must_use]
    pub(crate) fn at(mut self, index: Option<usize>) -> Self {
        self.index = self.index.or(index);
        self
    }

    /// Whether the publisher may not, as opposed to the event being wrong.
    pub(crate) fn is_forbidden(&self) -> bool {
        ["closed_type", "forbidden", "reserved_source"].contains(&self.code)
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.to_string();
        let (code, pointer) = match refusal {
            Refusal::UnknownType(_) => ("unknown_type", Some("/type".to_owned())),
            Refusal::Closed(_) => ("closed_type", Some("/type".to_owned())),
            Refusal::Invalid(violation) => {
                ("invalid_data", Some(format!("/data{}", violation.pointer)))
            }
            Refusal::BadAttribute(name) => ("invalid_attribute", Some(format!("/{name}"))),
            Refusal::UnknownChannel(_) => ("unknown_channel", None),
            Refusal::NoChannel(_) => ("no_channel", Some("/data".to_owned())),
            Refusal::TooManyChannels => ("too_many_channels", Some("/audience".to_owned())),
        };
        Self { code, pointer, detail, index: None }
    }
}

impl From<Unreadable> for Refused {
    fn from(unreadable: Unreadable) -> Self {
        let detail = unreadable.to_string();
        match unreadable {
            Unreadable::NotJson(_) | Unreadable::Shape(_) => {
                Self { code: "unreadable_body", pointer: None, detail, index: None }
            }
            Unreadable::Attribute { index, pointer, .. } => {
                Self { code: "invalid_attribute", pointer: Some(pointer), detail, index }
            }
        }
    }
}

/// A publication from a submission, completed by `fallback`.
pub(crate) fn publication(
    submission: Submission,
    fallback: Fallback,
) -> Result<Publication, Refused> {
    let Some(event_type) = submission.event_type.or(fallback.event_type) else {
        return Err(Refused::new("invalid_attribute", Some("/type"), "type is missing"));
    };
    let source = submission.source.unwrap_or(fallback.source);
    // Else a publisher could take a webhook's message id before the webhook comes.
    if source.starts_with(ATTRIBUTE_PREFIX) {
        let detail = format!("a source that begins with {ATTRIBUTE_PREFIX} belongs to webhooks");
        return Err(Refused::new("reserved_source", Some("/source"), detail));
    }
    Ok(Publication {
        id: submission.id.or(fallback.id),
        time: submission.time.or(fallback.time),
        audience: submission.audience,
        correlation_id: submission.correlation_id,
        causation_id: submission.causation_id,
        ..Publication::new(event_type, source, submission.data)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn submission(source: Option<&str>) -> Submission {
        Submission {
            event_type: None,
            id: None,
            source: source.map(str::to_owned),
            time: None,
            data: json!({}),
            audience: vec!["7".into()],
            correlation_id: None,
            causation_id: None,
        }
    }

    fn fallback() -> Fallback {
        let (event_type, id) = (Some("metric.update".into()), Some("1".into()));
        Fallback { event_type, id, source: "s".into(), time: None }
    }

    #[test]
    fn what_is_missing_is_filled_in_and_what_is_there_stays() {
        let read = publication(submission(None), fallback()).unwrap();
        assert_eq!((read.event_type.as_str(), read.id.as_deref()), ("metric.update", Some("1")));
        assert_eq!((read.source.as_str(), read.audience.len()), ("s", 1));
        assert_eq!(publication(submission(Some("/own")), fallback()).unwrap().source, "/own");
    }

    #[test]
    fn nobody_publishes_in_the_name_of_a_webhook() {
        let refused = publication(submission(Some("/webhooks/acme-twilio")), fallback());
        assert!(refused.unwrap_err().is_forbidden());
    }
}
