//! A session at the hub: what a connection of any wire reads its frames from.
//! It joins the pure session with wake-ups and pages; it knows no socket.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use domain::cursor::{Cursor, CursorKeys};
use domain::{Channel, Position, Tenant};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::edge::Opening;
use crate::hub::{Hub, ListenerId, Signal};
use crate::library::{Answered, Library};
use crate::presence::Attendant;
use crate::receipts::Witness;
use crate::session::{Delivery, Extent, Fill, Progress, Session, Sink, Start};
use crate::typing::except;
use crate::wires::Wire;

/// The most frames and bytes of one write.
const FRAMES: usize = 64;
const BYTES: usize = 64 * 1024;

/// What a connection is to do next.
pub(crate) enum Step {
    /// Wait: nothing is due.
    Idle,
    /// Write what was collected; `more` is due behind it.
    Write { more: bool },
    /// Tell the client that these channels (all, when empty) have a gap.
    Gap { channels: Vec<Channel>, reason: GapReason },
}

/// Why something cannot be given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GapReason {
    Expired,
    UnknownPosition,
    OtherTenant,
    Rewritten,
    Forbidden,
}

impl GapReason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::UnknownPosition => "unknown_position",
            Self::OtherTenant => "other_tenant",
            Self::Rewritten => "rewritten",
            Self::Forbidden => "forbidden",
        }
    }
}

pub(crate) struct Line {
    hub: Arc<Hub>,
    library: Library,
    wire: Wire,
    id: ListenerId,
    signal: Arc<Signal>,
    session: Session,
    /// Behind a mutex only so that a line may be shared by reference; it is never locked.
    paging: Option<Mutex<BoxFuture<'static, Answered>>>,
    expired: Vec<Channel>,
    /// Its place among those who are there.
    attendant: Option<Attendant>,
    /// Who notes what critical events it was sent.
    witness: Option<Witness>,
}

impl Line {
    pub(crate) fn open(
        hub: &Arc<Hub>,
        library: &Library,
        wire: Wire,
        tenant: Tenant,
        opening: &Opening,
    ) -> Self {
        let signal = Arc::new(Signal::default());
        let id = hub.register(&signal);
        let Opening { start, rewinds, .. } = opening;
        let session = hub.with_tail(|tail| Session::new(tenant, start, *rewinds, tail));
        let (hub, library) = (hub.clone(), library.clone());
        let (paging, expired, attendant, witness) = (None, Vec::new(), None, None);
        Self { hub, library, wire, id, signal, session, paging, expired, attendant, witness }
    }

    /// From now on it is noted which critical events it was sent, and from here on received.
    pub(crate) fn witness(&mut self, witness: Witness, opening: &Opening) {
        if let Start::After(cursor) = &opening.start {
            witness.received(cursor);
        }
        self.witness = Some(witness);
    }

    /// The client has everything up to this cursor.
    pub(crate) fn received(&self, cursor: &Cursor) {
        if let Some(witness) = &self.witness {
            witness.received(cursor);
        }
    }

    /// From now on others can see who this is and which channels it is in.
    pub(crate) fn attend(&mut self, attendant: Attendant) {
        attendant.join(self.session.channels());
        self.attendant = Some(attendant);
    }

    pub(crate) fn attendant(&self) -> Option<&Attendant> {
        self.attendant.as_ref()
    }

