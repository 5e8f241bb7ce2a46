//! What people say is sealed wherever it is kept, read by who may read it, and unreadable once it is erased.

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::checker::History;
use crate::clients::http::{PATIENCE, Request, encode};
use crate::clients::token::{service, token};
use crate::crisis::Desk;
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};
use crate::safety::{talk, user, websocket};

const SECRET: &str = "my cat is called Ottokar";

async fn said(at: std::net::SocketAddr, conversation: &str) -> Vec<Json> {
    let channel = encode(&format!("conversation:{conversation}"));
    let request = Request::get(&format!("/v1/history?channel={channel}"));
    let page = request.bearer(&token(TENANT, "ann", "user")).send(at).await.unwrap().json();
    let events = page["events"].as_array().unwrap_or_else(|| panic!("{page}"));
    let messages = events.iter().filter(|event| event["type"] == "conversation.message");
    messages.map(|event| event["data"]["message"].clone()).collect()
}

#[tokio::test]
async fn what_is_said_is_in_no_stream_in_the_clear_and_unreadable_once_erased() {
    journey(120, async {
        let platform = TestPlatform::start_with(Options::default().two_gateways()).await;
        let history = History::new();
        let mut ann = user(&history, "ann");
        ann.connect(platform.gateway(), websocket()).await;
        let conversation = talk(&mut ann).await;
        let message = json!([{ "conversationId": conversation, "message": SECRET }]);
        let answer = ann.request("conversation:message", message).await;
        assert_eq!((&answer["ok"], &answer["message"]), (&json!(true), &json!(SECRET)), "{answer}");
        assert_eq!(ann.event("conversation:message").await["args"][0]["message"], SECRET);

        let admin = platform.admin().await;
        for stream in ["CONVERSATIONS", "COMMANDS", "KV_keys"] {
            for payload in admin.payloads(stream).await {
                assert!(!payload.contains("Ottokar"), "{stream} holds {payload}");
            }
        }
        let gateways = [platform.gateway(), platform.second_gateway()];
        for gateway in gateways {
            assert_eq!(said(gateway, &conversation).await, [json!(SECRET)]);
        }

        let erase = Request::new("DELETE", "/v1/subjects/user/ann");
        let refused = erase.bearer(&token(TENANT, "ann", "user")).send(gateways[0]).await.unwrap();
        assert_eq!(refused.status, 403);
        let erase = Request::new("DELETE", "/v1/subjects/user/ann");
        let erased = erase.bearer(&token(TENANT, "boss", "admin")).send(gateways[0]).await.unwrap();
        assert_eq!(erased.json()["erased"], true);
        for gateway in gateways {
            let is_gone = async || said(gateway, &conversation).await == [json!("[erased]")];
            eventually(PATIENCE, "it is gone", is_gone).await;
        }
        // The log is as it was, and who comes back is heard again.
        let again = json!([{ "conversationId": conversation, "message": "hello again" }]);
        ann.request("conversation:message", again).await;
        let now = said(gateways[1], &conversation).await;
        assert_eq!(now, [json!("[erased]"), json!("hello again")]);
        platform.finish().await;
    })
    .await;
}

/// Another tenant, which has turned nothing on.
const OTHER: &str = "globex";

const TURNED_ON: &str = r#"
[[protection]]
tenant = "acme"
fields = ["contact.created", "contact.updated", "message.received", "crisis.resolved"]
"#;

