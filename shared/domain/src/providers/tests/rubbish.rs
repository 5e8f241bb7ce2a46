//! Whatever arrives is answered: no body makes a mapper panic, and no reason repeats the body.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::providers::{Mapped, callerdesk, elevenlabs, standard, twilio, whatsapp};

fn all(body: &[u8]) -> Vec<Mapped> {
    vec![
        twilio::map_call_status(body),
        twilio::map_recording_status(body),
        twilio::map_amd_status(body),
        twilio::map_quality_insights(body),
        callerdesk::map_event(body, "acme", None, 7),
        whatsapp::map_events(body, whatsapp::Owner::default()),
        elevenlabs::map_post_call(body, None, &super::acme()),
        standard::map_event(body, "msg_1"),
    ]
}

/// JSON with the names that the mappers look for in unexpected places.
fn near_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        Just(json!("messages")),
        Just(json!("whatsapp_business_account")),
        Just(json!("post_call_transcription")),
        Just(json!("253402300800")),
        Just(json!("com.twilio.voice.insights.x")),
    ];
    let names = prop::sample::select(vec![
        "object",
        "entry",
        "changes",
        "field",
        "value",
        "metadata",
        "phone_number_id",
        "messages",
        "statuses",
        "id",
        "from",
        "type",
        "status",
        "timestamp",
        "recipient_id",
        "errors",
        "data",
        "conversation_id",
        "event_timestamp",
        "transcript",
        "call_sid",
        "source",
        "time",
        "Status",
        "SourceNumber",
        "DestinationNumber",
        "CallDuration",
        "EndTime",
        "StartTime",
        "text",
        "image",
        "location",
    ]);
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..8)
                .prop_map(|pairs| pairs.into_iter().map(|(n, v)| (n.to_owned(), v)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(body: Vec<u8>) {
        prop_assert_eq!(all(&body).len(), 8);
    }

    #[test]
    fn arbitrary_json_is_answered(body in near_json()) {
        prop_assert_eq!(all(body.to_string().as_bytes()).len(), 8);
    }

    #[test]
    fn arbitrary_forms_are_answered(status in "\\PC{0,12}", time in "\\PC{0,30}", number in "[0-9]{0,30}") {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("CallSid", "CA42")
            .append_pair("CallStatus", &status)
            .append_pair("Timestamp", &time)
            .append_pair("CallDuration", &number)
            .append_pair("SequenceNumber", &number)
            .finish();
        let mapped = all(body.as_bytes());
        if let Err(unmappable) = &mapped[0] {
            prop_assert!(status.trim().len() < 4 || !unmappable.reason.contains(status.trim()));
        }
    }
}
