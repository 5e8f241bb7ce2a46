//! The platform's namespace: a member of the log at a Socket.IO connection, what it is due and when it ends.

use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use domain::Channel;
use domain::cursor::Cursor;
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::namespaces::{Handler, Namespaces};
use super::{Applications, Closing, Handshake, Options, Outbox, routes};
use crate::edge::Edge;
use crate::line::{GapReason, Step};
use crate::member::{Lost, Member};
use crate::queries;
use crate::throttle::{Throttle, Verdict};
use crate::voice;
use crate::wires::socketio::{self, Event, MAIN};

/// Where stock clients look for a server.
pub(super) const PATH: &str = "/socket.io";
/// What is due is collected at most this often in a row before the connection looks at its socket again.
const GAPS_AT_ONCE: usize = 8;

fn platform_options(edge: &Edge) -> Options {
    Options {
        ping_interval: edge.limits.heartbeat,
        // A chunk of voice that is too long is refused in words.
        max_packet: voice::LONGEST_FRAME,
        ..Options::default()
    }
}

/// Socket.IO over the platform's log.
pub(crate) fn routes_of(edge: &Edge) -> Router {
    let applications = Platforms { edge: edge.clone() };
    routes(PATH, platform_options(edge), applications, edge.connections.clone())
}

#[derive(Clone)]
struct Platforms {
    edge: Edge,
}

impl Applications for Platforms {
    type Application = Namespaces<Platform>;

    fn open(&self, handshake: Handshake) -> Self::Application {
        let platform = Platform::new(self.edge.clone(), handshake);
        Namespaces::new(platform, platform_options(&self.edge))
    }
}

pub(super) struct Platform {
    pub(super) edge: Edge,
    pub(super) handshake: Box<Handshake>,
    pub(super) throttle: Throttle,
    /// Present while the client is in the namespace.
    pub(super) member: Option<Box<Member>>,
    /// Nothing of the log is sent before the client has put its listeners on.
    pub(super) hold: Option<Hold>,
    tick_at: Instant,
    /// Where the session stood at the last ping that is not answered yet.
    pinged: Option<Cursor>,
    /// When and where the client was last told its position.
    told: (Instant, Option<Cursor>),
}

/// What waits for the client's first packet.
pub(super) struct Hold {
    pub(super) until: Instant,
    /// What was collected when the session was looked at.
    pub(super) frames: Vec<Bytes>,
}

impl Platform {
    fn new(edge: Edge, handshake: Handshake) -> Self {
        let throttle = Throttle::new(edge.limits.messages_per_second);
        edge.meters.socketio.inc();
        let now = Instant::now();
        Self {
            edge,
            handshake: Box::new(handshake),
            throttle,
            member: None,
            hold: None,
            tick_at: now,
            pinged: None,
            told: (now, None),
        }
    }

    pub(super) fn begin(&mut self, member: Box<Member>, hold: Hold) {
        self.told = (Instant::now(), None);
        self.pinged = None;
        self.member = Some(member);
        self.hold = Some(hold);
        self.set_tick();
    }

    /// The identity may have changed, and with it when it is to be looked at.
    pub(super) fn set_tick(&mut self) {
        let regular = Instant::now() + self.edge.limits.heartbeat;
        self.tick_at = self.member.as_ref().map_or(regular, |member| member.next_tick(regular));
    }

    /// The client is there: what it missed follows, then what is new.
    pub(super) fn release(&mut self, outbox: &mut Outbox) {
        let Some(hold) = self.hold.take() else { return };
        if let Some(member) = &self.member {
            member.line.poke();
        }
        outbox.extend(hold.frames);
    }

    /// An event of the connection's own. It carries the session's position, as every event does.
    pub(super) fn emit(&mut self, name: &str, argument: &Value, outbox: &mut Outbox) {
        let Some(member) = &self.member else { return };
        let cursor = member.line.cursor();
        outbox.push(socketio::event(MAIN, name, std::slice::from_ref(argument), Some(&cursor)));
    }

    /// No channels stand for all of the session's.
    pub(super) fn tell_gap(
        &mut self,
        channels: &[Channel],
        reason: GapReason,
        outbox: &mut Outbox,
    ) {
        let Some(member) = &self.member else { return };
        let cursor = member.line.cursor();
        let all;
        let channels = match channels {
            [] => {
                all = member.channels();
                &all
            }
            channels => channels,
        };
        self.tell_gap_at(channels, reason, &cursor, outbox);
    }

    /// With a position that is not the session's own: it may have read on for what is held.
    pub(super) fn tell_gap_at(
        &mut self,
        channels: &[Channel],
        reason: GapReason,
        cursor: &str,
        outbox: &mut Outbox,
    ) {
        self.edge.meters.gaps.inc();
        let names: Vec<_> = channels.iter().map(Channel::as_str).collect();
        let gap = json!({ "channels": names, "reason": reason.name() });
        outbox.push(socketio::event(MAIN, "throughline:gap", &[gap], Some(cursor)));
        if let Some(member) = &mut self.member
            && reason != GapReason::Forbidden
        {
            queries::snapshots(&self.edge, member, channels, queries::THROUGHLINE_SNAPSHOT);
        }
    }

    /// Collects what is due until there is something to write or nothing is left.
    fn deliver(&mut self, outbox: &mut Outbox) -> Result<(), Closing> {
        for _ in 0..GAPS_AT_ONCE {
            let Some(member) = &mut self.member else { return Ok(()) };
            member.check_identity().map_err(|lost| closing(&lost))?;
            let before = outbox.frames().len();
            match member.line.collect(outbox.frames()) {
                Step::Idle => return Ok(()),
                Step::Write { more } => {
                    if more {
                        // The rest is collected when this has been written.
                        member.line.poke();
                    }
                    let collected = outbox.frames().len() - before;
                    self.edge.meters.frames.inc_by(collected as u64);
                    self.edge.meters.writes.inc();
                    self.told = (Instant::now(), None);
                    return Ok(());
                }
                Step::Gap { channels, reason } => {
                    if reason == GapReason::Rewritten {
                        member.rewritten();
                    }
                    self.tell_gap(&channels, reason, outbox);
                }
            }
        }
        if let Some(member) = &self.member {
            member.line.poke();
        }
        Ok(())
    }

