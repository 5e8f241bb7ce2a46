//! A report of CallerDesk names whose number it is: by the tenant's own contacts, sealed where they are, and never at
//! the price of the report.

use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::checker::{History, Start};
use crate::clients::events::publish;
use crate::clients::http::{PATIENCE, Request};
use crate::clients::token::token;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

/// Another tenant, whose contacts are nobody else's business.
const OTHER: &str = "globex";
const WEBHOOK: &str = "/api/callerdesk/webhook/callerdesk-path-secret";

fn body(kind: &str, call: &str, number: &str) -> Json {
    json!({
        "type": kind, "CallSid": call, "SourceNumber": "8065", "DestinationNumber": number,
        "CallDuration": "120", "Status": "ANSWER", "Direction": "WEBOBD",
        "StartTime": "2024-01-01 15:30:00", "EndTime": "2024-01-01 15:32:00",
    })
}

/// What the platform answers once the webhook is stored.
async fn send(platform: &TestPlatform, body: &Json) -> Json {
    let answer = Request::post(WEBHOOK).json(body).send(platform.ingest()).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let mut stored = answer.json()["events"][0].take();
    assert!(stored["sequence"].is_u64(), "{stored}");
    stored["duplicate"].take()
}

async fn report(platform: &TestPlatform, call: &str, number: &str) -> Json {
    send(platform, &body("call_report", call, number)).await
}

async fn at_work(platform: &TestPlatform, history: &History) -> WebSocket {
    let mut ann = agent(history, "ann");
    ann.connect(platform.gateway()).await.unwrap();
    ann.join("calls", Start::Now).await.unwrap();
    ann
}

/// The event of a call, as the client is told it.
async fn told(client: &mut WebSocket, call: &str) -> Json {
    let frame = client.wait(|frame| frame["payload"]["callId"] == call).await;
    frame.unwrap()["payload"].take()
}

async fn create(platform: &TestPlatform, tenant: &str, id: &str, name: &str, phone: &str) {
    let contact = json!({ "contact": { "id": id, "name": name, "phone": phone } });
    publish(platform.ingest(), tenant, "contact.created", &contact).await;
    known(platform, tenant, id, name).await;
}

/// Waits until the view of contacts has a name.
async fn known(platform: &TestPlatform, tenant: &str, id: &str, name: &str) {
    let (path, token) = (format!("/v1/views/contacts/{id}"), token(tenant, "boss", "admin"));
    eventually(PATIENCE, "the contact is in the view", async || {
        let answer = Request::get(&path).bearer(&token).send(platform.gateway()).await.unwrap();
        answer.json()["value"]["name"] == name
    })
    .await;
}

