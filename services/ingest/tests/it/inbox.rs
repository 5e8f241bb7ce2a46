//! Publications of teams over NATS, refused ones included, and redrives out of quarantine.

use std::time::Duration;

use bytes::Bytes;
use domain::protection::{Subject, WrappingKeys, seal};
use domain::replay::Answer;
use domain::{Role, Tenant, Token};
use runtime::event_log::Append;
use runtime::nats::Nats;
use runtime::test_support::TestNats;
use runtime::vault::Vault;
use serde_json::{Value, json};

use crate::harness::{PLATFORM_KEY, Platform, SID, eventually};

async fn publish(
    nats: &Nats,
    subject: &str,
    headers: &[(&'static str, &str)],
    body: &str,
    id: &str,
) {
    let append = Append {
        subject: subject.to_owned(),
        message_id: id.to_owned(),
        headers: headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        payload: Bytes::copy_from_slice(body.as_bytes()),
        expect: None,
    };
    nats.event_log().append(append).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_passes_the_gate_into_the_log_and_leaves_the_inbox() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let data = r#"{"type":"voice_call","calls":1}"#;
    let headers = [("ce-type", "metric.update"), ("ce-source", "/team"), ("ce-id", "e1")];
    publish(&admin, "publish.acme.metric.m.update", &headers, data, "a").await;
    // Everything left out: the type is the subject's, the id the message's.
    publish(&admin, "publish.acme.metric.m.update", &[], data, "bare").await;
    let structured = json!({"specversion": "1.0", "type": "metric.update", "source": "/team", "id": "e2", "data": {"type": "sms", "calls": 2}});
    let headers = [("content-type", "application/cloudevents+json")];
    publish(&admin, "publish.acme.metric.m.update", &headers, &structured.to_string(), "c").await;
    // The same event again, as another message.
    publish(&admin, "publish.acme.metric.m.update", &headers, &structured.to_string(), "d").await;
    eventually("the inbox is empty", async || platform.count("INBOX").await == 0).await;
    let reader = platform.reader().await;
    let stored = reader.get_many("ACTIVITY", &[1, 2, 3]).await.unwrap();
    let ids: Vec<_> =
        stored.iter().map(|m| m.as_ref().unwrap().headers.get("ce-id").unwrap()).collect();
    assert_eq!(ids, ["e1", "bare", "e2"], "in the order they were published");
    assert_eq!(platform.count("ACTIVITY").await, 3);
    assert_eq!(platform.count("QUARANTINE").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_publication_is_kept_and_its_team_is_told() {
    let platform = Platform::start().await;
    let admin = platform.admin().await;
    let mut notices = admin.subscribe("publish.acme.rejected").await.unwrap();
    let forged = json!({"userId": "7", "severity": "high", "signals": []}).to_string();
    for (subject, body, id, code) in [
        ("publish.acme.metric.m.update", "{oops", "1", "unreadable_body"),
        ("publish.acme.metric.m.update", r#"{"type":"sms","calls":"x"}"#, "2", "invalid_data"),
        ("publish.acme.crisis.7.alert", forged.as_str(), "3", "closed_type"),
        ("publish.acme.metric.m.nothing", "{}", "4", "unknown_type"),
    ] {
        publish(&admin, subject, &[], body, id).await;
        let notice = tokio::time::timeout(Duration::from_secs(10), notices.next()).await;
        let notice: Value = serde_json::from_slice(&notice.unwrap().unwrap().payload).unwrap();
        assert_eq!((&notice["code"], &notice["id"]), (&json!(code), &json!(id)), "{notice}");
        let kept: u64 = notice["quarantined"].as_str().unwrap().parse().unwrap();
        let kept = platform.reader().await.get("QUARANTINE", kept).await.unwrap().unwrap();
        assert_eq!(&*kept.subject, "quarantine.acme.inbox");
        assert_eq!(
            (kept.headers.get("tl-origin"), &kept.payload[..]),
            (Some(subject), body.as_bytes())
        );
    }
    eventually("the inbox is empty", async || platform.count("INBOX").await == 0).await;
    assert_eq!(platform.count("ACTIVITY").await + platform.count("CRISIS").await, 0);
}

/// As the read side does it: the stored message's headers and payload as a request.
async fn redrive(platform: &Platform, tenant: &str, sequence: u64) -> Answer<Value> {
    let replay = platform.nats.nats("replay").await;
    let kept = platform.reader().await.get("QUARANTINE", sequence).await.unwrap().unwrap();
    let subject = format!("ingest.redrive.{tenant}");
    let within = Duration::from_secs(5);
    let answer = replay.request_with_headers(&subject, &kept.headers, kept.payload, within).await;
    serde_json::from_slice(&answer.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_kept_can_be_tried_again() {
    let platform = Platform::start().await;
    let bad = format!("CallSid={SID}&CallStatus=teleported");
    let answer = platform.twilio("/webhooks/acme-twilio/call-status", &bad).await;
    let id = answer.body["quarantined"].as_str().unwrap().parse().unwrap();
    let Answer::Refused { code, .. } = redrive(&platform, "acme", id).await else { panic!() };
    assert_eq!(code, "not_understood");
    let Answer::Refused { code, .. } = redrive(&platform, "other", id).await else { panic!() };
    assert_eq!(code, "bad_request");

    // What is understood by now: kept by a version of the platform that could not read it.
    let admin = platform.admin().await;
    let entry = |place: &str, source: &str, kept: &str, body: &str| Append {
        subject: "quarantine.acme.x".to_owned(),
        message_id: place.to_owned(),
        headers: vec![
            ("tl-reason", "was not understood".to_owned()),
            ("tl-origin", place.to_owned()),
            ("tl-source", source.to_owned()),
            ("tl-received", "2026-01-02T03:04:05.000Z".to_owned()),
            ("tl-headers", kept.to_owned()),
        ],
        payload: Bytes::copy_from_slice(body.as_bytes()),
        expect: None,
    };
    let good = format!("CallSid={SID}&CallStatus=ringing&SequenceNumber=4");
    let webhook = entry("/webhooks/acme-twilio/call-status", "acme-twilio", "{}", &good);
    let data = r#"{"type":"sms","calls":1}"#;
    let publication = entry("publish.acme.metric.m.update", "", r#"{"nats-msg-id":"p1"}"#, data);
    let kept = r#"{"ce-id":"k-1","ce-type":"conversation.start","ce-subject":"c-1","ce-time":"2026-01-02T03:04:05Z","tl-actor":"7","tl-role":"user"}"#;
    let command = entry("commands.acme.conversation.c-1.start", "commands", kept, "{}");
    for append in [webhook, publication, command] {
        let id = admin.event_log().append(append).await.unwrap().sequence;
        for duplicate in [false, true] {
            let Answer::Ok(result) = redrive(&platform, "acme", id).await else { panic!() };
            assert_eq!(result["events"][0]["duplicate"], duplicate, "{result}");
            platform.stored(&result["events"][0]).await;
        }
    }
}

const TURNED_ON: &str = r#"
[[protection]]
tenant = "acme"
fields = ["contact.created"]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_team_should_not_say_in_the_clear_is_kept_with_its_reason() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("protection.toml"), TURNED_ON).unwrap();
    let mut platform = Platform::without_ingest(TestNats::start().await);
    let path = folder.path().display().to_string();
    platform.start_ingest_with(&[("CATALOGUE_DIR", &path)]).await;
    platform.ready().await;
    let admin = platform.admin().await;
    let mut notices = admin.subscribe("publish.acme.rejected").await.unwrap();
    let contact = |fields: Value| json!({ "contact": fields }).to_string();
    let clear = contact(json!({ "id": "c-1", "name": "Ottokar" }));
    publish(&admin, "publish.acme.contact.c-1.created", &[], &clear, "1").await;
    let notice = tokio::time::timeout(Duration::from_secs(10), notices.next()).await;
    let notice: Value = serde_json::from_slice(&notice.unwrap().unwrap().payload).unwrap();
    let expected = (&json!("unprotected_field"), &json!("/data/contact/name"));
    assert_eq!((&notice["code"], &notice["pointer"]), expected, "{notice}");
    assert_eq!(platform.count("MESSAGES").await, 0);

    // Whoever stands behind the platform seals: a gateway before, HTTP here, an administrator who redrives.
    let vault = Vault::new(&admin, WrappingKeys::new(PLATFORM_KEY.as_bytes(), None));
    let person = |kind: &str, id: &str| {
        Subject::new(&Tenant::parse("acme").unwrap(), &Token::parse(kind).unwrap(), id)
    };
    let own = person("contact", "c-1");
    let sealed = async |whose: &Subject| {
        let key = vault.key_to_seal(whose).await.unwrap();
        seal(&key, whose, &json!("Ottokar"), [1; 12])
    };
    let by_gateway = contact(json!({ "id": "c-1", "name": sealed(&own).await }));
    publish(&admin, "publish.acme.contact.c-1.created", &[], &by_gateway, "2").await;
    // Copied from elsewhere it would be opened for who reads contacts.
    let copied = contact(json!({ "id": "c-1", "name": sealed(&person("user", "ann")).await }));
    publish(&admin, "publish.acme.contact.c-1.created", &[], &copied, "3").await;
    let notice = tokio::time::timeout(Duration::from_secs(10), notices.next()).await;
    let notice: Value = serde_json::from_slice(&notice.unwrap().unwrap().payload).unwrap();
    assert_eq!((&notice["code"], &notice["id"]), (&json!("invalid_data"), &json!("3")), "{notice}");
    let event = json!({ "type": "contact.created", "data": { "contact": { "id": "c-1", "name": "Ottokar" } } });
    platform.publish(Role::Service, &[], &event.to_string()).await.event();
    let Answer::Ok(_) = redrive(&platform, "acme", 1).await else { panic!("it is not stored") };
    eventually("all three are stored", async || platform.count("MESSAGES").await == 3).await;
    for stored in platform.reader().await.get_many("MESSAGES", &[1, 2, 3]).await.unwrap() {
        let stored = String::from_utf8(stored.unwrap().payload.to_vec()).unwrap();
        assert!(stored.contains("\"tl1.contact.c-1.") && !stored.contains("Ottokar"), "{stored}");
        let opened = vault.open(&own.tenant, &stored.into());
        assert!(String::from_utf8_lossy(&opened).contains("Ottokar"));
    }
}