    /// A client that has had no event for long is told where it stands, so that retention does not overtake it.
    fn tell_position(&mut self, outbox: &mut Outbox) {
        let (at, last) = self.told;
        let Some(member) = &self.member else { return };
        if at.elapsed() < self.edge.limits.position_every || !member.line.session().is_live() {
            return;
        }
        let now = member.line.session().cursor();
        self.told = (Instant::now(), Some(now));
        if last != Some(now) {
            let cursor = member.line.cursor();
            outbox.push(socketio::event(MAIN, "throughline:position", &[], Some(&cursor)));
        }
    }

    fn count_disconnect(&self, reason: &'static str) {
        self.edge.meters.disconnects.get_or_create(&[("reason", reason)]).inc();
    }

    async fn tick(&mut self, outbox: &mut Outbox) -> Result<(), Closing> {
        if let Some(member) = &mut self.member {
            let lost = member.tick().await.map_err(|lost| closing(&lost))?;
            if !lost.is_empty() {
                self.tell_gap(&lost, GapReason::Forbidden, outbox);
            }
        }
        self.set_tick();
        Ok(())
    }
}

/// In every case by closing the transport: a client that may come back does, one that may not is refused then.
pub(super) fn closing(lost: &Lost) -> Closing {
    match lost {
        Lost::TakenOver | Lost::Unavailable | Lost::Identity(_) => Closing::ForcedServerClose,
    }
}

impl Handler for Platform {
    async fn connect(
        &mut self,
        namespace: &str,
        auth: Value,
        outbox: &mut Outbox,
    ) -> Result<bool, Closing> {
        if self.throttle.take() != Verdict::Accept {
            return Err(Closing::RateLimited);
        }
        if namespace != MAIN {
            outbox.refuse(namespace, "Invalid namespace", None);
            return Ok(false);
        }
        self.let_in(&auth, outbox).await
    }

    async fn event(
        &mut self,
        _namespace: &str,
        event: Event,
        outbox: &mut Outbox,
    ) -> Result<(), Closing> {
        self.release(outbox);
        self.request(event, outbox).await
    }

    /// The platform asks for no acknowledgements: one that comes is stale, and counts as a message.
    fn acked(&mut self, _namespace: &str) -> Result<(), Closing> {
        match self.throttle.take() {
            Verdict::Accept | Verdict::Refuse => Ok(()),
            Verdict::End => Err(Closing::RateLimited),
        }
    }

    async fn disconnect(&mut self, _namespace: &str) {
        self.hold = None;
        if let Some(mut member) = self.member.take() {
            self.count_disconnect("client namespace disconnect");
            member.goodbye().await;
        }
    }

    async fn wait(&mut self, drained: bool) {
        let Some(member) = &mut self.member else {
            return self.edge.drain.cancelled().await;
        };
        let Member { lease, line, checks, .. } = &mut **member;
        if drained && self.hold.is_none() {
            // Its wake-up also says that there is something else to look at.
            return line.ready().await;
        }
        tokio::select! {
            () = lease.fenced() => {}
            () = self.edge.drain.cancelled() => {}
            // The sender is the edge's own and outlives every connection.
            _ = checks.changed() => self.tick_at = Instant::now(),
        }
    }

    async fn act(&mut self, drained: bool, outbox: &mut Outbox) -> Result<(), Closing> {
        if self.edge.is_draining() {
            // Spread over a moment, so that the clients of a node that stops do not come back all at once.
            Box::pin(sleep(Duration::from_millis(ids::jitter(500)))).await;
            return Err(Closing::ServerShuttingDown);
        }
        let Some(member) = &self.member else { return Ok(()) };
        if member.lease.is_fenced() {
            return Err(Closing::ForcedServerClose);
        }
        let now = Instant::now();
        if self.hold.as_ref().is_some_and(|hold| hold.until <= now) {
            self.release(outbox);
            return Ok(());
        }
        let is_due = self.tick_at <= now;
        if is_due {
            Box::pin(self.tick(outbox)).await?;
        }
        if drained && self.hold.is_none() {
            if self.member.as_ref().is_some_and(|member| member.has_answers()) {
                Box::pin(self.tell_answers(outbox)).await?;
            }
            self.deliver(outbox)?;
            if is_due && outbox.is_empty() {
                self.tell_position(outbox);
            }
        }
        Ok(())
    }

    /// What is held has been read and not sent.
    fn pinged(&mut self) {
        let member = self.member.as_ref().filter(|_| self.hold.is_none());
        self.pinged = member.map(|member| member.line.session().cursor());
    }

    fn ponged(&mut self) {
        if let (Some(member), Some(cursor)) = (&mut self.member, self.pinged.take()) {
            member.received(cursor);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.member.as_ref()?;
        Some(self.hold.as_ref().map_or(self.tick_at, |hold| hold.until.min(self.tick_at)))
    }

    async fn closed(&mut self, closing: Closing) {
        self.edge.meters.socketio.dec();
        let Some(mut member) = self.member.take() else { return };
        self.count_disconnect(closing.reason());
        if closing != Closing::ForcedServerClose {
            // The client can still resume from its own cursor when this is lost.
            let _lost = member.store_received().await;
        }
    }
}
