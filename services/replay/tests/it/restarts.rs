use std::sync::Arc;

use domain::StreamId::Calls;
use runtime::tasks::owned;
use runtime::test_support::TestNats;

use crate::support::{Node, WITHIN, World, eventually, from_start, places};

const SNAPSHOTS: &str = "channel-index";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_around_a_killed_server_is_indexed_once() {
    const EVENTS: usize = 3_000;
    let mut nats = TestNats::start().await;
    let world = Arc::new(World::new(&nats).await);
    let node = Node::start(&nats).await;
    world.publish("acme", "call", &["calls"]).await;
    world.refs("acme", &from_start(&["calls"], 1)).await;
    let publisher = world.clone();
    let publishing = owned(async move {
        let mut sequences = Vec::new();
        for event in 1..EVENTS {
            let own = format!("call:{}", event % 7);
            sequences.push(publisher.publish("acme", "call", &["calls", &own]).await.sequence);
        }
        sequences
    });
    for _ in 0..2 {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        nats.restart().await;
    }
    let mut expected = publishing.join().await.unwrap();
    expected.insert(0, 1);
    let refs = world.all_refs("acme", from_start(&["calls", "call:3"], 500)).await;
    let sequences: Vec<u64> = refs.iter().map(|found| found.sequence).collect();
    assert_eq!(sequences.len(), EVENTS);
    assert_eq!(sequences, expected);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_answers_like_a_rebuild_and_knows_whose_events_are_gone() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    for event in 0..300 {
        let own = format!("call:{}", event % 10);
        world.publish("acme", "call", &["calls", &own]).await;
    }
    let asked = from_start(&["call:3", "call:4", "quiet"], 1_000);
    let before = world.refs("acme", &asked).await;
    node.stop().await;
    world.remove_below(Calls, 101).await;
    world.publish("acme", "call", &["call:4"]).await;

    let node = Node::start(&nats).await;
    let from_snapshot = world.refs("acme", &asked).await;
    node.stop().await;
    let kept: Vec<_> = before.refs.iter().filter(|found| found.sequence > 100).copied().collect();
    assert_eq!(from_snapshot.refs[..kept.len()], kept[..]);
    assert_eq!(from_snapshot.refs.len(), kept.len() + 1, "and what came while it was down");
    let told: Vec<_> = from_snapshot.removed.iter().map(|lost| lost.channel.as_str()).collect();
    assert_eq!(told, ["call:3", "call:4"]);

    let replay = nats.nats("replay").await;
    replay.objects(SNAPSHOTS, WITHIN).await.unwrap().delete(Calls.name()).await.unwrap();
    let node = Node::start(&nats).await;
    let rebuilt = world.refs("acme", &asked).await;
    assert_eq!(rebuilt.refs, from_snapshot.refs);
    assert_eq!(rebuilt.removed.len(), 3, "nobody knows any more whose events are gone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_snapshot_costs_a_rebuild_and_nothing_else() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    for _ in 0..20 {
        world.publish("acme", "call", &["calls"]).await;
    }
    let asked = from_start(&["calls"], 100);
    let before = world.refs("acme", &asked).await;
    node.stop().await;
    let store = nats.nats("replay").await.objects(SNAPSHOTS, WITHIN).await.unwrap();
    let mut bytes = store.get(Calls.name(), usize::MAX).await.unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    store.put(Calls.name(), &mut bytes.as_slice()).await.unwrap();
    let node = Node::start(&nats).await;
    assert_eq!(world.refs("acme", &asked).await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_anew_is_indexed_anew_running_or_not() {
    let mut nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    for _ in 0..5 {
        world.publish("acme", "call", &["calls", "old"]).await;
    }
    let asked = from_start(&["calls", "old"], 100);
    assert_eq!(world.refs("acme", &asked).await.refs.len(), 5);

    world.admin_call("STREAM.DELETE.CALLS", "".into()).await;
    nats.provision().await;
    for _ in 0..6 {
        world.publish("acme", "call", &["calls"]).await;
    }
    let answer = eventually(async || {
        Some(world.refs("acme", &asked).await).filter(|answer| answer.refs.len() == 6)
    })
    .await;
    assert!(answer.removed.is_empty());
    assert!(world.refs("acme", &from_start(&["old"], 100)).await.refs.is_empty());
    node.stop().await;

    world.admin_call("STREAM.DELETE.CALLS", "".into()).await;
    nats.provision().await;
    for _ in 0..7 {
        world.publish("acme", "call", &["new"]).await;
    }
    let node = Node::start(&nats).await;
    assert!(world.refs("acme", &asked).await.refs.is_empty(), "the snapshot is of another life");
    let new = world.refs("acme", &from_start(&["new"], 100)).await;
    assert_eq!(places(&new.refs).last(), Some(&(Calls, 7)));
    node.stop().await;
}
