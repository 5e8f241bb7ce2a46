//! What the tails do not know is asked of the log: decisions are the same, however little an instance remembers.

use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::Publication;
use domain::command::Actor;
use domain::protection::{Subject, WrappingKeys, seal};
use domain::{Command, Role, StreamId, Tenant, Token};
use runtime::metrics::Metrics as Registry;
use runtime::nats::Nats;
use runtime::ops::Readiness;
use runtime::tasks::{Owned, owned};
use runtime::test_support::TestNats;
use runtime::vault::Vault;
use runtime::{clock, ids};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::execute::{Decider, Undecided};
use super::metrics::Metrics;
use super::record::Keep;
use super::signals::Signals;
use super::tail::Tail;
use super::{EARLIER, is_there};
use crate::intake::Intake;
use crate::memory::Memory;
use crate::metrics::Way;

/// Another instance on the same log, which has seen nothing of it.
fn another(bench: &Bench, tail: Tail) -> Bench {
    let (intake, client) = (bench.intake.clone(), bench.client.clone());
    let (tail, metrics) = (Arc::new(tail), Metrics::new(&Registry::new()));
    let decider =
        Decider::new(&client, vec![tail.clone()], Arc::default(), intake.clone(), metrics);
    Bench { intake, decider, tail, server: None, client }
}

struct Bench {
    intake: Intake,
    decider: Decider,
    tail: Arc<Tail>,
    server: Option<TestNats>,
    client: Nats,
}

impl Bench {
    async fn with_index(bytes: usize) -> Self {
        let server = TestNats::start().await;
        let (client, registry) = (server.nats("ingest").await, Registry::new());
        let memory = Memory::new(client.log_reader(), 1 << 20);
        let catalogue = runtime::catalogue::load(None).unwrap();
        let counts = crate::metrics::Metrics::new(&registry);
        let vault = Vault::new(&client, WrappingKeys::new(b"the platform's key", None));
        let intake = Intake::new(&client, catalogue, vault, memory, counts, 16);
        let tail = Arc::new(Tail::new("campaign", StreamId::Messages, bytes));
        let metrics = Metrics::new(&registry);
        let decider =
            Decider::new(&client, vec![tail.clone()], Arc::default(), intake.clone(), metrics);
        Self { intake, decider, tail, server: Some(server), client }
    }

    fn follow(&self) -> Owned<()> {
        let (tail, nats) = (self.tail.clone(), self.client.clone());
        let warm = Readiness::new().condition("tail");
        owned(async move {
            let stop = CancellationToken::new();
            tail.follow(nats, &Signals::default(), warm, stop).await.unwrap();
        })
    }

    async fn observe(&self, campaign: &str) {
        let about = json!({ "name": "Spring", "totalRecipients": 2 });
        let data = json!({ "campaignId": campaign, "campaign": about });
        let publication = Publication::new("campaign.started", "test", data);
        let tenant = Tenant::parse("acme").unwrap();
        let admitted = self.intake.admit_own(&tenant, publication).unwrap();
        self.intake.store(Way::Http, admitted).await.unwrap();
    }

