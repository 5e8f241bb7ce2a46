//! Two who want the same thing at the same moment, at two gateways, decided by two writers.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::{client, count, log_of, post, websocket};
use crate::checker::History;
use crate::harness::cast::{admin, journey};
use crate::harness::{Options, TestPlatform};

const ROUNDS: usize = 12;

#[tokio::test]
async fn of_two_admins_who_take_an_alert_one_has_it_and_the_other_is_told_who() {
    journey(120, async {
        let options = Options::default().two_gateways().two_ingests();
        let (platform, history) = (TestPlatform::start_with(options).await, History::new());
        let gateways = [platform.gateway(), platform.second_gateway()];
        let mut ann = client(&history, "ann", "admin");
        ann.connect(gateways[0], websocket()).await;
        let mut bob = admin(&history, "bob");
        bob.connect(gateways[1]).await.unwrap();
        for round in 0..ROUNDS {
            let data = json!({ "userId": format!("u{round}"), "severity": "high", "signals": [] });
            let raise = json!({ "type": "crisis.raise", "data": data });
            let raised = post(gateways[round % 2], ("boss", "admin"), &raise).await;
            assert_eq!(raised.status, 200, "{}", raised.text());
            let alert = raised.json()["alertId"].as_str().unwrap().to_owned();
            let (mine, yours): (u64, u64) =
                (rand::rng().random_range(0..3), rand::rng().random_range(0..3));
            let (ann_was_told, bob_was_told) = tokio::join!(
                async {
                    sleep(Duration::from_millis(mine)).await;
                    ann.request("admin:assign_crisis", json!([{ "alertId": alert }])).await
                },
                async {
                    sleep(Duration::from_millis(yours)).await;
                    bob.request("crisis:assign", json!({ "alertId": alert })).await.unwrap()
                },
            );
            let bob_has_it = bob_was_told["type"] == "ack";
            let (winner, loser): (&str, &Json) = match (&ann_was_told["ok"], bob_has_it) {
                (Json::Bool(true), false) => ("ann", &bob_was_told["payload"]),
                (Json::Bool(false), true) => ("bob", &ann_was_told),
                _ => panic!("round {round}: {ann_was_told} and {bob_was_told}"),
            };
            assert_eq!(loser["code"], "already_assigned", "{loser}");
            assert_eq!(loser["assignedTo"], winner, "{loser}");
        }
        let log = log_of(gateways[0], "admin").await;
        assert_eq!(count(&log, "crisis.alert"), ROUNDS);
        assert_eq!(count(&log, "crisis.assigned"), ROUNDS, "one owner each");
        platform.finish().await;
    })
    .await;
}
