//! What is not in the tail: pages from the read side's index and the stored events behind them.
//!
//! A thousand clients that miss the same stretch cost one read: equal questions share one answer, and an event is
//! fetched and decoded once per node, however many pages name it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::replay::{
    Answer, AtAnswer, AtRequest, ChannelRange, EventRef, RefsAnswer, RefsRequest, question, refusal,
};
use domain::{StreamId, Tenant, subject};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use runtime::catalogue::LiveCatalogue;
use runtime::log_message::LogMessage;
use runtime::log_reader::LogReader;
use runtime::nats::Nats;
use runtime::requests::RequestError;
use runtime::tasks::Connections;
use runtime::vault::Vault;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::entry::Entry;
use crate::feed;
use crate::hub::Hub;

mod cache;
mod pages;

use cache::Cache;
pub(crate) use pages::Answered;

/// The most events of one page.
pub(crate) const PAGE: usize = 500;
const DEADLINE: Duration = Duration::from_secs(2);

#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LibraryError {
    #[error("the read side does not answer")]
    Unavailable,
    #[error("the read side is still reading the log")]
    NotReady,
    #[error("the read side refused the question: {0}")]
    Refused(String),
}

type SharedRefs = Shared<BoxFuture<'static, Result<Arc<RefsAnswer>, LibraryError>>>;

#[derive(Clone)]
pub(crate) struct Library {
    inner: Arc<Inner>,
}

struct Inner {
    nats: Nats,
    reader: LogReader,
    hub: Arc<Hub>,
    catalogue: LiveCatalogue,
    vault: Vault,
    cache: Mutex<Cache>,
    asked: Mutex<HashMap<(String, Bytes), SharedRefs>>,
    /// Fetches go on when the connection that wanted them first is gone: others may wait for them.
    fetches: Connections,
}

