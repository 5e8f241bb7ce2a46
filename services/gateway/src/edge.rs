//! What every connection and route of the gateway shares, and the decisions they have in common:
//! who may join what, and where a client that comes back goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use domain::cursor::{Cursor, CursorError};
use domain::{Channel, Identity, Tenant};
use runtime::auth::Authenticator;
use runtime::catalogue::LiveCatalogue;
use runtime::nats::Nats;
use runtime::tasks::Connections;
use runtime::vault::{Vault, VaultError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::commands::{Repeats, Replies};
use crate::config::Limits;
use crate::devices::Devices;
use crate::event_stream::Stalls;
use crate::health::Health;
use crate::hub::Hub;
use crate::library::Library;
use crate::line::GapReason;
use crate::meters::Meters;
use crate::presence::Presence;
use crate::receipts::Receipts;
use crate::records::Records;
use crate::registry::Registry;
use crate::session::Start;
use crate::tail::Tail;
use crate::typing::Typing;

/// Stands for the start of retention where a cursor is expected.
pub(crate) const EARLIEST: &str = "earliest";

/// A cheap-clone handle.
pub(crate) type Edge = Arc<Shared>;

pub(crate) struct Shared {
    pub hub: Arc<Hub>,
    pub library: Library,
    pub records: Records,
    pub devices: Devices,
    pub registry: Registry,
    pub auth: Authenticator,
    pub catalogue: LiveCatalogue,
    pub vault: Vault,
    pub nats: Nats,
    pub limits: Limits,
    pub meters: Meters,
    pub presence: Presence,
    pub health: Health,
    pub receipts: Receipts,
    pub typing: Typing,
    /// Where decisions on commands come back.
    pub replies: Replies,
    pub repeats: Repeats,
    /// Rises whenever live identities are to be looked at again: a revocation, a key that has gone.
    pub(crate) checks: watch::Sender<u64>,
    /// Event streams whose clients do not read.
    pub stalls: Stalls,
    /// Connections that outlive their request.
    pub connections: Connections,
    pub drain: CancellationToken,
    /// The same for connections that are awake anyway: asking the token costs a lock that all of them share.
    pub(crate) draining: AtomicBool,
}

/// A refusal with its code in the documents.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Refused {
    pub code: &'static str,
    pub message: &'static str,
    /// More than one thing has this code, and this says which, in a word of the documents.
    pub reason: Option<&'static str>,
}

impl Refused {
    pub(crate) const fn new(code: &'static str, message: &'static str) -> Self {
        Self { code, message, reason: None }
    }

    #[must_use]
    pub(crate) const fn because(self, reason: &'static str) -> Self {
        Self { reason: Some(reason), ..self }
    }
}

/// The same for a channel that does not exist, so that nobody can find out which do.
pub(crate) const FORBIDDEN: Refused = Refused::new(
    "forbidden",
    "You may not join this channel; ask for a token whose role or claims allow it.",
);
pub(crate) const TOO_MANY_CHANNELS: Refused = Refused::new(
    "too_many_channels",
    "This connection is in as many channels as it may be; leave one first.",
);
pub(crate) const UNAVAILABLE: Refused =
    Refused::new("unavailable", "The log cannot be reached right now; try again in a moment.");

/// Where a connection begins and what it must be told.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub start: Start,
    pub gap: Option<GapReason>,
    /// [`crate::tail::Tail::rewinds`] from before the position was looked at.
    pub rewinds: u32,
}

impl Opening {
    const fn new(found: Result<Cursor, GapReason>, rewinds: u32) -> Self {
        match found {
            Ok(cursor) => Self { start: Start::After(cursor), gap: None, rewinds },
            Err(reason) => Self { start: Start::Now, gap: Some(reason), rewinds },
        }
    }

    /// Whether it goes on where the client was.
    pub(crate) fn recovers(&self) -> bool {
        matches!(self.start, Start::After(_))
    }
}

impl Shared {
    /// Has every connection end with the advice to come back elsewhere.
    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
        self.drain.cancel();
        self.hub.wake_everyone();
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// JSON with what is sealed in it opened.
    pub(crate) async fn opened(&self, tenant: &Tenant, json: &Bytes) -> Result<Bytes, Refused> {
        match self.vault.prepare(tenant, json).await {
            Ok(()) | Err(VaultError::Wrapped) => Ok(self.vault.open(tenant, json)),
            Err(error) => {
                debug!(%error, "what is sealed cannot be opened");
                Err(UNAVAILABLE)
            }
        }
    }

    /// The channel a client asks for, if it may join it.
    pub(crate) fn authorise(
        &self,
        identity: &Identity,
        requested: &str,
    ) -> Result<Channel, Refused> {
        let channel = self.catalogue.channel(requested).ok_or(FORBIDDEN)?;
        if self.catalogue.may_join(identity, &channel) { Ok(channel) } else { Err(FORBIDDEN) }
    }

    /// From now on.
    pub(crate) fn opening_now(&self) -> Opening {
        Opening { start: Start::Now, gap: None, rewinds: self.rewinds() }
    }

    fn rewinds(&self) -> u32 {
        self.hub.with_tail(Tail::rewinds)
    }

    /// Reads a client's cursor: where it goes on, or why it cannot.
    pub(crate) async fn opening(&self, tenant: &Tenant, cursor: &str) -> Result<Opening, Refused> {
        let rewinds = self.rewinds();
        Ok(Opening::new(self.read_cursor(tenant, cursor).await?, rewinds))
    }

    /// The same for a position that was kept for the client.
    pub(crate) async fn opening_at(&self, cursor: Cursor) -> Result<Opening, Refused> {
        let rewinds = self.rewinds();
        Ok(Opening::new(self.recognise(cursor).await?, rewinds))
    }

    /// A cursor that belongs to this log, or the reason why it does not.
    pub(crate) async fn read_cursor(
        &self,
        tenant: &Tenant,
        text: &str,
    ) -> Result<Result<Cursor, GapReason>, Refused> {
        if text == EARLIEST {
            return Ok(Ok(Cursor::default()));
        }
        let cursor = match self.hub.keys.decode(tenant, text) {
            Ok(cursor) => cursor,
            Err(CursorError::Unknown) => return Ok(Err(GapReason::UnknownPosition)),
            Err(CursorError::OtherTenant) => return Ok(Err(GapReason::OtherTenant)),
        };
        #[cfg(feature = "planted-bugs")]
        let cursor = crate::planted::shift(cursor);
        self.recognise(cursor).await
    }

    /// A position that was kept for a client, if it belongs to the log as it is now.
    pub(crate) async fn recognise(
        &self,
        cursor: Cursor,
    ) -> Result<Result<Cursor, GapReason>, Refused> {
        match self.library.recognises(&cursor.position).await {
            Ok(true) => Ok(Ok(cursor)),
            Ok(false) => Ok(Err(GapReason::Rewritten)),
            Err(error) => {
                debug!(%error, "a position cannot be checked");
                Err(UNAVAILABLE)
            }
        }
    }
}
