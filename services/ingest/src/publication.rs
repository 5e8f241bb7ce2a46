//! One message of INBOX, or one taken out of quarantine again, read as a publication.
//!
//! Pure. The tenant is the subject's, whatever the message says; what the message leaves out is filled in.

use std::collections::BTreeMap;

use bytes::Bytes;
use domain::Channel;
use domain::catalogue::{Catalogue, Publication};
use domain::envelope::header;
use domain::token::Tenant;
use time::OffsetDateTime;

use crate::gate::{self, Fallback, Refused};
use crate::submission::{self, Form, Required};

const MESSAGE_ID: &str = "nats-msg-id";
/// What administrators say to a room, whom they have erased, and whom they have shut out. Of those who may publish here,
/// gateways alone may in these categories.
const BROADCAST: &str = "broadcast";
const OF_GATEWAYS: [&str; 3] = [BROADCAST, "subject", "auth"];

/// A publication as NATS carried it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Message {
    /// `publish.<tenant>.<category>.<entity>.<name>`
    pub subject: String,
    /// Lower-case names; the message id among them, made up where the publisher gave none.
    pub headers: BTreeMap<String, String>,
    pub payload: Bytes,
    pub stored: OffsetDateTime,
}

impl Message {
    /// `otherwise` is the id of a message that has none of its own.
    pub(crate) fn new<'a>(
        subject: &str,
        headers: impl Iterator<Item = (&'a str, &'a str)>,
        payload: Bytes,
        stored: OffsetDateTime,
        otherwise: String,
    ) -> Self {
        let mut headers: BTreeMap<_, _> =
            headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        headers.entry(MESSAGE_ID.to_owned()).or_insert(otherwise);
        Self { subject: subject.to_owned(), headers, payload, stored }
    }

    /// Whose it is; `None` where no tenant can be read, which the stream's subjects rule out.
    pub(crate) fn tenant(&self) -> Option<Tenant> {
        domain::subject::tenant_of(&self.subject).ok()
    }

    /// The publication's own id, for the notice of its refusal.
    pub(crate) fn id(&self) -> Option<&str> {
        self.headers.get("ce-id").or_else(|| self.headers.get(MESSAGE_ID)).map(String::as_str)
    }

    /// Whether it comes from a gateway that has checked who says it and where.
    pub(crate) fn is_from_gateway(&self) -> bool {
        self.category().is_some_and(|category| OF_GATEWAYS.contains(&category))
    }

    fn category(&self) -> Option<&str> {
        self.subject.split('.').nth(2)
    }

    /// The room of a broadcast; nobody else names one.
    fn room(&self) -> Result<Option<Channel>, Refused> {
        let room = self.headers.get(header::ROOM).filter(|_| self.category() == Some(BROADCAST));
        room.map(|room| Channel::parse(room)).transpose().map_err(|_| {
            Refused::new("invalid_attribute", None, "the room is no name of a channel")
        })
    }

    pub(crate) fn source(&self) -> &str {
        self.headers.get("ce-source").map_or("", String::as_str)
    }

    pub(crate) fn read(&self, catalogue: &Catalogue) -> Result<Publication, Refused> {
        let mut tokens = self.subject.split('.').skip(1);
        let (Some(tenant), Some(category), Some(_), Some(name), None) =
            (tokens.next(), tokens.next(), tokens.next(), tokens.next(), tokens.next())
        else {
            let detail = "the subject must be publish.<tenant>.<category>.<entity>.<name>";
            return Err(Refused::new("invalid_subject", None, detail));
        };
        let by_subject = catalogue.by_subject(category, name);
        let submission = self.submission()?;
        if submission.event_type.is_none() && by_subject.is_none() {
            let detail = format!("the subject names no event of the catalogue: {category}.{name}");
            return Err(Refused::new("unknown_type", Some("/type"), detail));
        }
        let mut publication = gate::publication(
            submission,
            Fallback {
                event_type: by_subject.map(|event| event.name.clone()),
                id: self.headers.get(MESSAGE_ID).cloned(),
                source: format!("/publish/{tenant}"),
                time: Some(self.stored),
            },
        )?;
        publication.channels.extend(self.room()?);
        // A credential may be limited to some categories; attributes must not widen it.
        match catalogue.resolve(&publication.event_type) {
            Some(event) if event.category().as_str() != category => {
                let detail = format!("{} cannot be published under {category}", event.name);
                Err(Refused::new("invalid_subject", Some("/type"), detail))
            }
            _ => Ok(publication),
        }
    }

    /// Anything that is not a structured event is data whose attributes stand in headers, or nowhere.
    fn submission(&self) -> Result<submission::Submission, Refused> {
        let header = |name: &str| self.headers.get(name).map(String::as_bytes);
        let read = match Form::of(&header) {
            Form::Binary | Form::Plain => {
                submission::from_headers(&header, &self.payload, Required::FilledIn)
            }
            Form::Structured => submission::read(&header, &self.payload, Required::FilledIn)
                .map(|mut one| one.remove(0)),
            Form::Batch => {
                let detail = "a message carries one event; publish a batch as single messages";
                return Err(Refused::new("batch", None, detail));
            }
        };
        Ok(read?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SUBJECT: &str = "publish.acme.whatsapp.7.connection-status";

    fn message(subject: &str, headers: &[(&str, &str)], payload: &str) -> Message {
        let payload = Bytes::copy_from_slice(payload.as_bytes());
        let stored = OffsetDateTime::UNIX_EPOCH;
        Message::new(subject, headers.iter().copied(), payload, stored, "INBOX:9".to_owned())
    }

    fn read(
        subject: &str,
        headers: &[(&str, &str)],
        payload: &str,
    ) -> Result<Publication, Refused> {
        message(subject, headers, payload).read(&Catalogue::builtin().unwrap())
    }

    #[test]
    fn a_bare_message_gets_its_attributes_from_subject_and_stream() {
        let read = read(SUBJECT, &[], r#"{"a":1}"#).unwrap();
        assert_eq!(read.event_type, "whatsapp.connection.status");
        assert_eq!((read.id.as_deref(), read.source.as_str()), (Some("INBOX:9"), "/publish/acme"));
        assert_eq!((read.time, read.data), (Some(OffsetDateTime::UNIX_EPOCH), json!({"a": 1})));
    }

    #[test]
    fn attributes_in_headers_win_whatever_their_case() {
        let headers = [("Ce-Id", "x"), ("ce-source", "/crm"), ("Nats-Msg-Id", "y")];
        let read = read(SUBJECT, &headers, "{}").unwrap();
        assert_eq!((read.id.as_deref(), read.source.as_str()), (Some("x"), "/crm"));
    }

    #[test]
    fn a_structured_event_may_leave_its_id_to_the_message() {
        let headers = [("content-type", "application/cloudevents+json"), ("Nats-Msg-Id", "y")];
        let body = r#"{"specversion":"1.0","type":"metric.update","source":"/m","data":{"b":2}}"#;
        let read = read("publish.acme.metric.m.update", &headers, body).unwrap();
        assert_eq!((read.id.as_deref(), read.data), (Some("y"), json!({"b": 2})));
    }

    #[test]
    fn the_type_cannot_leave_the_category_of_its_subject() {
        let headers = [("ce-type", "call.update")];
        assert_eq!(read(SUBJECT, &headers, "{}").unwrap_err().code, "invalid_subject");
        assert_eq!(read("publish.acme.rejected", &[], "{}").unwrap_err().code, "invalid_subject");
    }

    #[test]
    fn a_subject_that_names_no_event_is_an_unknown_type() {
        let subject = "publish.acme.foo.x.bar";
        let refused = read(subject, &[], "{}").unwrap_err();
        assert_eq!(refused.code, "unknown_type");
        assert!(refused.detail.ends_with("no event of the catalogue: foo.bar"), "{refused}");
        assert!(read(subject, &[("ce-type", "metric.update")], "{}").is_err());
    }

    #[test]
    fn only_a_broadcast_names_a_room() {
        let headers = [("tl-room", "calls")];
        let data = r#"{"type":"maintenance","payload":1,"room":"calls"}"#;
        let channels = |subject| read(subject, &headers, data).unwrap().channels;
        let named: Vec<_> = channels("publish.acme.broadcast.maintenance.message");
        assert_eq!(named, [Channel::parse("calls").unwrap()]);
        assert_eq!(channels("publish.acme.team.7.activity"), []);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        assert_eq!(read(SUBJECT, &[], "{oops").unwrap_err().code, "unreadable_body");
    }
}