    async fn ask(&self, kind: &str, campaign: &str, user: &str) -> Value {
        let command = Command {
            id: ids::ordered(),
            kind: kind.into(),
            tenant: Tenant::parse("acme").unwrap(),
            entity: campaign.into(),
            actor: Actor { user: user.into(), role: Role::Agent },
            connection: None,
            reply: None,
            time: clock::now(),
            data: serde_json::Map::new(),
        };
        let executed = self.decider.execute(&command, clock::now(), Keep::Every).await.unwrap();
        Value::Object(executed.unwrap().answer(&command))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_stands_still_costs_time_and_no_right_decision() {
    let bench = Bench::with_index(1 << 20).await;
    let following = bench.follow();
    bench.tail.is_warm().await;
    drop(following);
    bench.observe("spring").await;
    assert_eq!(bench.ask("campaign.resume", "spring", "7").await["code"], "not_paused");
    assert_eq!(bench.ask("campaign.pause", "spring", "7").await["ok"], true);
    assert_eq!(bench.ask("campaign.pause", "spring", "8").await["pausedBy"], "7");
    assert_eq!(bench.tail.progress().seen, 0, "it has seen nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_is_still_on_its_way_is_not_asked() {
    let bench = Bench::with_index(1 << 20).await;
    bench.observe("spring").await;
    assert_eq!(bench.ask("campaign.pause", "spring", "7").await["ok"], true);
    assert_eq!(bench.ask("campaign.pause", "spring", "8").await["pausedBy"], "7");
    assert_eq!(bench.decider.metrics().conflicts.get(), 0, "what it would have said is not tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn that_there_is_no_such_alert_is_said_of_no_alert_that_another_instance_has_raised() {
    let bench = Bench::with_index(1 << 20).await;
    let crises = || Tail::new("crisis", StreamId::Crisis, 1 << 20);
    let (raises, assigns) = (another(&bench, crises()), another(&bench, crises()));
    let following = assigns.follow();
    assigns.tail.is_warm().await;
    drop(following);
    let command = |kind: &str, data: Value| Command {
        id: ids::ordered(),
        kind: kind.into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "c-1".into(),
        actor: Actor { user: "7".into(), role: Role::Admin },
        connection: None,
        reply: None,
        time: clock::now(),
        data: data.as_object().unwrap().clone(),
    };
    let raise =
        json!({ "userId": "9", "conversationId": "c-1", "severity": "high", "signals": [] });
    let decide = async |by: &Bench, command: Command| {
        let executed = by.decider.decide(&command, clock::now(), Keep::Every).await.unwrap();
        Value::Object(executed.unwrap().answer(&command))
    };
    let raised = decide(&raises, command("crisis.raise", raise)).await;
    assert_eq!(raised["alertId"], "c-1-1", "{raised}");
    let assign = |alert: &str| command("crisis.assign", json!({ "alertId": alert }));
    let assigned = decide(&assigns, assign("c-1-1")).await;
    assert_eq!((&assigned["ok"], &assigned["assignedTo"]), (&json!(true), &json!("7")));
    assert_eq!(decide(&assigns, assign("c-1-2")).await["code"], "unknown_alert");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_that_was_forgotten_is_read_from_the_log() {
    let bench = Bench::with_index(400).await;
    let _following = bench.follow();
    for number in 0..20 {
        bench.observe(&format!("c-{number}")).await;
    }
    assert!(bench.tail.reaches(20, Duration::from_secs(10)).await);
    for number in 0..20 {
        let campaign = format!("c-{number}");
        assert_eq!(bench.ask("campaign.pause", &campaign, "7").await["ok"], true, "{campaign}");
    }
    for number in 0..20 {
        let campaign = format!("c-{number}");
        assert_eq!(bench.ask("campaign.pause", &campaign, "8").await["pausedBy"], "7");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_what_the_platform_asks_itself_may_leave_nothing() {
    let bench = Bench::with_index(1 << 20).await;
    let _following = bench.follow();
    bench.observe("spring").await;
    let command = Command {
        id: "timer-1".into(),
        kind: "campaign.resume".into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "spring".into(),
        actor: Actor { user: "clock".into(), role: Role::Service },
        connection: None,
        reply: None,
        time: clock::now(),
        data: serde_json::Map::new(),
    };
    let executed = bench.decider.execute(&command, clock::now(), Keep::Accepted).await.unwrap();
    assert!(executed.is_none());
    let stored = bench.client.log_reader().stream_info("MESSAGES").await.unwrap().messages;
    assert_eq!(stored, 1, "the campaign's start alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_words_under_a_used_id_are_refused_once_however_often_they_come() {
    let bench = Bench::with_index(1 << 20).await;
    let bench = another(&bench, Tail::new("conversation", StreamId::Conversations, 1 << 20));
    let said = |id: &str, kind: &str, data: Value| Command {
        id: id.into(),
        kind: kind.into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "c-1".into(),
        actor: Actor { user: "7".into(), role: Role::User },
        connection: None,
        reply: None,
        time: clock::now(),
        data: data.as_object().unwrap().clone(),
    };
    let stored =
        async || bench.client.log_reader().stream_info("CONVERSATIONS").await.unwrap().messages;
    let decide = async |command: Command| {
        let executed = bench.decider.decide(&command, clock::now(), Keep::Every).await.unwrap();
        executed.unwrap().answer(&command)
    };
    decide(said("k-0", "conversation.start", json!({ "avatarId": "maya" }))).await;
    let vault = bench.intake.vault();
    let tenant = Tenant::parse("acme").unwrap();
    let person = Subject::new(&tenant, &Token::parse("user").unwrap(), "7");
    let key = vault.key_to_seal(&person).await.unwrap();
    // Sealed anew for each attempt, as a gateway does.
    let say = async |words: &str| {
        let sealed = seal(&key, &person, &json!(words), ids::random_bytes());
        decide(said("k-1", "conversation.message", json!({ "message": sealed }))).await
    };
    assert_eq!(say("I slept well.").await["ok"], true);
    assert_eq!(stored().await, 2);
    for (words, records) in [("I cannot go on.", 3), ("Help me.", 4), ("I cannot go on.", 4)] {
        for _ in 0..3 {
            let answer = say(words).await;
            assert_eq!(
                (&answer["code"], &answer["commandId"]),
                (&json!("id_reused"), &json!("k-1"))
            );
            assert_eq!(stored().await, records, "{words}");
        }
    }
    assert_eq!(say("I slept well.").await["ok"], true, "the first is answered as before");
    assert_eq!(stored().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_there_are_commands_of_before_is_asked_until_there_is_an_answer() {
    let mut server = TestNats::start().await;
    let client = server.nats("ingest").await;
    assert!(!is_there(&client, EARLIER).await, "this store is as old as the program");
    server.kill().await;
    let asking = owned(async move { is_there(&client, EARLIER).await });
    // More than it takes to learn that nobody answers.
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    for _ in 0..8 {
        ticks.tick().await;
    }
    assert!(!asking.is_finished(), "that nobody answers is no answer");
    server.restart().await;
    let is_there = tokio::time::timeout(Duration::from_secs(30), asking.join()).await;
    assert_eq!(is_there.expect("an answer"), Some(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_a_decision_ends_within_its_deadline() {
    let mut bench = Bench::with_index(1 << 20).await;
    bench.observe("spring").await;
    bench.server.as_mut().unwrap().kill().await;
    let command = Command {
        id: "timer-1".into(),
        kind: "campaign.pause".into(),
        tenant: Tenant::parse("acme").unwrap(),
        entity: "spring".into(),
        actor: Actor { user: "clock".into(), role: Role::Service },
        connection: None,
        reply: None,
        time: clock::now(),
        data: serde_json::Map::new(),
    };
    let decided = bench.decider.execute(&command, clock::now(), Keep::Accepted).await;
    assert!(matches!(decided, Err(Undecided::Late)), "{decided:?}");
}
