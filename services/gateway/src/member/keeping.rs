//! The session's record in step with the session: stored before a join is confirmed, and beside the connection where it
//! can wait, so that NATS being away ends nobody's connection. It knows no wire.

use domain::Tenant;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;
use tracing::debug;

use super::{Lost, Member, PASSED_FILLS, STORE_AGAIN};
use crate::records::{Record, RecordError, Records, Revision};
use crate::session::Subscription;

/// What has come of storing a record beside the connection.
pub(super) type Storing = oneshot::Receiver<Result<Revision, RecordError>>;

impl Member {
    /// Begins to store what has changed since the record was stored, and takes what came of it the last time.
    /// What could not be stored is tried again when this is called again.
    pub(super) fn store_soon(&mut self) -> Result<(), Lost> {
        if self.stored_at.elapsed() >= STORE_AGAIN {
            self.is_stored = false;
        }
        let saved = self.storing.as_mut().map(Storing::try_recv);
        if matches!(saved, Some(Err(TryRecvError::Empty))) {
            return Ok(());
        }
        // Whatever has come of it is not waited for again.
        self.storing = None;
        match saved {
            Some(Ok(saved)) => self.settled_softly(saved)?,
            Some(Err(_)) => self.is_stored = false,
            None => {}
        }
        if !self.is_stored {
            self.begin_to_store();
        }
        Ok(())
    }

    fn begin_to_store(&mut self) {
        self.is_stored = true;
        self.forget_fills();
        let (edge, revision, record) = (self.edge.clone(), self.revision, self.record.clone());
        let (tenant, id) = (self.identity.tenant.clone(), self.client_id.clone());
        let members = self.line.session().subscriptions().to_vec();
        let (told, storing) = oneshot::channel();
        self.edge.connections.spawn(async move {
            let saved = save(&edge.records, &tenant, &id, (&record, &members), revision).await;
            // Whoever has gone meanwhile does not mind.
            let _gone = told.send(saved);
        });
        self.storing = Some(storing);
    }

    /// Waits for what is being stored, so that one write of a session is decided before the next begins.
    pub(super) async fn settle(&mut self) -> Result<(), Lost> {
        let Some(storing) = &mut self.storing else { return Ok(()) };
        let saved = storing.await;
        self.storing = None;
        match saved {
            Ok(saved) => self.settled_softly(saved),
            Err(_) => {
                self.is_stored = false;
                Ok(())
            }
        }
    }

    /// At the end of a connection: what its client is known to have received.
    pub(crate) async fn store_received(&mut self) -> Result<(), Lost> {
        self.settle().await?;
        if self.is_stored { Ok(()) } else { self.store_record().await }
    }

    /// Stores the session record; losing the race for it means that another connection has the session now.
    pub(super) async fn store_record(&mut self) -> Result<(), Lost> {
        self.settle().await?;
        self.is_stored = true;
        self.forget_fills();
        let (tenant, members) = (&self.identity.tenant, self.line.session().subscriptions());
        let what = (&self.record, members);
        let saved = save(&self.edge.records, tenant, &self.client_id, what, self.revision).await;
        self.settled(saved)
    }

    /// The same for what nobody waits for: it is stored later if it cannot be now.
    pub(super) async fn store_record_or_later(&mut self) -> Result<(), Lost> {
        match self.store_record().await {
            Err(Lost::Unavailable) => Ok(()),
            stored => stored,
        }
    }

    fn settled_softly(&mut self, saved: Result<Revision, RecordError>) -> Result<(), Lost> {
        match self.settled(saved) {
            Err(Lost::Unavailable) => Ok(()),
            settled => settled,
        }
    }

    fn settled(&mut self, saved: Result<Revision, RecordError>) -> Result<(), Lost> {
        match saved {
            Ok(revision) => {
                self.revision = revision;
                self.stored_at = Instant::now();
                Ok(())
            }
            Err(RecordError::TakenOver) => Err(Lost::TakenOver),
            Err(error) => {
                debug!(error = %runtime::telemetry::chain(&error), "a session record");
                self.is_stored = false;
                Err(Lost::Unavailable)
            }
        }
    }

    /// A back-fill that the client has behind it is kept for a while: it may come back with an older cursor.
    fn forget_fills(&mut self) {
        let Some(received) = &self.record.received else { return };
        let excess = self.record.fills.len().saturating_sub(PASSED_FILLS);
        let passed = self.record.fills.iter().take(excess).take_while(|f| f.is_passed_by(received));
        let passed = passed.count();
        self.record.fills.drain(..passed);
    }
}

/// Another revision than the one expected is another connection's only if the record says so: a write that was given up
/// on may have been stored all the same, and a bucket that is full lets go of what was stored longest ago.
async fn save(
    records: &Records,
    tenant: &Tenant,
    id: &str,
    (record, members): (&Record, &[Subscription]),
    revision: Revision,
) -> Result<Revision, RecordError> {
    match records.save(tenant, id, record, members, revision).await {
        Err(RecordError::TakenOver) => {}
        saved => return saved,
    }
    let revision = match records.load(tenant, id).await? {
        Some((found, revision)) if found.lease == record.lease => revision,
        Some(_) => return Err(RecordError::TakenOver),
        None => Revision::NEW,
    };
    records.save(tenant, id, record, members, revision).await
}
