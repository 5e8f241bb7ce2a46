use serde_json::json;

use super::*;
use crate::providers::twilio::*;

const SID: &str = "CA1a2b3c4d5e6f708192a3b4c5d6e7f809";
const COMPLETED: &[u8] = include_bytes!("../../../testdata/webhooks/twilio-call-status.form");
const RINGING: &[u8] = include_bytes!("../../../testdata/webhooks/twilio-call-status-ringing.form");
const RECORDING: &[u8] = include_bytes!("../../../testdata/webhooks/twilio-recording-status.form");
const AMD: &[u8] = include_bytes!("../../../testdata/webhooks/twilio-amd-status.form");
const INSIGHTS: &[u8] = include_bytes!("../../../testdata/webhooks/twilio-quality-insights.json");

#[test]
fn a_status_becomes_an_update_of_its_call() {
    let (observation, admitted) = one(map_call_status(COMPLETED));
    assert_eq!(observation.key, format!("{SID}:3"));
    assert_eq!(channels(&admitted), ["calls", &format!("call:{SID}")]);
    assert_eq!(admitted.message_id, format!("acme:source:{SID}:3"));
    let data = stored(&admitted);
    assert_eq!(data["status"], "completed");
    assert_eq!(data["duration"], 42);
    assert_eq!(data["sequence"], 3);
    assert_eq!(data["timestamp"], "2017-08-02T19:56:26.000Z");
    assert_eq!((&data["from"], &data["to"]), (&json!("+15005550006"), &json!("+14155551212")));
    assert_eq!(data["answeredBy"], "human");
    assert_eq!(data["recording"]["duration"], 40);
    assert!(data.get("callerName").is_none());
}

#[test]
fn a_late_status_keeps_its_own_sequence() {
    let (observation, admitted) = one(map_call_status(RINGING));
    assert_eq!(observation.key, format!("{SID}:1"));
    assert_eq!(
        (&stored(&admitted)["status"], &stored(&admitted)["sequence"]),
        (&json!("ringing"), &json!(1))
    );
}

#[test]
fn a_status_without_a_sequence_is_known_by_itself() {
    let (observation, _) =
        one(map_call_status(b"CallSid=CA42&CallStatus=no-answer&Timestamp=soon&CallDuration=x"));
    assert_eq!(observation.key, "CA42:no-answer");
    assert_eq!(observation.time, None);
    assert!(observation.data.get("duration").is_none());
}

#[test]
fn a_recording_reaches_the_subscribers_of_its_call() {
    let (observation, admitted) = one(map_recording_status(RECORDING));
    assert_eq!(observation.key, "RE0123456789abcdef0123456789abcdef:completed");
    assert_eq!(channels(&admitted), ["calls", &format!("call:{SID}")]);
    let recording = &stored(&admitted)["recording"];
    assert_eq!(recording["startedAt"], "2017-08-02T19:55:46.000Z");
    assert_eq!((&recording["duration"], &recording["channels"]), (&json!(40), &json!(1)));
    assert!(recording.get("errorCode").is_none());
}

#[test]
fn an_answering_machine_is_told() {
    let (observation, admitted) = one(map_amd_status(AMD));
    assert_eq!(observation.key, format!("{SID}:amd:machine_end_beep"));
    assert_eq!(stored(&admitted)["answeredBy"], "machine_end_beep");
    assert_eq!(stored(&admitted)["detectionMillis"], 3200);
}

#[test]
fn every_measurement_is_stored_whole_and_told_as_an_update() {
    let all = admitted(map_quality_insights(INSIGHTS));
    let types: Vec<_> = all.iter().map(|(o, _)| o.event_type.as_ref()).collect();
    assert_eq!(types, ["call.quality", "call.update"].repeat(3));
    let metrics = stored(&all[0].1);
    assert_eq!(metrics["insight"], "call-metrics.gateway");
    assert_eq!(metrics["metrics"]["cumulative"]["jitter"]["avg"], 1.2);
    assert_eq!(metrics["timestamp"], "2017-08-02T19:56:00.000Z");
    let warning = &stored(&all[3].1)["quality"];
    assert_eq!((&warning["issue"], &warning["level"]), (&json!("high-jitter"), &json!("WARNING")));
    let mut keys: Vec<_> = all.iter().map(|(o, _)| &o.key).collect();
    assert!(keys[0].ends_with("/CallMetrics:EV0123456789abcdef0123456789abcdef"));
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 6);
}

#[test]
fn a_foreign_event_among_measurements_does_not_take_them_with_it() {
    let mut events: Vec<Value> = serde_json::from_slice(INSIGHTS).unwrap();
    events.insert(
        1,
        json!({"type": "com.twilio.messaging.message.sent", "source": "s", "id": "1", "data": {}}),
    );
    let unmappable = map_quality_insights(&serde_json::to_vec(&events).unwrap()).unwrap_err();
    assert_eq!(unmappable.reason, "an event is no Voice Insights event");
    assert_eq!(unmappable.understood.len(), 6);
}

#[test]
fn what_lacks_a_call_or_a_known_status_is_unmappable() {
    let reason = |mapped: Mapped| mapped.unwrap_err().reason;
    assert_eq!(reason(map_call_status(b"CallStatus=ringing")), "CallSid is missing");
    assert_eq!(
        reason(map_call_status(b"CallSid=CA42&CallStatus=singing")),
        "CallStatus has an unknown value"
    );
    assert_eq!(reason(map_recording_status(b"CallSid=CA42")), "RecordingSid is missing");
    assert_eq!(
        reason(map_amd_status(b"CallSid=CA42&AnsweredBy=dog")),
        "AnsweredBy has an unknown value"
    );
    assert_eq!(reason(map_quality_insights(b"[{}]")), "type is missing");
    assert_eq!(reason(map_quality_insights(b"3")), "the body is no list of events");
}
