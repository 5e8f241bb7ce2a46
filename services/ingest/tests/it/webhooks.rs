//! Providers' webhooks, each signed as its provider signs.

use bytes::Bytes;
use domain::signatures::{elevenlabs, twilio, whatsapp};
use http::Request;
use runtime::clock;
use serde_json::{Value, json};
use time::Duration;

use crate::harness::{PUBLIC, Platform, SID, call_status};

fn whatsapp_text(id: &str) -> String {
    json!({"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"field": "messages", "value": {
        "messaging_product": "whatsapp", "metadata": {"display_phone_number": "1", "phone_number_id": "1055"},
        "contacts": [{"profile": {"name": "Ada"}, "wa_id": "4915"}],
        "messages": [{"from": "4915", "id": id, "timestamp": "1767323045", "type": "text", "text": {"body": "hello"}}]
    }}]}]})
    .to_string()
}

const DESK: &str = r#"{"type":"call_report","SourceNumber":"9876543210","DestinationNumber":"8000000000","CallDuration":"65","Status":"ANSWER","Direction":"WEBOBD","StartTime":"2026-01-02T03:04:05Z","EndTime":"2026-01-02T03:05:10Z","CallSid":"1672649960.960"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_is_answered_with_the_place_of_its_event_and_a_repeat_with_the_same() {
    let platform = Platform::start().await;
    for round in [false, true] {
        let form = call_status("ringing", 1);
        let recording = format!("CallSid={SID}&RecordingSid=RE1&RecordingStatus=completed");
        let failure = r#"{"type":"call_initiation_failure","event_timestamp":1767323045,"data":{"conversation_id":"c1","agent_id":"a"}}"#;
        let metric = r#"{"type":"metric.update","timestamp":"2026-01-02T03:04:05Z","data":{"type":"voice_call","calls":1}}"#;
        let answers = [
            platform.twilio("/webhooks/acme-twilio/call-status", &form).await,
            platform.twilio("/recording-status-callback", &recording).await,
            platform
                .twilio("/amd-status-callback", &format!("CallSid={SID}&AnsweredBy=human"))
                .await,
            platform.post("/webhooks/acme-desk/events/path-secret", &[], DESK).await,
            platform.whatsapp(&whatsapp_text("wamid.1")).await,
            platform.elevenlabs(b"voice-secret", failure).await,
            platform.standard("msg_1", metric).await,
        ];
        for answer in &answers {
            let event = answer.event();
            assert_eq!(event["duplicate"], round, "{}", answer.text);
            let message = platform.stored(event).await;
            assert_eq!(message.headers.get("ce-id"), event["id"].as_str());
            assert_eq!(message.headers.get("ce-type"), event["type"].as_str());
            assert!(message.headers.get("ce-source").unwrap().starts_with("/webhooks/acme-"));
            assert!(message.subject.starts_with("events.acme."));
        }
    }
    assert_eq!(platform.count("CALLS").await, 5);
    assert_eq!(platform.count("MESSAGES").await, 1);
    assert_eq!(platform.count("ACTIVITY").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_seeds_own_paths_are_served_by_the_default_sources() {
    let platform = Platform::start().await;
    let first = platform.twilio("/call-status-callback", &call_status("ringing", 1)).await;
    let message = platform.stored(first.event()).await;
    let channels = message.headers.get("tl-channels").unwrap();
    assert!(channels.contains("calls") && channels.contains("user:7"), "{channels}");
    platform.post("/api/callerdesk/webhook/path-secret", &[], DESK).await.event();

    let insight = json!([{
        "specversion": "1.0", "type": "com.twilio.voice.insights.call-metrics.gateway", "source": "/v1/Calls", "id": "EZ1",
        "time": "2026-01-02T03:04:05Z", "datacontenttype": "application/json",
        "data": {"call_sid": SID, "account_sid": "AC1", "edge": {"metrics": {"jitter": {"avg": 1.2}}}}
    }])
    .to_string();
    let url = format!("{PUBLIC}/quality-insights-callback");
    let (url, signature) = twilio::sign_json(b"newest", &url, insight.as_bytes());
    let path = url.strip_prefix(PUBLIC).unwrap();
    let headers = [(twilio::HEADER, signature.as_str()), ("content-type", "application/json")];
    let answer = platform.post(path, &headers, &insight).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(!answer.body["events"].as_array().unwrap().is_empty(), "{}", answer.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_proven_or_not_known_writes_nothing() {
    let platform = Platform::start().await;
    let path = "/webhooks/acme-twilio/call-status";
    let form = call_status("ringing", 1);
    let wrong = twilio::sign_form(b"wrong", &format!("{PUBLIC}{path}"), form.as_bytes());
    platform.post(path, &[], &form).await.is(401, "signature_missing");
    platform.post(path, &[(twilio::HEADER, &wrong)], &form).await.is(401, "signature_mismatch");
    platform.post(path, &[(twilio::HEADER, "?")], &form).await.is(401, "signature_malformed");

    let body =
        r#"{"type":"call_initiation_failure","event_timestamp":1,"data":{"conversation_id":"c"}}"#;
    let old = elevenlabs::sign(b"voice-secret", body.as_bytes(), clock::now() - Duration::hours(1));
    let stale = [(elevenlabs::HEADER, old.as_str())];
    platform.post("/webhooks/acme-voice/post-call", &stale, body).await.is(401, "signature_stale");
    platform.elevenlabs(b"wrong", body).await.is(401, "signature_mismatch");

    platform.post("/webhooks/acme-desk/events", &[], DESK).await.is(401, "signature_missing");
    platform
        .post("/webhooks/acme-desk/events/guess", &[], DESK)
        .await
        .is(401, "signature_mismatch");
    platform.twilio("/webhooks/nobody/call-status", &form).await.is(404, "unknown_source");
    platform.twilio("/webhooks/acme-twilio/other", &form).await.is(404, "unknown_source");
    platform
        .post("/webhooks/acme-twilio/call-status/x", &[], &form)
        .await
        .is(404, "unknown_source");
    platform.whatsapp("{oops").await.is(400, "unreadable_body");
    let no_text = "CallSid=CA%FF%FE&CallStatus=ringing";
    platform.twilio(path, no_text).await.is(400, "unreadable_body");
    let large = "x".repeat(1024 * 1024 + 1);
    platform.twilio(path, &large).await.is(413, "too_large");
    for stream in ["CALLS", "MESSAGES", "ACTIVITY", "QUARANTINE"] {
        assert_eq!(platform.count(stream).await, 0, "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapp_is_told_its_challenge_if_it_knows_the_token() {
    let platform = Platform::start().await;
    let ask = |token: &str| {
        let path = format!(
            "/webhooks/acme-wa/events?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444"
        );
        Request::get(path).body(Bytes::new()).unwrap()
    };
    let answer = platform.send(ask("verify-me")).await;
    assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "1158201444"));
    platform.send(ask("guess")).await.is(403, "challenge_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_payload_that_is_not_understood_is_kept_once_and_the_rest_is_stored() {
    let platform = Platform::start().await;
    let path = "/webhooks/acme-twilio/call-status";
    let bad = format!("CallSid={SID}&CallStatus=teleported");
    let answer = platform.twilio(path, &bad).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let id = answer.body["quarantined"].as_str().unwrap().to_owned();
    assert_eq!(platform.twilio(path, &bad).await.body["quarantined"], id.as_str());
    let kept =
        platform.reader().await.get("QUARANTINE", id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(&*kept.subject, "quarantine.acme.acme-twilio");
    assert_eq!(kept.payload, bad.as_bytes());
    assert_eq!(kept.headers.get("tl-origin"), Some(path));
    assert!(kept.headers.get("tl-reason").unwrap().contains("CallStatus"));

    let mut mixed: Value = serde_json::from_str(&whatsapp_text("wamid.1")).unwrap();
    let messages = &mut mixed["entry"][0]["changes"][0]["value"]["messages"];
    messages.as_array_mut().unwrap().push(json!({"id": "wamid.2"}));
    let answer = platform.whatsapp(&mixed.to_string()).await;
    platform.stored(answer.event()).await;
    assert!(answer.body["quarantined"].is_string(), "{}", answer.text);
    assert_eq!(platform.count("QUARANTINE").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn audio_goes_to_the_object_store_and_its_place_into_the_event() {
    let platform = Platform::start().await;
    let sound = "QUJD".repeat(1_000_000);
    let body = format!(
        r#"{{"type":"post_call_audio","event_timestamp":1767323045,"data":{{"agent_id":"a","conversation_id":"c1","full_audio":"{sound}"}}}}"#
    );
    let answer = platform.elevenlabs(b"voice-secret", &body).await;
    let message = platform.stored(answer.event()).await;
    let data: Value = serde_json::from_slice(&message.payload).unwrap();
    let media = &data["recording"]["media"];
    assert_eq!((&media["bucket"], &media["size"]), (&json!("media"), &json!(3_000_000)));
    let admin = platform.admin().await;
    let objects = admin.objects("media", std::time::Duration::from_secs(10)).await.unwrap();
    let stored = objects.get(media["key"].as_str().unwrap(), 4_000_000).await.unwrap();
    assert_eq!(stored, b"ABC".repeat(1_000_000));

    assert_eq!(platform.elevenlabs(b"voice-secret", &body).await.event()["duplicate"], true);
    platform.elevenlabs(b"wrong", &body).await.is(401, "signature_mismatch");
    // What nobody refers to is deleted: one recording is left.
    let left = platform.reader().await.stream_info("OBJ_media").await.unwrap();
    assert!(left.bytes < 3_200_000, "{left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_stays_when_nobody_knows_whether_its_event_is_stored() {
    // The log stores and says nothing of it.
    let (usual, silent) = (r#""name": "CALLS","#, r#""name": "CALLS", "no_ack": true,"#);
    let platform = Platform::start_with(usual, silent).await;
    let sound = "QUJD".repeat(1_000);
    let body = format!(
        r#"{{"type":"post_call_audio","event_timestamp":1767323045,"data":{{"agent_id":"a","conversation_id":"c1","full_audio":"{sound}"}}}}"#
    );
    platform.elevenlabs(b"voice-secret", &body).await.is(503, "log_unavailable");
    let message = platform.reader().await.get("CALLS", 1).await.unwrap().expect("it is stored");
    let data: Value = serde_json::from_slice(&message.payload).unwrap();
    let key = data["recording"]["media"]["key"].as_str().unwrap();
    let admin = platform.admin().await;
    let objects = admin.objects("media", std::time::Duration::from_secs(10)).await.unwrap();
    assert_eq!(objects.get(key, 4_000).await.unwrap(), b"ABC".repeat(1_000));
    // A repeat finds the event, and takes nothing away from it.
    crate::harness::eventually("the repeat is recognised", async || {
        platform.elevenlabs(b"voice-secret", &body).await.event()["duplicate"] == true
    })
    .await;
    assert_eq!(objects.get(key, 4_000).await.unwrap(), b"ABC".repeat(1_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_over_other_bytes_is_no_signature() {
    let platform = Platform::start().await;
    let escaped = whatsapp_text("wamid.1").replace("hello", "h\\u00e9llo");
    platform.whatsapp(&escaped).await.event();
    let signature = whatsapp::sign(b"app-secret", escaped.as_bytes());
    let same_value = escaped.replace("\\u00e9", "é");
    let headers = [(whatsapp::HEADER, signature.as_str())];
    let answer = platform.post("/webhooks/acme-wa/events", &headers, &same_value).await;
    answer.is(401, "signature_mismatch");
}
