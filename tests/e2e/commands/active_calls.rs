//! The list of the calls that are going on: true while calls begin and end, and whole however long it is.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value as Json, json};

use super::questions::{call, sids};
use super::{client, websocket};
use crate::checker::History;
use crate::clients::websocket::WebSocket;
use crate::harness::cast::{agent, journey};
use crate::harness::{TENANT, TestPlatform};

/// What a dashboard shows: a list replaces what it had, a change changes it.
struct Grid {
    socket: WebSocket,
    shown: BTreeSet<String>,
    answers: usize,
}

impl Grid {
    async fn ask(&mut self) {
        self.socket.send(&json!({ "type": "subscribe_to_calls", "id": "q" })).await.unwrap();
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let frame = self.socket.next(Duration::from_secs(20)).await;
            let frame = frame.unwrap_or_else(|end| panic!("{end:?}: {what}: {:?}", self.shown));
            self.take(&frame);
        }
    }

    fn take(&mut self, frame: &Json) {
        let payload = &frame["payload"];
        match frame["type"].as_str().unwrap_or_default() {
            "active_calls" => {
                self.shown = sids(&payload["calls"]).into_iter().map(str::to_owned).collect();
            }
            "call_update" => {
                let sid = payload["callSid"].as_str().unwrap().to_owned();
                if payload["status"] == "completed" {
                    self.shown.remove(&sid);
                } else {
                    self.shown.insert(sid);
                }
            }
            _ => self.answers += usize::from(frame["ref"] == "q"),
        }
    }
}

#[tokio::test]
async fn a_call_that_ends_while_the_list_is_on_its_way_is_not_shown_for_ever() {
    journey(240, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let mut eve = agent(&history, "eve");
        eve.connect(platform.gateway()).await.unwrap();
        let mut grids = Vec::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            let mut socket = agent(&history, name);
            socket.connect(platform.gateway()).await.unwrap();
            let mut grid = Grid { socket, shown: BTreeSet::new(), answers: 0 };
            grid.ask().await;
            grid.until("it is answered", |grid| grid.answers == 1).await;
            grids.push(grid);
        }
        for round in 2..30 {
            let sid = format!("CA{round}");
            call(&platform, &sid, "in-progress").await;
            for grid in &mut grids {
                grid.until("it has begun", |grid| grid.shown.contains(&sid)).await;
            }
            // Each asks a moment later than the one before it, while the call ends.
            let ask = async {
                for grid in &mut grids {
                    grid.ask().await;
                    eve.request("ping", json!({})).await.unwrap();
                }
            };
            tokio::join!(call(&platform, &sid, "completed"), ask);
            for grid in &mut grids {
                let is_so = |grid: &Grid| grid.answers == round && !grid.shown.contains(&sid);
                grid.until("it is over", is_so).await;
            }
        }
        platform.finish().await;
    })
    .await;
}

#[tokio::test]
async fn a_list_that_is_longer_than_a_page_is_given_whole() {
    journey(120, async {
        let (platform, history) = (TestPlatform::start().await, History::new());
        let admin = platform.admin().await;
        // A page holds a megabyte.
        let name = "n".repeat(16 * 1024);
        for number in 0..100 {
            let (sid, id) = (format!("CA{number}"), format!("acme:test:{number}"));
            let channels = format!("calls,call:{sid}");
            let headers = [
                ("ce-specversion", "1.0"),
                ("ce-id", &*id),
                ("ce-source", "test"),
                ("ce-type", "call.update"),
                ("ce-time", "2026-01-02T03:04:05.000Z"),
                ("content-type", "application/json"),
                ("tl-version", "1"),
                ("tl-channels", &*channels),
                ("Nats-Msg-Id", &*id),
            ];
            let data = json!({ "callSid": sid, "status": "in-progress", "callerName": name });
            let subject = format!("events.{TENANT}.call.{sid}.update");
            admin.append(&subject, &headers, &data).await;
        }
        let mut ann = client(&history, "ann", "agent");
        ann.connect(platform.gateway(), websocket()).await;
        let answer = ann.request("subscribe_to_calls", json!([])).await;
        assert_eq!((&answer["ok"], &answer["truncated"]), (&json!(true), &Json::Null), "{answer}");
        let given = ann.event("active_calls").await;
        let all: BTreeSet<_> = sids(&given["args"][0]).into_iter().collect();
        assert_eq!(all.len(), 100);
        platform.finish().await;
    })
    .await;
}
