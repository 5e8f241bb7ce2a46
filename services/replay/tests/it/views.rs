//! Views of a replay node as a gateway asks for them.

use std::collections::BTreeMap;

use domain::StreamId::Calls;
use domain::replay::view::{
    BuildState, ContactAnswer, ContactRequest, Progress, ProgressRequest, RebuildRequest,
    ViewAnswer, ViewRequest,
};
use domain::replay::{Answer, Sequences, question};
use runtime::test_support::TestNats;
use serde_json::{Value, json};

use crate::support::{Node, World, eventually};

fn of(view: &str) -> ViewRequest {
    ViewRequest { view: view.to_owned(), ..ViewRequest::default() }
}

fn entry(view: &str, key: &str) -> ViewRequest {
    ViewRequest { key: Some(key.to_owned()), ..of(view) }
}

fn everywhere(sequence: u64) -> Option<Sequences> {
    Some([sequence; domain::stream::COUNT])
}

fn at_least(sequence: u64, request: ViewRequest) -> ViewRequest {
    ViewRequest { at_least: everywhere(sequence), ..request }
}

fn at(sequence: u64, request: ViewRequest) -> ViewRequest {
    ViewRequest { at: everywhere(sequence), ..request }
}

impl World {
    /// The answer of a node that has caught up, or the code of a refusal that stays.
    async fn view(
        &self,
        tenant: &str,
        request: &ViewRequest,
    ) -> Result<(Value, ViewAnswer), String> {
        eventually(async || match self.ask::<_, ViewAnswer>(tenant, "view", request).await {
            Answer::Ok(answer) => {
                Some(Ok((serde_json::from_str(answer.value.get()).unwrap(), answer)))
            }
            Answer::Refused { code, .. } if code == "not_ready" => None,
            Answer::Refused { code, .. } => Some(Err(code)),
        })
        .await
    }

    async fn value(&self, request: &ViewRequest) -> Value {
        self.view("acme", request).await.unwrap().0
    }

    async fn call(&self, sid: &str, sequence: u64, status: &str) -> u64 {
        let data = json!({ "callSid": sid, "status": status, "sequence": sequence });
        self.publish_data("acme", "call.update", sid, data).await.sequence
    }

    /// Calls with everything that happens to one; returns the last event's place.
    async fn calls(&self, from: usize, count: usize) -> u64 {
        let mut last = 0;
        for call in from..from + count {
            let sid = format!("CA{call}");
            for (sequence, status) in [(0, "ringing"), (2, "completed"), (1, "in-progress")] {
                self.call(&sid, sequence, status).await;
            }
            let note = json!({ "callSid": sid, "noteId": "n", "author": "7", "text": "x" });
            last = self.publish_data("acme", "call.note", &sid, note).await.sequence;
        }
        last
    }

    async fn rebuilt(&self, view: &str) -> Progress {
        let wish = RebuildRequest { view: view.to_owned() };
        let Answer::Ok(begun) =
            self.ask::<_, Progress>("acme", question::VIEW_REBUILD, &wish).await
        else {
            panic!("refused")
        };
        let look = ProgressRequest { node: begun.node, job: begun.job };
        eventually(async || {
            let answer = self.ask::<_, Progress>("acme", question::VIEW_PROGRESS, &look).await;
            let Answer::Ok(progress) = answer else { panic!("{answer:?}") };
            assert_ne!(progress.state, BuildState::Failed, "{progress:?}");
            (progress.state == BuildState::Done).then_some(progress)
        })
        .await
    }
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
    let (value, answer) = world.view("acme", &at_least(last, of("active-calls"))).await.unwrap();
    let sids: Vec<_> = value.as_array().unwrap().iter().map(|call| &call["callSid"]).collect();
    assert_eq!(sids, ["CA3", "CA2"], "newest first");
    assert_eq!(answer.places[0].sequence, last);
    assert_eq!(answer.total, Some(2));
    let (other, _) = world.view("globex", &of("active-calls")).await.unwrap();
    assert_eq!(other, json!([]), "another tenant has none");
    let one = world.value(&entry("calls", "CA1")).await;
    assert_eq!(one["status"], "completed");
    assert_eq!(world.view("acme", &of("nonsense")).await.unwrap_err(), "not_found");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_page_by_page() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let last = world.calls(0, 7).await;
    let mut asked = ViewRequest { limit: Some(3), ..at_least(last, of("calls")) };
    let mut sids = Vec::new();
    loop {
        let (value, answer) = world.view("acme", &asked).await.unwrap();
        assert_eq!(answer.total, Some(7));
        sids.extend(value.as_array().unwrap().iter().map(|call| call["callSid"].clone()));
        asked.after = answer.after;
        if asked.after.is_none() {
            break;
        }
    }
    assert_eq!(sids, ["CA6", "CA5", "CA4", "CA3", "CA2", "CA1", "CA0"]);
    let unknown = ViewRequest { after: Some("CA99".to_owned()), ..of("calls") };
    assert_eq!(world.view("acme", &unknown).await.unwrap_err(), "bad_request");
    node.stop().await;
}

