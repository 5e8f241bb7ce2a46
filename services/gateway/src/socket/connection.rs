//! The life of one WebSocket: who it is, what it is due, when it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use domain::cursor::Cursor;
use domain::{Channel, Identity};
use runtime::auth::Credentials;
use runtime::clock;
use runtime::http::Peer;
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tracing::debug;

use super::Brought;
use super::ending::Ending;
use super::io::{Happened, Socket};
use crate::devices::{Device, Remembered};
use crate::edge::Edge;
use crate::line::{GapReason, Line, Step};
use crate::records::{Record, Revision};
use crate::registry::Lease;
use crate::throttle::Throttle;
use crate::wires::websocket;
use crate::wires::websocket_frame::{Limits, Message, Opcode, close_frame, frame};

/// How long the close frame may take to leave.
const GOODBYE: Duration = Duration::from_secs(2);
/// A client that is silent for this many heartbeats is gone.
const SILENT_HEARTBEATS: u32 = 2;

pub(super) struct Connection {
    pub(super) edge: Edge,
    pub(super) socket: Socket,
    pub(super) peer: Peer,
    pub(super) credentials: Credentials,
    pub(super) open: Option<Box<Open>>,
    pub(super) throttle: Throttle,
    /// When the client was last heard of.
    heard: Instant,
    /// When the socket last took something, or had nothing to take.
    took: Instant,
    /// The timer is to be set anew: the identity has changed.
    timer_is_stale: bool,
}

/// What there is once the client has said who it is.
pub(super) struct Open {
    pub(super) identity: Arc<Identity>,
    pub(super) client_id: Arc<str>,
    pub(super) device: Device,
    pub(super) line: Line,
    pub(super) lease: Lease,
    pub(super) record: Record,
    pub(super) revision: Revision,
    /// What joins without a position of their own go on from.
    pub(super) remembered: Option<Remembered>,
    pub(super) ask_again: Option<(Instant, Credentials)>,
    /// [`crate::edge::Shared::checks`] when the identity was last found valid.
    pub(super) checked: u64,
    /// The position at the last ping, which its pong confirms.
    pinged: Option<Cursor>,
    received_is_stored: bool,
}

impl Open {
    #[expect(clippy::too_many_arguments, reason = "each is a part of what opening has found out")]
    pub(super) fn new(
        identity: Arc<Identity>,
        client_id: Arc<str>,
        device: Device,
        line: Line,
        lease: Lease,
        record: Record,
        revision: Revision,
        remembered: Option<Remembered>,
        ask_again: Option<Credentials>,
        checked: u64,
    ) -> Self {
        let ask_again = ask_again.map(|credentials| (Instant::now() + ASK_AGAIN, credentials));
        Self {
            identity,
            client_id,
            device,
            line,
            lease,
            record,
            revision,
            remembered,
            ask_again,
            checked,
            pinged: None,
            received_is_stored: true,
        }
    }

    pub(super) fn received(&mut self, cursor: Cursor) {
        if self.record.received != Some(cursor) {
            self.record.received = Some(cursor);
            self.received_is_stored = false;
        }
    }

    pub(super) fn channels(&self) -> Vec<Channel> {
        self.line.session().channels().cloned().collect()
    }
}

/// How often another system that vouched for the client is asked whether it still does.
const ASK_AGAIN: Duration = Duration::from_secs(60);

impl Connection {
    pub(super) async fn run(
        edge: Edge,
        socket: Socket,
        peer: Peer,
        credentials: Credentials,
        brought: Brought,
    ) {
        let throttle = Throttle::new(edge.limits.messages_per_second);
        let now = Instant::now();
        edge.meters.websockets.inc();
        let mut connection = Self {
            edge,
            socket,
            peer,
            credentials,
            open: None,
            throttle,
            heard: now,
            took: now,
            timer_is_stale: true,
        };
        let ending = match connection.serve(brought).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        connection.finish(ending).await;
    }

    async fn serve(&mut self, brought: Brought) -> Result<std::convert::Infallible, Ending> {
        self.greet(brought).await?;
        let first = self.edge.limits.heartbeat;
        let mut timer = Box::pin(sleep_until(Instant::now() + first));
        self.process_messages().await?;
        loop {
            if std::mem::take(&mut self.timer_is_stale) {
                timer.as_mut().reset(self.next_tick());
            }
            self.turn(&mut timer).await?;
        }
    }

