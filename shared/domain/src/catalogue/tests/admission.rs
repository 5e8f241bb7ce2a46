use std::time::Instant;

use serde_json::json;
use time::OffsetDateTime;

use super::*;
use crate::catalogue::{Delivery, MAX_CHANNELS, Violation};
use crate::channel::Channel;
use crate::stream::StreamId;

fn names(admitted: &Admitted) -> Vec<&str> {
    admitted.envelope.channels.iter().map(Channel::as_str).collect()
}

#[test]
fn a_publication_gets_its_subject_channels_and_message_id() {
    let mut publication = Publication::new(
        "call_update",
        "acme-twilio",
        json!({"callSid": "CA42", "status": "ringing"}),
    );
    publication.key = Some("CA42:1".into());
    publication.audience = vec!["7".into(), "7".into()];
    publication.channels = vec![Channel::parse("agent:9").unwrap()];
    let admitted = catalogue().admit(&tenant(), publication, defaults()).unwrap();
    assert_eq!(admitted.subject.as_str(), "events.acme.call.CA42.update");
    assert_eq!(admitted.stream, Some(StreamId::Calls));
    assert_eq!(admitted.message_id, "acme:acme-twilio:CA42:1");
    assert_eq!(names(&admitted), ["calls", "call:CA42", "user:7", "agent:9"]);
    assert_eq!(admitted.envelope.event_type, "call.update");
    assert_eq!(admitted.envelope.id, "e-1");
    assert!(!admitted.envelope.critical);
}

#[test]
fn the_time_of_the_event_becomes_its_timestamp_unless_it_has_one() {
    let data =
        |admitted: &Admitted| -> Value { serde_json::from_slice(&admitted.envelope.data).unwrap() };
    let call = || json!({"callSid": "CA42", "status": "ringing"});
    let admitted = admit("call.update", call()).unwrap();
    assert_eq!(data(&admitted)["timestamp"], "2026-01-02T03:04:05.678Z");

    let mut publication = Publication::new("call.update", "test", call());
    publication.time = Some(OffsetDateTime::UNIX_EPOCH);
    let admitted = catalogue().admit(&tenant(), publication, defaults()).unwrap();
    assert_eq!(data(&admitted)["timestamp"], "1970-01-01T00:00:00.000Z");

    let own = json!({"callSid": "CA42", "status": "ringing", "timestamp": "2020-01-01T00:00:00Z"});
    let admitted = admit("call.update", own).unwrap();
    assert_eq!(data(&admitted)["timestamp"], "2020-01-01T00:00:00Z");
}

#[test]
fn a_notification_without_an_id_gets_the_events() {
    let mut publication = Publication::new("notification:new", "test", json!({"title": "Hi"}));
    publication.audience = vec!["7".into()];
    let admitted = catalogue().admit(&tenant(), publication, defaults()).unwrap();
    assert_eq!(admitted.subject.as_str(), "events.acme.notification.e-1.new");
    let data: Value = serde_json::from_slice(&admitted.envelope.data).unwrap();
    assert_eq!(data["id"], "e-1");
}

#[test]
fn an_ephemeral_event_is_stored_nowhere() {
    let data = json!({"component": "nats", "status": "ok"});
    let admitted = admit("system.health", data).unwrap();
    assert_eq!(admitted.subject.as_str(), "live.acme.system.nats.health");
    assert_eq!((admitted.stream, admitted.delivery), (None, Delivery::Ephemeral));
}

#[test]
fn outside_ids_are_encoded_and_never_spliced_in() {
    let data = json!({"callSid": "1.2 *,>", "status": "ringing"});
    let admitted = admit("call.update", data).unwrap();
    assert_eq!(admitted.subject.as_str().split('.').count(), 5);
    assert_eq!(names(&admitted), ["calls", "call:1.2%20%2A%2C%3E"]);
}

#[test]
fn an_unknown_type_and_a_decision_are_refused() {
    assert_eq!(admit("no.such", json!({})).unwrap_err(), Refusal::UnknownType("no.such".into()));
    let example = catalogue().by_type("crisis.alert").unwrap().example.clone();
    let refusal = admit("crisis:alert", example.clone()).unwrap_err();
    assert_eq!(refusal, Refusal::Closed("crisis.alert".into()));
    let publication = Publication::new("crisis:alert", "ai-proxy", example);
    let own = catalogue().admit_own(&tenant(), publication, defaults()).unwrap();
    assert_eq!(own.delivery, Delivery::Critical);
    assert!(own.envelope.critical);
}

