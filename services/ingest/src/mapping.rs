//! A verified webhook as publications. Pure: which mapper reads which path, and whose events they are.

use domain::catalogue::Publication;
use domain::providers::elevenlabs::StoredAudio;
use domain::providers::{
    self, Observation, Unmappable, callerdesk, elevenlabs, standard, twilio, whatsapp,
};
use serde::de::IgnoredAny;
use time::OffsetDateTime;

use crate::sources::{Provider, Source};

/// A body that nothing tells from the next call's is a repeat in the span in which it came first and in the next one.
const SPAN_SECONDS: u64 = 5 * 60;

/// What was verified.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verified<'a> {
    /// The last segment of the path, which the provider serves.
    pub kind: &'a str,
    /// The header `webhook-id`.
    pub id: Option<&'a str>,
    pub body: &'a [u8],
    /// Taken out of the body while it streamed by.
    pub audio: Option<&'a StoredAudio>,
    pub received: OffsetDateTime,
}

/// What a body says, and why not all of it was understood.
#[derive(Debug)]
pub(crate) struct Reading {
    pub facts: Vec<Fact>,
    pub unread: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Fact {
    pub publication: Publication,
    /// The key, and id, that it has if it came a span earlier.
    pub earlier_key: Option<String>,
}

/// The body is in no form that any mapper could read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the body is neither JSON nor a form of UTF-8")]
pub(crate) struct Unreadable;

/// The number whose contact's name belongs into what a body says; `None` where nobody is to be asked for it.
pub(crate) fn contact_number(source: &Source, body: &[u8]) -> Option<String> {
    match source.provider {
        Provider::CallerDesk => callerdesk::reported_number(body),
        Provider::Twilio | Provider::ElevenLabs | Provider::WhatsApp | Provider::Standard => None,
    }
}

/// `contact` is the name that [`contact_number`] was asked for.
pub(crate) fn read(
    source: &Source,
    verified: &Verified<'_>,
    contact: Option<&str>,
) -> Result<Reading, Unreadable> {
    let body = verified.body;
    let mapped = match (source.provider, verified.kind) {
        (Provider::Twilio, "call-status") => twilio::map_call_status(body),
        (Provider::Twilio, "recording-status") => twilio::map_recording_status(body),
        (Provider::Twilio, "amd-status") => twilio::map_amd_status(body),
        (Provider::Twilio, _) => twilio::map_quality_insights(body),
        (Provider::ElevenLabs, _) => {
            elevenlabs::map_post_call(body, verified.audio, &source.tenant)
        }
        (Provider::CallerDesk, _) => {
            callerdesk::map_event(body, source.tenant.as_str(), contact, span(verified.received))
        }
        (Provider::WhatsApp, _) => {
            let accounts = Some(&source.accounts);
            whatsapp::map_events(body, whatsapp::Owner { accounts, user: None })
        }
        (Provider::Standard, _) => standard::map_event(body, verified.id.unwrap_or_default()),
    };
    let (observations, unread) = match mapped {
        Ok(observations) => (observations, None),
        Err(_) if !is_readable(source.provider, verified) => return Err(Unreadable),
        Err(Unmappable { reason, understood }) => (understood, Some(reason)),
    };
    let name = source.attribute();
    let facts = observations.into_iter().map(|one| fact(one, source, &name));
    Ok(Reading { facts: facts.collect(), unread })
}

fn fact(mut observation: Observation, source: &Source, name: &str) -> Fact {
    observation.audience.extend(source.owner.clone());
    let earlier_key = observation.earlier_key.take();
    Fact { publication: observation.into_publication(name), earlier_key }
}

/// Which span of minutes this is.
fn span(received: OffsetDateTime) -> u64 {
    received.unix_timestamp().unsigned_abs() / SPAN_SECONDS
}

/// Asked only when a body was not understood, since it parses it once more.
fn is_readable(provider: Provider, verified: &Verified<'_>) -> bool {
    let looks_like_json = verified.body.trim_ascii_start().first();
    let is_form = match provider {
        Provider::Twilio => verified.kind != "quality-insights",
        Provider::CallerDesk => !matches!(looks_like_json, Some(b'{' | b'[')),
        Provider::ElevenLabs | Provider::WhatsApp | Provider::Standard => false,
    };
    if is_form {
        return providers::is_utf8_form(verified.body);
    }
    serde_json::from_slice::<IgnoredAny>(verified.body).is_ok()
}

#[cfg(test)]
mod tests {
    use crate::sources::Sources;

