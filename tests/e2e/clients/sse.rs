//! An EventSource: a request that does not end, its last event id as memory.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::{Instant, timeout_at};

use super::http::{Body, PATIENCE, Request, encode};
use super::sse_text::{Block, Parser};
use super::websocket::{End, UNASKED};
use crate::checker::{ClientName, Entry, Frame, History, Start, Value, hash};

pub(crate) struct EventSource {
    pub(crate) name: ClientName,
    history: History,
    token: String,
    channels: Vec<String>,
    device: Option<String>,
    pub(crate) last_event_id: Option<String>,
    body: Option<Body>,
    parser: Parser,
    blocks: std::collections::VecDeque<Block>,
    pub(crate) received: Vec<Value>,
    pub(crate) cursors: Vec<String>,
    pub(crate) gaps: Vec<Json>,
    /// What followed a gap.
    pub(crate) snapshots: Vec<Json>,
    pub(crate) retry: Option<String>,
}

impl EventSource {
    pub(crate) fn new(history: &History, name: &str, token: &str, channels: &[&str]) -> Self {
        Self {
            name: name.into(),
            history: history.clone(),
            token: token.to_owned(),
            channels: channels.iter().map(|&name| name.to_owned()).collect(),
            device: None,
            last_event_id: None,
            body: None,
            parser: Parser::default(),
            blocks: std::collections::VecDeque::new(),
            received: Vec::new(),
            cursors: Vec::new(),
            gaps: Vec::new(),
            snapshots: Vec::new(),
            retry: None,
        }
    }

    pub(crate) fn device(mut self, device: &str) -> Self {
        self.device = Some(device.to_owned());
        self
    }

    /// Starts where the query says; a browser's reconnect is [`Self::resume`].
    pub(crate) async fn connect(&mut self, to: SocketAddr, start: Start) -> io::Result<()> {
        let after = match &start {
            Start::Now | Start::Acknowledged => None,
            Start::Earliest => Some("earliest"),
            Start::Cursor(cursor) => Some(&**cursor),
        };
        let request = Request::get(&self.target(after));
        self.open(to, request, start).await
    }

    /// As a browser does: the same URL with `Last-Event-ID`.
    pub(crate) async fn resume(&mut self, to: SocketAddr) -> io::Result<()> {
        let request = Request::get(&self.target(None));
        match self.last_event_id.clone() {
            Some(id) => {
                let request = request.header("Last-Event-ID", &id);
                self.open(to, request, Start::Cursor(id)).await
            }
            None => self.open(to, request, Start::Now).await,
        }
    }

    /// As a browser does whose address names a position itself.
    pub(crate) async fn resume_with_address(
        &mut self,
        to: SocketAddr,
        after: &str,
    ) -> io::Result<()> {
        let id = self.last_event_id.clone().ok_or(io::ErrorKind::NotFound)?;
        let request = Request::get(&self.target(Some(after))).header("Last-Event-ID", &id);
        self.open(to, request, Start::Cursor(id)).await
    }

    fn target(&self, after: Option<&str>) -> String {
        let channels: Vec<_> = self.channels.iter().map(|name| encode(name)).collect();
        let after = after.map(|after| format!("&after={}", encode(after)));
        let device = self.device.as_ref().map(|device| format!("&device={}", encode(device)));
        format!(
            "/sse?channels={}{}{}",
            channels.join(","),
            after.unwrap_or_default(),
            device.unwrap_or_default()
        )
    }

