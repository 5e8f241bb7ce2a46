//! The keys of people's data: made when first needed, kept wrapped in a bucket, known to every service that opens or
//! seals, and gone everywhere as soon as one is destroyed.
//!
//! A watch of the bucket keeps them in memory, so that opening asks nobody; about 200 bytes each. The watch may be late:
//! what the known keys do not open is asked about once more before it counts as erased.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use domain::Tenant;
use domain::protection::{
    DataKey, Once, Protection, Subject, WrappingKeys, fingerprint, locked_in, open_json,
    seal_bytes, seal_fields, subject_of,
};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::ids;
use crate::kv::{Bucket, Entry, KvError, WatchEvent};
use crate::nats::Nats;
use crate::ops::Condition;
use crate::tasks::BoxError;

mod events;

const BUCKET: &str = "keys";

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: Bucket,
    wrapping: WrappingKeys,
    known: RwLock<HashMap<Subject, Known>>,
    destroyed: watch::Sender<u64>,
}

/// The newest that was heard of a person's key.
#[derive(Clone)]
struct Known {
    /// Where the bucket tells it: what was told before never takes it back, whoever says it late.
    revision: u64,
    /// `None` for one that has been destroyed.
    key: Option<DataKey>,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the keys cannot be reached")]
    Bucket(#[from] KvError),
    #[error("a key was wrapped with another platform key; see PLATFORM_KEY_PREVIOUS")]
    Wrapped,
}

/// What came of looking at all keys.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Rewrapped {
    /// Wrapped with the newest platform key now, and with the one before until now.
    pub anew: u64,
    /// Wrapped with a platform key that is not known here.
    pub unreadable: u64,
}

/// What becomes of somebody's key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destroyed {
    Now,
    /// There was none: nothing of the person is sealed, or it was destroyed before.
    NothingThere,
}

impl Vault {
    pub fn new(nats: &Nats, wrapping: WrappingKeys) -> Self {
        let (bucket, known) = (nats.bucket(BUCKET), RwLock::default());
        let destroyed = watch::Sender::new(0);
        Self { inner: Arc::new(Inner { bucket, wrapping, known, destroyed }) }
    }