    /// Waits for one thing to happen and deals with it.
    async fn turn(&mut self, timer: &mut std::pin::Pin<Box<Sleep>>) -> Result<(), Ending> {
        let Some(open) = &mut self.open else { return Err(Ending::protocol()) };
        let drained = self.socket.is_drained();
        tokio::select! {
            biased;
            () = open.lease.fenced() => return Err(Ending::taken_over()),
            () = self.edge.drain.cancelled() => return Err(self.drain().await),
            happened = self.socket.drive() => match happened {
                Ok(Happened::Wrote) => self.took = Instant::now(),
                Ok(Happened::Read) => {
                    self.heard = Instant::now();
                    self.process_messages().await?;
                }
                Ok(Happened::Closed) | Err(_) => return Err(Ending::gone()),
            },
            () = open.line.ready(), if drained => self.deliver()?,
            () = timer.as_mut() => {
                self.tick().await?;
                self.timer_is_stale = true;
            }
        }
        Ok(())
    }

    /// Collects what is due until the socket has something to write or nothing is left.
    fn deliver(&mut self) -> Result<(), Ending> {
        self.check_identity()?;
        let mut frames = Vec::new();
        loop {
            let Some(open) = &mut self.open else { return Err(Ending::protocol()) };
            match open.line.collect(&mut frames) {
                Step::Idle => return Ok(()),
                Step::Write { more } => {
                    self.edge.meters.frames.inc_by(frames.len() as u64);
                    self.edge.meters.writes.inc();
                    self.took = Instant::now();
                    self.socket.send_all(&mut frames);
                    if more {
                        // The rest is collected when this has been written.
                        open.line.poke();
                    }
                    return Ok(());
                }
                Step::Gap { channels, reason } => self.tell_gap(&channels, reason),
            }
        }
    }

    pub(super) fn tell_gap(&mut self, channels: &[Channel], reason: GapReason) {
        self.edge.meters.gaps.inc();
        let all;
        let channels = match (&self.open, channels) {
            (Some(open), []) => {
                all = open.channels();
                &all
            }
            (_, channels) => channels,
        };
        let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
        let payload = json!({ "channels": names, "reason": reason.name() });
        self.send("gap", &payload);
    }

    pub(super) fn send(&mut self, kind: &str, payload: &Value) {
        self.socket.send(websocket::message(kind, payload));
    }

    async fn process_messages(&mut self) -> Result<(), Ending> {
        let limits = Limits { text: self.edge.limits.message_bytes, binary: 1_000_000 };
        loop {
            match self.socket.reader.next_message(limits) {
                Ok(Some(message)) => Box::pin(self.process(message)).await?,
                Ok(None) => return Ok(()),
                Err(violation) => return Err(Ending::violation(violation)),
            }
        }
    }

    pub(super) async fn process(&mut self, message: Message) -> Result<(), Ending> {
        match message {
            Message::Text(text) => self.request(&text).await,
            Message::Ping(payload) => {
                self.socket.send(frame(Opcode::Pong, &[&payload]));
                Ok(())
            }
            Message::Pong(_) => {
                if let Some(open) = &mut self.open
                    && let Some(cursor) = open.pinged.take()
                {
                    open.received(cursor);
                }
                Ok(())
            }
            Message::Close(code) => Err(Ending::by_client(code)),
            Message::Binary(_) => {
                let advice = "Binary messages are voice and need an open conversation.";
                self.socket.send(websocket::error(None, "no_conversation", advice));
                Ok(())
            }
        }
    }

    /// Whatever is due by the clock.
    async fn tick(&mut self) -> Result<(), Ending> {
        let limits = self.edge.limits;
        if !self.socket.is_drained() && self.took.elapsed() >= limits.lag {
            self.edge.meters.lagging.inc();
            return Err(Ending::lagging());
        }
        if self.heard.elapsed() > limits.heartbeat * SILENT_HEARTBEATS + limits.heartbeat / 2 {
            return Err(Ending::gone());
        }
        self.check_identity_now()?;
        self.ask_again().await?;
        if self.socket.is_drained() {
            self.heartbeat();
        }
        self.store_received().await
    }