async fn publish(platform: &TestPlatform, tenant: &str, kind: &str, data: Json) {
    let event = json!({ "type": kind, "data": data });
    let request = Request::post("/v1/events").bearer(&service(tenant)).json(&event);
    let answer = request.send(platform.ingest()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A contact and what the contact wrote.
async fn write(platform: &TestPlatform, tenant: &str) {
    let contact = json!({ "id": "c-1", "name": "Ottokar Canary", "phone": "+14155551212" });
    publish(platform, tenant, "contact.created", json!({ "contact": contact })).await;
    let message = json!({
        "id": "m-1", "contactId": "c-1", "contactName": "Ottokar", "whatsappAccountId": "a-7",
        "direction": "Inbound", "type": "Text", "content": SECRET,
        "createdAt": "2026-01-02T03:04:05.000Z",
    });
    publish(platform, tenant, "message.received", json!({ "message": message })).await;
}

async fn view(platform: &TestPlatform, tenant: &str, path: &str) -> Json {
    let request = Request::get(&format!("/v1/views/{path}"));
    let request = request.bearer(&token(tenant, "boss", "admin"));
    request.send(platform.gateway()).await.unwrap().json()["value"].clone()
}

async fn holding(platform: &TestPlatform, streams: &[&str], tenant_mark: &str) -> Vec<String> {
    let admin = platform.admin().await;
    let mut found = Vec::new();
    for stream in streams {
        let payloads = admin.payloads(stream).await;
        found.extend(payloads.into_iter().filter(|payload| payload.contains(tenant_mark)));
    }
    found
}

async fn erase(platform: &TestPlatform, who: &str) {
    let request = Request::new("DELETE", &format!("/v1/subjects/{who}"));
    let request = request.bearer(&token(TENANT, "boss", "admin"));
    let answer = request.send(platform.gateway()).await.unwrap();
    assert_eq!(answer.json()["erased"], true, "{}", answer.text());
}

fn with_protection(folder: &TempDir) -> Options {
    std::fs::write(folder.path().join("protection.toml"), TURNED_ON).unwrap();
    let path = folder.path().display().to_string();
    // The others learn of it from the log.
    Options::default().set(Service::Ingest, "CATALOGUE_DIR", &path)
}

#[tokio::test]
async fn what_a_tenant_turned_on_is_sealed_for_it_alone_and_unreadable_once_erased() {
    journey(120, async {
        let folder = TempDir::new().unwrap();
        let platform = TestPlatform::start_with(with_protection(&folder)).await;
        write(&platform, TENANT).await;
        assert!(holding(&platform, &["MESSAGES"], "Ottokar").await.is_empty());
        write(&platform, OTHER).await;
        let in_clear = holding(&platform, &["MESSAGES"], "Ottokar").await;
        assert_eq!(in_clear.len(), 2, "the other tenant's: {in_clear:?}");

        let shown = async || view(&platform, TENANT, "contacts/c-1").await;
        eventually(PATIENCE, "it is shown", async || {
            shown().await["messages"][0]["content"] == SECRET
        })
        .await;
        let contact = shown().await;
        assert_eq!(contact["name"], "Ottokar Canary", "{contact}");
        erase(&platform, "contact/c-1").await;
        let contact = shown().await;
        let gone = json!("[erased]");
        assert_eq!((&contact["name"], &contact["phone"]), (&gone, &gone), "{contact}");
        assert_eq!((&contact["messages"][0]["content"], &contact["id"]), (&gone, &json!("c-1")));
        let other = view(&platform, OTHER, "contacts/c-1").await;
        assert_eq!(other["name"], "Ottokar Canary", "another tenant's contact: {other}");

        // Folds go on, and who comes back has a key of its own.
        let updates = json!({ "contactId": "c-1", "updates": { "name": "Otto" } });
        publish(&platform, TENANT, "contact.updated", updates).await;
        eventually(PATIENCE, "the contact is updated", async || shown().await["name"] == "Otto")
            .await;
        assert_eq!(shown().await["phone"], "[erased]");

        let admin = platform.admin().await;
        let told = async || admin.last("events.acme.subject.c-1.erased").await;
        eventually(PATIENCE, "the log tells of it", async || told().await.is_some()).await;
        let told = told().await.unwrap();
        assert_eq!((&told["kind"], &told["erasedBy"]), (&json!("contact"), &json!("boss")));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn notes_on_an_alert_are_sealed_for_the_person_and_not_for_who_wrote_them() {
    journey(120, async {
        let folder = TempDir::new().unwrap();
        let platform = TestPlatform::start_with(with_protection(&folder)).await;
        let boss = Desk::of("boss", "admin", &[platform.gateway()]);
        let alert = json!({ "userId": "ann", "severity": "high", "signals": ["self-harm"] });
        let raised = boss.insist("crisis.raise", "k-1", &alert).await;
        let id = raised["alertId"].as_str().unwrap_or_else(|| panic!("{raised}")).to_owned();
        let notes = json!({ "alertId": id, "notes": SECRET });
        let resolved = boss.insist("crisis.resolve", "k-2", &notes).await;
        assert_eq!(resolved["ok"], true, "{resolved}");
        let streams = ["CRISIS", "COMMANDS"];
        assert!(holding(&platform, &streams, "Ottokar").await.is_empty());
        let path = format!("alerts/{id}");
        let shown = async || view(&platform, TENANT, &path).await.to_string();
        eventually(PATIENCE, "it is shown", async || shown().await.contains(SECRET)).await;
        erase(&platform, "user/ann").await;
        let now = shown().await;
        assert!(!now.contains("Ottokar") && now.contains("[erased]"), "{now}");
        platform.finish().await;
    })
    .await;
}
