//! Opening a session: found by the id a server minted, behind a cursor, behind what a device acknowledged, or new.

use std::sync::Arc;

use domain::cursor::Cursor;
use domain::{Channel, Identity};
use runtime::auth::Admitted;
use runtime::ids;
use tokio::time::Instant;

use super::{ASK_AGAIN, Brought, Lost, Member};
use crate::devices::{Device, Remembered};
use crate::edge::{Edge, Opening, Refused, Shared, UNAVAILABLE};
use crate::line::{GapReason, Line};
use crate::records::{Record, RecordError, Revision};
use crate::registry::Lease;
use crate::session::{Session, Start};
use crate::wires::Wire;

/// How often a session that several connections want at once is tried for. One of them wins each time.
const TRIES: usize = 8;

/// A session that was opened, and what its client is to be told.
pub(crate) struct Opened {
    pub(crate) member: Member,
    /// The id that the client brought is its own.
    pub(crate) is_reconnect: bool,
    /// What was missed follows.
    pub(crate) recovered: bool,
    pub(crate) gap: Option<GapReason>,
    /// Channels of the session that the client may not be in any more.
    pub(crate) forbidden: Vec<Channel>,
}

/// What is known of the session before it opens.
struct Found {
    client_id: Arc<str>,
    lease: Lease,
    record: Record,
    revision: Revision,
    opening: Opening,
    remembered: Option<Remembered>,
    is_reconnect: bool,
}

impl Member {
    /// `minted` is the id of the session if it is a new one.
    pub(crate) async fn open(
        edge: &Edge,
        wire: Wire,
        admitted: Admitted,
        minted: Arc<str>,
        brought: &Brought,
    ) -> Result<Opened, Lost> {
        let mut identity = admitted.identity;
        let found = find(edge, &identity, minted, brought).await?;
        let Found { client_id, lease, record, revision, opening, remembered, is_reconnect } = found;
        // Somebody without a credential is who the session says; everybody else's is the same already.
        if *identity.user != *record.user {
            identity.user = record.user.as_str().into();
        }
        let identity = Arc::new(identity);
        let tenant = identity.tenant.clone();
        let device = Device {
            tenant: tenant.clone(),
            user: identity.user.to_string(),
            name: record.device.clone(),
        };
        let ask_again = admitted.ask_again.map(|again| (Instant::now() + ASK_AGAIN, again));
        let mut line = Line::open(&edge.hub, &edge.library, wire, tenant.clone(), &opening);
        lease.wakes(line.signal());
        line.attend(edge.presence.enter(&identity, &device.name));
        line.witness(edge.receipts.of(&device), &opening);
        let mut member = Self {
            lease,
            line,
            edge: edge.clone(),
            identity,
            client_id,
            device,
            record,
            revision,
            remembered,
            ask_again,
            checks: edge.checks.subscribe(),
            is_stored: true,
            stored_at: Instant::now(),
            storing: None,
            desk: None,
        };
        let forbidden = member.rejoin(&opening);
        member.store_record().await?;
        if member.lease.is_fenced() {
            return Err(Lost::TakenOver);
        }
        // Whatever was revoked while this was being opened.
        member.check_identity_now()?;
        let recovered = opening.recovers();
        Ok(Opened { member, is_reconnect, recovered, gap: opening.gap, forbidden })
    }

    /// Joins what the session was in, where the client may still be there, and what everyone like it is in.
    /// Returns the channels that it may not be in any more.
    fn rejoin(&mut self, opening: &Opening) -> Vec<Channel> {
        let floor = self.edge.hub.with_tail(|tail| Session::floor_of(&opening.start, tail));
        let (mut forbidden, mut channels) = (Vec::new(), Vec::new());
        for (channel, joined) in std::mem::take(&mut self.record.channels) {
            if self.may_be_in(&channel) {
                // A floor of before a gap may be of another life of the log.
                channels.push((channel, if opening.recovers() { joined } else { floor }));
            } else {
                forbidden.push(channel);
            }
        }
        let own = self.edge.catalogue.auto_join(&self.identity, &self.client_id);
        channels.extend(own.into_iter().map(|channel| (channel, floor)));
        self.line.join_above(&channels);
        let fills = std::mem::take(&mut self.record.fills);
        if let Start::After(cursor) = &opening.start {
            self.record.fills = self.line.resume_fills(&fills, cursor);
        }
        forbidden
    }
}

async fn find(
    edge: &Shared,
    identity: &Identity,
    minted: Arc<str>,
    brought: &Brought,
) -> Result<Found, Lost> {
    for _ in 0..TRIES {
        let found = match &brought.client_id {
            Some(id) => find_session(edge, identity, id, brought).await,
            None => Ok(None),
        };
        match found {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => {
                let begun = begin(edge, identity, minted, brought).await;
                return begun.map_err(|_| Lost::Unavailable);
            }
            // Another connection was faster: what it stored is looked at again.
            Err(Tried::Again) => {}
            Err(Tried::Unavailable) => return Err(Lost::Unavailable),
        }
    }
    Err(Lost::TakenOver)
}

enum Tried {
    Again,
    Unavailable,
}

impl From<RecordError> for Tried {
    fn from(error: RecordError) -> Self {
        match error {
            RecordError::TakenOver => Self::Again,
            RecordError::Unavailable(_) => Self::Unavailable,
        }
    }
}