    use super::*;

    fn sources(provider: &str) -> Sources {
        let text = format!(
            "[[source]]\nname = 's'\ntenant = 't'\nowner = '7'\nprovider = '{provider}'\nsecrets = ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw']\n{}",
            if provider == "twilio" { "public_url = 'https://x'" } else { "" }
        );
        let none = |_: &str| Err(std::io::Error::other("no"));
        Sources::parse(&text, &none).unwrap()
    }

    #[track_caller]
    fn check(provider: &str, kind: &str, body: &str) -> Result<Reading, Unreadable> {
        let sources = sources(provider);
        let source = sources.named("s").unwrap();
        assert!(source.provider.serves(kind));
        let received = OffsetDateTime::UNIX_EPOCH;
        let body = body.as_bytes();
        let verified = Verified { kind, id: Some("m1"), body, audio: None, received };
        read(source, &verified, None)
    }

    #[test]
    fn every_provider_and_kind_is_read_by_its_mapper() {
        let sid = "CA00000000000000000000000000000042";
        let cases = [
            ("twilio", "call-status", format!("CallSid={sid}&CallStatus=ringing&SequenceNumber=1")),
            (
                "twilio",
                "recording-status",
                format!("CallSid={sid}&RecordingSid=RE1&RecordingStatus=completed"),
            ),
            ("twilio", "amd-status", format!("CallSid={sid}&AnsweredBy=human")),
            (
                "elevenlabs",
                "post-call",
                r#"{"type":"call_initiation_failure","event_timestamp":1,"data":{"conversation_id":"c"}}"#.to_owned(),
            ),
            (
                "callerdesk",
                "events",
                r#"{"type":"live_call","SourceNumber":"1","DestinationNumber":"2","Status":"Picked"}"#.to_owned(),
            ),
            (
                "standard",
                "anything",
                r#"{"type":"metric.update","data":{"type":"voice_call","calls":1}}"#.to_owned(),
            ),
        ];
        for (provider, kind, body) in cases {
            let read = check(provider, kind, &body).unwrap();
            assert_eq!(read.unread, None, "{provider} {kind}");
            let publication = &read.facts[0].publication;
            assert_eq!(publication.source, "/webhooks/s");
            assert_eq!(publication.audience, ["7"], "the owner gets it too");
            assert!(publication.key.is_some());
        }
    }

    #[test]
    fn nobody_is_asked_for_a_name_but_for_a_report_of_callerdesk() {
        let report = br#"{"type":"call_report","DestinationNumber":"+91 98765 43210"}"#;
        let live = br#"{"type":"live_call","DestinationNumber":"+91 98765 43210"}"#;
        let asked = |provider: &str, body: &[u8]| {
            contact_number(sources(provider).named("s").unwrap(), body)
        };
        assert_eq!(asked("callerdesk", report).as_deref(), Some("9876543210"));
        assert_eq!(asked("callerdesk", live), None);
        assert_eq!((asked("standard", report), asked("twilio", report)), (None, None));
    }

    #[test]
    fn what_is_read_but_not_understood_is_told_from_what_cannot_be_read() {
        assert!(check("whatsapp", "events", "{\"object\":\"page\"}").unwrap().unread.is_some());
        assert!(check("twilio", "call-status", "%%%").unwrap().unread.is_some());
        for (provider, kind, form) in [
            ("twilio", "call-status", "CallSid=CA%FF%FE&CallStatus=ringing"),
            ("twilio", "amd-status", "CallSid=CA\u{e4}%C3&AnsweredBy=human"),
            ("callerdesk", "events", "SourceNumber=1&Status=%ff&DestinationNumber=2"),
        ] {
            assert_eq!(check(provider, kind, form).unwrap_err(), Unreadable, "{form}");
        }
        let form = "CallSid=CA1&CallStatus=ringing&CallerName=M%C3%A4ya+\u{e4}%";
        let named = check("twilio", "call-status", form).unwrap();
        assert_eq!(named.facts[0].publication.data["callerName"], "M\u{e4}ya \u{e4}%");
        for (provider, kind) in
            [("whatsapp", "events"), ("callerdesk", "events"), ("twilio", "quality-insights")]
        {
            assert_eq!(check(provider, kind, "{oops").unwrap_err(), Unreadable, "{provider}");
        }
    }
}
