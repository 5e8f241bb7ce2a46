//! A reader of `GET /v1/history`, page by page.

use std::net::SocketAddr;

use serde_json::Value as Json;

use super::http::{Request, encode};
use crate::checker::{ClientName, Entry, Frame, History, Start, Value, hash};

pub(crate) struct Pages {
    pub(crate) name: ClientName,
    history: History,
    token: String,
    channel: String,
    pub(crate) received: Vec<Value>,
    pub(crate) cursors: Vec<String>,
    pub(crate) events: Vec<Json>,
}

impl Pages {
    pub(crate) fn new(history: &History, name: &str, token: &str, channel: &str) -> Self {
        Self {
            name: name.into(),
            history: history.clone(),
            token: token.to_owned(),
            channel: channel.to_owned(),
            received: Vec::new(),
            cursors: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Reads from `start` to the end, and takes what is missing then as lost.
    pub(crate) async fn read(&mut self, from: SocketAddr, start: Start, limit: usize) {
        let mut after = match &start {
            Start::Cursor(cursor) => cursor.clone(),
            Start::Earliest | Start::Now | Start::Acknowledged => "earliest".to_owned(),
        };
        let (client, channels) = (self.name.clone(), vec![self.channel.clone()]);
        self.history.record(Entry::Opened { client, channels, start });
        loop {
            let (channel, position) = (encode(&self.channel), encode(&after));
            let target = format!("/v1/history?channel={channel}&after={position}&limit={limit}");
            let answer = Request::get(&target).bearer(&self.token).send(from).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
            let page = answer.json();
            let events = page["events"].as_array().unwrap();
            assert!(events.len() <= limit, "{} of {limit}", events.len());
            for event in events {
                self.take(event);
            }
            after = page["cursor"].as_str().unwrap().to_owned();
            let client = self.name.clone();
            self.history.record(Entry::Position { client, cursor: after.clone() });
            if !page["more"].as_bool().unwrap() {
                break;
            }
        }
        self.history.record(Entry::Drained { client: self.name.clone() });
    }

    fn take(&mut self, event: &Json) {
        let cursor = event["cursor"].as_str().unwrap().to_owned();
        let value = Value::find(&event["data"]);
        self.received.extend(value.clone());
        self.cursors.push(cursor.clone());
        self.events.push(event.clone());
        let frame = Frame {
            name: event["type"].as_str().unwrap().to_owned(),
            event_id: Some(event["id"].as_str().unwrap().to_owned()),
            cursor: Some(cursor),
            value,
            payload: hash(&event["data"]),
        };
        self.history.record(Entry::Frame { client: self.name.clone(), frame });
    }
}