impl Library {
    pub(crate) fn new(
        nats: &Nats,
        hub: &Arc<Hub>,
        catalogue: &LiveCatalogue,
        vault: &Vault,
        cache_bytes: usize,
        fetches: Connections,
    ) -> Self {
        let inner = Inner {
            nats: nats.clone(),
            reader: nats.log_reader(),
            hub: hub.clone(),
            catalogue: catalogue.clone(),
            vault: vault.clone(),
            cache: Mutex::new(Cache::new(cache_bytes)),
            asked: Mutex::default(),
            fetches,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Where a tenant's events of some channels stand.
    pub(crate) async fn refs(
        &self,
        tenant: &Tenant,
        request: &RefsRequest,
    ) -> Result<Arc<RefsAnswer>, LibraryError> {
        let subject = subject::replay_request(tenant, question::REFS);
        let payload = json(request)?;
        let key = (subject.clone(), payload.clone());
        self.shared_refs(key, subject, payload).await
    }

    /// Joins an equal question that is on its way, or asks.
    fn shared_refs(&self, key: (String, Bytes), subject: String, payload: Bytes) -> SharedRefs {
        let mut asked = self.inner.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = asked.get(&key) {
            return shared.clone();
        }
        let (inner, own) = (self.inner.clone(), key.clone());
        let asking = async move {
            let answer = ask(&inner.nats, &subject, payload).await.map(Arc::new);
            inner.asked.lock().unwrap_or_else(PoisonError::into_inner).remove(&own);
            answer
        };
        let shared = asking.boxed().shared();
        asked.insert(key, shared.clone());
        // The question goes on when who asked first is gone, and is forgotten when it is answered.
        let running = shared.clone();
        self.inner.fetches.spawn(async move {
            let _answered = running.await;
        });
        shared
    }

    /// The position that the log had at a moment, in Unix milliseconds.
    pub(crate) async fn at(&self, tenant: &Tenant, at: i64) -> Result<AtAnswer, LibraryError> {
        let subject = subject::replay_request(tenant, question::AT);
        ask(&self.inner.nats, &subject, json(&AtRequest { at })?).await
    }

    /// Any other question, passed on as it is.
    pub(crate) async fn ask<Q: Serialize + Sync, A: DeserializeOwned>(
        &self,
        tenant: &Tenant,
        what: &str,
        request: &Q,
    ) -> Result<A, LibraryError> {
        let subject = subject::replay_request(tenant, what);
        ask(&self.inner.nats, &subject, json(request)?).await
    }

    /// A tenant's events at some places, in that order; `None` for those that are not stored any more.
    /// A place that holds another tenant's event was indexed in an earlier life of its stream: ask again later.
    pub(crate) async fn entries(
        &self,
        tenant: &Tenant,
        refs: &[EventRef],
    ) -> Result<Vec<Option<Arc<Entry>>>, LibraryError> {
        let found = self.any_entries(refs).await?;
        let is_own = |entry: &Arc<Entry>| entry.envelope.tenant == *tenant;
        if found.iter().flatten().all(is_own) { Ok(found) } else { Err(LibraryError::NotReady) }
    }

    /// The events at some places, whoever's they are; only to compare positions with.
    async fn any_entries(
        &self,
        refs: &[EventRef],
    ) -> Result<Vec<Option<Arc<Entry>>>, LibraryError> {
        let mut found: Vec<Option<Arc<Entry>>> = vec![None; refs.len()];
        self.look_in_tail(refs, &mut found);
        let missing: Vec<_> = missing_of(refs, &found).collect();
        // The batches carry what they fetch: the cache may have let go of it before its waiters look.
        for batch in self.look_in_cache(refs, &missing, &mut found) {
            let fetched = batch.await?;
            for &at in &missing {
                if let Some(entry) = fetched.get(&(refs[at].stream, refs[at].sequence)) {
                    found[at] = entry.clone();
                }
            }
        }
        Ok(found)
    }

    fn look_in_tail(&self, refs: &[EventRef], found: &mut [Option<Arc<Entry>>]) {
        self.inner.hub.with_tail(|tail| {
            for (place, entry) in refs.iter().zip(found) {
                let stream = StreamId::from_index(usize::from(place.stream));
                *entry = stream.and_then(|stream| tail.find(stream, place.sequence)).cloned();
            }
        });
    }

    /// Takes what is cached, begins to fetch the rest, and returns what is to be waited for.
    fn look_in_cache(
        &self,
        refs: &[EventRef],
        missing: &[usize],
        found: &mut [Option<Arc<Entry>>],
    ) -> Vec<cache::Batch> {
        let mut cache = self.inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let mut batches = Vec::new();
        let mut unknown: [Vec<u64>; domain::stream::COUNT] = Default::default();
        for &at in missing {
            let place = refs[at];
            match cache.get(place.stream, place.sequence) {
                cache::Found::Entry(entry) => found[at] = entry,
                cache::Found::Coming(batch) => batches.push(batch),
                cache::Found::Nothing => match unknown.get_mut(usize::from(place.stream)) {
                    Some(sequences) => sequences.push(place.sequence),
                    None => continue,
                },
            }
        }
        for stream in StreamId::ALL {
            let sequences = std::mem::take(&mut unknown[stream.index()]);
            if !sequences.is_empty() {
                let batch = self.fetch(stream, sequences.clone());
                cache.announce(stream.index() as u8, &sequences, &batch);
                batches.push(batch);
            }
        }
        batches
    }

    fn fetch(&self, stream: StreamId, sequences: Vec<u64>) -> cache::Batch {
        let inner = self.inner.clone();
        let fetching = async move {
            let read = inner.read(stream, &sequences).await;
            let index = stream.index() as u8;
            let mut cache = inner.cache.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(messages) = read else {
                cache.give_up(index, &sequences);
                return Err(LibraryError::Unavailable);
            };
            let mut fetched = HashMap::with_capacity(sequences.len());
            for (sequence, message) in sequences.into_iter().zip(messages) {
                let entry =
                    message.and_then(|m| feed::decode(stream, m, &inner.catalogue, &inner.vault));
                cache.put(index, sequence, entry.clone());
                fetched.insert((index, sequence), entry);
            }
            Ok(Arc::new(fetched))
        };
        let batch = fetching.boxed().shared();
        let running = batch.clone();
        self.inner.fetches.spawn(async move {
            // Who waits for the batch sees how it ended.
            let _ended = running.await;
        });
        batch
    }
}

impl Inner {
    async fn read(
        &self,
        stream: StreamId,
        sequences: &[u64],
    ) -> Result<Vec<Option<LogMessage>>, LibraryError> {
        let read = self.reader.get_many(stream.name(), sequences).await;
        let messages = read.map_err(|_| LibraryError::Unavailable)?;
        let prepared = feed::prepare(&self.vault, messages.iter().flatten()).await;
        prepared.map_err(|_| LibraryError::Unavailable)?;
        Ok(messages)
    }
}

fn missing_of<'a>(
    refs: &'a [EventRef],
    found: &'a [Option<Arc<Entry>>],
) -> impl Iterator<Item = usize> + 'a {
    (0..refs.len()).filter(|&at| found[at].is_none())
}

fn json(value: &impl Serialize) -> Result<Bytes, LibraryError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|e| LibraryError::Refused(e.to_string()))
}

async fn ask<A: DeserializeOwned>(
    nats: &Nats,
    subject: &str,
    payload: Bytes,
) -> Result<A, LibraryError> {
    let answer = match nats.request(subject, payload, DEADLINE).await {
        Ok(answer) => answer,
        Err(RequestError::TooLarge) => return Err(LibraryError::Refused("too large".to_owned())),
        Err(_) => return Err(LibraryError::Unavailable),
    };
    match serde_json::from_slice::<Answer<A>>(&answer) {
        Ok(Answer::Ok(answer)) => Ok(answer),
        Ok(Answer::Refused { code, .. }) if code == refusal::NOT_READY => {
            Err(LibraryError::NotReady)
        }
        Ok(Answer::Refused { code, .. }) => Err(LibraryError::Refused(code)),
        Err(error) => Err(LibraryError::Refused(error.to_string())),
    }
}

/// A channel's range as the read side wants it.
pub(crate) fn range(channel: &domain::Channel, after: domain::replay::Sequences) -> ChannelRange {
    ChannelRange { channel: channel.as_str().to_owned(), after }
}
