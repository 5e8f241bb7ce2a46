//! Alerts that nobody answers, alerts that are forgotten, and whoever is killed meanwhile.

use std::time::Duration;

use domain::Role;
use domain::envelope::header;
use domain::signatures::standard_webhooks::{self, Headers, Key};
use runtime::clock;
use runtime::test_support::TestNats;
use serde_json::{Value, json};

use crate::commander::{Asked, Commander};
use crate::elsewhere::{Elsewhere, Heard, Reaction};
use crate::harness::{KEY, Platform, eventually};

const SERVICE: (&str, Role) = ("screen", Role::Service);
const ADMIN: (&str, Role) = ("1", Role::Admin);

/// An event of CRISIS.
#[derive(Clone, Debug)]
struct Told {
    sequence: u64,
    event_type: String,
    channels: String,
    stored_at: i64,
    data: Value,
}

/// A platform whose chains are these.
struct Ward {
    platform: Platform,
    commander: Commander,
    file: tempfile::NamedTempFile,
}

impl Ward {
    async fn open(chains: &str) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), chains).unwrap();
        let platform = Platform::without_ingest(TestNats::start().await);
        let commander = Commander::new(&platform).await;
        let mut ward = Self { platform, commander, file };
        ward.start().await;
        ward
    }

    async fn start(&mut self) {
        let path = self.file.path().display().to_string();
        self.platform.start_ingest_with(&[("ESCALATION_FILE", &path)]).await;
        self.platform.ready().await;
    }

    /// As by SIGKILL: whatever was going on stops where it was.
    fn kill(&mut self) {
        self.platform.ingest = None;
    }

    async fn raise(&self, severity: &str) -> Value {
        let data = json!({ "userId": "7", "conversationId": "c-9", "severity": severity, "signals": ["x"] });
        self.commander.ask(&Asked::new("crisis.raise", "c-9", SERVICE, data)).await
    }

    async fn ask(&self, kind: &'static str, actor: (&'static str, Role)) -> Value {
        let data = json!({ "alertId": "c-9-1" });
        self.commander.ask(&Asked::new(kind, "c-9", actor, data)).await
    }

    async fn told(&self, event_type: &str) -> Vec<Told> {
        let reader = self.platform.reader().await;
        let last = reader.stream_info("CRISIS").await.unwrap().last_sequence;
        let sequences: Vec<_> = (1..=last).collect();
        let messages = reader.get_many("CRISIS", &sequences).await.unwrap();
        let told = messages.into_iter().flatten().map(|message| Told {
            sequence: message.sequence,
            event_type: message.headers.get(header::TYPE).unwrap().to_owned(),
            channels: message.headers.get(header::CHANNELS).unwrap().to_owned(),
            stored_at: message.stored_at,
            data: serde_json::from_slice(&message.payload).unwrap(),
        });
        told.filter(|told| told.event_type == event_type).collect()
    }

    async fn has_told(&self, event_type: &str, times: usize) -> Vec<Told> {
        eventually(&format!("{times} {event_type}"), async || {
            self.told(event_type).await.len() >= times
        })
        .await;
        self.told(event_type).await
    }

    /// Once every clock that was set has run out, nothing is left of them.
    async fn is_at_rest(&self) {
        eventually("no clock is left", async || self.platform.count("TIMERS").await == 0).await;
    }
}

fn two_tiers(more: &str) -> String {
    format!(
        "[[chain]]\ntenant = '*'\nacknowledge_within = {{ imminent = 1, high = 1 }}\nresolve_within = 1\n\
         [[chain.tier]]\nname = 'on-call'\nrole = 'admin'\n\
         [[chain.tier]]\nname = 'manager'\nusers = ['9']\n{more}"
    )
}

fn paged(url: &str) -> String {
    two_tiers(&format!("webhook = {{ url = '{url}/hook', secret = '{KEY}' }}"))
}

