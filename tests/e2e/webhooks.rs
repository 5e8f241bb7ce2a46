//! A signed webhook of each provider becomes an event: live on the wires, in history, stored once.

use serde_json::{Value as Json, json};

use crate::checker::{Entry, History, Start, Value};
use crate::clients::http::{Answer, Request};
use crate::clients::pages::Pages;
use crate::clients::publisher::note_stored;
use crate::clients::signatures::{elevenlabs, elevenlabs_at, standard, twilio, whatsapp};
use crate::clients::token::{now, token};
use crate::harness::cast::{agent, journey, source};
use crate::harness::{
    ELEVENLABS, Options, PUBLIC_URL, STANDARD, TENANT, TWILIO, TestPlatform, WHATSAPP,
};

const CALL: [&str; 2] = ["calls", "call:CA42"];

/// A delivery of a provider: how it is sent, as what and where it must come out.
struct Delivery {
    value: Value,
    channels: Vec<String>,
    wire_name: &'static str,
    event_type: &'static str,
    send: Box<dyn Fn() -> Request>,
}

fn delivery(
    writer: &str,
    channels: &[&str],
    wire_name: &'static str,
    event_type: &'static str,
    send: impl Fn() -> Request + 'static,
) -> Delivery {
    let channels = channels.iter().map(|&name| name.to_owned()).collect();
    let (value, send) = (Value::new(writer, 1), Box::new(send));
    Delivery { value, channels, wire_name, event_type, send }
}

fn call_status(path: &str, secret: &str, name: &str) -> Request {
    let form = [
        ("CallSid", "CA42"),
        ("AccountSid", "AC1"),
        ("CallStatus", "ringing"),
        ("From", "+15005550006"),
        ("To", "+14155551212"),
        ("CallerName", name),
        ("Direction", "outbound-api"),
        ("SequenceNumber", "1"),
        ("CallbackSource", "call-progress-events"),
    ];
    twilio(path, PUBLIC_URL, secret, &form)
}

fn call_report() -> Json {
    json!({
        "type": "call_report", "SourceNumber": "9876543210", "DestinationNumber": "8065",
        "DialWhomNumber": "9123456780", "CallDuration": "120", "Status": "ANSWER",
        "Direction": "WEBOBD", "StartTime": "2024-01-01 15:30:00", "EndTime": "2024-01-01 15:32:00",
        "call_group": "sales", "receiver_name": "val-callerdesk-1", "campid": "1672649960.960",
    })
}

fn whatsapp_message() -> Json {
    let message = json!({
        "from": "14155551212", "id": "wamid.HBgL1", "timestamp": now().to_string(),
        "type": "text", "text": { "body": "val-whatsapp-1" },
    });
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15005550006", "phone_number_id": "1055" },
        "contacts": [{ "profile": { "name": "Maya" }, "wa_id": "14155551212" }],
        "messages": [message],
    });
    json!({
        "object": "whatsapp_business_account",
        "entry": [{ "id": "1", "changes": [{ "field": "messages", "value": value }] }],
    })
}

fn post_call() -> Json {
    json!({
        "type": "post_call_transcription", "event_timestamp": now(),
        "data": {
            "agent_id": "agent-7", "conversation_id": "conv-9", "status": "done",
            "transcript": [{ "role": "user", "message": "val-elevenlabs-1", "time_in_call_secs": 2 }],
            "metadata": {
                "start_time_unix_secs": now() - 60, "call_duration_secs": 58, "cost": 12,
                "phone_call": { "call_sid": "CA42", "direction": "outbound" },
            },
            "analysis": { "call_successful": "success", "transcript_summary": "All well." },
        },
    })
}

fn standard_event() -> Json {
    json!({ "type": "team.activity", "data": { "activity": {
        "userId": "7", "userName": "Maya", "action": "val-standard-1", "resource": "Campaign",
    } } })
}

fn deliveries() -> Vec<Delivery> {
    let messages = ["whatsapp:account-7", "contact:14155551212"];
    let (report, message, call) =
        (call_report().to_string(), whatsapp_message().to_string(), post_call().to_string());
    vec![
        delivery("twilio", &CALL, "call_update", "call.update", || {
            call_status("/webhooks/acme-twilio/call-status", TWILIO, "val-twilio-1")
        }),
        delivery("callerdesk", &["calls"], "call_completed", "call.completed", move || {
            Request::post("/webhooks/acme-callerdesk/events/callerdesk-path-secret")
                .body("application/json", report.clone())
        }),
        delivery("whatsapp", &messages, "message:received", "message.received", move || {
            whatsapp("/webhooks/acme-whatsapp/events", WHATSAPP, &message)
        }),
        delivery("elevenlabs", &CALL, "call:transcription", "call.transcription", move || {
            elevenlabs("/webhooks/acme-elevenlabs/post-call", ELEVENLABS, &call)
        }),
        delivery("standard", &["team"], "team:activity", "team.activity", || {
            let body = standard_event().to_string();
            standard("/webhooks/acme-standard/events", STANDARD, "msg_1", &body)
        }),
    ]
}

#[track_caller]
fn accepted(answer: &Answer) -> Json {
    assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    answer.json()
}

