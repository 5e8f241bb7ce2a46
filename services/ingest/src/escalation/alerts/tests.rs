use domain::catalogue::Publication;
use domain::escalation::Severity;
use domain::protection::WrappingKeys;
use domain::token::{EntityToken, Tenant, Token};
use runtime::metrics::Metrics as Registry;
use runtime::ops::Readiness;
use runtime::tasks::{Owned, Tasks, owned};
use runtime::test_support::TestNats;
use runtime::vault::Vault;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::intake::Intake;
use crate::memory::Memory;
use crate::metrics::{Metrics, Way};

/// Of one alert, more than are read at a time.
const MANY: u64 = 2 * CHUNK as u64;
const READS: &str = "$JS.API.STREAM.MSG.GET.CRISIS";

struct Ward {
    server: TestNats,
    intake: Intake,
    alerts: Alerts,
    decider: Decider,
    stop: CancellationToken,
    running: Option<Owned<()>>,
}

fn tenant() -> Tenant {
    Tenant::parse("acme").unwrap()
}

fn address() -> Address {
    let entity = EntityToken::from_external("c-9");
    Address::new(&tenant(), &Token::parse("crisis").unwrap(), &entity)
}

impl Ward {
    async fn open() -> Self {
        let (server, registry) = (TestNats::start().await, Registry::new());
        let nats = server.nats("ingest").await;
        let catalogue = runtime::catalogue::load(None).unwrap();
        let memory = Memory::new(nats.log_reader(), 1 << 20);
        let vault = Vault::new(&nats, WrappingKeys::new(b"the platform's key", None));
        let intake = Intake::new(&nats, catalogue, vault, memory, Metrics::new(&registry), 16);
        let stop = CancellationToken::new();
        let mut tasks = Tasks::new(&stop);
        let (readiness, grace) = (Readiness::new(), Duration::from_secs(5));
        let decider =
            crate::decider::start(&mut tasks, &nats, &intake, &registry, &readiness, grace);
        let running = Some(owned(async move { tasks.finish(grace).await.unwrap() }));
        let alerts = Alerts::new(&nats, &decider);
        Self { server, intake, alerts, decider, stop, running }
    }

    async fn append(&self, event_type: &str, data: Value) -> u64 {
        let publication = Publication::new(event_type, "test", data);
        let admitted = self.intake.admit_own(&tenant(), publication).unwrap();
        self.intake.store(Way::Http, admitted).await.unwrap().sequence.unwrap()
    }

    async fn raise(&self) -> u64 {
        let about = json!({
            "alertId": "c-9-1", "userId": "7", "conversationId": "c-9", "severity": "high", "signals": []
        });
        self.append("crisis.alert", about).await
    }

    async fn raise_another(&self) -> u64 {
        let about = json!({
            "alertId": "c-8-1", "userId": "8", "conversationId": "c-8", "severity": "low", "signals": []
        });
        self.append("crisis.alert", about).await
    }

    async fn become_worse(&self) -> u64 {
        let about = json!({
            "alertId": "c-9-1", "userId": "7", "conversationId": "c-9", "severity": "imminent",
            "previous": "high", "signals": [], "step": 0
        });
        self.append("crisis.severity_raised", about).await
    }

    /// From here on it sees nothing.
    async fn go_blind(&mut self) {
        self.stop.cancel();
        self.running.take().unwrap().join().await.unwrap();
    }

    /// Once this instance has seen so many of the alert's events.
    async fn has_seen(&self, events: u64) {
        self.decider.open_alerts().await;
        while (self.decider.seen(&address()).len() as u64) < events {
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_many_events_is_read_without_asking_the_leader_for_each() {
    let ward = Ward::open().await;
    ward.raise().await;
    for number in 1..MANY {
        let about = json!({
            "commandId": format!("k-{number}"), "command": "crisis.raise", "entity": "c-9", "alertId": "c-9-1"
        });
        ward.append("crisis.unchanged", about).await;
    }
    ward.become_worse().await;
    ward.has_seen(MANY + 1).await;
    let admin = ward.server.nats("admin").await;
    let mut reads = admin.subscribe(READS).await.unwrap();
    admin.flush(Duration::from_secs(5)).await.unwrap();
    let state = ward.alerts.load(&address()).await.unwrap();
    assert_eq!(Severity::of(&state.open().unwrap().severity), Severity::Imminent);
    let mut asked = 0;
    while let Ok(Some(_)) = timeout(Duration::from_millis(500), reads.next()).await {
        asked += 1;
    }
    assert_eq!(asked, 1, "what comes behind it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_has_not_seen_is_known_to_the_leader() {
    let mut ward = Ward::open().await;
    ward.raise().await;
    ward.has_seen(1).await;
    ward.go_blind().await;
    ward.become_worse().await;
    let state = ward.alerts.load(&address()).await.unwrap();
    assert_eq!(state.open().unwrap().severity, "imminent");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_of_another_stream_counts_for_nothing() {
    let mut ward = Ward::open().await;
    ward.raise_another().await;
    ward.raise().await;
    ward.become_worse().await;
    ward.has_seen(2).await;
    ward.go_blind().await;
    let admin = ward.server.nats("admin").await;
    let asked = ["$JS.API.STREAM.DELETE.CRISIS", "$JS.API.STREAM.CREATE.CRISIS"];
    let definition =
        json!({ "name": "CRISIS", "subjects": ["events.*.crisis.>"], "allow_direct": true });
    for (subject, body) in asked.into_iter().zip([String::new(), definition.to_string()]) {
        admin.request(subject, body.into(), Duration::from_secs(5)).await.unwrap();
    }
    // Where it has seen the alert's first event stands another's, and where it has seen nothing the alert begins.
    ward.raise().await;
    ward.raise_another().await;
    assert_eq!(ward.become_worse().await, 3);
    let state = ward.alerts.load(&address()).await.unwrap();
    assert_eq!(state.open().unwrap().severity, "imminent");
}
