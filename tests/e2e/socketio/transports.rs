//! Polling, WebSocket, and the change from one to the other.

use serde_json::{Value as Json, json};

use super::{follower, websocket};
use crate::checker::History;
use crate::harness::TestPlatform;
use crate::harness::cast::{calls, journey};

/// Sees five events, is cut off, misses forty, comes back by itself and gets them, then goes on live.
async fn misses_forty(options: Json, upgrades: bool) {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let mut ann = follower(&history, "ann", gateway, options, &mut writer, ingest).await;
        if upgrades {
            ann.wait("upgrade").await;
        }
        ann.tell(json!({ "op": "hold" })).await;
        ann.cut().await;
        ann.wait("disconnect").await;
        writer.publish(ingest, 40).await;
        ann.tell(json!({ "op": "resume" })).await;
        let connected = ann.wait("connect").await;
        assert_eq!(connected["recovered"], true, "{connected}");
        ann.receive(45).await;
        if upgrades {
            ann.wait("upgrade").await;
        }
        writer.publish(ingest, 5).await;
        ann.receive(50).await;
        ann.drain().await;
        let verdict = history.assert_clean();
        assert_eq!((verdict.ok + verdict.recovered, verdict.gaps), (50, 0), "{verdict}");
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_client_on_websocket_alone_gets_what_it_missed() {
    misses_forty(websocket(), false).await;
}

#[tokio::test]
async fn a_client_on_polling_alone_gets_what_it_missed() {
    misses_forty(json!({ "transports": ["polling"] }), false).await;
}

#[tokio::test]
async fn a_client_that_upgrades_gets_what_it_missed() {
    misses_forty(json!({ "transports": ["polling", "websocket"] }), true).await;
}

#[tokio::test]
async fn nothing_is_lost_or_repeated_while_a_client_upgrades() {
    journey(90, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut writer = calls(&history, "w");
        let (gateway, ingest) = (platform.gateway(), platform.ingest());
        let options = json!({ "transports": ["polling", "websocket"] });
        let mut clients = Vec::new();
        for name in ["ann", "bob", "eve"] {
            let mut client = super::client(&history, name);
            client.connect(gateway, options.clone()).await;
            client.join("subscribe", json!("calls"), "calls").await;
            clients.push(client);
            writer.publish(ingest, 20).await;
        }
        for (client, missed) in clients.iter_mut().zip([0, 20, 40]) {
            client.wait("upgrade").await;
            client.receive(60 - missed).await;
            client.drain().await;
        }
        history.assert_clean();
        platform.finish().await;
    })
    .await;
}
