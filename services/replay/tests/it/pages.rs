use domain::StreamId::{Calls, Crisis, Messages};
use domain::replay::{Answer, AtAnswer, AtRequest, RefsAnswer, RefsRequest, question};
use runtime::test_support::TestNats;

use crate::support::{Node, START, World, eventually, from_start, places};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_holds_a_tenants_events_of_all_streams_and_nobody_elses() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let mut expected = Vec::new();
    for round in 0..6 {
        let (category, stream) =
            [("call", Calls), ("message", Messages), ("crisis", Crisis)][round % 3];
        let appended = world.publish("acme", category, &["calls", "user:7"]).await;
        expected.push((stream, appended.sequence));
        world.publish("ezri", category, &["calls", "user:7"]).await;
        world.publish("acme", category, &["elsewhere"]).await;
        // A stored time has milliseconds: without a pause the order between streams is open.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let both = from_start(&["calls", "user:7"], 100);
    let answer = world.refs("acme", &both).await;
    assert_eq!(places(&answer.refs), expected);
    assert!(!answer.more && answer.removed.is_empty());
    let pages = world.all_refs("acme", RefsRequest { limit: 2, ..both.clone() }).await;
    assert_eq!(pages, answer.refs, "two at a time or all at once");
    let newest = world.refs("acme", &RefsRequest { limit: 2, newest_first: true, ..both }).await;
    expected.reverse();
    assert_eq!(places(&newest.refs), expected[..2]);
    let other = world.refs("ezri", &from_start(&["elsewhere"], 100)).await;
    assert!(other.refs.is_empty(), "another tenant's channel of that name is another channel");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moment_splits_the_log() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    for _ in 0..3 {
        world.publish("acme", "call", &["calls"]).await;
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
    let refs = world.refs("acme", &from_start(&["calls"], 10)).await.refs;
    let at = AtRequest { at: refs[1].stored_at };
    let Answer::<AtAnswer>::Ok(answer) = world.ask("acme", question::AT, &at).await else {
        panic!("refused");
    };
    assert_eq!(answer.sequences, [2, 0, 0, 0, 0]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_is_told_to_the_channels_that_lost_events_alone() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    world.publish("acme", "call", &["quiet", "lost"]).await;
    for _ in 0..5 {
        world.publish("acme", "call", &["busy"]).await;
    }
    world.publish("acme", "call", &["quiet"]).await;
    let mut asked = from_start(&["busy", "quiet", "lost", "never"], 100);
    asked.channels[1].after[Calls.index()] = 1;
    assert!(world.refs("acme", &asked).await.removed.is_empty());
    world.remove_below(Calls, 5).await;
    let answer = eventually(async || {
        Some(world.refs("acme", &asked).await).filter(|answer| answer.first[Calls.index()] == 5)
    })
    .await;
    assert_eq!(places(&answer.refs), [(Calls, 5), (Calls, 6), (Calls, 7)]);
    let told: Vec<_> =
        answer.removed.iter().map(|lost| (lost.channel.as_str(), lost.highest[0])).collect();
    assert_eq!(told, [("busy", 4), ("lost", 1)], "quiet had been given all that is gone");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_streams_are_there_a_question_is_refused() {
    let mut nats = TestNats::start_empty().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    let asked = from_start(&["calls"], 10);
    let refused = eventually(async || {
        let subject = domain::subject::replay_request(
            &domain::Tenant::parse("acme").unwrap(),
            question::REFS,
        );
        let payload = serde_json::to_vec(&asked).unwrap().into();
        let answer = world.gateway.request(&subject, payload, crate::support::WITHIN).await.ok()?;
        serde_json::from_slice::<Answer<RefsAnswer>>(&answer).ok()
    })
    .await;
    assert!(matches!(refused, Answer::Refused { code, .. } if code == "not_ready"));
    nats.provision().await;
    assert_eq!(world.refs("acme", &asked).await.head, START);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_refused_with_its_code() {
    let nats = TestNats::start().await;
    let world = World::new(&nats).await;
    let node = Node::start(&nats).await;
    world.refs("acme", &from_start(&[], 1)).await;
    let code = async |answer: Answer<RefsAnswer>| match answer {
        Answer::Refused { code, .. } => code,
        Answer::Ok(_) => panic!("answered"),
    };
    let nonsense = world.ask("acme", question::REFS, &"what?").await;
    assert_eq!(code(nonsense).await, "bad_request");
    let channels: Vec<String> = (0..1_001).map(|n| format!("call:{n}")).collect();
    let channels: Vec<&str> = channels.iter().map(String::as_str).collect();
    let many = world.ask("acme", question::REFS, &from_start(&channels, 1)).await;
    assert_eq!(code(many).await, "too_many_channels");
    node.stop().await;
}
