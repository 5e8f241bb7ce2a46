//! What administrators follow as it happens: who did what to which thing. Pure.
//!
//! It is made from events that record what the platform or somebody has decided. Of each only ids are taken: nothing that
//! anybody said and nothing that describes a person gets into it.

use serde_json::{Map, Value};

use crate::aggregate::RecordedEvent;

/// The type that tells of it.
pub const ACTIVITY: &str = "system.activity";

/// An event that is told of, and which of its fields say who did it and to what.
struct Noteworthy {
    event_type: &'static str,
    /// `None` where nobody did it: the platform itself raises and escalates.
    who: Option<&'static str>,
    what: &'static str,
}

const fn told(event_type: &'static str, who: &'static str, what: &'static str) -> Noteworthy {
    Noteworthy { event_type, who: Some(who), what }
}

const fn happened(event_type: &'static str, what: &'static str) -> Noteworthy {
    Noteworthy { event_type, who: None, what }
}

const NOTEWORTHY: [Noteworthy; 11] = [
    told("session.started", "userId", "conversationId"),
    told("session.ended", "userId", "conversationId"),
    happened("crisis.alert", "alertId"),
    happened("crisis.severity_raised", "alertId"),
    happened("crisis.escalated", "alertId"),
    happened("crisis.reopened", "alertId"),
    told("crisis.acknowledged", "acknowledgedBy", "alertId"),
    told("crisis.assigned", "assignedBy", "alertId"),
    told("crisis.resolved", "resolvedBy", "alertId"),
    told("campaign.paused", "pausedBy", "campaignId"),
    told("campaign.resumed", "resumedBy", "campaignId"),
];

/// What is told of an event; `None` for one that is not noteworthy.
pub fn of(event: &RecordedEvent) -> Option<Map<String, Value>> {
    let noteworthy = NOTEWORTHY.iter().find(|it| it.event_type == event.event_type)?;
    let who = noteworthy.who.and_then(|field| event.field(field));
    let fields = [
        ("action", Some(noteworthy.event_type)),
        ("userId", who),
        ("resource", event.field(noteworthy.what)),
    ];
    let said =
        fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
    Some(said.collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;
    use time::OffsetDateTime;

    use super::*;
    use crate::StreamId;
    use crate::catalogue::Catalogue;

    fn recorded(event_type: &str, data: &Value) -> RecordedEvent {
        RecordedEvent {
            sequence: 1,
            stored_at: OffsetDateTime::UNIX_EPOCH,
            id: "e-1".into(),
            event_type: event_type.into(),
            causation_id: None,
            channels: Vec::new(),
            data: data.as_object().unwrap().clone(),
        }
    }

    #[test]
    fn it_says_who_did_what_to_which_thing_and_nothing_else() {
        let data = json!({ "alertId": "c-9-1", "userId": "7", "resolvedBy": "1", "notes": "Spoke to the user." });
        let told = of(&recorded("crisis.resolved", &data)).unwrap();
        let expected = json!({ "action": "crisis.resolved", "userId": "1", "resource": "c-9-1" });
        assert_eq!(Value::Object(told), expected);
        let data = json!({ "alertId": "c-9-1", "userId": "7", "signals": ["x"] });
        let told = of(&recorded("crisis.alert", &data)).unwrap();
        let expected = json!({ "action": "crisis.alert", "resource": "c-9-1" });
        assert_eq!(
            Value::Object(told),
            expected,
            "nobody did it, least of all the person in danger"
        );
        let said = json!({ "conversationId": "c-9", "userId": "7", "message": "I slept well." });
        assert_eq!(of(&recorded("conversation.message", &said)), None);
    }

    #[test]
    fn only_decisions_are_told_of_and_nothing_of_them_that_is_sealed() {
        let catalogue = Catalogue::builtin().unwrap();
        for Noteworthy { event_type, who, what } in NOTEWORTHY {
            let kind = catalogue.by_type(event_type).unwrap();
            assert!(kind.closed, "{event_type}: a publication could make it up");
            let told = of(&recorded(event_type, &kind.example)).unwrap();
            assert_eq!(told.len(), if who.is_some() { 3 } else { 2 }, "{event_type}: {told:?}");
            let sealed = kind.protection.as_ref().map_or(&[][..], |it| &it.fields);
            for field in who.into_iter().chain([what]) {
                assert!(!sealed.iter().any(|it| it == field), "{event_type}: {field}");
            }
        }
    }

    #[test]
    fn the_durables_bring_exactly_what_is_told_of() {
        let durables = [
            (
                StreamId::Conversations,
                include_str!("../../../nats/consumers/conversations-ingest-activity.json"),
            ),
            (StreamId::Crisis, include_str!("../../../nats/consumers/crisis-ingest-activity.json")),
            (
                StreamId::Messages,
                include_str!("../../../nats/consumers/messages-ingest-activity.json"),
            ),
        ];
        let catalogue = Catalogue::builtin().unwrap();
        for (stream, text) in durables {
            let durable: Value = serde_json::from_str(text).unwrap();
            assert_eq!(durable["stream"], stream.name());
            let filters = durable["filter_subjects"].as_array().unwrap();
            let filters: BTreeSet<_> =
                filters.iter().map(|it| it.as_str().unwrap().to_owned()).collect();
            let kinds = NOTEWORTHY.iter().map(|it| catalogue.by_type(it.event_type).unwrap());
            let kinds = kinds.filter(|kind| kind.stream == Some(stream));
            let subject = |kind: &crate::catalogue::EventType| {
                format!("events.*.{}.*.{}", kind.category(), kind.subject_name())
            };
            assert_eq!(filters, kinds.map(subject).collect(), "{stream}");
        }
    }
}