    async fn open(&mut self, to: SocketAddr, request: Request, start: Start) -> io::Result<()> {
        self.cut();
        let (client, channels) = (self.name.clone(), self.channels.clone());
        self.history.record(Entry::Opened { client, channels, start });
        let request = request.bearer(&self.token).header("Accept", "text/event-stream");
        let (head, body) = request.stream(to).await?;
        if head.status != 200 {
            return Err(io::Error::other(format!("{}: status {}", self.name, head.status)));
        }
        assert_eq!(head.header("content-type").map(|kind| &kind[..17]), Some("text/event-stream"));
        self.body = Some(body);
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next_until(until).await {
                Ok(block) if block.event.as_deref() == Some("ready") => break,
                Ok(block) if block.event.is_none() => {}
                other => return Err(io::Error::other(format!("{}: {other:?}", self.name))),
            }
        }
        let (client, channels) = (self.name.clone(), self.channels.clone());
        self.history.record(Entry::Following { client, channels });
        Ok(())
    }

    pub(crate) async fn next(&mut self, within: Duration) -> Result<Block, End> {
        self.next_until(Instant::now() + within).await
    }

    async fn next_until(&mut self, until: Instant) -> Result<Block, End> {
        loop {
            if let Some(block) = self.blocks.pop_front() {
                self.take(&block);
                return Ok(block);
            }
            let body = self.body.as_mut().ok_or(End::Cut)?;
            match timeout_at(until, body.next()).await.map_err(|_| End::Silence)? {
                Ok(Some(bytes)) => self.blocks.extend(self.parser.feed(&bytes)),
                Ok(None) => return Err(self.ended(End::Closed(0))),
                Err(_) => return Err(self.ended(End::Cut)),
            }
        }
    }

    fn ended(&mut self, end: End) -> End {
        self.body = None;
        self.parser = Parser::default();
        self.blocks.clear();
        let (client, why) = (self.name.clone(), format!("{end:?}"));
        self.history.record(Entry::Closed { client, why });
        end
    }

    fn take(&mut self, block: &Block) {
        let client = self.name.clone();
        self.retry = block.retry.clone().or(self.retry.take());
        let cursor = block.id.clone().filter(|id| !id.is_empty());
        let payload: Json = block
            .data
            .as_deref()
            .map(|data| serde_json::from_str(data).unwrap())
            .unwrap_or_default();
        match (block.event.as_deref(), &block.data) {
            (Some("gap"), _) => {
                self.gaps.push(payload.clone());
                let channels = serde_json::from_value(payload["channels"].clone()).unwrap();
                let reason = payload["reason"].as_str().unwrap_or_default().to_owned();
                self.history.record(Entry::Gap { client: client.clone(), channels, reason });
            }
            (Some("snapshot"), _) => self.snapshots.push(payload),
            (Some("ready"), _) | (_, None) => {}
            (name, Some(_)) => {
                let value = Value::find(&payload);
                self.received.extend(value.clone());
                let name = name.unwrap_or("message").to_owned();
                if !UNASKED.contains(&name.as_str()) {
                    self.cursors.extend(cursor.clone());
                }
                let payload = hash(&payload);
                let frame = Frame { name, event_id: None, cursor: cursor.clone(), value, payload };
                self.history.record(Entry::Frame { client, frame });
                self.last_event_id = cursor.or(self.last_event_id.take());
                return;
            }
        }
        if let Some(cursor) = cursor {
            self.history.record(Entry::Position { client, cursor: cursor.clone() });
            self.last_event_id = Some(cursor);
        }
    }

    /// Reads until this many judged events have come in all.
    pub(crate) async fn receive(&mut self, total: usize) {
        self.receive_within(total, PATIENCE).await;
    }

    pub(crate) async fn receive_within(&mut self, total: usize, within: Duration) {
        let until = Instant::now() + within;
        while self.received.len() < total {
            if let Err(end) = self.next_until(until).await {
                let (name, got) = (&self.name, self.received.len());
                panic!("{name}: {end:?} after {got} of {total} events");
            }
        }
    }

    /// Acknowledges everything so far for the device, as a page does by `fetch`.
    pub(crate) async fn acknowledge(&self, to: SocketAddr) {
        let Some(cursor) = &self.last_event_id else { return };
        let (client, sent) = (self.name.clone(), cursor.clone());
        self.history.record(Entry::AckSent { client, cursor: sent });
        self.send_acknowledgement(to, cursor).await;
        let (client, cursor) = (self.name.clone(), cursor.clone());
        self.history.record(Entry::AckConfirmed { client, cursor });
    }

    /// Sends the acknowledgement of an earlier event once more.
    pub(crate) async fn acknowledge_again(&self, to: SocketAddr, event: usize) {
        self.send_acknowledgement(to, &self.cursors[event]).await;
    }

    async fn send_acknowledgement(&self, to: SocketAddr, cursor: &str) {
        let body = serde_json::json!({ "device": self.device, "cursor": cursor });
        let request = Request::post("/v1/acks").bearer(&self.token).json(&body);
        let answer = request.send(to).await.unwrap();
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }

    pub(crate) async fn connect_acknowledged(&mut self, to: SocketAddr) -> io::Result<()> {
        self.last_event_id = None;
        self.connect(to, Start::Acknowledged).await
    }

    pub(crate) async fn drain(&mut self) {
        self.drain_for(Duration::from_millis(300)).await;
    }

    /// The same for a client that has a long way to go, on a machine that is busy.
    pub(crate) async fn drain_patiently(&mut self) {
        self.drain_for(Duration::from_secs(3)).await;
    }

    /// What is still owed after that is waited for while there is patience: a busy machine is no loss.
    async fn drain_for(&mut self, quiet: Duration) {
        let latest = Instant::now() + PATIENCE;
        let mut until = Instant::now() + quiet;
        let mut received = self.received.len();
        loop {
            match self.next_until(until).await {
                Ok(_) if self.received.len() == received => {}
                Err(End::Silence) if until >= latest || !self.history.awaits(&self.name) => break,
                Ok(_) | Err(End::Silence) => {
                    received = self.received.len();
                    until = Instant::now() + quiet;
                }
                Err(End::Cut | End::Closed(_)) => break,
            }
        }
        self.history.record(Entry::Drained { client: self.name.clone() });
    }

    pub(crate) fn is_open(&self) -> bool {
        self.body.is_some()
    }

    pub(crate) fn cut(&mut self) {
        if self.body.is_some() {
            self.ended(End::Cut);
        }
    }

    pub(crate) async fn end(&mut self, within: Duration) -> End {
        let until = Instant::now() + within;
        loop {
            if let Err(end) = self.next_until(until).await {
                return end;
            }
        }
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        self.cut();
    }
}
