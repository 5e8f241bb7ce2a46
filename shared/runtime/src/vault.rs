//! The keys of people's data: made when first needed, kept wrapped in a bucket, known to every service that opens or
//! seals, and gone everywhere as soon as one is destroyed.
//!
//! A watch of the bucket keeps them in memory, so that opening asks nobody; about 200 bytes each.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use domain::Tenant;
use domain::protection::{
    DataKey, Once, Protection, Subject, WrappingKeys, open_json, seal_fields, subjects_in,
};
use serde_json::{Map, Value};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::ids;
use crate::kv::{Bucket, KvError, WatchEvent};
use crate::nats::Nats;
use crate::ops::Condition;
use crate::tasks::BoxError;

const BUCKET: &str = "keys";

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

struct Inner {
    bucket: Bucket,
    wrapping: WrappingKeys,
    /// `None` for a key that has been destroyed.
    known: RwLock<HashMap<Subject, Option<DataKey>>>,
    destroyed: watch::Sender<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("the keys cannot be reached")]
    Bucket(#[from] KvError),
    #[error("a key was wrapped with another platform key; see PLATFORM_KEY_PREVIOUS")]
    Wrapped,
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
                WatchEvent::Put(entry) => self.learn(&entry.key, &entry.value),
                WatchEvent::Gone { key, .. } => self.forget(&key),
                WatchEvent::Current => current.holds(),
                WatchEvent::Reset => self.write(HashMap::clear),
            }
        }
    }

    /// A person's key as far as it is known here, without asking anybody.
    pub fn known(&self, subject: &Subject) -> Option<DataKey> {
        self.read(|known| known.get(subject).cloned().flatten())
    }

    /// Asks for the keys of what is sealed in this JSON where they are not known, so that [`Vault::open`] can open
    /// it: an event may come before the watch tells of its key.
    pub async fn prepare(&self, tenant: &Tenant, json: &[u8]) -> Result<(), VaultError> {
        for subject in subjects_in(json, tenant) {
            self.key(&subject).await?;
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

    /// A person's key; `None` when it has been destroyed, or never was.
    pub async fn key(&self, subject: &Subject) -> Result<Option<DataKey>, VaultError> {
        if let Some(known) = self.read(|known| known.get(subject).cloned()) {
            return Ok(known);
        }
        let name = subject.key_name();
        let Some(entry) = self.inner.bucket.get_from_leader(&name).await? else { return Ok(None) };
        let key = self.unwrap(subject, &entry.value)?;
        self.write(|known| known.insert(subject.clone(), Some(key.clone())));
        Ok(Some(key))
    }

    /// A person's key to seal with; made when there is none, also after an earlier one was destroyed.
    pub async fn key_to_seal(&self, subject: &Subject) -> Result<DataKey, VaultError> {
        if let Some(key) = self.key(subject).await? {
            return Ok(key);
        }
        let key = DataKey::new(ids::random_bytes());
        let wrapped = self.inner.wrapping.wrap(subject, &key, once());
        match self.inner.bucket.create(&subject.key_name(), wrapped.into()).await {
            Ok(_) => {
                self.write(|known| known.insert(subject.clone(), Some(key.clone())));
                Ok(key)
            }
            // Somebody else has just made it.
            Err(KvError::Conflict) => {
                self.write(|known| known.remove(subject));
                self.key(subject).await?.ok_or(VaultError::Bucket(KvError::Conflict))
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
        self.inner.bucket.delete(&name).await?;
        self.forget(&name);
        Ok(Destroyed::Now)
    }

    /// Changes whenever a key has been destroyed: what was opened with it must go from caches.
    pub fn destroyed(&self) -> watch::Receiver<u64> {
        self.inner.destroyed.subscribe()
    }

    fn learn(&self, name: &str, wrapped: &Bytes) {
        let Some(subject) = Subject::of_key_name(name) else {
            error!("a key of nobody is in the bucket of keys");
            return;
        };
        match self.unwrap(&subject, wrapped) {
            Ok(key) => {
                self.write(|known| known.insert(subject, Some(key)));
            }
            Err(error) => error!(%error, tenant = %subject.tenant, "somebody's data stays sealed"),
        }
    }

    fn forget(&self, name: &str) {
        if let Some(subject) = Subject::of_key_name(name) {
            let had = self.write(|known| known.insert(subject, None));
            if had.flatten().is_some() {
                self.inner.destroyed.send_modify(|count| *count += 1);
            }
        }
    }

    fn unwrap(&self, subject: &Subject, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        self.inner.wrapping.unwrap(subject, wrapped).map_err(|_| VaultError::Wrapped)
    }

    fn read<T>(&self, look: impl FnOnce(&HashMap<Subject, Option<DataKey>>) -> T) -> T {
        look(&self.inner.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, change: impl FnOnce(&mut HashMap<Subject, Option<DataKey>>) -> T) -> T {
        change(&mut self.inner.known.write().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Random bytes for one sealing.
fn once() -> Once {
    ids::random_bytes()
}
