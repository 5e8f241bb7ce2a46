//! One nats-server per test, the service in-process or as a process, and a user who talks.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ai_proxy::{Config, Listeners};
use domain::StreamId;
use domain::catalogue::{Catalogue, Defaults, Publication};
use domain::protection::WrappingKeys;
use domain::token::Tenant;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Owned, owned};
use runtime::test_support::TestNats;
use runtime::vault::{Vault, VaultError};
use runtime::{LogMessage, clock, ids};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

pub(crate) const TENANT: &str = "acme";
pub(crate) const KEY: &str = "a platform key of more than thirty-two characters";
pub(crate) const SOON: Duration = Duration::from_secs(60);

pub(crate) struct Platform {
    pub nats: TestNats,
    pub admin: Nats,
    pub vault: Vault,
    catalogue: Arc<Catalogue>,
}

/// The service within the test's process.
pub(crate) struct Service {
    stop: CancellationToken,
    task: Owned<Result<(), BoxError>>,
}

/// A stored event.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub sequence: u64,
    pub kind: String,
    pub data: Value,
}

impl Platform {
    pub(crate) async fn start() -> Self {
        let nats = Box::pin(TestNats::start()).await;
        let admin = nats.nats("admin").await;
        let vault = Vault::new(&admin, WrappingKeys::new(KEY.as_bytes(), None));
        Self { nats, admin, vault, catalogue: Arc::new(Catalogue::builtin().unwrap()) }
    }

    /// The service with these variables over the address of NATS.
    pub(crate) async fn service(&self, variables: &[(&str, &str)]) -> Service {
        let url = self.nats.url("ai-proxy");
        let mut strings: std::collections::HashMap<String, String> = [
            ("NATS_URL".to_owned(), url),
            ("SHUTDOWN_GRACE_MS".to_owned(), "3000".to_owned()),
            ("PLATFORM_KEY".to_owned(), KEY.to_owned()),
        ]
        .into();
        strings.extend(variables.iter().map(|(name, value)| (name.to_string(), value.to_string())));
        let config = Config::read(&strings).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stop = CancellationToken::new();
        let task = owned(ai_proxy::run(config, Listeners { ops }, stop.clone()));
        Service { stop, task }
    }

