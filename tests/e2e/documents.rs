//! The documents that describe the platform to other programs, read by the programs that are made for it.

use serde_json::Value as Json;

use crate::clients::http::Request;
use crate::clients::scripts::Script;
use crate::harness::TestPlatform;
use crate::harness::cast::journey;

async fn document(platform: &TestPlatform, path: &str) -> Json {
    let answer = Request::get(path).send(platform.gateway()).await.unwrap();
    assert_eq!(answer.status, 200);
    answer.json()
}

#[tokio::test]
async fn the_asyncapi_document_is_valid_for_asyncapis_own_parser() {
    journey(120, async {
        let platform = TestPlatform::start().await;
        let document = document(&platform, "/asyncapi.json").await;
        let mut parser = Script::node("documents/asyncapi.mjs", &[]);
        parser.tell(&document).await;
        let told = parser.answer().await;
        assert_eq!(told["errors"], serde_json::json!([]), "{told:#}");
        assert_eq!(told["version"], "3.0.0");
        assert!(told["channels"].as_u64().unwrap() > 15, "{told}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn the_openapi_document_is_served_to_anybody() {
    journey(60, async {
        let platform = TestPlatform::start().await;
        let document = document(&platform, "/openapi.json").await;
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["paths"]["/v1/events"]["post"].is_object());
        platform.finish().await;
    })
    .await;
}