    fn is_in<'a>(&self, channels: impl Iterator<Item = &'a Channel> + Clone) {
        if let Some(attendant) = &self.attendant {
            attendant.join(channels);
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn cursor(&self) -> String {
        self.hub.keys.encode(self.session.tenant(), &self.session.cursor())
    }

    /// Waits until something may be due; safe to drop while waiting.
    pub(crate) async fn ready(&mut self) {
        let Some(paging) = &mut self.paging else { return self.signal.wait().await };
        let paging = paging.get_mut().unwrap_or_else(PoisonError::into_inner);
        tokio::select! {
            answered = paging => {
                self.paging = None;
                self.expired = answered.expired;
                self.session.turn(answered.page);
            }
            () = self.signal.wait() => {}
        }
    }

    /// Collects what is due into `frames`, which is empty.
    pub(crate) fn collect(&mut self, frames: &mut Vec<Bytes>) -> Step {
        if !self.expired.is_empty() {
            return Step::Gap {
                channels: std::mem::take(&mut self.expired),
                reason: GapReason::Expired,
            };
        }
        let user = self.attendant.as_ref().map(|attendant| &*attendant.user);
        let mut batch = Batch {
            frames,
            wire: self.wire,
            keys: &self.hub.keys,
            tenant: self.session.tenant().clone(),
            user,
            witness: self.witness.as_ref(),
            bytes: 0,
        };
        let progress = self.hub.with_tail(|tail| self.session.collect(tail, &mut batch));
        let has_frames = batch.bytes > 0;
        let more = matches!(progress, Progress::Full);
        match progress {
            Progress::Rewritten => {
                self.paging = None;
                self.hub.with_tail(|tail| self.session.restart(tail));
                return Step::Gap { channels: Vec::new(), reason: GapReason::Rewritten };
            }
            Progress::NeedsPage(wish) if self.paging.is_none() => {
                let (library, tenant) = (self.library.clone(), self.session.tenant().clone());
                let paging = async move { library.page(&tenant, &wish).await };
                self.paging = Some(Mutex::new(paging.boxed()));
            }
            Progress::NeedsPage(_) | Progress::Idle | Progress::Full => {}
        }
        if has_frames { Step::Write { more } } else { Step::Idle }
    }

    /// What wakes the connection.
    pub(crate) fn signal(&self) -> Arc<Signal> {
        self.signal.clone()
    }

    /// Makes [`Line::ready`] resolve once more.
    pub(crate) fn poke(&self) {
        self.signal.raise();
    }

    /// Joins a channel from now on.
    pub(crate) fn join(&mut self, channel: &Channel) {
        self.hub.change(self.id, &mut self.session, |session, tail| session.join(channel, tail));
        self.is_in(std::iter::once(channel));
        self.signal.raise();
    }

    /// Restores memberships at their floors.
    pub(crate) fn join_above(&mut self, channels: &[(Channel, Position)]) {
        self.hub.change(self.id, &mut self.session, |session, tail| {
            for (channel, floor) in channels {
                session.join_above(channel, *floor, tail);
            }
        });
        self.is_in(channels.iter().map(|(channel, _)| channel));
        self.signal.raise();
    }

    /// Joins right after a cursor; a back-fill that is returned belongs into the session record before anything else.
    pub(crate) fn join_after(
        &mut self,
        channel: &Channel,
        after: &Cursor,
        extent: Extent,
    ) -> Option<Fill> {
        // A page that is on its way was asked for without the channel.
        self.paging = None;
        let fill = self.hub.change(self.id, &mut self.session, |session, tail| {
            session.join_after(channel, after, extent, tail)
        });
        self.is_in(std::iter::once(channel));
        self.signal.raise();
        fill
    }

    pub(crate) fn leave(&mut self, channel: &Channel) -> bool {
        self.paging = None;
        let left = self
            .hub
            .change(self.id, &mut self.session, |session, tail| session.leave(channel, tail));
        if let Some(attendant) = &self.attendant {
            attendant.part(channel);
        }
        self.signal.raise();
        left
    }

    pub(crate) fn resume_fills(&mut self, fills: &[Fill], cursor: &Cursor) -> Vec<Fill> {
        self.signal.raise();
        self.session.resume_fills(fills, cursor)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hub.leave(self.id, &mut self.session);
    }
}

/// The frames of one write.
struct Batch<'a> {
    frames: &'a mut Vec<Bytes>,
    wire: Wire,
    keys: &'a CursorKeys,
    tenant: Tenant,
    user: Option<&'a str>,
    witness: Option<&'a Witness>,
    bytes: usize,
}

impl Sink for Batch<'_> {
    fn deliver(&mut self, delivery: Delivery<'_>) {
        let (entry, variant) = match &delivery {
            Delivery::Shared { slot, variant } => (&*slot.entry, *variant),
            Delivery::Own { entry, variant, .. } => (*entry, *variant),
        };
        if !self.wire.carries(&entry.variants()[variant]) {
            return;
        }
        // Few events have one, and they are ephemeral: nobody's position depends on them.
        if entry.except.is_some() && entry.except == self.user.and_then(except).map(Into::into) {
            return;
        }
        if entry.envelope.critical
            && let Some(witness) = self.witness
        {
            witness.sent(entry);
        }
        let frame = match delivery {
            Delivery::Shared { slot, variant } => slot.shared_frame(variant, self.wire, self.keys),
            Delivery::Own { entry, variant, cursor } => {
                let cursor = self.keys.encode(&self.tenant, &cursor);
                self.wire.finish(&entry.body(variant, self.wire), &cursor)
            }
        };
        self.bytes += frame.len();
        self.frames.push(frame);
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= FRAMES || self.bytes >= BYTES
    }
}
