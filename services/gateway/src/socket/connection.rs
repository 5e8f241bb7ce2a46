//! The life of one WebSocket: what it is due, what its client says, when it ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use domain::Channel;
use domain::cursor::Cursor;
use futures_util::FutureExt as _;
use runtime::auth::Credentials;
use runtime::clock;
use runtime::http::Peer;
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::ending::Ending;
use super::io::{Happened, Socket};
use crate::edge::Edge;
use crate::line::{GapReason, Step};
use crate::member::{Brought, Member};
use crate::queries;
use crate::throttle::{Throttle, Verdict};
use crate::voice;
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
    /// Present once the client has said who it is.
    pub(super) member: Option<Box<Member>>,
    /// What a client brought that was let in without a credential and may still say who it is.
    pub(super) guest: Option<Box<Brought>>,
    pub(super) throttle: Throttle,
    /// When the client was last heard of.
    heard: Instant,
    /// When the socket last took something, or had nothing to take.
    took: Instant,
    /// The timer is to be set anew.
    timer_is_stale: bool,
    /// The position at the last ping, which its pong confirms.
    pub(super) pinged: Option<(u32, Cursor)>,
    pings: u32,
}

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
            member: None,
            guest: None,
            throttle,
            heard: now,
            took: now,
            timer_is_stale: true,
            pinged: None,
            pings: 0,
        };
        let ending = match connection.serve(brought).await {
            Ok(never) => match never {},
            Err(ending) => ending,
        };
        // Boxed: a connection lives with the size of its largest moment.
        Box::pin(connection.finish(ending)).await;
    }

    async fn serve(&mut self, brought: Brought) -> Result<Infallible, Ending> {
        self.heard = Instant::now();
        Box::pin(self.greet(brought)).await?;
        self.process_messages().await?;
        let mut timer = Box::pin(sleep_until(Instant::now()));
        loop {
            if std::mem::take(&mut self.timer_is_stale) {
                timer.as_mut().reset(self.next_tick());
            }
            self.turn(&mut timer).await?;
        }
    }

    /// Waits for one thing to happen and deals with it.
    async fn turn(&mut self, timer: &mut Pin<Box<Sleep>>) -> Result<(), Ending> {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let Member { lease, line, checks, .. } = &mut **member;
        let is_drained = self.socket.is_drained();
        tokio::select! {
            biased;
            // While nothing is being written, the line's wake-up says that there is something to look at.
            () = lease.fenced(), if !is_drained => return Err(Ending::taken_over()),
            () = self.edge.drain.cancelled(), if !is_drained => return Err(drain().await),
            _ = checks.changed(), if !is_drained => {
                member.check_identity_now().map_err(Ending::lost)?;
            }
            () = timer.as_mut() => Box::pin(self.tick()).await?,
            happened = self.socket.drive() => match happened {
                Ok(Happened::Wrote) => self.took = Instant::now(),
                Ok(Happened::Read) => {
                    self.process_messages().await?;
                    // What its request took is none of its silence.
                    self.heard = Instant::now();
                    self.look_up().await?;
                }
                Ok(Happened::Closed) | Err(_) => return Err(Ending::gone()),
            },
            () = line.ready(), if is_drained => self.wake().await?,
        }
        Ok(())
    }

    /// The socket of a client that never stops talking is always ready; the line gets its turn between reads.
    async fn look_up(&mut self) -> Result<(), Ending> {
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        if self.socket.is_drained() && member.line.ready().now_or_never().is_some() {
            self.wake().await?;
        }
        Ok(())
    }

    async fn wake(&mut self) -> Result<(), Ending> {
        if self.member.as_ref().is_some_and(|member| member.lease.is_fenced()) {
            return Err(Ending::taken_over());
        }
        if self.edge.is_draining() {
            return Err(drain().await);
        }
        if self.member.as_ref().is_some_and(|member| member.has_answers()) {
            Box::pin(self.tell_answers()).await?;
        }
        self.deliver()
    }

    /// Collects what is due until the socket has something to write or nothing is left.
    fn deliver(&mut self) -> Result<(), Ending> {
        let mut frames = Vec::new();
        loop {
            let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
            member.check_identity().map_err(Ending::lost)?;
            match member.line.collect(&mut frames) {
                Step::Idle => return Ok(()),
                Step::Write { more } => {
                    self.edge.meters.frames.inc_by(frames.len() as u64);
                    self.edge.meters.writes.inc();
                    self.took = Instant::now();
                    if more {
                        // The rest is collected when this has been written.
                        member.line.poke();
                    }
                    self.socket.send_all(&mut frames);
                    return Ok(());
                }
                Step::Gap { channels, reason } => {
                    if reason == GapReason::Rewritten {
                        member.rewritten();
                    }
                    self.tell_gap(&channels, reason);
                }
            }
        }
    }

    /// No channels stand for all of the session's.
    pub(super) fn tell_gap(&mut self, channels: &[Channel], reason: GapReason) {
        self.edge.meters.gaps.inc();
        let all;
        let channels = match (&self.member, channels) {
            (Some(member), []) => {
                all = member.channels();
                &all
            }
            (_, channels) => channels,
        };
        let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
        self.send("gap", &json!({ "channels": names, "reason": reason.name() }));
        if let Some(member) = &mut self.member
            && reason != GapReason::Forbidden
        {
            queries::snapshots(&self.edge, member, channels, queries::SNAPSHOT);
        }
    }

    pub(super) fn send(&mut self, kind: &str, payload: &Value) {
        self.socket.send(websocket::message(kind, payload));
    }

    pub(super) fn queue(&mut self, frame: Bytes) {
        self.socket.send(frame);
    }

    /// The identity may have changed, and with it when it is to be looked at.
    pub(super) fn reset_timer(&mut self) {
        self.timer_is_stale = true;
    }

    fn frame_limits(&self) -> Limits {
        Limits { text: self.edge.limits.message_bytes, binary: voice::LONGEST_FRAME }
    }

    async fn process_messages(&mut self) -> Result<(), Ending> {
        let limits = self.frame_limits();
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
            Message::Text(text) => return self.request(&text).await,
            Message::Close(code) => return Err(Ending::by_client(code)),
            // Frames that carry no message count as well, or a flood of them would cost its sender nothing.
            Message::Ping(payload) => match self.throttle.take() {
                Verdict::Accept => self.queue(frame(Opcode::Pong, &[&payload])),
                Verdict::Refuse => {}
                Verdict::End => return Err(Ending::rate_limited()),
            },
            Message::Pong(_) if self.throttle.take() == Verdict::End => {
                return Err(Ending::rate_limited());
            }
            Message::Pong(payload) => {
                let answered = self.pinged.take_if(|(ping, _)| payload == ping.to_be_bytes()[..]);
                if let (Some(member), Some((_, cursor))) = (&mut self.member, answered) {
                    member.received(cursor);
                }
            }
            Message::Binary(chunk) => return self.voice(chunk),
        }
        Ok(())
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
        let Some(member) = &mut self.member else { return Err(Ending::protocol()) };
        let lost = member.tick().await.map_err(Ending::lost)?;
        if !lost.is_empty() {
            self.tell_gap(&lost, GapReason::Forbidden);
        }
        if self.socket.is_drained() {
            // The position of a client that nothing is due to moves on with the log.
            self.deliver()?;
            self.heartbeat();
        }
        self.timer_is_stale = true;
        Ok(())
    }

    fn heartbeat(&mut self) {
        let Some(member) = &self.member else { return };
        let payload = json!({ "timestamp": clock::unix_millis() });
        let beat = json!({
            "type": "heartbeat",
            "payload": payload,
            "cursor": member.line.cursor(),
        });
        let cursor = member.line.session().cursor();
        self.pings = self.pings.wrapping_add(1);
        self.pinged = Some((self.pings, cursor));
        let ping = self.pings.to_be_bytes();
        self.queue(frame(Opcode::Text, &[beat.to_string().as_bytes()]));
        self.queue(frame(Opcode::Ping, &[&ping]));
    }

    fn next_tick(&self) -> Instant {
        let regular = Instant::now() + self.edge.limits.heartbeat.min(self.edge.limits.lag);
        self.member.as_ref().map_or(regular, |member| member.next_tick(regular))
    }

    async fn finish(mut self, ending: Ending) {
        self.edge.meters.websockets.dec();
        match self.member.take() {
            Some(mut member) if ending.is_goodbye() => member.goodbye().await,
            // Also where it was taken over: who takes it over waits for this and goes on from it.
            Some(mut member) => {
                // The client can still resume from its own cursor when this is lost.
                let _lost = member.store_received().await;
            }
            None => {}
        }
        // The session has ended before the goodbye: whoever takes it over must not wait for a slow socket.
        if ending == Ending::gone() {
            return;
        }
        let limits = self.frame_limits();
        let mut socket = self.socket;
        socket.send(close_frame(ending.code, &ending.reason));
        let _slow = if ending.is_answer {
            timeout(GOODBYE, socket.flush()).await.is_err()
        } else {
            timeout(GOODBYE, socket.farewell(limits)).await.is_err()
        };
    }
}

/// Spread over a moment, so that the clients of a node that stops do not come back all at once.
async fn drain() -> Ending {
    tokio::time::sleep(Duration::from_millis(ids::jitter(500))).await;
    Ending::draining(250 + ids::jitter(1_500))
}