#[tokio::test]
async fn a_signed_webhook_of_each_provider_is_followed_live_and_kept() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let rooms = ["calls", "whatsapp:account-7", "team"];
        let mut socket = agent(&history, "ann");
        socket.connect(platform.gateway()).await.unwrap();
        for room in &rooms[..2] {
            socket.join(room, Start::Now).await.unwrap();
        }
        let mut events = source(&history, "bob", &rooms);
        events.connect(platform.gateway(), Start::Now).await.unwrap();
        for Delivery { value, channels, wire_name, event_type, send } in deliveries() {
            let attempt = || Entry::Attempt {
                value: value.clone(),
                channels: channels.clone(),
                payload: None,
            };
            history.record(attempt());
            let answer = accepted(&send().send(platform.ingest()).await.unwrap());
            note_stored(&history, std::slice::from_ref(&value), &answer);
            assert_eq!(answer["events"][0]["duplicate"], false, "{answer}");
            let frame = socket.wait(|f| Value::find(&f["payload"]).as_ref() == Some(&value));
            let frame = frame.await.unwrap();
            assert_eq!(frame["type"], wire_name, "{frame}");
            assert!(channels.iter().any(|channel| frame["room"] == **channel), "{frame}");
            assert!(frame["payload"]["timestamp"].is_string(), "{frame}");

            history.record(attempt());
            let again = accepted(&send().send(platform.ingest()).await.unwrap());
            note_stored(&history, std::slice::from_ref(&value), &again);
            assert_eq!(again["events"][0]["duplicate"], true, "{again}");

            let agent = token(TENANT, "cat", "agent");
            let mut pages = Pages::new(&history, &format!("{value}"), &agent, &channels[0]);
            pages.read(platform.gateway(), Start::Earliest, 100).await;
            let kept =
                pages.events.iter().find(|e| Value::find(&e["data"]).as_ref() == Some(&value));
            let kept = kept.unwrap();
            assert_eq!(kept["type"], event_type, "{kept}");
            assert_eq!((&kept["tenant"], &kept["id"]), (&json!(TENANT), &frame["id"]), "{kept}");
        }
        events.receive(5).await;
        socket.drain().await;
        events.drain().await;
        let verdict = history.assert_clean();
        assert_eq!(verdict.ok, 5, "{verdict}");
        platform.finish().await;
    })
    .await;
}

async fn write_side() -> TestPlatform {
    TestPlatform::start_with(Options::default().write_side_alone()).await
}

async fn stored_in_all(platform: &TestPlatform) -> u64 {
    let admin = platform.admin().await;
    let mut count = 0;
    for stream in ["CALLS", "MESSAGES", "CRISIS", "CONVERSATIONS", "ACTIVITY", "QUARANTINE"] {
        count += admin.state(stream).await.messages;
    }
    count
}

#[tokio::test]
async fn what_is_not_proven_writes_nothing() {
    journey(60, async {
        let platform = write_side().await;
        let body = post_call().to_string();
        let path = "/webhooks/acme-elevenlabs/post-call";
        let unsigned = Request::post("/webhooks/acme-whatsapp/events")
            .body("application/json", whatsapp_message().to_string());
        let wrong_path = Request::post("/webhooks/acme-callerdesk/events/guessed")
            .body("application/json", call_report().to_string());
        for (request, status) in [
            (call_status("/webhooks/acme-twilio/call-status", "wrong", "x"), 401),
            (call_status("/call-status-callback", "wrong", "x"), 401),
            (unsigned, 401),
            (elevenlabs(path, "wrong", &body), 401),
            (elevenlabs_at(now() - 3600, path, ELEVENLABS, &body), 401),
            (wrong_path, 401),
            (call_status("/webhooks/nobody/call-status", TWILIO, "x"), 404),
            (Request::post("/v1/events").json(&standard_event()), 401),
        ] {
            let answer = request.send(platform.ingest()).await.unwrap();
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        }
        assert_eq!(stored_in_all(&platform).await, 0);
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_seeds_own_path_and_the_secret_before_still_serve() {
    journey(60, async {
        let platform = write_side().await;
        let old = "a-secret-that-was-valid-before";
        let answer =
            call_status("/call-status-callback", old, "x").send(platform.ingest()).await.unwrap();
        assert_eq!(accepted(&answer)["events"][0]["stream"], "CALLS");
        let request =
            Request::post("/api/callerdesk/webhook/callerdesk-path-secret").json(&call_report());
        let answer = request.send(platform.ingest()).await.unwrap();
        assert_eq!(accepted(&answer)["events"][0]["stream"], "CALLS");
        let target = "/webhooks/acme-whatsapp/events?hub.mode=subscribe\
                      &hub.verify_token=whatsapp-verify-token&hub.challenge=31415";
        let answer = Request::get(target).send(platform.ingest()).await.unwrap();
        assert_eq!((answer.status, &*answer.text()), (200, "31415"));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_proven_but_not_understood_is_quarantined_and_can_be_seen() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let body = json!({ "type": "post_call_of_tomorrow", "event_timestamp": now(), "data": {} });
        let request =
            elevenlabs("/webhooks/acme-elevenlabs/post-call", ELEVENLABS, &body.to_string());
        let answer = request.send(platform.ingest()).await.unwrap();
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
        assert_eq!(platform.admin().await.state("QUARANTINE").await.messages, 1);
        let admin = token(TENANT, "1", "admin");
        crate::harness::eventually(
            std::time::Duration::from_secs(5),
            "the quarantine is listed",
            async || {
                let request = Request::get("/v1/quarantine").bearer(&admin);
                let answer = request.send(platform.gateway()).await.unwrap();
                answer.status == 200 && answer.text().contains("acme-elevenlabs")
            },
        )
        .await;
        platform.finish().await;
    })
    .await;
}
