//! Reads the quarantine of one tenant: pages from the index, content from the stream, redrives from the bucket.

use std::sync::Arc;
use std::time::Duration;

use domain::replay::quarantine::{Item, ListAnswer, ListRequest, ShowAnswer};
use domain::replay::refusal;
use domain::{Tenant, subject};
use futures_util::future::try_join_all;
use runtime::kv::Bucket;
use runtime::log_message::LogMessage;
use runtime::log_reader::LogReader;
use runtime::nats::Nats;
use tracing::warn;

use super::item::{item, shown};
use crate::answer::Refusal;
use crate::index::postings::Run;
use crate::index::stream_index::write_key;
use crate::state::State;

pub(crate) const STREAM: &str = "QUARANTINE";
/// Every tenant's whole quarantine stands under this name beside its origins, which are never empty.
pub(super) const ALL: &str = "";

const BUCKET: &str = "replay";
const MOST_ITEMS: usize = 100;
/// Messages are read whole and may be large, so only that many are held at a time.
const READ_AT_ONCE: usize = 10;
const READ_WITHIN: Duration = Duration::from_secs(3);

pub(super) struct Shelf {
    pub(super) state: Arc<State>,
    pub(super) nats: Nats,
    pub(super) redriven: Bucket,
    reader: LogReader,
}

impl Shelf {
    pub(super) fn new(nats: &Nats, state: Arc<State>) -> Self {
        let reader = nats.log_reader().with_deadline(READ_WITHIN);
        Self { state, nats: nats.clone(), redriven: nats.bucket(BUCKET), reader }
    }

    pub(super) async fn list(
        &self,
        tenant: &Tenant,
        request: &ListRequest,
    ) -> Result<ListAnswer, Refusal> {
        if !self.state.is_quarantine_ready() {
            return Err(Refusal::not_ready());
        }
        let limit = request.limit.clamp(1, MOST_ITEMS);
        let after = request.after.as_deref().map_or(Ok(0), sequence)?;
        let origin = request.origin.as_deref().unwrap_or(ALL);
        let mut found = self.page(tenant, origin, after, limit + 1);
        let more = found.len() > limit;
        found.truncate(limit);
        let mut items = Vec::with_capacity(found.len());
        for part in found.chunks(READ_AT_ONCE) {
            items.extend(self.items(tenant, part).await?);
        }
        Ok(ListAnswer { items, more })
    }

    fn page(&self, tenant: &Tenant, origin: &str, after: u64, limit: usize) -> Vec<u64> {
        let mut key = String::new();
        write_key(&mut key, tenant.as_str(), origin);
        let index = self.state.quarantine();
        let after = after.max(index.first() - 1);
        let run = index.postings(&key).map(|postings| Run::forward(postings, after, u64::MAX));
        run.into_iter().flatten().take(limit).collect()
    }

    async fn items(&self, tenant: &Tenant, sequences: &[u64]) -> Result<Vec<Item>, Refusal> {
        let messages = self.reader.get_many(STREAM, sequences).await.map_err(unreadable)?;
        let items = messages.into_iter().flatten().map(async |message| {
            let redriven_at = self.redriven_at(tenant, message.sequence).await?;
            Ok(item(&message, redriven_at))
        });
        try_join_all(items).await
    }

    pub(super) async fn show(&self, tenant: &Tenant, id: &str) -> Result<ShowAnswer, Refusal> {
        let message = self.message(tenant, id).await?;
        let redriven_at = self.redriven_at(tenant, message.sequence).await?;
        Ok(shown(&message, redriven_at))
    }

    /// One message of this tenant; another tenant's is as absent as one that never was.
    pub(super) async fn message(&self, tenant: &Tenant, id: &str) -> Result<LogMessage, Refusal> {
        let found = self.reader.get(STREAM, sequence(id)?).await.map_err(unreadable)?;
        let mine = |message: &LogMessage| {
            subject::tenant_of(&message.subject).is_ok_and(|owner| owner == *tenant)
        };
        found.filter(mine).ok_or_else(|| Refusal::new(refusal::NOT_FOUND, "no such item"))
    }

    async fn redriven_at(&self, tenant: &Tenant, sequence: u64) -> Result<Option<i64>, Refusal> {
        let entry = self.redriven.get(&record(tenant, sequence)).await.map_err(unreadable)?;
        Ok(entry.map(|entry| entry.stored_at))
    }
}

/// The key under which a redrive is recorded.
pub(super) fn record(tenant: &Tenant, sequence: u64) -> String {
    format!("{tenant}.{sequence}")
}

fn sequence(id: &str) -> Result<u64, Refusal> {
    id.parse().map_err(|_| Refusal::new(refusal::BAD_REQUEST, "an id is a number"))
}

fn unreadable(error: impl std::error::Error + 'static) -> Refusal {
    warn!(error = %runtime::telemetry::chain(&error), "the quarantine cannot be read");
    Refusal::new(refusal::UNAVAILABLE, "the quarantine cannot be read right now; ask again")
}
