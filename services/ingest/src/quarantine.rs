//! What could not be understood, kept with its reason until an operator looks at it or has it tried again.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::envelope::{Headers, parse_rfc3339, rfc3339};
use domain::subject;
use domain::token::{Tenant, Token};
use runtime::event_log::{Append, AppendError, EventLog};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

/// Names of the headers of a quarantined message.
pub(crate) mod header {
    pub(crate) use domain::replay::quarantine::header::{REASON, SOURCE};

    /// The path or the subject it came to.
    pub(crate) const ORIGIN: &str = "tl-origin";
    pub(crate) const RECEIVED: &str = "tl-received";
    pub(crate) const CONTENT_TYPE: &str = "content-type";
    /// The original headers that reading it again needs, as a JSON object.
    pub(crate) const KEPT: &str = "tl-headers";
}

/// The longest reason kept, in characters.
const LONGEST_REASON: usize = 500;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Quarantined {
    pub tenant: Tenant,
    /// Last token of the subject: the source's name, or `inbox`.
    pub origin: Token,
    /// The path or the subject it came to, without secrets.
    pub place: String,
    pub source: String,
    pub reason: String,
    pub received: OffsetDateTime,
    /// Original headers, lower-case names.
    pub kept: BTreeMap<String, String>,
    pub payload: Bytes,
}

impl Quarantined {
    pub(crate) fn content_type(&self) -> &str {
        self.kept.get(header::CONTENT_TYPE).map_or("application/octet-stream", String::as_str)
    }

    /// Two deliveries of one payload within the duplicate window are one entry.
    fn message_id(&self) -> String {
        let mut digest = Sha256::new();
        for part in [self.place.as_bytes(), self.kept_text().as_bytes(), &self.payload] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        let digest: [u8; 32] = digest.finalize().into();
        let hex: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{}:quarantine:{hex}", self.tenant)
    }

    fn kept_text(&self) -> String {
        serde_json::to_string(&self.kept).unwrap_or_default()
    }

    fn append(&self, payload: Bytes) -> Append {
        Append {
            subject: subject::quarantine(&self.tenant, &self.origin),
            message_id: self.message_id(),
            headers: vec![
                (header::REASON, printable(&self.reason)),
                (header::ORIGIN, printable(&self.place)),
                (header::SOURCE, printable(&self.source)),
                (header::RECEIVED, rfc3339(self.received)),
                (header::CONTENT_TYPE, printable(self.content_type())),
                (header::KEPT, self.kept_text()),
            ],
            payload,
            expect: None,
        }
    }

    /// Reads an entry back from its message; `None` if it is none.
    pub(crate) fn read(subject: &str, headers: &impl Headers, payload: Bytes) -> Option<Self> {
        let mut tokens = subject.split('.').skip(1);
        let tenant = Tenant::parse(tokens.next()?).ok()?;
        let origin = tokens.next().unwrap_or("redrive");
        Some(Self {
            tenant,
            origin: Token::parse(origin).ok()?,
            place: headers.get(header::ORIGIN)?.to_owned(),
            source: headers.get(header::SOURCE).unwrap_or_default().to_owned(),
            reason: headers.get(header::REASON).unwrap_or_default().to_owned(),
            received: parse_rfc3339(headers.get(header::RECEIVED)?)?,
            kept: serde_json::from_str(headers.get(header::KEPT).unwrap_or("{}")).ok()?,
            payload,
        })
    }
}

/// Keeps it; returns its sequence, which is its id.
pub(crate) async fn keep(log: &EventLog, entry: &Quarantined) -> Result<u64, AppendError> {
    match log.append(entry.append(entry.payload.clone())).await {
        Ok(appended) => Ok(appended.sequence),
        // With its new headers it may be larger than what came; then at least the fact is kept.
        Err(AppendError::TooLarge) => {
            let mut note = entry.append(Bytes::new());
            note.headers[0].1 +=
                &format!(" (its {} bytes are too large to be kept)", entry.payload.len());
            log.append(note).await.map(|appended| appended.sequence)
        }
        Err(error) => Err(error),
    }
}

fn printable(text: &str) -> String {
    let kept = text.chars().take(LONGEST_REASON);
    kept.map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    struct Map(HashMap<&'static str, String>);

    impl Headers for Map {
        fn get(&self, name: &str) -> Option<&str> {
            self.0.get(name).map(String::as_str)
        }
    }

    fn entry() -> Quarantined {
        Quarantined {
            tenant: Tenant::parse("acme").unwrap(),
            origin: Token::parse("acme-twilio").unwrap(),
            place: "/webhooks/acme-twilio/call-status".into(),
            source: "acme-twilio".into(),
            reason: "CallSid is missing".into(),
            received: parse_rfc3339("2026-01-02T03:04:05.678Z").unwrap(),
            kept: [("content-type".to_owned(), "text/plain".to_owned())].into(),
            payload: Bytes::from_static(b"\xff\x00"),
        }
    }

    #[test]
    fn what_is_kept_is_read_back_with_the_payload_as_it_was() {
        let append = entry().append(entry().payload);
        assert_eq!(append.subject, "quarantine.acme.acme-twilio");
        let headers = Map(append.headers.into_iter().collect());
        assert_eq!(Quarantined::read(&append.subject, &headers, append.payload), Some(entry()));
    }

    #[test]
    fn a_reason_cannot_break_out_of_its_header() {
        let reason = "a\r\nb".to_owned() + &"x".repeat(1_000);
        let headers = Quarantined { reason, ..entry() }.append(Bytes::new()).headers;
        assert!(headers[0].1.starts_with("a  bxxx") && headers[0].1.len() == LONGEST_REASON);
    }

    #[test]
    fn another_payload_is_another_entry() {
        let other = Quarantined { payload: Bytes::from_static(b"z"), ..entry() };
        assert_ne!(other.message_id(), entry().message_id());
        assert_eq!(entry().message_id(), entry().message_id());
    }
}
