//! Who is writing to a contact, as the others who look at it see.

use std::time::Duration;

use serde_json::{Value as Json, json};

use crate::checker::{History, Start};
use crate::clients::socketio::SocketIo;
use crate::clients::token;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, journey};
use crate::harness::{Options, Service, TENANT, TestPlatform};

async fn two_gateways(timeout: &str) -> TestPlatform {
    let options = Options::default()
        .two_gateways()
        .set(Service::Gateway, "TYPING_TIMEOUT_MS", timeout)
        .set(Service::SecondGateway, "TYPING_TIMEOUT_MS", timeout);
    TestPlatform::start_with(options).await
}

/// An agent who looks at the contact.
async fn viewer(history: &History, name: &str, to: std::net::SocketAddr) -> WebSocket {
    let mut socket = agent(history, name);
    socket.connect(to).await.unwrap();
    socket.join("contact:c-1", Start::Now).await.unwrap();
    socket
}

/// The application's own page, at a contact.
async fn page(history: &History, name: &str, to: std::net::SocketAddr) -> SocketIo {
    let own = token::token(TENANT, name, "agent");
    let mut page = SocketIo::new(history, name, &own, &["team", "system"]);
    page.connect(to, json!({ "transports": ["websocket"] })).await;
    let answer = page.request("subscribe:contact", json!(["c-1"])).await;
    assert_eq!(answer["ok"], true, "{answer}");
    page
}

fn about() -> Json {
    json!({ "contactId": "c-1", "whatsappAccountId": "account-7" })
}

async fn indicator(socket: &mut WebSocket) -> (Json, bool) {
    let payload = socket.wait_for("typing:indicator").await.unwrap()["payload"].clone();
    assert_eq!(payload["contactId"], "c-1", "{payload}");
    assert_eq!(payload["whatsappAccountId"], "account-7", "{payload}");
    assert!(payload["timestamp"].is_string(), "{payload}");
    (payload["userId"].clone(), payload["isTyping"].as_bool().unwrap())
}

#[tokio::test]
async fn others_at_the_contact_see_who_writes_and_the_writer_does_not() {
    journey(120, async {
        let (platform, history) = (two_gateways("60000").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut ann = page(&history, "ann", first).await;
        let mut anns_phone = viewer(&history, "ann", second).await;
        let mut bob = viewer(&history, "bob", first).await;
        let mut cleo = viewer(&history, "cleo", second).await;

        ann.emit("typing:start", json!([about()])).await;
        assert_eq!(indicator(&mut bob).await, (json!("ann"), true));
        assert_eq!(indicator(&mut cleo).await, (json!("ann"), true));
        // While it goes on nobody is told again.
        for _ in 0..5 {
            let answer = ann.request("typing:start", json!([about()])).await;
            assert_eq!(answer["ok"], true, "{answer}");
        }
        ann.emit("typing:stop", json!([about()])).await;
        assert_eq!(indicator(&mut bob).await, (json!("ann"), false));
        assert_eq!(indicator(&mut cleo).await, (json!("ann"), false));

        // What the writer's own devices see next is what somebody else does.
        let answer = cleo.request("typing:start", about()).await.unwrap();
        assert_eq!(answer["type"], "ack", "{answer}");
        assert_eq!(indicator(&mut bob).await, (json!("cleo"), true));
        assert_eq!(indicator(&mut anns_phone).await, (json!("cleo"), true));
        let event = ann.event("typing:indicator").await;
        assert_eq!(event["args"][0]["userId"], "cleo", "{event}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn who_falls_silent_or_goes_away_stops_writing() {
    journey(120, async {
        let (mut platform, history) = (two_gateways("1500").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let mut bob = viewer(&history, "bob", first).await;
        let mut ann = viewer(&history, "ann", second).await;
        // Silence.
        ann.request("typing:start", about()).await.unwrap();
        assert_eq!(indicator(&mut bob).await, (json!("ann"), true));
        assert_eq!(indicator(&mut bob).await, (json!("ann"), false));
        // A connection that dies.
        ann.request("typing:start", about()).await.unwrap();
        assert_eq!(indicator(&mut bob).await, (json!("ann"), true));
        ann.cut();
        assert_eq!(indicator(&mut bob).await, (json!("ann"), false));
        // A gateway that is killed.
        let mut ann = viewer(&history, "ann", second).await;
        ann.request("typing:start", about()).await.unwrap();
        assert_eq!(indicator(&mut bob).await, (json!("ann"), true));
        platform.kill(Service::SecondGateway);
        assert_eq!(indicator(&mut bob).await, (json!("ann"), false));
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn only_who_may_look_at_the_contact_may_say_so_and_no_other_tenant_hears_it() {
    journey(120, async {
        let (platform, history) = (two_gateways("60000").await, History::new());
        let [first, second] = [platform.gateway(), platform.second_gateway()];
        let own = token::token(TENANT, "uma", "user");
        let mut uma = WebSocket::new(&history, "uma", &own, &["system", "user:uma"]);
        uma.connect(first).await.unwrap();
        let answer = uma.request("typing:start", about()).await.unwrap();
        assert_eq!(answer["payload"]["code"], "forbidden", "{answer}");

        let stranger = token::token("other", "eve", "agent");
        let mut eve = WebSocket::new(&history, "eve", &stranger, &["system", "user:eve"]);
        eve.connect(second).await.unwrap();
        eve.join("contact:c-1", Start::Now).await.unwrap();
        let mut ann = viewer(&history, "ann", first).await;
        let mut bob = viewer(&history, "bob", second).await;
        let answer = ann.request("typing:start", json!("c-1")).await.unwrap();
        assert_eq!(answer["type"], "ack", "a bare id does: {answer}");
        let frame = bob.wait_for("typing:indicator").await.unwrap();
        assert_eq!(frame["room"], "contact:c-1", "{frame}");
        let answer = ann.request("typing:start", json!({})).await.unwrap();
        assert_eq!(answer["payload"]["code"], "bad_payload", "{answer}");
        eve.send(&json!({ "type": "ping" })).await.unwrap();
        let next = eve.next(Duration::from_secs(10)).await.unwrap();
        assert_eq!(next["type"], "pong", "{next}");
        platform.finish().await;
    })
    .await;
}