    /// The service as a process of its own, which can be killed.
    pub(crate) fn process(&self, variables: &[(&str, &str)]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_ai-proxy"))
            .env("NATS_URL", self.nats.url("ai-proxy"))
            .env("PLATFORM_KEY", KEY)
            .env("OPS_LISTEN", "127.0.0.1:0")
            .env("RUST_LOG", "warn")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Appends an event as the platform's deciders do.
    pub(crate) async fn append(&self, tenant: &str, kind: &str, data: Value) -> u64 {
        self.append_sealed_by(&self.vault, tenant, kind, data).await
    }

    /// The same with what is personal sealed by another vault.
    pub(crate) async fn append_sealed_by(
        &self,
        vault: &Vault,
        tenant: &str,
        kind: &str,
        mut data: Value,
    ) -> u64 {
        let tenant = Tenant::parse(tenant).unwrap();
        if let Some(protection) = &self.catalogue.by_type(kind).unwrap().protection {
            let data = data.as_object_mut().unwrap();
            let subject = protection.subject(&tenant, data).unwrap();
            vault.seal(data, protection, &subject).await.unwrap();
        }
        let publication = Publication::new(kind, "/test", data);
        let defaults = Defaults { id: ids::ordered(), now: clock::now() };
        let admitted = self.catalogue.admit_own(&tenant, publication, defaults).unwrap();
        let log = self.admin.event_log();
        let (subject, id) = (&admitted.subject, &admitted.message_id);
        log.publish_envelope(subject, id, &admitted.envelope, None).await.unwrap().sequence
    }

    pub(crate) async fn begin(&self, conversation: &str) {
        let data = json!({ "conversationId": conversation, "userId": "7" });
        self.append(TENANT, "conversation.started", data).await;
    }

    pub(crate) async fn say(&self, conversation: &str, message: &str, text: &str) -> u64 {
        self.say_in(TENANT, conversation, message, text).await
    }

    pub(crate) async fn say_in(
        &self,
        tenant: &str,
        conversation: &str,
        message: &str,
        text: &str,
    ) -> u64 {
        let data = json!({ "conversationId": conversation, "userId": "7", "messageId": message, "message": text });
        self.append(tenant, "conversation.message", data).await
    }

    /// Every event of a conversation so far, in the log's order.
    pub(crate) async fn events(&self, conversation: &str) -> Vec<Event> {
        let filter = Some(format!("events.*.*.{conversation}.>"));
        self.all(StreamId::Conversations, filter).await
    }

    pub(crate) async fn all(&self, stream: StreamId, filter: Option<String>) -> Vec<Event> {
        let options = FollowOptions { filter, ..FollowOptions::default() };
        let mut follower =
            Follower::new(&self.admin, stream.name(), Start::AfterSequence(0), options);
        let mut events = Vec::new();
        loop {
            if let FollowEvent::Messages(messages) = follower.next().await {
                for message in &messages {
                    events.push(self.event(message).await);
                }
            }
            if follower.lag() == 0 {
                return events;
            }
        }
    }

    /// With what is sealed in it opened.
    async fn event(&self, message: &LogMessage) -> Event {
        let tenant = domain::subject::tenant_of(&message.subject).unwrap();
        match self.vault.prepare(&tenant, &message.payload).await {
            Ok(()) | Err(VaultError::Wrapped) => {}
            Err(error) => panic!("{error}"),
        }
        let data = self.vault.open(&tenant, &message.payload);
        Event {
            sequence: message.sequence,
            kind: message.headers.get("ce-type").unwrap_or_default().to_owned(),
            data: serde_json::from_slice(&data).unwrap(),
        }
    }

    /// Waits until the conversation's events are as asked for.
    #[track_caller]
    pub(crate) fn until(
        &self,
        conversation: &str,
        what: impl Fn(&[Event]) -> bool,
    ) -> impl Future<Output = Vec<Event>> {
        let place = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + SOON;
            loop {
                let events = self.events(conversation).await;
                if what(&events) {
                    return events;
                }
                assert!(Instant::now() < deadline, "{place}: never, but {events:#?}");
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        }
    }

    /// Waits for the one answer to a message.
    pub(crate) async fn answer(&self, conversation: &str, message: &str) -> Value {
        let events = self.until(conversation, |it| count(it, "ai.response", message) > 0).await;
        of(&events, "ai.response", message).next().unwrap().data.clone()
    }

    /// Ephemeral events as they come, until `enough`.
    pub(crate) async fn listen(&self) -> Listener {
        let subscription = self.admin.subscribe("live.>").await.unwrap();
        self.admin.flush(SOON).await.unwrap();
        Listener(subscription)
    }

    /// Waits until somebody takes speech.
    pub(crate) async fn hearing(&self) {
        let deadline = Instant::now() + SOON;
        // A request that names no conversation is refused, by whoever is there.
        while self.admin.request("voice.acme.nobody.data", "x".into(), SOON).await.is_err() {
            assert!(Instant::now() < deadline, "nobody takes speech");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Nothing is left to be done: every delivery is acknowledged.
    pub(crate) async fn settled(&self) {
        self.settled_by("ai-answer").await;
    }

    /// The same of another durable.
    pub(crate) async fn settled_by(&self, durable: &str) {
        let deadline = Instant::now() + SOON;
        let subject = format!("$JS.API.CONSUMER.INFO.CONVERSATIONS.{durable}");
        loop {
            let told = self.admin.request(&subject, "".into(), SOON).await.unwrap();
            let told: Value = serde_json::from_slice(&told).unwrap();
            if told["num_ack_pending"] == 0 && told["num_pending"] == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "deliveries wait: {told}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) struct Listener(runtime::messaging::Subscription);

impl Listener {
    /// The next ephemeral event: its type and data.
    pub(crate) async fn next(&mut self) -> (String, Value) {
        let signal = timeout(SOON, self.0.next()).await.expect("a signal").unwrap();
        let kind = signal.headers.get("ce-type").unwrap_or_default().to_owned();
        (kind, serde_json::from_slice(&signal.payload).unwrap_or_default())
    }
}

impl Service {
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.join().await.unwrap().unwrap();
    }
}

/// Events of a type about a message.
pub(crate) fn of<'a>(
    events: &'a [Event],
    kind: &'a str,
    message: &'a str,
) -> impl Iterator<Item = &'a Event> {
    events.iter().filter(move |it| it.kind == kind && it.data["messageId"] == message)
}

pub(crate) fn count(events: &[Event], kind: &str, message: &str) -> usize {
    of(events, kind, message).count()
}