#[track_caller]
fn signed(page: &Heard) -> String {
    let headers = Headers {
        id: Some(page.header("webhook-id")),
        timestamp: Some(page.header("webhook-timestamp")),
        signature: Some(page.header("webhook-signature")),
    };
    let keys = [Key::parse(KEY).unwrap()];
    standard_webhooks::verify(&keys, headers, &page.body, clock::now()).unwrap();
    page.header("webhook-id").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_nobody_answers_goes_through_the_tiers_until_somebody_does() {
    let ward = Ward::open(&two_tiers("")).await;
    assert_eq!(ward.raise("imminent").await["alertId"], "c-9-1");
    let steps = ward.has_told("crisis.escalated", 3).await;
    let named: Vec<_> = steps.iter().map(|s| (&s.data["step"], &s.data["tier"])).collect();
    let expected = [(2, "manager"), (3, "on-call"), (4, "manager")];
    let expected = expected.map(|(step, tier)| (json!(step), json!(tier)));
    assert_eq!(named[..3], expected.each_ref().map(|(step, tier)| (step, tier)));
    assert_eq!(steps[0].channels, "admin,user:9");
    let mut before = ward.told("crisis.alert").await[0].stored_at;
    for step in &steps {
        assert!((1_000..6_000).contains(&(step.stored_at - before)), "{steps:?}");
        before = step.stored_at;
    }
    // Who was called may answer, nobody else.
    assert_eq!(ward.ask("crisis.acknowledge", ("8", Role::User)).await["code"], "forbidden");
    assert_eq!(ward.ask("crisis.acknowledge", ("9", Role::User)).await["ok"], true);
    assert_eq!(ward.ask("crisis.resolve", ADMIN).await["ok"], true);
    ward.is_at_rest().await;
    let after = ward.told("crisis.resolved").await[0].sequence;
    assert!(ward.told("crisis.escalated").await.iter().all(|step| step.sequence < after));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_and_forgotten_is_opened_again_and_the_next_is_called() {
    let ward = Ward::open(&two_tiers("")).await;
    ward.raise("high").await;
    assert_eq!(ward.ask("crisis.assign", ADMIN).await["assignedTo"], "1");
    let again = ward.has_told("crisis.reopened", 1).await;
    assert_eq!((&again[0].data["assignedTo"], &again[0].data["round"]), (&json!("1"), &json!(2)));
    let called = ward.has_told("crisis.escalated", 1).await;
    assert_eq!(called[0].data["tier"], "manager");
    assert!(called[0].stored_at - again[0].stored_at < 3_000, "at once");
    let second = ward.ask("crisis.assign", ("2", Role::Admin)).await;
    assert_eq!(
        (&second["ok"], &second["assignedTo"]),
        (&json!(true), &json!("2")),
        "it was nobody's"
    );
    ward.ask("crisis.resolve", ADMIN).await;
    ward.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn low_alerts_wait_in_their_queue_and_become_urgent_when_they_become_worse() {
    let ward = Ward::open(&two_tiers("")).await;
    ward.raise("low").await;
    ward.is_at_rest().await;
    assert_eq!(ward.raise("low").await["ok"], true);
    assert_eq!(ward.raise("nobody knows this word").await["previous"], "low");
    assert_eq!(ward.has_told("crisis.escalated", 1).await[0].data["alertId"], "c-9-1");
    assert_eq!(ward.told("crisis.alert").await.len(), 1, "one alert is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_runs_on_while_nobody_is_there_to_hear_it() {
    let mut ward = Ward::open(&two_tiers("")).await;
    ward.raise("imminent").await;
    eventually("the clock is set", async || ward.platform.count("TIMERS").await > 0).await;
    ward.kill();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    ward.start().await;
    assert_eq!(ward.has_told("crisis.escalated", 1).await[0].data["step"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_was_stored_while_nobody_was_there_is_escalated_like_any() {
    let mut ward = Ward::open(&two_tiers("")).await;
    ward.raise("imminent").await;
    ward.kill();
    // The clocks that were set are taken away: whatever was killed before it set one has set none.
    let admin = ward.platform.admin().await;
    let purged = admin.request("$JS.API.STREAM.PURGE.TIMERS", "{}".into(), Duration::from_secs(5));
    purged.await.unwrap();
    let asked = Asked::new(
        "crisis.raise",
        "c-10",
        SERVICE,
        json!({ "userId": "8", "conversationId": "c-10", "severity": "high", "signals": [] }),
    );
    ward.commander.store(&asked).await;
    ward.start().await;
    // And the one before it, whose clock was lost.
    eventually("both are escalated", async || {
        let told = ward.told("crisis.escalated").await;
        ["c-9-1", "c-10-1"].iter().all(|id| told.iter().any(|it| it.data["alertId"] == *id))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_call_each_tier_once() {
    let ward = Ward::open(&two_tiers("")).await;
    let mut second = Platform::without_ingest(TestNats::start_empty().await);
    let path = ward.file.path().display().to_string();
    let url = ward.platform.nats.url("ingest");
    second.start_ingest_with(&[("ESCALATION_FILE", &path), ("NATS_URL", &url)]).await;
    second.ready().await;
    ward.raise("imminent").await;
    let steps = ward.has_told("crisis.escalated", 3).await;
    let steps: Vec<_> = steps.iter().filter_map(|s| s.data["step"].as_u64()).take(3).collect();
    assert_eq!(steps, [2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_tried_until_it_is_taken_under_one_id() {
    let refusals = [Reaction::Answer(500, ""), Reaction::Redirect, Reaction::Answer(429, "")];
    let pager = Elsewhere::start(&refusals).await;
    let ward = Ward::open(&format!(
        "[[chain]]\ntenant = 'acme'\n[[chain.tier]]\nname = 'pager'\nrole = 'admin'\n\
         webhook = {{ url = '{}/hook', secret = '{KEY}' }}",
        pager.url
    ))
    .await;
    ward.raise("imminent").await;
    let step = ward.has_told("crisis.escalated", 1).await.remove(0);
    assert_eq!(step.data["step"], 1, "a first tier with a pager is called at once");
    let tries = pager.has_heard(4).await;
    let done = ward.has_told("crisis.page.done", 1).await.remove(0);
    assert_eq!((&done.data["pageId"], &done.data["attempts"]), (&step.data["pageId"], &json!(4)));
    for page in &tries {
        assert_eq!((&*page.method, &*page.path), ("POST", "/hook"), "redirects are not followed");
        assert_eq!(signed(page), step.data["pageId"]);
        assert_eq!(page.body, tries[0].body);
    }
    let body: Value = serde_json::from_slice(&tries[0].body).unwrap();
    assert_eq!(body["data"]["alertId"], "c-9-1");
    assert_eq!(body["data"]["tier"], "pager");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tenants_dead_pager_delays_no_other_tenants_page() {
    let dead = Elsewhere::start(&[Reaction::Silence; 200]).await;
    let alive = Elsewhere::start(&[]).await;
    let chain = |tenant: &str, url: &str| {
        format!(
            "[[chain]]\ntenant = '{tenant}'\n[[chain.tier]]\nname = 'pager'\nrole = 'admin'\n\
             webhook = {{ url = '{url}/hook', secret = '{KEY}' }}\n"
        )
    };
    let chains = chain("acme", &dead.url) + &chain("beta", &alive.url);
    let ward = Ward::open(&chains).await;
    let raise = |number: u32| {
        let entity = format!("c-{number}");
        let data = json!({ "userId": "7", "conversationId": entity, "severity": "imminent", "signals": [] });
        Asked::new("crisis.raise", &entity, SERVICE, data)
    };
    for number in 0..100 {
        ward.commander.store(&raise(number)).await;
    }
    ward.has_told("crisis.escalated", 100).await;
    dead.has_heard(1).await;
    ward.commander.store_for("beta", &raise(100)).await;
    let page = alive.has_heard(1).await.remove(0);
    let page: Value = serde_json::from_slice(&page.body).unwrap();
    assert_eq!(page["data"]["tenant"], "beta");
    let tried = dead.heard().len();
    assert!(tried < 64, "{tried} of the dead pager's calls came before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_lost_is_set_again() {
    let mut ward = Ward::open(&two_tiers("")).await;
    ward.raise("low").await;
    assert_eq!(ward.ask("crisis.acknowledge", ADMIN).await["ok"], true);
    eventually("the clock is set", async || ward.platform.count("TIMERS").await > 0).await;
    ward.kill();
    let admin = ward.platform.admin().await;
    let purge = "$JS.API.STREAM.PURGE.TIMERS";
    admin.request(purge, "{}".into(), Duration::from_secs(5)).await.unwrap();
    assert!(ward.told("crisis.reopened").await.is_empty(), "its clock was gone in time");
    ward.start().await;
    ward.has_told("crisis.reopened", 1).await;
    assert_eq!(ward.ask("crisis.resolve", ADMIN).await["ok"], true);
    ward.is_at_rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_about_the_longest_conversation_id_is_raised_and_escalated() {
    let ward = Ward::open(&two_tiers("")).await;
    let conversation = "c".repeat(160);
    let data = json!({ "userId": "7", "conversationId": conversation, "severity": "high", "signals": ["x"] });
    let raised =
        ward.commander.ask(&Asked::new("crisis.raise", &conversation, SERVICE, data)).await;
    assert_eq!((&raised["ok"], &raised["alertId"]), (&json!(true), &json!(conversation + "-1")));
    let called = ward.has_told("crisis.escalated", 1).await;
    assert_eq!(called[0].data["alertId"], raised["alertId"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_answer_is_told_so_and_fills_no_log() {
    let ward = Ward::open(&two_tiers("")).await;
    for _ in 0..3 {
        let answer = ward.ask("crisis.acknowledge", ("8", Role::Agent)).await;
        assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!("forbidden")));
        assert_eq!(ward.ask("crisis.resolve", ADMIN).await["code"], "unknown_alert");
    }
    assert_eq!(ward.platform.count("CRISIS").await, 0);
    ward.raise("low").await;
    assert_eq!(ward.ask("crisis.acknowledge", ("8", Role::Agent)).await["code"], "forbidden");
    assert_eq!(ward.platform.count("CRISIS").await, 1, "the alert alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_told_how_many_alerts_and_sessions_there_are() {
    let ward = Ward::open(&two_tiers("")).await;
    let gateway = ward.platform.nats.nats("gateway").await;
    let mut live = gateway.subscribe("live.acme.system.stats.stats").await.unwrap();
    gateway.flush(Duration::from_secs(5)).await.unwrap();
    ward.raise("low").await;
    let start = |entity: &str| {
        Asked::new("conversation.start", entity, ("7", Role::User), json!({ "avatarId": "maya" }))
    };
    for entity in ["c-1", "c-2"] {
        assert_eq!(ward.commander.ask(&start(entity)).await["ok"], true);
    }
    let told = async {
        loop {
            let stats = live.next().await.expect("a signal");
            let stats: Value = serde_json::from_slice(&stats.payload).unwrap();
            if stats["sessions"] == 2 && stats["alerts"] == 1 {
                return stats;
            }
        }
    };
    let told = tokio::time::timeout(Duration::from_secs(10), told).await.expect("it is told");
    assert_eq!(told["users"], 1, "both sessions are of one user");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_due_and_sent_costs_no_page_and_makes_no_second_one() {
    let pager = Elsewhere::start(&[Reaction::Silence]).await;
    let mut ward = Ward::open(&paged(&pager.url)).await;
    ward.raise("imminent").await;
    let first = signed(&pager.has_heard(1).await[0]);
    ward.kill();
    ward.start().await;
    // What the killed one held comes again after the consumer's `ack_wait`.
    let within = tokio::time::Instant::now() + Duration::from_secs(45);
    while pager.heard().iter().filter(|page| page.header("webhook-id") == first).count() < 2 {
        assert!(tokio::time::Instant::now() < within, "the page is lost");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let steps = ward.told("crisis.escalated").await;
    let paged: Vec<_> = steps.iter().filter_map(|step| step.data["pageId"].as_str()).collect();
    let heard = pager.heard();
    for page in &heard {
        assert!(paged.contains(&&*signed(page)), "a page that no step asked for");
    }
    let done = ward.has_told("crisis.page.done", 1).await;
    assert!(done.iter().any(|page| page.data["pageId"] == first), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gateways_have_delivered_is_kept_once() {
    let ward = Ward::open(&two_tiers("")).await;
    let gateway = ward.platform.nats.nats("gateway").await;
    let receipt = json!({
        "event": "e-1", "type": "crisis.alert", "alertId": "c-9-1", "userId": "1", "device": "phone",
        "state": "sent", "at": "2026-01-02T03:04:05.678Z",
    });
    let batch = json!({ "gateway": "g-1", "receipts": [receipt] });
    let append = runtime::event_log::Append {
        subject: "commands.acme.receipt.g-1.batch".to_owned(),
        message_id: "batch-1".to_owned(),
        headers: Vec::new(),
        payload: batch.to_string().into(),
        expect: None,
    };
    gateway.event_log().append(append.clone()).await.unwrap();
    let kept = ward.has_told("crisis.receipts", 1).await;
    assert_eq!(kept[0].data["receipts"], json!([receipt]));
    assert_eq!(kept[0].channels, "", "nobody is sent receipts");
    // Handed in twice it is kept once, and what cannot be read blocks nothing.
    gateway.event_log().append(append.clone()).await.unwrap();
    let broken = runtime::event_log::Append {
        message_id: "batch-2".to_owned(),
        payload: "nothing".into(),
        ..append
    };
    gateway.event_log().append(broken).await.unwrap();
    eventually("all is taken", async || ward.platform.count("COMMANDS").await == 0).await;
    assert_eq!(ward.told("crisis.receipts").await.len(), 1);
}