#[test]
fn invalid_data_is_refused_with_its_place() {
    let refusal =
        admit("call.update", json!({"callSid": "CA42", "status": "singing"})).unwrap_err();
    let Refusal::Invalid(Violation { pointer, reason }) = refusal else { panic!("{refusal}") };
    assert_eq!(pointer, "/status");
    assert!(!reason.contains("singing"), "{reason}");
    let no_object = admit("call.update", json!("CA42")).unwrap_err();
    assert!(matches!(no_object, Refusal::Invalid(v) if v.pointer.is_empty()));
}

#[test]
fn durations_are_whole_seconds() {
    let call =
        |duration: Value| json!({"callSid": "CA42", "status": "completed", "duration": duration});
    assert!(admit("call.update", call(json!(12))).is_ok());
    for bad in [json!(12.5), json!(-1), json!("12")] {
        assert!(admit("call.update", call(bad)).is_err());
    }
}

#[test]
fn attributes_cannot_carry_header_lines() {
    let publication = |source: &str| {
        Publication::new("call.update", source, json!({"callSid": "CA42", "status": "ringing"}))
    };
    for bad in ["", "a\r\nNats-Msg-Id: x", &"x".repeat(513)] {
        let refusal = catalogue().admit(&tenant(), publication(bad), defaults()).unwrap_err();
        assert_eq!(refusal, Refusal::BadAttribute("source"));
    }
    let mut with_key = publication("s");
    with_key.key = Some("a\nb".into());
    let refusal = catalogue().admit(&tenant(), with_key, defaults()).unwrap_err();
    assert_eq!(refusal, Refusal::BadAttribute("key"));
}

#[test]
fn what_would_reach_nobody_is_refused() {
    let data = json!({"messageId": "m", "readAt": "2025-11-05T10:00:00Z"});
    assert!(matches!(admit("message:read", data.clone()), Err(Refusal::NoChannel(_))));
    let mut publication = Publication::new("message:read", "test", data);
    publication.audience = vec!["7".into()];
    assert_eq!(names(&catalogue().admit(&tenant(), publication, defaults()).unwrap()), ["user:7"]);
    // Meant for backends, not for channels.
    assert!(admit("custom.message", json!({"clientId": "c", "type": "x"})).is_ok());
}

#[test]
fn channels_are_declared_and_bounded() {
    let publication = || Publication::new("training:update", "test", json!({"activeJobs": 1}));
    let mut undeclared = publication();
    undeclared.channels = vec![Channel::parse("secret:1").unwrap()];
    let refusal = catalogue().admit(&tenant(), undeclared, defaults()).unwrap_err();
    assert_eq!(refusal, Refusal::UnknownChannel("secret:1".into()));
    let mut many = publication();
    many.audience = (0..=MAX_CHANNELS).map(|n| n.to_string()).collect();
    let refusal = catalogue().admit(&tenant(), many, defaults()).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyChannels);
}

#[test]
fn a_ten_field_event_is_admitted_in_microseconds() {
    let catalogue = catalogue();
    let publications: Vec<_> = (0..2_000)
        .map(|n| {
            let data = json!({"callSid": format!("CA{n}"), "status": "in-progress", "direction": "inbound",
                "from": "+15005550006", "to": "+14155551212", "sequence": n, "provider": "twilio",
                "duration": 12, "callerName": "Jo", "accountSid": "AC1"});
            Publication::new("call.update", "test", data)
        })
        .collect();
    let timed = |publication| {
        let started = Instant::now();
        catalogue.admit(&tenant(), publication, defaults()).unwrap();
        started.elapsed()
    };
    // The quickest of many, which other work on the machine does not touch; unoptimised, so the bound is wide and
    // still catches a validator that is compiled for each.
    let each = publications.into_iter().map(timed).min().unwrap();
    assert!(each.as_micros() < 150, "{each:?}");
}

#[test]
fn of_what_tells_how_far_a_campaign_is_each_hundred_is_one_and_the_last_is_its_own() {
    let told = |id: &str, sent: u64| {
        let progress = json!({ "sent": sent, "total": 1000, "percentage": 1, "failed": 0 });
        let data = json!({ "campaignId": "spring", "progress": progress });
        let publication = Publication {
            id: Some(id.into()),
            ..Publication::new("campaign.progress", "crm", data)
        };
        let admitted = catalogue().admit(&tenant(), publication, defaults());
        admitted.unwrap().message_id
    };
    assert_eq!(told("p-1", 101), told("p-2", 199));
    assert_ne!(told("p-2", 199), told("p-3", 200));
    assert_eq!(told("p-9", 1000), "acme:crm:p-9");
}
