//! An application on the real `socket.io-client`, run by Node, with the stock client's own memory and reconnection.
//! Everything it sees goes into the history.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};

use super::http::PATIENCE;
use super::scripts::Script;
use crate::checker::{ClientName, Entry, Frame, History, Start, Value, hash};

/// What the server says about the connection itself; everything else is an event.
const OWN: [&str; 7] = [
    "throughline:ready",
    "throughline:gap",
    "throughline:position",
    "throughline:snapshot",
    "active_calls",
    "error",
    "pong",
];

pub(crate) struct SocketIo {
    pub(crate) name: ClientName,
    history: History,
    script: Script,
    pub(crate) token: String,
    /// Channels that this role is in without asking.
    automatic: Vec<String>,
    rooms: Vec<String>,
    pub(crate) cursor: Option<String>,
    /// Values in the order of their arrival, over all connections.
    pub(crate) received: Vec<Value>,
    pub(crate) gaps: Vec<Json>,
    /// Lines that were read while another was waited for.
    passed: VecDeque<Json>,
    requests: u64,
}

pub(crate) fn url(address: SocketAddr) -> String {
    format!("http://{address}")
}

impl SocketIo {
    pub(crate) fn new(history: &History, name: &str, token: &str, automatic: &[&str]) -> Self {
        Self {
            name: name.into(),
            history: history.clone(),
            script: Script::node("socketio/driver.mjs", &[]),
            token: token.to_owned(),
            automatic: automatic.iter().map(|&name| name.to_owned()).collect(),
            rooms: Vec::new(),
            cursor: None,
            received: Vec::new(),
            gaps: Vec::new(),
            passed: VecDeque::new(),
            requests: 0,
        }
    }

    pub(crate) async fn tell(&mut self, mut line: Json) {
        if line["socket"].is_null() {
            line["socket"] = json!(&*self.name);
        }
        self.script.tell(&line).await;
    }

    /// Opens with its token and waits until it is connected.
    pub(crate) async fn connect(&mut self, to: SocketAddr, options: Json) -> Json {
        let line =
            json!({ "op": "connect", "url": url(to), "options": options, "token": self.token });
        self.tell(line).await;
        self.wait("connect").await
    }

    /// The next line of this kind, within the usual patience.
    pub(crate) async fn wait(&mut self, kind: &str) -> Json {
        self.wait_where(kind, |line| line["kind"] == kind).await
    }

    /// The next event of this name.
    pub(crate) async fn event(&mut self, name: &str) -> Json {
        self.wait_where(name, |line| line["kind"] == "event" && line["name"] == name).await
    }

    /// Events of this name that nobody has waited for.
    pub(crate) fn unread(&self, name: &str) -> usize {
        let is_it = |line: &&Json| line["kind"] == "event" && line["name"] == name;
        self.passed.iter().filter(is_it).count()
    }

    /// Whether a line of this kind has come that nobody has waited for.
    pub(crate) fn has_seen(&self, kind: &str) -> bool {
        self.passed.iter().any(|line| line["kind"] == kind)
    }

    async fn wait_where(&mut self, what: &str, wanted: impl Fn(&Json) -> bool) -> Json {
        if let Some(at) = self.passed.iter().position(&wanted) {
            return self.passed.remove(at).unwrap();
        }
        let until = Instant::now() + PATIENCE * 2;
        loop {
            let Some(line) = self.next_until(until).await else {
                let last: Vec<_> = self.passed.iter().rev().take(5).collect();
                panic!("{}: no {what}; last: {last:?}", self.name);
            };
            if wanted(&line) {
                return line;
            }
            self.passed.push_back(line);
        }
    }

    async fn next_until(&mut self, until: Instant) -> Option<Json> {
        let line = timeout_at(until, self.script.answer()).await.ok()?;
        self.take(&line);
        Some(line)
    }

    pub(crate) async fn emit(&mut self, name: &str, args: Json) {
        self.tell(json!({ "op": "emit", "name": name, "args": args })).await;
    }

    /// Emits with a callback and waits for its answer.
    pub(crate) async fn request(&mut self, name: &str, args: Json) -> Json {
        self.requests += 1;
        let reference = self.requests;
        let line = json!({ "op": "emit", "name": name, "args": args, "reference": reference });
        self.tell(line).await;
        let answered = |line: &Json| line["kind"] == "ack" && line["reference"] == reference;
        let line = self.wait_where(name, answered).await;
        line["args"][0].clone()
    }