#[tokio::test]
async fn a_report_of_a_call_names_the_contact_whose_number_it_is() {
    journey(60, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        create(&platform, OTHER, "g-1", "Zoe", "1112223334").await;
        create(&platform, TENANT, "c-1", "Maya", "+91 98765-43210").await;
        let mut ann = at_work(&platform, &history).await;

        assert_eq!(report(&platform, "1.1", "09876543210").await, false);
        let call = told(&mut ann, "1.1").await;
        assert_eq!(
            (&call["contactName"], &call["phoneNumber"]),
            (&json!("Maya"), &json!("09876543210"))
        );

        // The same report is the same event, whatever its contact is called by now.
        let updates = json!({ "contactId": "c-1", "updates": { "name": "Maya Rao" } });
        publish(platform.ingest(), TENANT, "contact.updated", &updates).await;
        known(&platform, TENANT, "c-1", "Maya Rao").await;
        assert_eq!(report(&platform, "1.1", "09876543210").await, true);
        assert_eq!(platform.admin().await.state("CALLS").await.messages, 1);
        report(&platform, "1.2", "9876543210").await;
        assert_eq!(told(&mut ann, "1.2").await["contactName"], "Maya Rao");

        // Nobody's number, another tenant's contact, and a call that still goes on.
        report(&platform, "1.3", "5555555555").await;
        report(&platform, "1.4", "1112223334").await;
        send(&platform, &body("live_call", "1.5", "9876543210")).await;
        for call in ["1.3", "1.4", "1.5"] {
            let call = told(&mut ann, call).await;
            assert!(call.get("contactName").is_none(), "{call}");
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_report_is_stored_without_the_name_while_the_read_side_is_killed_or_hangs() {
    journey(90, async {
        let (mut platform, history) = (TestPlatform::start().await, History::new());
        create(&platform, TENANT, "c-1", "Maya", "9876543210").await;
        let mut ann = at_work(&platform, &history).await;

        platform.signal(Service::Replay, "STOP");
        let begun = Instant::now();
        assert_eq!(report(&platform, "2.1", "9876543210").await, false);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        platform.signal(Service::Replay, "CONT");
        platform.kill(Service::Replay);
        assert_eq!(report(&platform, "2.2", "9876543210").await, false);
        for call in ["2.1", "2.2"] {
            let call = told(&mut ann, call).await;
            assert_eq!((&call["status"], call.get("contactName")), (&json!("Completed"), None));
        }

        platform.restart(Service::Replay).await;
        known(&platform, TENANT, "c-1", "Maya").await;
        assert_eq!(report(&platform, "2.2", "9876543210").await, true);
        assert_eq!(platform.admin().await.state("QUARANTINE").await.messages, 0);
        report(&platform, "2.3", "9876543210").await;
        assert_eq!(told(&mut ann, "2.3").await["contactName"], "Maya");
        platform.finish().await;
    })
    .await;
}

const TURNED_ON: &str = r#"
[[protection]]
tenant = "acme"
fields = ["contact.created", "contact.updated"]
"#;

#[tokio::test]
async fn a_name_that_is_sealed_stays_sealed_in_the_report_and_goes_with_its_key() {
    journey(90, async {
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("protection.toml"), TURNED_ON).unwrap();
        let path = folder.path().display().to_string();
        let options = Options::default().set(Service::Ingest, "CATALOGUE_DIR", &path);
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        // Its number is sealed, too; it is found by its id.
        create(&platform, TENANT, "919876543210", "Ottokar Canary", "+91 98765 43210").await;
        let mut ann = at_work(&platform, &history).await;
        assert_eq!(report(&platform, "3.1", "9876543210").await, false);
        assert_eq!(told(&mut ann, "3.1").await["contactName"], "Ottokar Canary");
        let admin = platform.admin().await;
        let stored = admin.payloads("CALLS").await;
        assert!(!stored[0].contains("Ottokar"), "{}", stored[0]);

        // A sealed text that somebody sends is still no name, nor anything else.
        let sealed: Json = serde_json::from_str(&stored[0]).unwrap();
        let mut copied = body("call_report", "3.2", "5555555555");
        copied["receiver_name"] = sealed["contactName"].clone();
        let answer = Request::post(WEBHOOK).json(&copied).send(platform.ingest()).await.unwrap();
        assert!(answer.json()["quarantined"].is_string(), "{}", answer.text());

        let erase = Request::new("DELETE", "/v1/subjects/contact/919876543210");
        let erase = erase.bearer(&token(TENANT, "boss", "admin"));
        assert_eq!(erase.send(platform.gateway()).await.unwrap().json()["erased"], true);
        let page =
            Request::get("/v1/history?channel=calls").bearer(&token(TENANT, "boss", "admin"));
        let page = page.send(platform.gateway()).await.unwrap().json();
        assert_eq!(page["events"][0]["data"]["contactName"], "[erased]", "{page}");
        let mut call = 0;
        eventually(PATIENCE, "new reports name nobody", async || {
            call += 1;
            let id = format!("3.9{call}");
            report(&platform, &id, "9876543210").await;
            told(&mut ann, &id).await.get("contactName").is_none()
        })
        .await;
        platform.finish().await;
    })
    .await;
}
