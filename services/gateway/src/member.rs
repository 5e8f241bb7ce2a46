//! A client that has said who it is: its session, its channels, its record, whatever wire it speaks.
//!
//! It opens a session (new, behind a cursor, or taken over by the id a server minted for it), joins and leaves
//! channels, and keeps what another node would need. It knows no socket and no frame.

use std::sync::Arc;
use std::time::Duration;

use domain::cursor::Cursor;
use domain::{Channel, Identity, Position};
use runtime::auth::{Admitted, AuthError, Credentials};
use runtime::clock;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::commands::desk::Desk;
use crate::devices::{Device, Remembered};
use crate::edge::{Edge, FORBIDDEN, Refused, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::line::{GapReason, Line};
use crate::records::{Record, Revision};
use crate::registry::Lease;
use crate::session::Extent;

mod asking;
mod keeping;
mod opening;

pub(crate) use opening::Opened;

/// How often another system that vouched for the client is asked whether it still does.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// The same while it cannot be reached.
const ASK_SOON: Duration = Duration::from_secs(3);
/// Joins with `after` that may wait for their turn; cursors tell 128 of them apart.
const WAITING_FILLS: usize = 64;
/// Back-fills that are kept although the client is known to have them behind it.
const PASSED_FILLS: usize = 16;
/// A live session's record is stored again well before it expires.
const STORE_AGAIN: Duration = Duration::from_secs(12 * 3_600);

const TOO_MANY_JOINS: Refused = Refused::new(
    "too_many_joins",
    "Too many channels are still being caught up with; join this one when some have been.",
);
const BAD_CURSOR: Refused =
    Refused::new("bad_cursor", "This is not a cursor of this platform for this tenant.");

/// What a client may bring when it connects.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Brought {
    /// The id that a server minted for it earlier.
    pub(crate) client_id: Option<String>,
    pub(crate) cursor: Option<String>,
    /// A name that the client gave itself.
    pub(crate) device: Option<String>,
    /// What a session was in that this one goes on for, each channel with its floor.
    #[serde(skip)]
    pub(crate) memberships: Vec<(Channel, Position)>,
}

impl Brought {
    pub(crate) const fn is_empty(&self) -> bool {
        self.client_id.is_none()
            && self.cursor.is_none()
            && self.device.is_none()
            && self.memberships.is_empty()
    }
}

