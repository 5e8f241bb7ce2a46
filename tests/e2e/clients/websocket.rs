//! A WebSocket client of `/ws` that remembers, over any number of connections, what a page would:
//! its client id, its cursor, its rooms. Everything it sees goes into the history.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value as Json, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::http::PATIENCE;
use crate::checker::{ClientName, Entry, Frame, History, Start, Value, hash};

/// Who comes and goes, figures, and what was done: of the platform's own making, so nothing that anybody waits for.
pub(super) const UNASKED: [&str; 6] = [
    "presence:update",
    "admin:stats",
    "session:active",
    "notification:badge",
    "system:health",
    "admin:activity",
];

/// What says how things stand: neither an event nor a position.
const STATE_FRAMES: [&str; 5] = ["snapshot", "active_calls", "history", "view", "metrics"];
/// What the server says about the session itself; everything else is an event.
const SESSION_FRAMES: [&str; 13] = [
    "connection_established",
    "authenticated",
    "reconnected",
    "room_joined",
    "room_left",
    "gap",
    "error",
    "heartbeat",
    "pong",
    "ack",
    "metrics",
    "position",
    "token_expiring",
];

pub(crate) type Socket = WebSocketStream<TcpStream>;

pub(crate) struct WebSocket {
    pub(crate) name: ClientName,
    history: History,
    token: String,
    /// Channels that this role is in without asking.
    automatic: Vec<String>,
    rooms: BTreeSet<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) cursor: Option<String>,
    socket: Option<Socket>,
    /// Values in the order of their arrival, over all connections.
    pub(crate) received: Vec<Value>,
    /// Every cursor of an event, in the same order.
    pub(crate) cursors: Vec<String>,
    pub(crate) gaps: Vec<Json>,
    requests: u64,
}

/// How a connection ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// By a close frame with this code.
    Closed(u16),
    Cut,
    /// Nothing came in time.
    Silence,
}

impl WebSocket {
    pub(crate) fn new(history: &History, name: &str, token: &str, automatic: &[&str]) -> Self {
        Self {
            name: name.into(),
            history: history.clone(),
            token: token.to_owned(),
            automatic: automatic.iter().map(|&name| name.to_owned()).collect(),
            rooms: BTreeSet::new(),
            client_id: None,
            cursor: None,
            socket: None,
            received: Vec::new(),
            cursors: Vec::new(),
            gaps: Vec::new(),
            requests: 0,
        }
    }

    /// A new session from now on.
    pub(crate) async fn connect(&mut self, to: SocketAddr) -> io::Result<()> {
        self.client_id = None;
        self.cursor = None;
        self.rooms.clear();
        self.open(to, Start::Now).await.map(drop)
    }

    /// A new client that brings a cursor from elsewhere.
    pub(crate) async fn arrive(&mut self, to: SocketAddr) -> io::Result<()> {
        let start = self.cursor.clone().map_or(Start::Now, Start::Cursor);
        self.open(to, start).await.map(drop)
    }

    /// The same client again, from its last cursor.
    pub(crate) async fn resume(&mut self, to: SocketAddr) -> io::Result<Json> {
        let start = self.cursor.clone().map_or(Start::Acknowledged, Start::Cursor);
        self.open(to, start).await
    }

    /// The same client again, having forgotten its cursor.
    pub(crate) async fn resume_from_acknowledged(&mut self, to: SocketAddr) -> io::Result<Json> {
        self.cursor = None;
        self.open(to, Start::Acknowledged).await
    }

    /// The same client a second time, with the same memory and no connection.
    pub(crate) fn twin(&self) -> Self {
        let automatic: Vec<&str> = self.automatic.iter().map(String::as_str).collect();
        let mut twin = Self::new(&self.history, &self.name, &self.token, &automatic);
        twin.rooms.clone_from(&self.rooms);
        twin.client_id.clone_from(&self.client_id);
        twin.cursor.clone_from(&self.cursor);
        twin
    }

    /// Reads from a connection that was opened by hand.
    pub(crate) fn adopt(&mut self, socket: Socket) {
        self.socket = Some(socket);
    }

