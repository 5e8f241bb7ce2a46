use serde_json::json;

use super::*;
use crate::providers::callerdesk::*;

const REPORT: &[u8] = include_bytes!("../../../testdata/webhooks/callerdesk-call-report.json");
const CRM_REPORT: &[u8] =
    include_bytes!("../../../testdata/webhooks/callerdesk-call-report-crm.json");
const LIVE: &[u8] = include_bytes!("../../../testdata/webhooks/callerdesk-live-call.json");

#[test]
fn the_crms_report_becomes_the_completed_call_it_shows() {
    let (observation, admitted) = one(map_event(CRM_REPORT, "acme", None, 7));
    assert_eq!(observation.event_type, "call.completed");
    let data = stored(&admitted);
    assert_eq!((&data["type"], &data["workspaceId"]), (&json!("call_completed"), &json!("acme")));
    assert_eq!((&data["status"], &data["duration"]), (&json!("Completed"), &json!("2m 0s")));
    assert_eq!(data["durationSeconds"], 120);
    assert_eq!(data["phoneNumber"], "+91 98765 43210");
    assert_eq!(data["recordingUrl"], "https://example.com/recording.mp3");
    assert_eq!(data["direction"], "outbound");
    assert_eq!(data["startTime"], "2024-01-01T10:00:00.000Z");
    assert_eq!(data["endTime"], "2024-01-01T10:02:00.000Z");
    assert_eq!(data["agentName"], "Agent Name");
    let call = data["callId"].as_str().unwrap();
    assert_eq!(observation.key, format!("{call}:call_report"));
    assert_eq!(channels(&admitted), ["calls", &format!("call:{call}")]);
}

#[test]
fn the_providers_own_report_is_in_indias_time_and_about_the_caller() {
    let (observation, admitted) = one(map_event(REPORT, "acme", None, 7));
    assert_eq!(observation.key, "1672649960.960123:call_report");
    let data = stored(&admitted);
    assert_eq!(data["startTime"], "2023-01-02T09:12:40.000Z");
    assert_eq!(data["endTime"], "2023-01-02T09:14:55.000Z");
    assert_eq!(
        (&data["phoneNumber"], &data["direction"]),
        (&json!("8750123456"), &json!("inbound"))
    );
    assert_eq!(
        (&data["virtualNumber"], &data["agentNumber"]),
        (&json!("8068921234"), &json!("9560123456"))
    );
    assert_eq!((&data["duration"], &data["talkSeconds"]), (&json!("2m 15s"), &json!(97)));
    assert!(data.get("campaignId").is_none());
    assert!(admitted.subject.as_str().starts_with("events.acme.call._x"));
}

#[test]
fn a_live_call_names_whom_it_calls() {
    let (observation, admitted) = one(map_event(LIVE, "acme", None, 7));
    assert_eq!(observation.event_type, "call.live");
    let data = stored(&admitted);
    assert_eq!((&data["type"], &data["status"]), (&json!("live_call"), &json!("Picked")));
    assert_eq!(data["phoneNumber"], "9876543210");
}

#[test]
fn that_a_call_rings_and_that_it_is_answered_are_two_facts() {
    let key = |status: &str| {
        let body = json!({"type": "live_call", "DestinationNumber": "2", "Status": status, "CallSid": "16.9"});
        map_event(body.to_string().as_bytes(), "acme", None, 7).unwrap()[0].key.clone()
    };
    assert_eq!(key("Picked"), "16.9:live_call");
    assert_eq!(key("Ringing"), "16.9:live_call:ringing");
}

#[test]
fn a_form_says_the_same_as_json() {
    let body = b"SourceNumber=1&DestinationNumber=2&Status=BUSY&EndTime=2023-01-02+14%3A44%3A55&CallSid=16.9";
    let (_, admitted) = one(map_event(body, "acme", None, 7));
    let data = stored(&admitted);
    assert_eq!((&data["status"], &data["duration"]), (&json!("Busy"), &json!("0m 0s")));
}

#[test]
fn outcomes_are_the_crms_four() {
    let outcome = |status: &str| {
        let body = json!({"type": "call_report", "DestinationNumber": "9", "Status": status});
        let (_, admitted) = one(map_event(body.to_string().as_bytes(), "acme", None, 7));
        stored(&admitted)["status"].as_str().unwrap().to_owned()
    };
    let said = ["ANSWER", "NOANSWER", "No Answer", "CANCEL", "abandoned", "BUSY", "CONGESTION"];
    let expected =
        ["Completed", "No Answer", "No Answer", "No Answer", "No Answer", "Busy", "Failed"];
    assert_eq!(said.map(outcome), expected.map(str::to_owned));
}