    fn heartbeat(&mut self) {
        let Some(open) = &mut self.open else { return };
        let payload = json!({ "timestamp": clock::unix_millis() });
        let beat = json!({ "type": "heartbeat", "payload": payload, "cursor": open.line.cursor() });
        open.pinged = Some(open.line.session().cursor());
        self.socket.send(frame(Opcode::Text, &[beat.to_string().as_bytes()]));
        self.socket.send(frame(Opcode::Ping, &[]));
    }

    /// Keeps what the client is known to have received for when it comes back without a cursor.
    async fn store_received(&mut self) -> Result<(), Ending> {
        match &mut self.open {
            Some(open) if !open.received_is_stored => {
                open.received_is_stored = true;
                self.store_record().await
            }
            _ => Ok(()),
        }
    }

    /// Stores the session record; losing the race for it means that another connection has the session now.
    pub(super) async fn store_record(&mut self) -> Result<(), Ending> {
        let Some(open) = &mut self.open else { return Ok(()) };
        open.record.set_channels(open.line.session().subscriptions());
        let tenant = &open.identity.tenant;
        let saved =
            self.edge.records.save(tenant, &open.client_id, &open.record, open.revision).await;
        match saved {
            Ok(revision) => {
                open.revision = revision;
                Ok(())
            }
            Err(crate::records::RecordError::TakenOver) => Err(Ending::taken_over()),
            Err(error) => {
                debug!(error = %runtime::telemetry::chain(&error), "a session record");
                Err(Ending::unavailable())
            }
        }
    }

    /// The next time something is due by the clock: a heartbeat, the token's end, or the asking again.
    fn next_tick(&self) -> Instant {
        let mut next = Instant::now() + self.edge.limits.heartbeat.min(self.edge.limits.lag);
        if let Some(open) = &self.open {
            if let Some(expires) = open.identity.expires_at {
                let left = (expires * 1_000 - clock::unix_millis()).max(0) as u64;
                next = next.min(Instant::now() + Duration::from_millis(left + 1));
            }
            if let Some((at, _)) = open.ask_again {
                next = next.min(at);
            }
        }
        next
    }

    pub(super) fn reset_timer(&mut self) {
        self.timer_is_stale = true;
    }

    pub(super) fn check_identity(&mut self) -> Result<(), Ending> {
        let now = self.edge.checks.load(Ordering::Acquire);
        match &mut self.open {
            Some(open) if open.checked != now => {
                open.checked = now;
                self.check_identity_now()
            }
            _ => Ok(()),
        }
    }

    fn check_identity_now(&self) -> Result<(), Ending> {
        let Some(open) = &self.open else { return Ok(()) };
        self.edge.auth.still_valid(&open.identity).map_err(|error| Ending::refused(&error))
    }

    async fn ask_again(&mut self) -> Result<(), Ending> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let Some((at, credentials)) = &open.ask_again else { return Ok(()) };
        if *at > Instant::now() {
            return Ok(());
        }
        let admitted = self.edge.auth.authenticate(credentials).await;
        let admitted = admitted.map_err(|error| Ending::refused(&error))?;
        open.identity = Arc::new(admitted.identity);
        open.ask_again = admitted.ask_again.map(|again| (Instant::now() + ASK_AGAIN, again));
        Ok(())
    }

    /// Spread over a moment, so that the clients of a node that stops do not come back all at once.
    async fn drain(&self) -> Ending {
        tokio::time::sleep(Duration::from_millis(ids::jitter(500))).await;
        Ending::draining(250 + ids::jitter(1_500))
    }

    async fn finish(mut self, ending: Ending) {
        self.edge.meters.websockets.dec();
        if let Some(open) = &mut self.open
            && !open.received_is_stored
            && ending.code != Ending::taken_over().code
        {
            // The client can still resume from its own cursor when this is lost.
            let _lost = self.store_received().await;
        }
        // The session ends before the goodbye: whoever takes it over must not wait for a slow socket.
        self.open = None;
        if ending.code != 0 {
            self.socket.send(close_frame(ending.code, &ending.reason));
            let _slow = timeout(GOODBYE, self.socket.flush()).await;
        }
    }

    pub(super) fn queue(&mut self, frame: Bytes) {
        self.socket.send(frame);
    }
}
