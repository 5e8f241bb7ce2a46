//! An operator adds an event type and a channel by a file, while everything runs.

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::checker::History;
use crate::clients::http::{PATIENCE, Request};
use crate::clients::socketio::SocketIo;
use crate::clients::token::{service, token};
use crate::harness::cast::journey;
use crate::harness::{Options, Service, TENANT, TestPlatform, eventually};

const ORDERS: &str = r#"
category = "custom"

[[channel]]
name = "orders"
summary = "Orders of the shop."
roles = ["user", "agent", "admin"]

[[event]]
name = "order.placed"
summary = "Somebody has ordered."
entity = "{orderId}"
channels = ["orders"]
wire = "order_placed"
example = { orderId = "o-1", total = 12.5 }
[event.schema]
required = ["orderId", "total"]
[event.schema.properties]
orderId = "id"
total = "number"
"#;

async fn place(platform: &TestPlatform, id: &str) -> (u16, Json) {
    let event = json!({ "type": "custom.order.placed", "data": { "orderId": id, "total": 9 } });
    let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&event);
    let answer = request.send(platform.ingest()).await.unwrap();
    (answer.status, answer.json())
}

async fn shopper(history: &History, platform: &TestPlatform) -> SocketIo {
    let automatic = ["system", "admin:broadcast", "user:ann"];
    let mut ann = SocketIo::new(history, "ann", &token(TENANT, "ann", "user"), &automatic);
    ann.connect(platform.gateway(), json!({ "transports": ["websocket"] })).await;
    ann
}

#[tokio::test]
async fn a_file_that_is_dropped_adds_a_type_and_a_channel_while_everything_runs() {
    journey(120, async {
        let folder = TempDir::new().unwrap();
        // The gateway has no folder: what it knows of the change it knows from the log.
        let path = folder.path().display().to_string();
        let options = Options::default().set(Service::Ingest, "CATALOGUE_DIR", &path);
        let mut platform = TestPlatform::start_with(options).await;
        let history = History::new();
        let mut ann = shopper(&history, &platform).await;
        assert_eq!(place(&platform, "o-0").await.0, 422, "nobody knows the type yet");
        assert_eq!(ann.request("subscribe", json!(["orders"])).await["code"], "forbidden");

        // What is wrong changes nothing.
        std::fs::write(folder.path().join("orders.toml"), "[[event]]\nnam = 1").unwrap();
        platform.signal(Service::Ingest, "HUP");
        let refused = async || platform.log(Service::Ingest).contains("refused the new file");
        eventually(PATIENCE, "the mistake is told", refused).await;
        assert_eq!(place(&platform, "o-0").await.0, 422);

        std::fs::write(folder.path().join("orders.toml"), ORDERS).unwrap();
        platform.signal(Service::Ingest, "HUP");
        let joins = async || ann.request("subscribe", json!(["orders"])).await["ok"] == true;
        eventually(PATIENCE, "the channel can be joined", joins).await;
        let (status, answer) = place(&platform, "o-1").await;
        assert_eq!(status, 200, "{answer}");
        let told = ann.event("order_placed").await;
        assert_eq!(told["args"][0]["orderId"], "o-1", "{told}");
        let wrong = json!({ "type": "custom.order.placed", "data": { "orderId": "o-2" } });
        let request = Request::post("/v1/events").bearer(&service(TENANT)).json(&wrong);
        let answer = request.send(platform.ingest()).await.unwrap();
        assert_eq!(answer.json()["pointer"], "/data/total", "its schema is in force");
        let document = Request::get("/asyncapi.json").send(platform.gateway()).await.unwrap();
        assert!(document.json()["channels"]["orders"].is_object());

        // The change is the platform's own, and no tenant's admins are told.
        for (tenant, told) in [("platform", 1), (TENANT, 0)] {
            let own = token(tenant, "boss", "admin");
            let page = Request::get("/v1/history?channel=admin&types=catalogue.changed");
            let page = page.bearer(&own).send(platform.gateway()).await.unwrap().json();
            assert_eq!(page["events"].as_array().map(Vec::len), Some(told), "{tenant}: {page}");
        }

        // A gateway that starts afterwards knows it too.
        platform.restart(Service::Gateway).await;
        let mut ann = shopper(&history, &platform).await;
        assert_eq!(ann.request("subscribe", json!(["orders"])).await["ok"], true);
        assert_eq!(place(&platform, "o-3").await.0, 200);
        assert_eq!(ann.event("order_placed").await["args"][0]["orderId"], "o-3");
        platform.finish().await;
    })
    .await;
}
