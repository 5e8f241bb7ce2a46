//! Asks like a gateway: stores a command and waits for its answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use domain::command::Actor;
use domain::envelope::header;
use domain::{Command, Role, Tenant};
use runtime::event_log::Append;
use runtime::nats::Nats;
use runtime::tasks::{Owned, owned};
use runtime::{clock, ids};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::harness::{Platform, eventually};

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Value>>>>;

pub(crate) struct Commander {
    nats: Nats,
    admin: Nats,
    waiting: Waiting,
    _replies: Owned<()>,
}

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub id: String,
    pub kind: &'static str,
    pub entity: String,
    pub actor: (&'static str, Role),
    pub data: Value,
}

/// An event as far as these tests look at it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub id: String,
    pub event_type: String,
    pub channels: Vec<String>,
    pub cause: Option<String>,
}

impl Asked {
    pub(crate) fn new(
        kind: &'static str,
        entity: &str,
        actor: (&'static str, Role),
        data: Value,
    ) -> Self {
        Self { id: ids::ordered(), kind, entity: entity.to_owned(), actor, data }
    }

    pub(crate) fn message(&self) -> Append {
        self.append("acme", None)
    }

    fn append(&self, tenant: &str, reply: Option<String>) -> Append {
        let command = Command {
            id: self.id.clone(),
            kind: self.kind.to_owned(),
            tenant: Tenant::parse(tenant).unwrap(),
            entity: self.entity.clone(),
            actor: Actor { user: self.actor.0.to_owned(), role: self.actor.1 },
            connection: Some("p-1".to_owned()),
            reply,
            time: clock::now(),
            data: self.data.as_object().cloned().unwrap(),
        };
        Append {
            subject: command.subject().unwrap(),
            message_id: ids::ordered(),
            headers: command.headers(),
            payload: command.payload(),
            expect: None,
        }
    }
}

impl Commander {
    pub(crate) async fn new(platform: &Platform) -> Self {
        let nats = platform.nats.nats("gateway").await;
        let mut replies = nats.subscribe("reply.test.>").await.unwrap();
        let waiting = Waiting::default();
        let by_token = waiting.clone();
        let reading = owned(async move {
            while let Some(reply) = replies.next().await {
                let waiter = by_token.lock().unwrap().remove(&*reply.subject);
                if let Some(waiter) = waiter {
                    let _ = waiter.send(serde_json::from_slice(&reply.payload).unwrap());
                }
            }
        });
        Self { nats, admin: platform.admin().await, waiting, _replies: reading }
    }

    /// One attempt of a command, until it is decided.
    pub(crate) async fn ask(&self, asked: &Asked) -> Value {
        let reply = format!("reply.test.{}", ids::unguessable());
        let (waiter, answer) = oneshot::channel();
        self.waiting.lock().unwrap().insert(reply.clone(), waiter);
        self.nats.event_log().append(asked.append("acme", Some(reply))).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(20), answer).await;
        answer.unwrap_or_else(|_| panic!("no answer to {asked:?}")).unwrap()
    }

    /// One attempt that nobody waits for.
    pub(crate) async fn store(&self, asked: &Asked) {
        self.store_for("acme", asked).await;
    }

    pub(crate) async fn store_for(&self, tenant: &str, asked: &Asked) {
        self.nats.event_log().append(asked.append(tenant, None)).await.unwrap();
    }

    pub(crate) async fn store_raw(
        &self,
        subject: String,
        headers: Vec<(&'static str, String)>,
        payload: &'static [u8],
    ) {
        let message_id = ids::ordered();
        let append = Append { subject, message_id, headers, payload: payload.into(), expect: None };
        self.nats.event_log().append(append).await.unwrap();
    }

    /// All events of a stream, in its order.
    pub(crate) async fn events(&self, stream: &str) -> Vec<Stored> {
        let reader = self.admin.log_reader();
        let last = reader.stream_info(stream).await.unwrap().last_sequence;
        let sequences: Vec<_> = (1..=last).collect();
        let messages = reader.get_many(stream, &sequences).await.unwrap();
        let read = |message: runtime::LogMessage| {
            let header = |name| message.headers.get(name).map(str::to_owned);
            let channels = header(header::CHANNELS).unwrap_or_default();
            Stored {
                id: header(header::ID).unwrap(),
                event_type: header(header::TYPE).unwrap(),
                channels: channels.split(',').map(str::to_owned).collect(),
                cause: header(header::CAUSATION),
            }
        };
        messages.into_iter().flatten().map(read).collect()
    }

    /// All events of a stream once there are so many and no command is left.
    pub(crate) async fn settled(&self, stream: &str, events: usize) -> Vec<Stored> {
        let reader = self.admin.log_reader();
        eventually(&format!("{events} events in {stream}"), async || {
            let mut left = 0;
            for commands in ["COMMANDS", "CRISIS_COMMANDS"] {
                left += reader.stream_info(commands).await.unwrap().messages;
            }
            left == 0 && self.events(stream).await.len() >= events
        })
        .await;
        self.events(stream).await
    }

    pub(crate) async fn observe_campaign(&self, platform: &Platform, campaign: &str) {
        let data = json!({ "campaignId": campaign, "campaign": { "name": "Spring", "totalRecipients": 2 } });
        let body = json!({ "type": "campaign.started", "id": campaign, "data": data }).to_string();
        platform.publish(Role::Service, &[], &body).await.event();
    }
}
