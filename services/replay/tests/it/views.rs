//! Views of a replay node as a gateway asks for them.

use domain::replay::Answer;
use domain::replay::view::{ViewAnswer, ViewRequest};
use runtime::test_support::TestNats;
use serde_json::{Value, json};

use crate::support::{Node, World, eventually};

pub(crate) fn of(view: &str) -> ViewRequest {
    ViewRequest { view: view.to_owned(), ..ViewRequest::default() }
}

pub(crate) fn entry(view: &str, key: &str) -> ViewRequest {
    ViewRequest { key: Some(key.to_owned()), ..of(view) }
}

impl World {
    /// The answer of a node that has caught up.
    pub(crate) async fn view(&self, tenant: &str, request: &ViewRequest) -> (Value, ViewAnswer) {
        eventually(async || match self.ask::<_, ViewAnswer>(tenant, "view", request).await {
            Answer::Ok(answer) => Some((serde_json::from_str(answer.value.get()).unwrap(), answer)),
            Answer::Refused { code, message } => {
                assert_eq!(code, "not_ready", "{message}");
                None
            }
        })
        .await
    }

    pub(crate) async fn call(&self, sid: &str, sequence: u64, status: &str) -> u64 {
        let data = json!({ "callSid": sid, "status": status, "sequence": sequence });
        self.publish_data("acme", "call.update", sid, data).await.sequence
    }
}

pub(crate) fn at_least(request: ViewRequest, sequence: u64) -> ViewRequest {
    ViewRequest { at_least: Some([sequence; domain::stream::COUNT].map(|at| at)), ..request }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_calls_that_go_on_are_told_with_their_position() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    for (sid, status) in [("CA1", "ringing"), ("CA2", "ringing"), ("CA1", "completed")] {
        world.call(sid, 1, status).await;
    }
    let last = world.call("CA3", 1, "in-progress").await;
    let (value, answer) = world.view("acme", &at_least(of("active-calls"), last)).await;
    let sids: Vec<_> = value.as_array().unwrap().iter().map(|call| &call["callSid"]).collect();
    assert_eq!(sids, ["CA3", "CA2"], "newest first");
    assert_eq!(answer.places[0].sequence, last);
    assert_eq!(answer.total, Some(2));
    let (other, _) = world.view("globex", &of("active-calls")).await;
    assert_eq!(other, json!([]), "another tenant has none");
    let (one, _) = world.view("acme", &entry("calls", "CA1")).await;
    assert_eq!(one["status"], "completed");
    node.stop().await;
}