#[test]
fn repeats_without_an_id_share_a_key_and_other_calls_do_not() {
    let key = |body: &[u8]| map_event(body, "acme", None, 7).unwrap()[0].key.clone();
    assert_eq!(key(LIVE), key(LIVE));
    assert_ne!(key(LIVE), key(CRM_REPORT));
}

#[test]
fn without_an_id_and_a_time_of_its_own_a_body_is_a_repeat_for_two_spans_at_most() {
    let mapped = |body: &[u8], span| map_event(body, "acme", None, span).unwrap().remove(0);
    let live =
        br#"{"type":"live_call","SourceNumber":"1","DestinationNumber":"2","Status":"Picked"}"#;
    let (first, again, later) = (mapped(live, 7), mapped(live, 8), mapped(live, 9));
    assert_eq!(mapped(live, 7), first);
    assert_eq!(again.earlier_key.as_deref(), Some(first.key.as_str()));
    assert!(first.key != later.key && later.earlier_key.as_deref() != Some(first.key.as_str()));
    assert_ne!(first.data["callId"], later.data["callId"], "two calls");
    let with = |field: &str| {
        let body = std::str::from_utf8(live).unwrap();
        body.replace('}', &format!(r#","{field}":"2026-01-02 03:04:05"}}"#)).into_bytes()
    };
    for body in [CRM_REPORT, &with("StartTime"), &with("EndTime"), &with("CallSid")] {
        let first = mapped(body, 7);
        assert_eq!(first, mapped(body, 9), "its own words tell it from the next");
        assert_eq!(first.earlier_key, None);
    }
}

#[test]
fn other_bodies_are_unmappable() {
    let reason = |body: &[u8]| map_event(body, "acme", None, 7).unwrap_err().reason;
    assert_eq!(reason(b""), "the body is empty");
    assert_eq!(reason(b"{"), "the body is not JSON");
    assert_eq!(reason(b"[]"), "the body is no object");
    assert_eq!(reason(b"{\"type\":\"sms\"}"), "type has an unknown value");
    assert_eq!(reason(b"{\"Status\":\"ANSWER\"}"), "neither type nor SourceNumber is there");
    assert_eq!(
        reason(b"{\"type\":\"live_call\",\"Status\":\"Picked\"}"),
        "DestinationNumber is missing"
    );
}

#[test]
fn a_report_has_the_name_of_whose_number_it_is_and_is_the_same_event_with_another() {
    let named = |name| one(map_event(REPORT, "acme", name, 7));
    let (observation, admitted) = named(Some("Maya"));
    assert_eq!(stored(&admitted)["contactName"], "Maya");
    let (renamed, other) = named(Some("Maya Rao"));
    assert_eq!((&observation.key, &admitted.message_id), (&renamed.key, &other.message_id));
    let (unnamed, none) = named(None);
    assert_eq!((&observation.key, &admitted.message_id), (&unnamed.key, &none.message_id));
    assert!(stored(&none).get("contactName").is_none());
    let (longest, too_long) = ("ü".repeat(256), "ü".repeat(257));
    assert_eq!(stored(&named(Some(&longest)).1)["contactName"], longest);
    for nothing in ["", " ", &too_long] {
        assert!(stored(&named(Some(nothing)).1).get("contactName").is_none());
    }
    let (_, live) = one(map_event(LIVE, "acme", Some("Maya"), 7));
    assert!(stored(&live).get("contactName").is_none());
}

#[test]
fn only_reports_are_about_a_number_that_somebody_is_looked_up_by() {
    assert_eq!(reported_number(CRM_REPORT).as_deref(), Some("9876543210"));
    assert_eq!(reported_number(REPORT).as_deref(), Some("8750123456"));
    let short = br#"{"type":"call_report","DestinationNumber":"8065","Status":"BUSY"}"#;
    for body in [LIVE, short, b"", b"{", b"{\"type\":\"sms\"}"] {
        assert_eq!(reported_number(body), None);
    }
}

#[test]
fn contacts_are_found_by_ten_digits() {
    assert_eq!(last_ten_digits("+91 98765-43210").as_deref(), Some("9876543210"));
    assert_eq!(last_ten_digits("43210"), None);
}
