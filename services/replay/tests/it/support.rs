//! One replay node on a real nats-server, and the people around it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use domain::replay::{
    Answer, ChannelRange, EventRef, RefsAnswer, RefsRequest, Sequences, question,
};
use domain::{Address, Channel, EntityToken, Envelope, StreamId, Tenant, Token, subject};
use replay::config::{Config, IndexConfig};
use replay::{Listeners, run};
use runtime::event_log::Appended;
use runtime::nats::Nats;
use runtime::provision::Demand;
use runtime::tasks::{BoxError, Owned, owned};
use runtime::telemetry::{Format, Settings};
use runtime::test_support::TestNats;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

pub(crate) const WITHIN: Duration = Duration::from_secs(20);
pub(crate) const EVERYTHING: Sequences = [u64::MAX; domain::stream::COUNT];
pub(crate) const START: Sequences = [0; domain::stream::COUNT];

pub(crate) struct Node {
    shutdown: CancellationToken,
    task: Owned<Result<(), BoxError>>,
}

impl Node {
    pub(crate) async fn start(nats: &TestNats) -> Self {
        let ops = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = Config {
            nats: nats.config("replay"),
            ops_listen: Vec::new(),
            telemetry: Settings { format: Format::Text, filter: "error".into(), traces: None },
            durability: Demand { strict: false },
            grace: WITHIN,
            index: IndexConfig {
                retention_every: Duration::from_millis(100),
                ..IndexConfig::default()
            },
        };
        runtime::telemetry::init(&config.telemetry);
        let shutdown = CancellationToken::new();
        let task = owned(run(config, Listeners { ops }, shutdown.clone()));
        Self { shutdown, task }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.join().await.unwrap().unwrap();
    }
}

/// Those who append, ask and administer.
pub(crate) struct World {
    pub(crate) ingest: Nats,
    pub(crate) gateway: Nats,
    pub(crate) admin: Nats,
    published: AtomicU64,
}

impl World {
    pub(crate) async fn new(nats: &TestNats) -> Self {
        let (ingest, gateway) = (nats.nats("ingest").await, nats.nats("gateway").await);
        Self { ingest, gateway, admin: nats.nats("admin").await, published: AtomicU64::new(0) }
    }

    /// Stores one event, however long that takes.
    pub(crate) async fn publish(
        &self,
        tenant: &str,
        category: &str,
        channels: &[&str],
    ) -> Appended {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let envelope = envelope(tenant, &format!("{category}.test"), number, channels);
        self.append(&envelope, "e1", number).await
    }

    /// Stores one event with data.
    pub(crate) async fn publish_data(
        &self,
        tenant: &str,
        event_type: &str,
        entity: &str,
        data: serde_json::Value,
    ) -> Appended {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let envelope =
            Envelope { data: data.to_string().into(), ..envelope(tenant, event_type, number, &[]) };
        self.append(&envelope, entity, number).await
    }

    async fn append(&self, envelope: &Envelope, entity: &str, number: u64) -> Appended {
        let (category, name) = envelope.event_type.split_once('.').unwrap();
        let category = Token::parse(category).unwrap();
        let entity = EntityToken::from_external(entity);
        let name = Token::parse(&name.replace('.', "-")).unwrap();
        let subject = Address::new(&envelope.tenant, &category, &entity).event(&name);
        let message_id = format!("{}:test:{number}", envelope.tenant);
        let log = self.ingest.event_log();
        let deadline = Instant::now() + WITHIN;
        loop {
            match log.publish_envelope(&subject, &message_id, envelope, None).await {
                Ok(appended) => return appended,
                Err(error) => assert!(Instant::now() < deadline, "not stored: {error}"),
            }
        }
    }

    pub(crate) async fn ask<Q: Serialize, A: DeserializeOwned>(
        &self,
        tenant: &str,
        question: &str,
        asked: &Q,
    ) -> Answer<A> {
        let subject = subject::replay_request(&Tenant::parse(tenant).unwrap(), question);
        let payload = Bytes::from(serde_json::to_vec(asked).unwrap());
        // Right after its start a node has not subscribed yet.
        let answer =
            eventually(async || self.gateway.request(&subject, payload.clone(), WITHIN).await.ok());
        serde_json::from_slice(&answer.await).unwrap()
    }

    /// The answer once the node has indexed up to the head of every stream.
    pub(crate) async fn refs(&self, tenant: &str, request: &RefsRequest) -> RefsAnswer {
        let mut head = START;
        for stream in StreamId::ALL {
            let state = self.ingest.log_reader().stream_info(stream.name()).await.unwrap();
            head[stream.index()] = state.last_sequence;
        }
        eventually(async || match self.ask(tenant, question::REFS, request).await {
            Answer::Ok(answer) => Some(answer).filter(|answer: &RefsAnswer| answer.head == head),
            Answer::Refused { code, message } => {
                assert_eq!(code, "not_ready", "{message}");
                None
            }
        })
        .await
    }

    /// Every page, asked for as a gateway does.
    pub(crate) async fn all_refs(&self, tenant: &str, mut request: RefsRequest) -> Vec<EventRef> {
        let mut got = Vec::new();
        loop {
            let answer = self.refs(tenant, &request).await;
            for found in &answer.refs {
                for range in &mut request.channels {
                    let after = &mut range.after[found.stream as usize];
                    *after = (*after).max(found.sequence);
                }
            }
            got.extend(answer.refs);
            if !answer.more {
                return got;
            }
        }
    }

    /// What retention does: removes what stands below `first`.
    pub(crate) async fn remove_below(&self, stream: StreamId, first: u64) {
        let payload = Bytes::from(format!(r#"{{"seq":{first}}}"#));
        self.admin_call(&format!("STREAM.PURGE.{stream}"), payload).await;
    }

    pub(crate) async fn admin_call(&self, call: &str, payload: Bytes) {
        let answer = self.admin.request(&format!("$JS.API.{call}"), payload, WITHIN).await.unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        assert_eq!(answer["error"], serde_json::Value::Null, "{answer}");
    }
}

fn envelope(tenant: &str, event_type: &str, number: u64, channels: &[&str]) -> Envelope {
    Envelope {
        id: number.to_string(),
        source: "test".into(),
        event_type: event_type.into(),
        version: 1,
        time: runtime::clock::now(),
        tenant: Tenant::parse(tenant).unwrap(),
        channels: channels.iter().map(|name| Channel::parse(name).unwrap()).collect(),
        critical: false,
        correlation_id: None,
        causation_id: None,
        data: Bytes::from_static(b"{}"),
    }
}

pub(crate) fn from_start(channels: &[&str], limit: usize) -> RefsRequest {
    let range = |name: &&str| ChannelRange { channel: (*name).to_owned(), after: START };
    RefsRequest {
        channels: channels.iter().map(range).collect(),
        upto: EVERYTHING,
        limit,
        newest_first: false,
    }
}

pub(crate) fn places(refs: &[EventRef]) -> Vec<(StreamId, u64)> {
    let stream = |found: &EventRef| StreamId::from_index(found.stream.into()).unwrap();
    refs.iter().map(|found| (stream(found), found.sequence)).collect()
}

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + WITHIN;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to be");
        sleep(Duration::from_millis(20)).await;
    }
}