    /// Joins by the event that its application uses for it.
    pub(crate) async fn join(&mut self, event: &str, argument: Json, channel: &str) {
        let (client, name) = (self.name.clone(), channel.to_owned());
        self.history.record(Entry::Joining { client, channel: name, start: Start::Now });
        let answer = self.request(event, json!([argument])).await;
        assert_eq!((&answer["ok"], &answer["room"]), (&json!(true), &json!(channel)), "{answer}");
        let (client, channels) = (self.name.clone(), vec![channel.to_owned()]);
        self.history.record(Entry::Following { client, channels });
        self.rooms.push(channel.to_owned());
    }

    /// The server has kept it in a channel although it was not recovered; what is left of it follows.
    pub(crate) fn stays_in(&mut self, channel: &str) {
        let (client, cursor) = (self.name.clone(), self.cursor.clone().unwrap());
        let (start, channels) = (Start::Cursor(cursor), vec![channel.to_owned()]);
        self.history.record(Entry::Joining {
            client: client.clone(),
            channel: channel.to_owned(),
            start,
        });
        self.history.record(Entry::Following { client, channels });
        self.rooms.push(channel.to_owned());
    }

    pub(crate) async fn cut(&mut self) {
        self.tell(json!({ "op": "cut" })).await;
    }

    fn take(&mut self, line: &Json) {
        let client = self.name.clone();
        match line["kind"].as_str().unwrap_or_default() {
            "connect" => self.opened(line["recovered"] == true),
            "disconnect" => {
                let why = line["reason"].as_str().unwrap_or_default().to_owned();
                self.history.record(Entry::Closed { client, why });
            }
            "event" => self.take_event(line),
            _ => {}
        }
    }

    fn opened(&mut self, recovered: bool) {
        let start = match &self.cursor {
            Some(cursor) if recovered => Start::Cursor(cursor.clone()),
            _ => {
                self.rooms.clear();
                Start::Now
            }
        };
        let channels: Vec<String> = self.automatic.iter().chain(&self.rooms).cloned().collect();
        let client = self.name.clone();
        self.history.record(Entry::Opened { client, channels: channels.clone(), start });
        self.history.record(Entry::Following { client: self.name.clone(), channels });
    }

    fn take_event(&mut self, line: &Json) {
        let (client, name) = (self.name.clone(), line["name"].as_str().unwrap());
        let args = line["args"].as_array().unwrap();
        let cursor = args.last().and_then(Json::as_str).map(str::to_owned);
        assert!(cursor.is_some(), "an event without its cursor: {line}");
        let payload = &args[0];
        if name == "throughline:gap" {
            self.gaps.push(payload.clone());
            let channels = serde_json::from_value(payload["channels"].clone()).unwrap();
            let reason = payload["reason"].as_str().unwrap_or_default().to_owned();
            self.history.record(Entry::Gap { client: client.clone(), channels, reason });
        }
        if OWN.contains(&name) {
            if let Some(cursor) = cursor.clone() {
                self.history.record(Entry::Position { client, cursor });
            }
        } else {
            let value = Value::find(payload);
            self.received.extend(value.clone());
            let (name, payload) = (name.to_owned(), hash(payload));
            let frame = Frame { name, event_id: None, cursor: cursor.clone(), value, payload };
            self.history.record(Entry::Frame { client, frame });
        }
        self.cursor = cursor;
    }

    /// Reads until this many judged events have come in all.
    pub(crate) async fn receive(&mut self, total: usize) {
        let until = Instant::now() + PATIENCE * 2;
        while self.received.len() < total {
            match self.next_until(until).await {
                Some(line) if line["kind"] == "event" => {}
                Some(line) => self.passed.push_back(line),
                None => panic!("{}: {} of {total} events", self.name, self.received.len()),
            }
        }
    }

    /// Reads until nothing has come for a while, and takes what is missing then as lost.
    /// What is still owed after that is waited for while there is patience: a busy machine is no loss.
    pub(crate) async fn drain(&mut self) {
        let latest = Instant::now() + PATIENCE;
        loop {
            match self.next_until(Instant::now() + Duration::from_millis(400)).await {
                Some(line) => self.passed.push_back(line),
                None if Instant::now() >= latest || !self.history.awaits(&self.name) => break,
                None => {}
            }
        }
        self.history.record(Entry::Drained { client: self.name.clone() });
    }
}
