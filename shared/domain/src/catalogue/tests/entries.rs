//! Every entry of the embedded catalogue, and the seeds' names one by one.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::*;
use crate::catalogue::{Delivery, WireForm, is_ephemeral_category};
use crate::channel::Channel;
use crate::stream::StreamId;

/// Every server event that the seeds' clients listen to, with the seed's payload.
const SEEDS: &str = include_str!("../../../testdata/events/seeds.json");

#[derive(serde::Deserialize)]
struct SeedEvent {
    event: String,
    data: Value,
}

#[test]
fn every_server_event_of_the_seeds_is_known_and_its_payload_valid() {
    let catalogue = catalogue();
    let seeds: Vec<SeedEvent> = serde_json::from_str(SEEDS).unwrap();
    assert_eq!(seeds.len(), 63);
    for SeedEvent { event: wire_name, data } in seeds {
        let event = catalogue.by_wire_name(&wire_name).unwrap_or_else(|| panic!("{wire_name}"));
        assert_eq!(event.validate(&data), Ok(()), "{wire_name}");
    }
}

#[test]
fn every_session_frame_of_the_seeds_is_declared() {
    let names: HashSet<_> = catalogue().frames().map(|frame| frame.name.clone()).collect();
    let seeds = [
        "error",
        "pong",
        "connection_established",
        "room_joined",
        "room_left",
        "heartbeat",
        "reconnected",
    ];
    for name in seeds {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn every_example_is_admitted_and_goes_where_its_entry_says() {
    let catalogue = catalogue();
    for event in catalogue.events() {
        let publication = Publication::new(event.name.clone(), "test", event.example.clone());
        let admitted = catalogue.admit_own(&tenant(), publication, defaults());
        let admitted = admitted.unwrap_or_else(|refusal| panic!("{}: {refusal}", event.name));
        assert_eq!(
            admitted.envelope.channels.len(),
            event.channel_templates().count(),
            "{}",
            event.name
        );
        assert_eq!(admitted.subject.is_stored(), event.delivery != Delivery::Ephemeral);
        assert_eq!(admitted.stream, event.stream);
        for channel in &admitted.envelope.channels {
            assert!(catalogue.rule(channel).is_some(), "{}: {channel}", event.name);
        }
    }
}

#[test]
fn every_schema_refuses_a_missing_field_a_wrong_type_and_an_unknown_field() {
    for event in catalogue().events() {
        let fields = event.example.as_object().unwrap();
        let required: Vec<_> = event.schema()["required"].as_array().cloned().unwrap_or_default();
        for name in required.iter().filter_map(Value::as_str) {
            let mut without = fields.clone();
            without.remove(name);
            assert!(
                event.validate(&Value::Object(without)).is_err(),
                "{} without {name}",
                event.name
            );
            let kinds = &event.schema()["properties"][name]["type"];
            if kinds.as_array().is_some_and(|kinds| kinds.contains(&json!("null"))) {
                continue;
            }
            let mut wrong = fields.clone();
            wrong.insert(name.to_owned(), Value::Null);
            assert!(event.validate(&Value::Object(wrong)).is_err(), "{}: {name} null", event.name);
        }
        let mut unknown = fields.clone();
        unknown.insert("an unknown field".to_owned(), json!([[]]));
        let open = event.schema()["additionalProperties"] != json!(false);
        assert!(open || event.validate(&Value::Object(unknown)).is_err(), "{}", event.name);
        let mut untimely = fields.clone();
        untimely.insert("timestamp".to_owned(), json!("yesterday"));
        assert!(event.validate(&Value::Object(untimely)).is_err(), "{}: timestamp", event.name);
        assert!(event.validate(&json!({})).is_err(), "{} accepts nothing at all", event.name);
        assert!(event.validate(&json!([])).is_err(), "{} accepts a list", event.name);
    }
}

#[test]
fn types_wire_names_and_subjects_are_unique() {
    let catalogue = catalogue();
    let mut names = HashSet::new();
    let mut subjects = HashSet::new();
    for event in catalogue.events() {
        assert!(names.insert(event.name.clone()), "{}", event.name);
        for name in event.wire.all() {
            assert!(names.insert(name.to_owned()), "{name}");
        }
        let (category, name) = (event.category().as_str(), event.subject_name().as_str());
        assert!(subjects.insert(format!("{category}.{name}")), "{category}.{name}");
        assert_eq!(catalogue.by_subject(category, name).map(|e| &e.name), Some(&event.name));
    }
}

#[test]
fn every_category_has_a_stream_or_is_ephemeral() {
    for event in catalogue().events() {
        let category = event.category().as_str();
        let stream = StreamId::of_category(category);
        assert!(stream.is_some() || is_ephemeral_category(category), "{category}");
        assert_eq!(event.stream.is_none(), event.delivery == Delivery::Ephemeral, "{}", event.name);
    }
}

#[test]
fn a_call_has_its_name_on_each_channel() {
    let catalogue = catalogue();
    let wire = &catalogue.by_type("call.update").unwrap().wire;
    assert_eq!(wire.name_for(&Channel::parse("calls").unwrap()), "call_update");
    assert_eq!(wire.name_for(&Channel::parse("call:CA42").unwrap()), "call_data");
    assert_eq!(wire.name_for(&Channel::parse("user:7").unwrap()), "call_update");
}

#[test]
fn wire_forms_are_those_the_seeds_read() {
    let catalogue = catalogue();
    let form = |name: &str| catalogue.by_wire_name(name).unwrap().form.clone();
    assert_eq!(form("notification:read"), WireForm::Field("notificationId".into()));
    assert_eq!(form("active_calls"), WireForm::List("calls".into()));
    assert_eq!(form("voice:audio"), WireForm::Binary("data_base64".into()));
    assert_eq!(form("message:received"), WireForm::Object);
}

#[test]
fn decisions_of_the_platform_are_closed_and_facts_are_open() {
    let closed_category = ["crisis", "safety", "conversation", "session", "ai"];
    let closed_type = [
        "notification.read",
        "campaign.paused",
        "campaign.resumed",
        "auth.revoked",
        "catalogue.changed",
    ];
    let open = [
        "call.update",
        "message.received",
        "notification.new",
        "campaign.progress",
        "metric.update",
        "custom.message",
    ];
    for event in catalogue().events() {
        let name = event.name.as_str();
        let must_be_closed = closed_category.contains(&event.category().as_str())
            || closed_type.contains(&name)
            || name.starts_with("call.termination");
        assert!(!must_be_closed || event.closed, "{name}");
        assert!(!open.contains(&name) || !event.closed, "{name}");
    }
}

#[test]
fn what_concerns_a_crisis_is_critical() {
    for event in catalogue().events() {
        let crisis = StreamId::of_category(event.category().as_str()) == Some(StreamId::Crisis);
        assert_eq!(crisis, event.delivery == Delivery::Critical, "{}", event.name);
    }
}
