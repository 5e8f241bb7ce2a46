//! What people say is sealed wherever it is kept, read by who may read it, and unreadable once it is erased.

use serde_json::{Value as Json, json};

use crate::checker::History;
use crate::clients::http::{PATIENCE, Request, encode};
use crate::clients::token::token;
use crate::harness::cast::journey;
use crate::harness::{Options, TENANT, TestPlatform, eventually};
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
