//! A client that has said who it is: its session, its channels, its record, whatever wire it speaks.
//!
//! It opens a session (new, behind a cursor, or taken over by the id a server minted for it), joins and leaves
//! channels, and keeps what another node would need. It knows no socket and no frame.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use domain::cursor::Cursor;
use domain::{Channel, Identity};
use runtime::auth::{AuthError, Credentials};
use runtime::clock;
use tokio::time::Instant;
use tracing::debug;

use crate::devices::{Device, Remembered};
use crate::edge::{Edge, FORBIDDEN, Refused, TOO_MANY_CHANNELS, UNAVAILABLE};
use crate::line::{GapReason, Line};
use crate::records::{Record, RecordError, Revision};
use crate::registry::Lease;

mod opening;

pub(crate) use opening::Opened;

/// How often another system that vouched for the client is asked whether it still does.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// More back-fills than this are not continued after a cut: their channels begin where they were joined.
const FILLS: usize = 256;

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
    /// [`crate::edge::Shared::checks`] when the identity was last found valid.
    checked: u64,
    received_is_stored: bool,
}

impl Member {
    pub(crate) fn channels(&self) -> Vec<Channel> {
        self.line.session().channels().cloned().collect()
    }

    /// Joins a channel, from the position named, else from what the client came back with, else from now on.
    /// The membership is stored before it is confirmed, or a crash would forget what the client relies on.
    pub(crate) async fn join(&mut self, asked: &str, after: Option<&str>) -> Outcome<Joined> {
        let channel = match self.edge.authorise(&self.identity, asked) {
            Ok(channel) => channel,
            Err(refused) => return Ok(Err(refused)),
        };
        if self.line.session().has(&channel) {
            return Ok(Ok(Joined { channel, recovered: true, gap: None }));
        }
        if self.line.session().subscriptions().len() >= self.edge.limits.channels {
            return Ok(Err(TOO_MANY_CHANNELS));
        }
        let (after, gap) = match self.join_position(&channel, after).await {
            Ok(found) => found,
            Err(refused) => return Ok(Err(refused)),
        };
        self.join_at(&channel, after.as_ref());
        self.store_record().await?;
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

    fn join_at(&mut self, channel: &Channel, after: Option<&Cursor>) {
        match after {
            Some(cursor) => {
                let fill = self.line.join_after(channel, cursor);
                self.record.fills.extend(fill);
                let excess = self.record.fills.len().saturating_sub(FILLS);
                self.record.fills.drain(..excess);
            }
            None => self.line.join(channel),
        }
    }

    /// Leaves a channel; leaving one it is not in changes nothing.
    pub(crate) async fn leave(&mut self, asked: &str) -> Outcome<Channel> {
        let Some(channel) = self.edge.catalogue.channel(asked) else { return Ok(Err(FORBIDDEN)) };
        if self.line.leave(&channel) {
            self.store_record().await?;
        }
        Ok(Ok(channel))
    }

    /// Remembers what the client's device has received. Stored when this returns.
    pub(crate) async fn acknowledge(&mut self, cursor: &str) -> Result<(), Refused> {
        let cursor = self.edge.hub.keys.decode(&self.identity.tenant, cursor);
        let cursor = cursor.map_err(|_| BAD_CURSOR)?;
        self.received(cursor);
        let channels = self.channels();
        let stored = self.edge.devices.acknowledge(&self.device, Some(&channels), &cursor).await;
        stored.map_err(|_| UNAVAILABLE)
    }

    /// What the client is known to have received, for when it comes back without a cursor; stored with the next tick.
    pub(crate) fn received(&mut self, cursor: Cursor) {
        if self.record.received != Some(cursor) {
            self.record.received = Some(cursor);
            self.received_is_stored = false;
        }
    }

    pub(crate) async fn store_received(&mut self) -> Result<(), Lost> {
        if self.received_is_stored {
            return Ok(());
        }
        self.received_is_stored = true;
        self.store_record().await
    }

    /// Stores the session record; losing the race for it means that another connection has the session now.
    async fn store_record(&mut self) -> Result<(), Lost> {
        self.record.set_channels(self.line.session().subscriptions());
        let tenant = &self.identity.tenant;
        let saved = self.edge.records.save(tenant, &self.client_id, &self.record, self.revision);
        match saved.await {
            Ok(revision) => {
                self.revision = revision;
                Ok(())
            }
            Err(RecordError::TakenOver) => Err(Lost::TakenOver),
            Err(error) => {
                debug!(error = %runtime::telemetry::chain(&error), "a session record");
                Err(Lost::Unavailable)
            }
        }
    }

    /// A newer token of the same user. The channels it does not allow any more are left and returned.
    pub(crate) async fn refresh(&mut self, token: &str) -> Outcome<Vec<Channel>> {
        let credentials = Credentials::default().with_token(token);
        let admitted = match self.edge.auth.authenticate(&credentials).await {
            Ok(admitted) => admitted,
            Err(error) => return Ok(Err(Refused::new(error.code(), error.seed_message()))),
        };
        let is_same = admitted.identity.user == self.identity.user
            && admitted.identity.tenant == self.identity.tenant;
        if !is_same {
            let text = "The new token is another user's; open another connection for it.";
            return Ok(Err(Refused::new("other_user", text)));
        }
        self.identity = admitted.identity.into();
        let mut lost = self.channels();
        lost.retain(|channel| !self.may_be_in(channel));
        for channel in &lost {
            self.line.leave(channel);
        }
        if !lost.is_empty() {
            self.store_record().await?;
        }
        Ok(Ok(lost))
    }

    /// Whether the client may be in a channel; its own is its own.
    fn may_be_in(&self, channel: &Channel) -> bool {
        channel.id() == Some(&*self.client_id)
            || self.edge.authorise(&self.identity, channel.as_str()).is_ok()
    }

    /// Looks at the identity again if anything has been revoked or reconfigured since.
    pub(crate) fn check_identity(&mut self) -> Result<(), Lost> {
        let now = self.edge.checks.load(Ordering::Acquire);
        if self.checked == now {
            return Ok(());
        }
        self.checked = now;
        self.check_identity_now()
    }

    pub(crate) fn check_identity_now(&self) -> Result<(), Lost> {
        self.edge.auth.still_valid(&self.identity).map_err(Lost::Identity)
    }

    /// Whatever is due by the clock: the identity's end, the asking again, what was received.
    pub(crate) async fn tick(&mut self) -> Result<(), Lost> {
        self.check_identity_now()?;
        self.ask_again().await?;
        self.store_received().await
    }

    async fn ask_again(&mut self) -> Result<(), Lost> {
        let Some((at, credentials)) = &self.ask_again else { return Ok(()) };
        if *at > Instant::now() {
            return Ok(());
        }
        let admitted = self.edge.auth.authenticate(credentials).await.map_err(Lost::Identity)?;
        self.identity = Arc::new(admitted.identity);
        self.ask_again = admitted.ask_again.map(|again| (Instant::now() + ASK_AGAIN, again));
        Ok(())
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