/// Every state of every call and list, as it was right after each event.
async fn diary(world: &World, last: u64) -> BTreeMap<u64, (Value, Value, Value)> {
    let mut told = BTreeMap::new();
    for sequence in 1..=last {
        let active = world.value(&at(sequence, of("active-calls"))).await;
        let calls = world.value(&at(sequence, of("calls"))).await;
        let one = world.value(&at(sequence, entry("calls", "CA1"))).await;
        told.insert(sequence, (active, calls, one));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_view_was_is_what_it_was_told_to_be_then_also_after_a_restart() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let mut then = BTreeMap::new();
    for (sid, sequence, status) in [
        ("CA1", 0, "ringing"),
        ("CA2", 0, "ringing"),
        ("CA1", 1, "in-progress"),
        ("CA2", 2, "completed"),
        ("CA2", 1, "in-progress"),
        ("CA3", 0, "ringing"),
        ("CA1", 2, "completed"),
    ] {
        let place = world.call(sid, sequence, status).await;
        let now = |request| world.value(Box::leak(Box::new(at_least(place, request))));
        let (active, calls) = (now(of("active-calls")).await, now(of("calls")).await);
        then.insert(place, (active, calls, now(entry("calls", "CA1")).await));
    }
    assert_eq!(diary(&world, 7).await, then);
    let before = world.view("acme", &at(3, of("calls"))).await.unwrap().1;
    assert_eq!(before.places[0].sequence, 3);
    node.stop().await;
    let node = Node::start(&nats).await;
    // The past is known once the views have been built anew.
    eventually(async || world.view("acme", &at(1, of("calls"))).await.ok()).await;
    assert_eq!(diary(&world, 7).await, then);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_built_anew_is_the_live_one_byte_for_byte() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let last = world.calls(0, 20).await;
    let asked = at_least(last, of("calls"));
    let before = world.value(&asked).await;
    let first = world.rebuilt("calls").await;
    assert_eq!((first.same, first.sequence), (Some(true), last), "{first:?}");
    assert_eq!(world.value(&asked).await, before);
    node.stop().await;

    let node = Node::start(&nats).await;
    assert_eq!(world.value(&asked).await, before, "from its snapshot");
    let again = world.rebuilt("calls").await;
    assert_eq!(again.same, Some(true));
    assert_eq!(again.digest, first.digest);
    let last = world.calls(20, 1).await;
    world.value(&at_least(last, of("calls"))).await;
    assert_ne!(world.rebuilt("calls").await.digest, first.digest);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_retention_removed_is_still_in_a_view_that_was_built_anew() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let first = world.calls(0, 10).await;
    world.value(&at_least(first, of("calls"))).await;
    node.stop().await;
    let node = Node::start(&nats).await;
    let last = world.calls(10, 10).await;
    let asked = at_least(last, of("calls"));
    let before = world.value(&asked).await;
    world.remove_below(Calls, first - 5).await;
    let rebuilt = world.rebuilt("calls").await;
    assert_eq!(rebuilt.same, Some(true), "{rebuilt:?}");
    assert_eq!(world.value(&asked).await, before);
    assert_eq!(before.as_array().unwrap().len(), 20);
    // What was before the oldest event is not told any more; what was behind the baseline is.
    eventually(async || {
        let told = world.view("acme", &at(first - 20, of("calls"))).await;
        told.err().filter(|code| code == "expired")
    })
    .await;
    assert!(world.view("acme", &at(first + 1, of("calls"))).await.is_ok());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_told_with_the_contact_that_its_number_belongs_to() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let contact = json!({ "contact": { "id": "c1", "name": "Maya", "phone": "+91 98765 43210" } });
    let told = world.publish_data("acme", "contact.created", "c1", contact).await.sequence;
    let data = json!({ "callSid": "CA1", "status": "ringing", "to": "09876543210" });
    let called = world.publish_data("acme", "call.update", "CA1", data).await.sequence;
    world.value(&at_least(told, of("contacts"))).await;
    let (list, answer) = world.view("acme", &at_least(called, of("active-calls"))).await.unwrap();
    assert_eq!(
        list[0]["contact"],
        json!({ "id": "c1", "name": "Maya", "phone": "+91 98765 43210" })
    );
    assert_eq!(answer.places.len(), 2, "both streams are in it");
    let one = world.value(&entry("calls", "CA1")).await;
    assert_eq!(one["contact"]["name"], "Maya");

    let by = |phone: &str| ContactRequest { phone: phone.to_owned() };
    let ask = async |tenant, phone: &str| {
        let asked = by(phone);
        let answer =
            world.ask::<_, ContactAnswer>(tenant, question::CONTACT_BY_PHONE, &asked).await;
        let Answer::Ok(found) = answer else { panic!("{answer:?}") };
        serde_json::from_str::<Value>(found.contact.get()).unwrap()
    };
    assert_eq!(ask("acme", "9876543210").await["id"], "c1");
    assert_eq!(ask("acme", "1876543210").await, Value::Null);
    assert_eq!(ask("globex", "9876543210").await, Value::Null);
    let update = json!({ "contactId": "c1", "updates": { "phone": "1111111111" } });
    let moved = world.publish_data("acme", "contact.updated", "c1", update).await.sequence;
    world.value(&at_least(moved, of("contacts"))).await;
    assert_eq!(ask("acme", "9876543210").await, Value::Null);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_told_with_what_other_streams_count() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let update = json!({ "type": "voice_call", "calls": 3 });
    let told = world.publish_data("acme", "metric.update", "voice_call", update).await.sequence;
    let ended = world.call("CA1", 1, "completed").await;
    world.value(&at_least(ended, of("call-metrics"))).await;
    let asked = ViewRequest { at_least: Some([ended, 0, 0, 0, told]), ..of("metrics") };
    let (list, answer) = world.view("acme", &asked).await.unwrap();
    let types: Vec<_> =
        list.as_array().unwrap().iter().map(|of| of["type"].as_str().unwrap()).collect();
    assert_eq!((types, answer.total), (vec!["voice_call", "calls"], Some(2)));
    assert_eq!(answer.places.len(), 3, "the place in each stream is told");
    assert_eq!(world.value(&entry("metrics", "calls")).await["completed"], 1);
    assert_eq!(world.value(&entry("metrics", "nothing")).await, Value::Null);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_answer_alike_and_each_builds_its_own() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let nodes = [Node::start(&nats).await, Node::start(&nats).await];
    let last = world.calls(0, 5).await;
    let asked = at_least(last, of("calls"));
    let first = world.value(&asked).await;
    for _ in 0..20 {
        assert_eq!(world.value(&asked).await, first);
    }
    assert_eq!(world.rebuilt("calls").await.same, Some(true));
    for node in nodes {
        node.stop().await;
    }
}