/// The position in what a client says. What is there and no text is no cursor either and is answered like one that is
/// garbage: who brings a position has been somewhere, and must not be told by silence that nothing was missed.
pub(crate) fn position_in(said: &Value, field: &str) -> Option<String> {
    match said.get(field)? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Why a client cannot go on.
#[derive(Debug)]
pub(crate) enum Lost {
    /// Another connection has its session now.
    TakenOver,
    /// What it needs cannot be reached; it may come back in a moment.
    Unavailable,
    /// It is not who it was let in as any more.
    Identity(AuthError),
}

/// What came of a request that may end the connection.
pub(crate) type Outcome<T> = Result<Result<T, Refused>, Lost>;

/// A channel that was joined.
pub(crate) struct Joined {
    pub(crate) channel: Channel,
    /// Whether what was missed of it follows.
    pub(crate) recovered: bool,
    pub(crate) gap: Option<GapReason>,
}

pub(crate) struct Member {
    pub(crate) identity: Arc<Identity>,
    /// Minted by a server; whoever brings it with a token of the same user gets the session.
    pub(crate) client_id: Arc<str>,
    pub(crate) device: Device,
    pub(crate) line: Line,
    /// Tells when another connection takes the session over.
    pub(crate) lease: Lease,
    edge: Edge,
    record: Record,
    revision: Revision,
    /// What joins without a position of their own go on from.
    remembered: Option<Remembered>,
    ask_again: Option<(Instant, Credentials)>,
    /// Changes whenever the identity is to be looked at again.
    pub(crate) checks: watch::Receiver<u64>,
    /// Whether the record says what the session is.
    is_stored: bool,
    stored_at: Instant,
    /// The record while it is being stored beside the connection.
    storing: Option<keeping::Storing>,
    /// What has been asked for and is not answered yet.
    desk: Option<Box<Desk>>,
}

impl Member {
    pub(crate) fn channels(&self) -> Vec<Channel> {
        self.line.session().channels().cloned().collect()
    }

    /// Joins a channel, from the position named, else from what the client came back with, else from now on.
    /// The membership is stored before it is confirmed, or a crash would forget what the client relies on.
    pub(crate) async fn join(&mut self, asked: &str, after: Option<&str>) -> Outcome<Joined> {
        self.join_with(asked, after, Extent::Missed).await
    }

    async fn join_with(
        &mut self,
        asked: &str,
        after: Option<&str>,
        extent: Extent,
    ) -> Outcome<Joined> {
        let channel = match self.edge.authorise(&self.identity, asked) {
            Ok(channel) => channel,
            Err(refused) => return Ok(Err(refused)),
        };
        let is_in = self.line.session().has(&channel);
        if is_in && after.is_none() {
            return Ok(Ok(Joined { channel, recovered: true, gap: None }));
        }
        if !is_in && self.line.session().subscriptions().len() >= self.edge.limits.channels {
            return Ok(Err(TOO_MANY_CHANNELS));
        }
        if self.line.session().waiting_fills() >= WAITING_FILLS {
            return Ok(Err(TOO_MANY_JOINS));
        }
        let (after, gap) = match self.join_position(&channel, after).await {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        if is_in && after.is_some() {
            // A position that the client names wins over where the channel stands.
            self.line.leave(&channel);
            self.record.fills.retain(|fill| fill.channel != channel);
        }
        self.join_at(&channel, after.as_ref(), extent);
        match self.store_record().await {
            Err(Lost::Unavailable) if !is_in => {
                // Not to be relied on, so not joined; the connection and its other channels go on.
                self.line.leave(&channel);
                self.record.fills.retain(|fill| fill.channel != channel);
                return Ok(Err(UNAVAILABLE));
            }
            stored => stored?,
        }
        Ok(Ok(Joined { channel, recovered: after.is_some(), gap }))
    }

    async fn join_position(
        &self,
        channel: &Channel,
        after: Option<&str>,
    ) -> Result<(Option<Cursor>, Option<GapReason>), Refused> {
        let Some(text) = after else {
            let remembered = self.remembered.as_ref().filter(|r| r.covers(channel));
            return Ok((remembered.map(|remembered| remembered.cursor), None));
        };
        Ok(match self.edge.read_cursor(&self.identity.tenant, text).await? {
            Ok(cursor) => (Some(cursor), None),
            Err(reason) => (None, Some(reason)),
        })
    }

    fn join_at(&mut self, channel: &Channel, after: Option<&Cursor>, extent: Extent) {
        match after {
            Some(cursor) => {
                let fill = self.line.join_after(channel, cursor, extent);
                self.record.fills.extend(fill);
            }
            None => self.line.join(channel),
        }
    }

    /// Leaves a channel; leaving one it is not in changes nothing.
    pub(crate) async fn leave(&mut self, asked: &str) -> Outcome<Channel> {
        let Some(channel) = self.edge.catalogue.channel(asked) else { return Ok(Err(FORBIDDEN)) };
        if self.line.leave(&channel) {
            self.record.fills.retain(|fill| fill.channel != channel);
            self.store_record_or_later().await?;
        }
        Ok(Ok(channel))
    }

    /// Remembers what the client's device has received. Stored when this returns.
    pub(crate) async fn acknowledge(&mut self, cursor: &str) -> Result<(), Refused> {
        let cursor = self.edge.hub.keys.decode(&self.identity.tenant, cursor);
        let cursor = cursor.map_err(|_| BAD_CURSOR)?;
        self.received(cursor);
        let (devices, device) = (&self.edge.devices, &self.device);
        let mut channels = self.asked_for();
        let stored = if self.line.session().is_filling() && !cursor.mark.filling {
            // It was given before the joins that are being caught up with, and says nothing about their channels.
            channels.retain(|channel| !self.line.session().has_yet_to_fill(channel));
            devices.acknowledge_part(device, &channels, &cursor).await
        } else {
            devices.acknowledge(device, Some(&channels), &cursor).await.map(drop)
        };
        stored.map_err(|_| UNAVAILABLE)?;
        // Whoever comes back by the session's id alone goes on from its record.
        self.store_received().await.map_err(|_| UNAVAILABLE)
    }

    /// The channels that the client joined by itself.
    pub(crate) fn asked_for(&self) -> Vec<Channel> {
        let own = self.edge.catalogue.auto_join(&self.identity, &self.client_id);
        let mut channels = self.channels();
        channels.retain(|channel| !own.contains(channel));
        channels
    }

    /// The same, each with its floor.
    pub(crate) fn memberships(&self) -> Vec<(Channel, Position)> {
        let asked_for = self.asked_for();
        let subscriptions = self.line.session().subscriptions().iter();
        subscriptions
            .filter(|subscription| asked_for.contains(&subscription.channel))
            .map(|subscription| (subscription.channel.clone(), *subscription.floor))
            .collect()
    }

    /// What the client is known to have received, for when it comes back without a cursor; stored with the next tick.
    pub(crate) fn received(&mut self, cursor: Cursor) {
        if self.record.received != Some(cursor) {
            self.line.received(&cursor);
            self.begins_behind(cursor);
        }
    }

    fn begins_behind(&mut self, cursor: Cursor) {
        if self.record.received != Some(cursor) {
            self.record.received = Some(cursor);
            self.is_stored = false;
        }
    }

    /// A newer token of the same user. The channels it does not allow any more are left and returned.
    pub(crate) async fn refresh(&mut self, token: &str) -> Outcome<Vec<Channel>> {
        let credentials = Credentials::default().with_token(token);
        let admitted = match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(Refused::new(error.code(), error.seed_message()))),
        };
        match self.adopt(admitted).await? {
            Some(lost) => Ok(Ok(lost)),
            None => {
                let text = "The new token is another user's; open another connection for it.";
                Ok(Err(Refused::new("other_user", text)))
            }
        }
    }

    /// Takes a newer identity of the same user; `None` if it is another's. The channels that it does not allow any
    /// more are left and returned.
    async fn adopt(&mut self, admitted: Admitted) -> Result<Option<Vec<Channel>>, Lost> {
        let is_same = admitted.identity.user == self.identity.user
            && admitted.identity.tenant == self.identity.tenant;
        if !is_same {
            return Ok(None);
        }
        self.identity = admitted.identity.into();
        self.ask_again = admitted.ask_again.map(|again| (Instant::now() + ASK_AGAIN, again));
        let mut lost = self.channels();
        lost.retain(|channel| !self.may_be_in(channel));
        for channel in &lost {
            self.line.leave(channel);
        }
        if !lost.is_empty() {
            self.store_record_or_later().await?;
        }
        Ok(Some(lost))
    }

    /// Whether the client may be in a channel; its own is its own.
    fn may_be_in(&self, channel: &Channel) -> bool {
        channel.id() == Some(&*self.client_id)
            || self.edge.authorise(&self.identity, channel.as_str()).is_ok()
    }

    /// Looks at the identity again if it has expired or anything has been revoked or reconfigured since.
    pub(crate) fn check_identity(&mut self) -> Result<(), Lost> {
        let is_over = self.identity.expires_at.is_some_and(|at| at <= clock::unix_seconds());
        if !is_over && !self.checks.has_changed().unwrap_or(true) {
            return Ok(());
        }
        self.check_identity_now()
    }

    pub(crate) fn check_identity_now(&mut self) -> Result<(), Lost> {
        self.checks.mark_unchanged();
        self.edge.auth.still_valid(&self.identity).map_err(Lost::Identity)
    }

    /// Whatever is due by the clock: the identity's end, the asking again, what was received. Returns the channels
    /// that the client may not be in any more.
    pub(crate) async fn tick(&mut self) -> Result<Vec<Channel>, Lost> {
        self.check_identity_now()?;
        let lost = self.look_again().await?;
        self.store_soon()?;
        Ok(lost)
    }

    async fn look_again(&mut self) -> Result<Vec<Channel>, Lost> {
        let Some((at, credentials)) = &self.ask_again else { return Ok(Vec::new()) };
        if *at > Instant::now() {
            return Ok(Vec::new());
        }
        let admitted = match self.edge.auth.authenticate(credentials).await {
            Ok(admitted) => admitted,
            // Who vouched cannot be reached for the moment, which says nothing of the client.
            Err(AuthError::Unavailable) => {
                self.ask_again = Some((Instant::now() + ASK_SOON, credentials.clone()));
                return Ok(Vec::new());
            }
            Err(error) => return Err(Lost::Identity(error)),
        };
        self.adopt(admitted).await?.ok_or(Lost::Identity(AuthError::Session))
    }

    /// The log was put back: what the record says of positions is about another life of it.
    pub(crate) fn rewritten(&mut self) {
        let position = *self.line.session().position();
        self.record.fills.clear();
        self.begins_behind(Cursor { position, ..Cursor::default() });
    }

    /// The client has said goodbye: a session without channels of its own is not worth keeping. Any other may be gone
    /// on with, behind what its client is known to have received.
    pub(crate) async fn goodbye(&mut self) {
        if self.settle().await.is_err() {
            return;
        }
        if self.asked_for().is_empty() && self.record.fills.is_empty() {
            self.is_stored = true;
            self.edge.records.forget(&self.identity.tenant, &self.client_id).await;
        } else {
            // The client can still resume from its own cursor when this is lost.
            let _lost = self.store_received().await;
        }
    }

    /// When [`Member::tick`] is due at the latest.
    pub(crate) fn next_tick(&self, at_the_latest: Instant) -> Instant {
        let mut next = at_the_latest;
        if let Some(expires) = self.identity.expires_at {
            let left = (expires * 1_000 - clock::unix_millis()).max(0) as u64;
            next = next.min(Instant::now() + Duration::from_millis(left + 1));
        }
        if let Some((at, _)) = self.ask_again {
            next = next.min(at);
        }
        next
    }
}