    /// Keeps the keys known until `shutdown`; `current` holds once all that there are have been read.
    pub async fn follow(
        self,
        current: Condition,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut watch = self.inner.bucket.watch(">");
        current.missing("the keys of people's data are being read");
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = watch.next() => event,
            };
            match event {
                WatchEvent::Put(entry) => self.learn(&entry),
                WatchEvent::Gone { key, revision } => {
                    if let Some(subject) = Subject::of_key_name(&key) {
                        self.keep(&subject, Known { revision, key: None });
                    }
                }
                WatchEvent::Current => current.holds(),
                WatchEvent::Reset => self.write(HashMap::clear),
            }
        }
    }

    /// A person's key as far as it is known here, without asking anybody.
    pub fn known(&self, subject: &Subject) -> Option<DataKey> {
        self.heard(subject).and_then(|known| known.key)
    }

    /// Asks for the keys of what is sealed in this JSON where the known ones do not open it, so that [`Vault::open`]
    /// can: an event may come before the watch tells of its key, also of a new one after an erasure.
    pub async fn prepare(&self, tenant: &Tenant, json: &[u8]) -> Result<(), VaultError> {
        for subject in locked_in(json, tenant, |subject| self.known(subject)) {
            self.ask(&subject).await?;
        }
        Ok(())
    }

    /// JSON with everything in it opened that is sealed, as far as the keys are known here; what has no key says
    /// [`domain::protection::ERASED`].
    pub fn open(&self, tenant: &Tenant, json: &Bytes) -> Bytes {
        match open_json(json, tenant, |subject| self.known(subject)) {
            Cow::Borrowed(_) => json.clone(),
            Cow::Owned(opened) => opened.into(),
        }
    }

    /// What tells a sealed text from others of the same person, however often it is sealed; `None` for a text that is not
    /// sealed, or cannot be opened with the keys known here.
    pub fn fingerprint(&self, tenant: &Tenant, sealed: &str) -> Option<String> {
        let subject = subject_of(tenant, sealed)?;
        fingerprint(&self.known(&subject)?, &subject, sealed).ok()
    }

    /// Seals what is personal in data about a person.
    pub async fn seal(
        &self,
        data: &mut Map<String, Value>,
        protection: &Protection,
        subject: &Subject,
    ) -> Result<(), VaultError> {
        if protection.clear(data).next().is_some() {
            let key = self.key_to_seal(subject).await?;
            seal_fields(data, protection, subject, &key, once);
        }
        Ok(())
    }

    /// Bytes that only the person's key opens.
    pub async fn seal_bytes(&self, subject: &Subject, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key = self.key_to_seal(subject).await?;
        Ok(seal_bytes(&key, subject, plain, once()))
    }

    /// A person's key; `None` when it has been destroyed, or never was.
    pub async fn key(&self, subject: &Subject) -> Result<Option<DataKey>, VaultError> {
        match self.known(subject) {
            Some(key) => Ok(Some(key)),
            None => self.ask(subject).await,
        }
    }

    /// What the bucket's leader says of a person's key.
    async fn ask(&self, subject: &Subject) -> Result<Option<DataKey>, VaultError> {
        let before = self.heard(subject);
        let Some(entry) = self.inner.bucket.get_from_leader(&subject.key_name()).await? else {
            // Unless a new one was heard of meanwhile, which has a higher revision.
            if let Some(Known { revision, .. }) = before {
                self.keep(subject, Known { revision, key: None });
            }
            return Ok(self.known(subject));
        };
        let key = Some(self.unwrap(subject, &entry.value)?);
        self.keep(subject, Known { revision: entry.revision, key });
        Ok(self.known(subject))
    }

    /// A person's key to seal with; made when there is none, also after an earlier one was destroyed.
    pub async fn key_to_seal(&self, subject: &Subject) -> Result<DataKey, VaultError> {
        if let Some(key) = self.key(subject).await? {
            return Ok(key);
        }
        let key = DataKey::new(ids::random_bytes());
        let wrapped = self.inner.wrapping.wrap(subject, &key, once());
        match self.inner.bucket.create(&subject.key_name(), wrapped.into()).await {
            Ok(revision) => {
                self.keep(subject, Known { revision, key: Some(key.clone()) });
                Ok(key)
            }
            // Somebody else has just made it.
            Err(KvError::Conflict) => {
                self.ask(subject).await?.ok_or(VaultError::Bucket(KvError::Conflict))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Makes everything that was sealed for a person unreadable, for ever.
    pub async fn destroy(&self, subject: &Subject) -> Result<Destroyed, VaultError> {
        let name = subject.key_name();
        if self.inner.bucket.get_from_leader(&name).await?.is_none() {
            return Ok(Destroyed::NothingThere);
        }
        let revision = self.inner.bucket.delete(&name).await?;
        self.keep(subject, Known { revision, key: None });
        Ok(Destroyed::Now)
    }

    /// Wraps with the newest platform key what the one before wraps, so that the one before may be forgotten. Looks
    /// once at every key that there is.
    pub async fn rewrap(&self) -> Result<Rewrapped, VaultError> {
        let mut watch = self.inner.bucket.watch(">");
        let mut rewrapped = Rewrapped::default();
        loop {
            match watch.next().await {
                WatchEvent::Put(entry) => match self.rewrap_one(&entry).await {
                    Ok(is_new) => rewrapped.anew += u64::from(is_new),
                    Err(VaultError::Wrapped) => rewrapped.unreadable += 1,
                    Err(unreachable) => return Err(unreachable),
                },
                WatchEvent::Current => return Ok(rewrapped),
                WatchEvent::Reset => rewrapped = Rewrapped::default(),
                WatchEvent::Gone { .. } => {}
            }
        }
    }

    async fn rewrap_one(&self, entry: &Entry) -> Result<bool, VaultError> {
        let Some(subject) = Subject::of_key_name(&entry.key) else { return Ok(false) };
        let wrapped = self.inner.wrapping.rewrap(&subject, &entry.value, once());
        let Some(wrapped) = wrapped.map_err(|_| VaultError::Wrapped)? else { return Ok(false) };
        match self.inner.bucket.update(&entry.key, wrapped.into(), entry.revision).await {
            Ok(_) => Ok(true),
            // It has been destroyed, or somebody else has done the same.
            Err(KvError::Conflict) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Changes whenever a key has been destroyed: what was opened with it must go from caches.
    pub fn destroyed(&self) -> watch::Receiver<u64> {
        self.inner.destroyed.subscribe()
    }

    fn learn(&self, entry: &Entry) {
        let Some(subject) = Subject::of_key_name(&entry.key) else {
            error!("a key of nobody is in the bucket of keys");
            return;
        };
        match self.unwrap(&subject, &entry.value) {
            Ok(key) => self.keep(&subject, Known { revision: entry.revision, key: Some(key) }),
            Err(error) => error!(%error, tenant = %subject.tenant, "somebody's data stays sealed"),
        }
    }

    /// Takes what is at least as new as what is known.
    fn keep(&self, subject: &Subject, news: Known) {
        let is_gone = news.key.is_none();
        let before = self.write(|known| match known.get_mut(subject) {
            Some(old) if old.revision > news.revision => None,
            Some(old) => std::mem::replace(old, news).key,
            None => known.insert(subject.clone(), news).and_then(|old| old.key),
        });
        if is_gone && before.is_some() {
            self.inner.destroyed.send_modify(|count| *count += 1);
        }
    }

    fn heard(&self, subject: &Subject) -> Option<Known> {
        let known = self.inner.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(subject).cloned()
    }

    fn unwrap(&self, subject: &Subject, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        self.inner.wrapping.unwrap(subject, wrapped).map_err(|_| VaultError::Wrapped)
    }

    fn write<T>(&self, change: impl FnOnce(&mut HashMap<Subject, Known>) -> T) -> T {
        change(&mut self.inner.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Random bytes for one sealing.
fn once() -> Once {
    ids::random_bytes()
}
