//! The operator's hands on NATS itself: to look at streams, and to break them on purpose.

use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use serde_json::{Value as Json, json};

use super::{NatsServer, TENANT};
use crate::checker::{Entry, History, Value, hash};

pub(crate) struct Admin {
    jetstream: jetstream::Context,
}

impl Admin {
    pub(crate) async fn connect(nats: &NatsServer) -> Self {
        let options = nats
            .options_of("admin")
            .custom_inbox_prefix("_INBOX_admin")
            .retry_on_initial_connect()
            .connection_timeout(Duration::from_secs(5));
        let client = options.connect(nats.address.to_string()).await.unwrap();
        Self { jetstream: jetstream::new(client) }
    }

    pub(crate) async fn stream(&self, name: &str) -> stream::Stream {
        self.jetstream.get_stream(name).await.unwrap()
    }

    pub(crate) async fn state(&self, stream: &str) -> stream::State {
        self.stream(stream).await.get_info().await.unwrap().state
    }

    /// What a durable has handed out or has still to hand out.
    pub(crate) async fn unsettled(&self, stream: &str, durable: &str) -> u64 {
        let stream = self.stream(stream).await;
        let info = stream.consumer_info(durable).await.unwrap();
        info.num_ack_pending as u64 + info.num_pending
    }

    /// How many consumers the event streams have in all.
    pub(crate) async fn consumers(&self) -> usize {
        let mut count = 0;
        for stream in ["CALLS", "MESSAGES", "CRISIS", "CONVERSATIONS", "ACTIVITY"] {
            count += self.state(stream).await.consumer_count;
        }
        count
    }

    /// Lets the broker itself forget sooner what it has seen.
    pub(crate) async fn forget_duplicates_after(&self, stream: &str, window: Duration) {
        let mut config = self.stream(stream).await.get_info().await.unwrap().config;
        config.duplicate_window = window;
        self.jetstream.update_stream(config).await.unwrap();
    }

    /// Leaves a stream this many bytes.
    pub(crate) async fn shrink(&self, stream: &str, bytes: i64) {
        let mut config = self.stream(stream).await.get_info().await.unwrap().config;
        config.max_bytes = bytes;
        self.jetstream.update_stream(config).await.unwrap();
    }

    /// What retention does when its time has come: everything before `sequence` is gone.
    pub(crate) async fn expire(&self, stream: &str, before: u64) {
        self.stream(stream).await.purge().sequence(before).await.unwrap();
    }

    /// An event of the platform's own, as its write side stores it.
    pub(crate) async fn append(&self, subject: &str, headers: &[(&str, &str)], data: &Json) -> u64 {
        let mut map = async_nats::HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let payload = data.to_string().into();
        let sent = self.jetstream.publish_with_headers(subject.to_owned(), map, payload).await;
        sent.unwrap().await.unwrap().sequence
    }

    /// An alert, which goes before all others to `admin`: as the platform's own screening stores it.
    pub(crate) async fn alert(&self, history: &History, counter: u64) {
        let value = Value::new("alarm", counter);
        let id = value.to_string();
        let data = json!({
            "alertId": format!("c-9-{counter}"), "userId": "7", "conversationId": "c-9", "severity": "high",
            "signals": [id], "timestamp": "2026-01-02T03:04:05.000Z",
        });
        let (payload, channels) = (Some(hash(&data)), vec!["admin".to_owned()]);
        history.record(Entry::Attempt { value: value.clone(), channels, payload });
        let message_id = format!("{TENANT}:screen:{id}");
        let headers = [
            ("ce-specversion", "1.0"),
            ("ce-id", &id),
            ("ce-source", "screen"),
            ("ce-type", "crisis.alert"),
            ("ce-time", "2026-01-02T03:04:05.000Z"),
            ("content-type", "application/json"),
            ("tl-version", "1"),
            ("tl-channels", "admin"),
            ("tl-delivery", "critical"),
            ("Nats-Msg-Id", &message_id),
        ];
        let subject = format!("events.{TENANT}.crisis.c-9.alert");
        let sequence = self.append(&subject, &headers, &data).await;
        let stream = "CRISIS".to_owned();
        history.record(Entry::Stored { value, stream, sequence, duplicate: false });
    }

    /// The data of the last event on such a subject of the log.
    pub(crate) async fn last(&self, subject: &str) -> Option<Json> {
        let message = self.stream("ACTIVITY").await;
        let message = message.get_last_raw_message_by_subject(subject).await.ok()?;
        serde_json::from_slice(&message.payload).ok()
    }

    /// The subjects of a stream's messages, oldest first.
    pub(crate) async fn subjects(&self, stream: &str) -> Vec<String> {
        let stream = self.stream(stream).await;
        let state = stream.get_info().await.unwrap().state;
        let mut subjects = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                subjects.push(message.subject.to_string());
            }
        }
        subjects
    }

    /// What a stream's messages hold, oldest first.
    pub(crate) async fn payloads(&self, stream: &str) -> Vec<String> {
        let stream = self.stream(stream).await;
        let state = stream.get_info().await.unwrap().state;
        let mut payloads = Vec::new();
        for sequence in state.first_sequence..=state.last_sequence {
            if let Ok(message) = stream.get_raw_message(sequence).await {
                payloads.push(String::from_utf8_lossy(&message.payload).into_owned());
            }
        }
        payloads
    }

    /// Makes a durable anew that has acknowledged nothing yet, from the beginning of its stream.
    pub(crate) async fn deliver_again(&self, stream: &str, durable: &str) {
        let stream = self.stream(stream).await;
        let mut config = stream.consumer_info(durable).await.unwrap().config;
        config.deliver_policy = consumer::DeliverPolicy::All;
        stream.delete_consumer(durable).await.unwrap();
        let config = consumer::pull::Config {
            durable_name: config.durable_name,
            deliver_policy: config.deliver_policy,
            ack_policy: config.ack_policy,
            ack_wait: config.ack_wait,
            max_deliver: config.max_deliver,
            max_ack_pending: config.max_ack_pending,
            filter_subjects: config.filter_subjects,
            ..consumer::pull::Config::default()
        };
        stream.create_consumer(config).await.unwrap();
    }

    pub(crate) async fn delete_consumers(&self, stream: &str) {
        use futures_util::TryStreamExt as _;
        let stream = self.stream(stream).await;
        let all: Vec<consumer::Info> = stream.consumers().try_collect().await.unwrap();
        for info in all.iter().filter(|info| info.config.durable_name.is_none()) {
            stream.delete_consumer(&info.name).await.unwrap();
        }
    }
}