/// A connection without a credential gets a new name each time: all it has to show for its session is the session's id,
/// which nobody else knows.
fn is_owner(identity: &Identity, user: &str) -> bool {
    *identity.user == *user || identity.is_anonymous() && Identity::is_name_of_nobody(user)
}

/// A session that the client had before, taken over from whoever holds it.
async fn find_session(
    edge: &Shared,
    identity: &Identity,
    id: &str,
    brought: &Brought,
) -> Result<Option<Found>, Tried> {
    let tenant = &identity.tenant;
    let Some((before, _)) = edge.records.load(tenant, id).await? else { return Ok(None) };
    if !is_owner(identity, &before.user) {
        return Ok(None);
    }
    // The old connection is ended first; what it stored last is what the new one goes on from.
    edge.registry.fence(&edge.nats, &before, tenant, id).await;
    let Some((mut record, revision)) = edge.records.load(tenant, id).await? else {
        return Ok(None);
    };
    if record.lease != before.lease {
        // Somebody else took it over meanwhile, and has not been ended.
        return Err(Tried::Again);
    }
    let lease = edge.registry.hold();
    record.node = edge.registry.node.to_string();
    record.lease = lease.name().to_owned();
    let revision = edge.records.save(tenant, id, &record, &[], revision).await?;
    edge.meters.takeovers.inc();
    let opening = match &brought.cursor {
        Some(cursor) => edge.opening(tenant, cursor).await,
        None => last_received(edge, &record).await,
    };
    Ok(Some(Found {
        client_id: id.into(),
        lease,
        record,
        revision,
        opening: opening.map_err(|_| Tried::Unavailable)?,
        remembered: None,
        is_reconnect: true,
    }))
}

/// For clients that bring no cursor: what they are known to have received.
async fn last_received(edge: &Shared, record: &Record) -> Result<Opening, Refused> {
    match record.received {
        Some(received) => edge.opening_at(received).await,
        None => Ok(edge.opening_now()),
    }
}

/// A session of its own, behind the cursor or what the device acknowledged, or from now on.
async fn begin(
    edge: &Shared,
    identity: &Identity,
    client_id: Arc<str>,
    brought: &Brought,
) -> Result<Found, Refused> {
    let device = Device {
        tenant: identity.tenant.clone(),
        user: identity.user.to_string(),
        name: brought.device.clone().unwrap_or_else(ids::unguessable),
    };
    let (opening, remembered) = match (&brought.cursor, &brought.device) {
        (Some(cursor), _) => behind(edge, &device, cursor).await?,
        (None, Some(_)) => acknowledged(edge, &device).await?,
        (None, None) => (edge.opening_now(), None),
    };
    let received = match &opening.start {
        Start::After(cursor) => *cursor,
        Start::Now => {
            let position = edge.hub.with_tail(|tail| *tail.head());
            Cursor { position, ..Cursor::default() }
        }
    };
    let lease = edge.registry.hold();
    let record = Record {
        user: device.user,
        device: device.name,
        node: edge.registry.node.to_string(),
        lease: lease.name().to_owned(),
        channels: brought.memberships.clone(),
        received: Some(received),
        ..Record::default()
    };
    let revision = Revision::NEW;
    Ok(Found { client_id, lease, record, revision, opening, remembered, is_reconnect: false })
}

/// The client's own cursor speaks of whatever it joins.
async fn behind(
    edge: &Shared,
    device: &Device,
    cursor: &str,
) -> Result<(Opening, Option<Remembered>), Refused> {
    let opening = edge.opening(&device.tenant, cursor).await?;
    let remembered = match &opening.start {
        Start::After(cursor) => {
            Some(Remembered { channels: Vec::new(), cursor: *cursor, all: true })
        }
        Start::Now => None,
    };
    Ok((opening, remembered))
}

async fn acknowledged(
    edge: &Shared,
    device: &Device,
) -> Result<(Opening, Option<Remembered>), Refused> {
    let latest = edge.devices.latest(device).await.map_err(|_| UNAVAILABLE)?;
    let Some(remembered) = latest else { return Ok((edge.opening_now(), None)) };
    let opening = edge.opening_at(remembered.cursor).await?;
    let remembered = opening.recovers().then_some(remembered);
    Ok((opening, remembered))
}

#[cfg(test)]
mod tests {
    use domain::{Role, Tenant};

    use super::*;

    fn identity(user: &str, key: u64) -> Identity {
        Identity {
            tenant: Tenant::parse("acme").unwrap(),
            user: user.into(),
            role: Role::Agent,
            email: None,
            channels: Vec::new(),
            publish: Vec::new(),
            expires_at: None,
            token_id: None,
            application: "test".into(),
            key,
        }
    }

    #[test]
    fn a_session_is_its_users_and_one_without_a_user_is_whoever_knows_its_id() {
        let (ann, nobody) = (identity("ann", 7), identity("anonymous-1", Identity::NO_KEY));
        let (vouched, posing) = (identity("ann", Identity::NO_KEY), identity("anonymous-2", 7));
        for (who, user, is_theirs) in [
            (&ann, "ann", true),
            (&vouched, "ann", true),
            (&nobody, "anonymous-9", true),
            (&ann, "bob", false),
            (&nobody, "ann", false),
            (&ann, "anonymous-9", false),
            (&vouched, "anonymous-9", false),
            (&posing, "anonymous-9", false),
        ] {
            assert_eq!(is_owner(who, user), is_theirs, "{} and a session of {user}", who.user);
        }
    }
}
