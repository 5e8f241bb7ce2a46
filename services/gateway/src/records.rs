//! Session records: what a connection is a member of, kept outside every node, so that any of them can go on with it.
//!
//! Only ids that a server minted are looked up here, and a record is another user's for nobody.

use std::time::Duration;

use bytes::Bytes;
use domain::cursor::{Cursor, CursorKeys, Mark, Part};
use domain::position::Position;
use domain::{Channel, Tenant};
use runtime::kv::{Bucket, KvError};
use runtime::nats::Nats;
use serde::{Deserialize, Serialize};

use crate::session::{Extent, Fill, Subscription};

/// How long a session is kept for a client that is away; a live one is stored again well before.
pub(crate) const KEPT: Duration = Duration::from_secs(3 * 24 * 3_600);

/// A session as another node needs it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    pub user: String,
    pub device: String,
    /// The node that holds the connection, or held it last.
    pub node: String,
    /// Names that holding, so that a late fence does not hit the next one.
    pub lease: String,
    /// Each channel with its floor, as they were loaded; a live session has them itself.
    pub channels: Vec<(Channel, Position)>,
    pub fills: Vec<Fill>,
    /// What the client is known to have received, for clients that bring no cursor.
    pub received: Option<Cursor>,
}

/// As stored; positions are cursors, so that they are authenticated and bound to the tenant.
#[derive(Serialize, Deserialize)]
struct Stored {
    user: String,
    device: String,
    node: String,
    #[serde(default)]
    lease: String,
    /// Most channels share a floor.
    floors: Vec<String>,
    /// Each channel with the place of its floor.
    channels: Vec<(String, usize)>,
    #[serde(default)]
    fills: Vec<StoredFill>,
    #[serde(default)]
    received: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredFill {
    joins: u8,
    channel: String,
    after: String,
    paused: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    all: bool,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// Another connection has taken the session over.
    #[error("the session was taken over")]
    TakenOver,
    #[error("session records cannot be reached")]
    Unavailable(#[source] KvError),
}

impl From<KvError> for RecordError {
    fn from(error: KvError) -> Self {
        match error {
            KvError::Conflict => Self::TakenOver,
            other => Self::Unavailable(other),
        }
    }
}

/// The version of a record that a writer has seen; writing with an older one is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Revision(Option<u64>);

impl Revision {
    /// Of a record that does not exist yet.
    pub(crate) const NEW: Self = Self(None);
}

#[derive(Clone)]
pub(crate) struct Records {
    bucket: Bucket,
    keys: CursorKeys,
}

impl Records {
    pub(crate) fn new(nats: &Nats, keys: CursorKeys) -> Self {
        Self { bucket: nats.bucket("sessions"), keys }
    }

    /// The newest record, from the bucket's leader, so that a takeover is decided on what is true now.
    pub(crate) async fn load(
        &self,
        tenant: &Tenant,
        id: &str,
    ) -> Result<Option<(Record, Revision)>, RecordError> {
        let Some(key) = key(tenant, id) else { return Ok(None) };
        let Some(entry) = self.bucket.get_from_leader(&key).await? else { return Ok(None) };
        let Some(record) = self.decode(tenant, &entry.value) else { return Ok(None) };
        Ok(Some((record, Revision(Some(entry.revision)))))
    }

    pub(crate) async fn save(
        &self,
        tenant: &Tenant,
        id: &str,
        record: &Record,
        members: &[Subscription],
        revision: Revision,
    ) -> Result<Revision, RecordError> {
        let key = key(tenant, id).ok_or(RecordError::TakenOver)?;
        let value = self.encode(tenant, record, members);
        let stored = match revision.0 {
            Some(revision) => self.bucket.update_with_ttl(&key, value, revision, KEPT).await?,
            // The id was minted a moment ago: nobody else writes under it.
            None => self.bucket.put_with_ttl(&key, value, KEPT).await?,
        };
        Ok(Revision(Some(stored)))
    }

    /// A session that nobody comes back to. What is left behind expires by itself.
    pub(crate) async fn forget(&self, tenant: &Tenant, id: &str) {
        if let Some(key) = key(tenant, id) {
            let _left_to_expire = self.bucket.delete(&key).await;
        }
    }

    fn encode(&self, tenant: &Tenant, record: &Record, members: &[Subscription]) -> Bytes {
        let at = |position: &Position, part: Option<Part>| {
            let cursor = Cursor { position: *position, mark: Mark::default(), part };
            self.keys.encode(tenant, &cursor)
        };
        let mut floors: Vec<Position> = Vec::new();
        let channels = record.channels.iter().map(|(channel, floor)| (channel, floor));
        let channels = channels.chain(members.iter().map(|m| (&m.channel, &*m.floor)));
        for (_, floor) in channels.clone() {
            if !floors.contains(floor) {
                floors.push(*floor);
            }
        }
        let stored = Stored {
            user: record.user.clone(),
            device: record.device.clone(),
            node: record.node.clone(),
            lease: record.lease.clone(),
            floors: floors.iter().map(|floor| at(floor, None)).collect(),
            channels: channels
                .map(|(channel, floor)| (channel.to_string(), place_of(&floors, floor)))
                .collect(),
            fills: record
                .fills
                .iter()
                .map(|fill| StoredFill {
                    joins: fill.joins,
                    channel: fill.channel.to_string(),
                    after: at(&fill.after, fill.part),
                    paused: at(&fill.paused, fill.paused_part),
                    all: fill.extent == Extent::All,
                })
                .collect(),
            received: record.received.map(|cursor| self.keys.encode(tenant, &cursor)),
        };
        serde_json::to_vec(&stored).unwrap_or_default().into()
    }

    /// `None` for a record that this platform's key cannot read any more: as good as none.
    fn decode(&self, tenant: &Tenant, value: &[u8]) -> Option<Record> {
        let stored: Stored = serde_json::from_slice(value).ok()?;
        let at = |text: &str| self.keys.decode(tenant, text).ok();
        let floors: Vec<Cursor> = stored.floors.iter().map(|f| at(f)).collect::<Option<_>>()?;
        let channel = |(name, floor): (String, usize)| {
            Some((Channel::parse(&name).ok()?, floors.get(floor)?.position))
        };
        let fill = |fill: StoredFill| {
            let (after, paused) = (at(&fill.after)?, at(&fill.paused)?);
            Some(Fill {
                joins: fill.joins,
                channel: Channel::parse(&fill.channel).ok()?,
                after: after.position,
                part: after.part,
                paused: paused.position,
                paused_part: paused.part,
                extent: if fill.all { Extent::All } else { Extent::Missed },
            })
        };
        Some(Record {
            user: stored.user,
            device: stored.device,
            node: stored.node,
            lease: stored.lease,
            channels: stored.channels.into_iter().map(channel).collect::<Option<_>>()?,
            fills: stored.fills.into_iter().map(fill).collect::<Option<_>>()?,
            received: stored.received.as_deref().and_then(at),
        })
    }
}

fn place_of(floors: &[Position], floor: &Position) -> usize {
    floors.iter().position(|known| known == floor).unwrap_or_default()
}

/// `None` for an id that no server ever minted.
fn key(tenant: &Tenant, id: &str) -> Option<String> {
    let is_minted = (16..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_minted.then(|| format!("{tenant}.{id}"))
}
