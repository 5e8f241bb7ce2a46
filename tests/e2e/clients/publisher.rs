//! A backend that publishes over HTTP and waits for every answer. Without an answer it sends the same again,
//! as it is told to; what it was told goes into the history.

use std::io;
use std::net::SocketAddr;

use serde_json::{Value as Json, json};

use super::http::{Answer, Connection, Request};
use crate::checker::{Entry, History, Value, hash};

/// What is published: an event type with the channels that the contract gives it.
#[derive(Clone)]
pub(crate) enum Kind {
    /// To `team`, in ACTIVITY.
    Team,
    /// To `calls` and `call:{sid}`, in CALLS.
    Call(String),
    /// To `whatsapp:{account}` and `contact:{contact}`, in MESSAGES.
    Message { account: String, contact: String },
}

impl Kind {
    pub(crate) fn event_type(&self) -> &'static str {
        match self {
            Self::Team => "team.activity",
            Self::Call(_) => "call.update",
            Self::Message { .. } => "message.sent",
        }
    }

    pub(crate) fn channels(&self) -> Vec<String> {
        match self {
            Self::Team => vec!["team".to_owned()],
            Self::Call(sid) => vec!["calls".to_owned(), format!("call:{sid}")],
            Self::Message { account, contact } => {
                vec![format!("whatsapp:{account}"), format!("contact:{contact}")]
            }
        }
    }

    pub(crate) fn data(&self, value: &Value) -> Json {
        let text = value.to_string();
        match self {
            Self::Team => json!({ "activity": {
                "userId": "7", "userName": "Maya", "action": text, "resource": "Campaign",
            } }),
            Self::Call(sid) => json!({
                "callSid": sid, "status": "in-progress", "callerName": text,
            }),
            Self::Message { account, contact } => json!({ "message": {
                "id": text, "contactId": contact, "whatsappAccountId": account,
                "direction": "Outbound", "type": "Text", "content": text, "status": "Sent",
            } }),
        }
    }
}

pub(crate) struct Publisher {
    history: History,
    token: String,
    writer: String,
    pub(crate) kind: Kind,
    /// The last counter that was used.
    pub(crate) counter: u64,
    connection: Option<Connection>,
}

impl Publisher {
    pub(crate) fn new(history: &History, token: &str, writer: &str, kind: Kind) -> Self {
        let (token, writer) = (token.to_owned(), writer.to_owned());
        Self { history: history.clone(), token, writer, kind, counter: 0, connection: None }
    }

    fn next_value(&mut self) -> Value {
        self.counter += 1;
        let value = Value::new(&self.writer, self.counter);
        self.attempt(&value);
        value
    }

    fn attempt(&self, value: &Value) {
        let payload = Some(hash(&self.kind.data(value)));
        let (value, channels) = (value.clone(), self.kind.channels());
        self.history.record(Entry::Attempt { value, channels, payload });
    }

    /// Publishes the next values, a hundred a request, each batch once.
    pub(crate) async fn publish(&mut self, to: SocketAddr, count: usize) {
        let mut left = count;
        while left > 0 {
            let values: Vec<_> = (0..left.min(100)).map(|_| self.next_value()).collect();
            left -= values.len();
            let answer = self.exchange(to, &values).await.unwrap();
            assert!(self.note(&values, &answer), "{} {}", answer.status, answer.text());
        }
    }

    /// Publishes the next value and repeats it until it is answered for good.
    pub(crate) async fn insist(&mut self, to: SocketAddr) -> Value {
        let values = [self.next_value()];
        loop {
            match self.exchange(to, &values).await {
                Ok(answer) if self.note(&values, &answer) => break,
                Ok(_) => {}
                Err(_) => {
                    self.connection = None;
                    let [value] = values.clone();
                    self.history.record(Entry::Unanswered { value });
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            self.attempt(&values[0]);
        }
        let [value] = values;
        value
    }

    async fn exchange(&mut self, to: SocketAddr, values: &[Value]) -> io::Result<Answer> {
        let events: Vec<Json> = values.iter().map(|value| self.event(value)).collect();
        let request = Request::post("/v1/events").bearer(&self.token);
        let request = match &*events {
            [event] => request.json(event),
            _ => request.body("application/cloudevents-batch+json", json!(events).to_string()),
        };
        let connection = match &mut self.connection {
            Some(connection) => connection,
            None => self.connection.insert(Connection::open(to).await?),
        };
        let answer = connection.send(&request).await;
        if answer.is_err() || answer.as_ref().is_ok_and(|a| a.header("connection").is_some()) {
            self.connection = None;
        }
        answer
    }

    fn event(&self, value: &Value) -> Json {
        json!({
            "specversion": "1.0",
            "id": value.to_string(),
            "source": "/backend",
            "type": self.kind.event_type(),
            "data": self.kind.data(value),
        })
    }

    /// Whether the answer settles the values.
    fn note(&self, values: &[Value], answer: &Answer) -> bool {
        match answer.status {
            200..300 => {
                note_stored(&self.history, values, &answer.json());
                true
            }
            400..500 if answer.status != 429 => {
                for value in values {
                    self.history.record(Entry::Refused { value: value.clone() });
                }
                panic!("refused: {} {}", answer.status, answer.text());
            }
            _ => {
                for value in values {
                    self.history.record(Entry::Unanswered { value: value.clone() });
                }
                false
            }
        }
    }
}

/// Takes ingest's answer `{"events":[{id,stream,sequence,duplicate}]}` into the history.
pub(crate) fn note_stored(history: &History, values: &[Value], answer: &Json) {
    let events = answer["events"].as_array().unwrap();
    assert_eq!(events.len(), values.len(), "{answer}");
    for (value, event) in values.iter().zip(events) {
        history.record(Entry::Stored {
            value: value.clone(),
            stream: event["stream"].as_str().unwrap().to_owned(),
            sequence: event["sequence"].as_u64().unwrap(),
            duplicate: event["duplicate"].as_bool().unwrap(),
        });
    }
}