    /// Comes with another token next time.
    pub(crate) fn become_holder_of(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// Opens, authenticates, and answers the frame that said so.
    async fn open(&mut self, to: SocketAddr, start: Start) -> io::Result<Json> {
        self.cut();
        let channels: Vec<String> = self.automatic.iter().chain(&self.rooms).cloned().collect();
        let (client, again) = (self.name.clone(), self.client_id.clone());
        self.history.record(Entry::Opened { client, channels: channels.clone(), start });
        self.socket = Some(handshake(to, "/ws").await?);
        let mut payload = json!({ "token": self.token });
        if let Some(id) = &again {
            payload["clientId"] = json!(id);
        }
        if let Some(cursor) = &self.cursor {
            payload["cursor"] = json!(cursor);
        }
        self.send(&json!({ "type": "auth", "payload": payload })).await?;
        let answer = self.wait_for(if again.is_some() { "reconnected" } else { "authenticated" });
        let answer = answer.await?;
        if self.client_id.is_none() {
            self.client_id = answer["payload"]["clientId"].as_str().map(str::to_owned);
        }
        self.history.record(Entry::Following { client: self.name.clone(), channels });
        Ok(answer)
    }

    pub(crate) async fn join(&mut self, room: &str, start: Start) -> io::Result<Json> {
        self.ask_to_join(room, start).await?;
        let answer = self.wait_for("room_joined").await?;
        let (client, channels) = (self.name.clone(), vec![room.to_owned()]);
        self.history.record(Entry::Following { client, channels });
        Ok(answer)
    }

    /// Sends the join without waiting for its answer.
    pub(crate) async fn ask_to_join(&mut self, room: &str, start: Start) -> io::Result<()> {
        let mut payload = json!({ "room": room });
        match &start {
            Start::Cursor(cursor) => payload["after"] = json!(cursor),
            Start::Earliest => payload["after"] = json!("earliest"),
            Start::Now | Start::Acknowledged => {}
        }
        self.rooms.insert(room.to_owned());
        let (client, channel) = (self.name.clone(), room.to_owned());
        self.history.record(Entry::Joining { client, channel, start });
        self.send(&json!({ "type": "join", "payload": payload })).await
    }

    pub(crate) async fn leave(&mut self, room: &str) -> io::Result<()> {
        self.rooms.remove(room);
        self.send(&json!({ "type": "leave", "payload": { "room": room } })).await?;
        self.wait_for("room_left").await?;
        let (client, channel) = (self.name.clone(), room.to_owned());
        self.history.record(Entry::Left { client, channel });
        Ok(())
    }

    /// Acknowledges everything so far and waits until the server has confirmed it.
    pub(crate) async fn acknowledge(&mut self) -> io::Result<()> {
        let Some(cursor) = self.cursor.clone() else { return Ok(()) };
        let (client, sent) = (self.name.clone(), cursor.clone());
        self.history.record(Entry::AckSent { client, cursor: sent });
        let answer = self.request("ack", json!({ "cursor": cursor })).await?;
        assert_eq!(answer["type"], "ack", "{answer}");
        self.history.record(Entry::AckConfirmed { client: self.name.clone(), cursor });
        Ok(())
    }

    /// Sends a frame with an id and waits for what refers to it.
    pub(crate) async fn request(&mut self, kind: &str, payload: Json) -> io::Result<Json> {
        self.requests += 1;
        let id = format!("r{}", self.requests);
        self.send(&json!({ "type": kind, "payload": payload, "id": id })).await?;
        self.wait(|frame| frame["ref"] == id.as_str()).await
    }

    pub(crate) async fn send(&mut self, frame: &Json) -> io::Result<()> {
        self.send_text(frame.to_string()).await
    }

    pub(crate) async fn send_text(&mut self, text: String) -> io::Result<()> {
        let socket = self.socket.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let sent = timeout(PATIENCE, socket.send(Message::text(text))).await;
        sent.map_err(|_| io::ErrorKind::TimedOut)?.map_err(io::Error::other)
    }

    /// Reads on until a frame of this type, within the usual patience.
    pub(crate) async fn wait_for(&mut self, kind: &str) -> io::Result<Json> {
        self.wait(|frame| frame["type"] == kind).await
    }

    pub(crate) async fn wait(&mut self, wanted: impl Fn(&Json) -> bool) -> io::Result<Json> {
        let until = Instant::now() + PATIENCE;
        loop {
            match self.next_until(until).await {
                Ok(frame) if wanted(&frame) => return Ok(frame),
                Ok(_) => {}
                Err(end) => return Err(io::Error::other(format!("{}: {end:?}", self.name))),
            }
        }
    }

    pub(crate) async fn next(&mut self, within: Duration) -> Result<Json, End> {
        self.next_until(Instant::now() + within).await
    }

    async fn next_until(&mut self, until: Instant) -> Result<Json, End> {
        loop {
            let socket = self.socket.as_mut().ok_or(End::Cut)?;
            let message = timeout_at(until, socket.next()).await.map_err(|_| End::Silence)?;
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Json = serde_json::from_str(&text).unwrap();
                    self.take(&frame);
                    return Ok(frame);
                }
                Some(Ok(Message::Close(frame))) => {
                    return Err(self.ended(
                        frame.map_or(End::Closed(1005), |frame| End::Closed(frame.code.into())),
                    ));
                }
                Some(Ok(_)) => {}
                Some(Err(Error::ConnectionClosed)) | None | Some(Err(_)) => {
                    return Err(self.ended(End::Cut));
                }
            }
        }
    }

    fn ended(&mut self, end: End) -> End {
        self.socket = None;
        let (client, why) = (self.name.clone(), format!("{end:?}"));
        self.history.record(Entry::Closed { client, why });
        end
    }

    fn take(&mut self, frame: &Json) {
        let kind = frame["type"].as_str().unwrap_or_default();
        if STATE_FRAMES.contains(&kind) {
            return;
        }
        // An answer repeats what was asked; it is no position.
        let inner = frame["payload"]["cursor"].as_str().filter(|_| frame["ref"].is_null());
        let cursor = frame["cursor"].as_str().or(inner).map(str::to_owned);
        let client = self.name.clone();
        if kind == "gap" {
            let payload = &frame["payload"];
            self.gaps.push(payload.clone());
            let channels = serde_json::from_value(payload["channels"].clone()).unwrap();
            let reason = payload["reason"].as_str().unwrap_or_default().to_owned();
            self.history.record(Entry::Gap { client: client.clone(), channels, reason });
        }
        if SESSION_FRAMES.contains(&kind) {
            if let Some(cursor) = cursor.clone() {
                self.history.record(Entry::Position { client, cursor });
            }
        } else {
            let value = Value::find(&frame["payload"]);
            self.received.extend(value.clone());
            if !UNASKED.contains(&kind) {
                self.cursors.extend(cursor.clone());
            }
            let frame = Frame {
                name: kind.to_owned(),
                event_id: frame["id"].as_str().map(str::to_owned),
                cursor: cursor.clone(),
                value,
                payload: hash(&frame["payload"]),
            };
            self.history.record(Entry::Frame { client, frame });
        }
        self.cursor = cursor.or(self.cursor.take());
    }

    /// Reads until this many judged events have come in all.
    #[track_caller]
    pub(crate) fn receive(&mut self, total: usize) -> impl Future<Output = ()> {
        self.receive_within(total, PATIENCE)
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

    /// Reads until nothing has come for a while, and takes what is missing then as lost.
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

    /// Ends the connection without a word, as a dead network does.
    pub(crate) fn cut(&mut self) {
        if self.socket.take().is_some() {
            self.ended(End::Cut);
        }
    }

    /// A page that goes away in good order.
    pub(crate) async fn close(&mut self) {
        if let Some(mut socket) = self.socket.take() {
            socket.close(None).await.unwrap();
            while let Ok(Some(Ok(_))) = timeout(PATIENCE, socket.next()).await {}
            self.ended(End::Closed(1000));
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.socket.is_some()
    }

    /// Reads until the connection ends, and says how.
    pub(crate) async fn end(&mut self, within: Duration) -> End {
        let until = Instant::now() + within;
        loop {
            if let Err(end) = self.next_until(until).await {
                return end;
            }
        }
    }
}

impl Drop for WebSocket {
    fn drop(&mut self) {
        self.cut();
    }
}

/// The bare handshake, for what is refused before there is a session.
pub(crate) async fn handshake(to: SocketAddr, path: &str) -> io::Result<Socket> {
    handshake_with(to, path, &[]).await
}

pub(crate) async fn handshake_with(
    to: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> io::Result<Socket> {
    let mut request = format!("ws://{to}{path}").into_client_request().map_err(io::Error::other)?;
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().map_err(io::Error::other)?);
    }
    let work = async {
        let socket = TcpStream::connect(to).await?;
        socket.set_nodelay(true)?;
        let (socket, _) =
            tokio_tungstenite::client_async(request, socket).await.map_err(io::Error::other)?;
        Ok(socket)
    };
    timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
