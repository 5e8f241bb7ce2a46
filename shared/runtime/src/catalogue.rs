//! The catalogue as a service uses it: the built-in one with an operator's additions, replaced as a whole while the
//! service runs.
//!
//! A change is an event of the log (`catalogue.changed`), so every service applies the same one. The write side alone
//! appends it, before it admits anything by it.

use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use domain::catalogue::{Catalogue, Mistakes};
use domain::{Envelope, StreamId, subject};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::LogMessage;
use crate::config::toml_files;
use crate::follow::{FollowEvent, FollowOptions, Follower};
use crate::nats::Nats;
use crate::ops::Condition;
use crate::tasks::BoxError;

/// The event that tells of a change, and its category.
pub const CHANGED: &str = "catalogue.changed";
const CATEGORY: &str = "catalogue";

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path} cannot be read; CATALOGUE_DIR names a folder of TOML files")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Wrong(#[from] Mistakes),
}

/// An operator's file, by its name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AddedFile {
    pub name: String,
    pub text: String,
}

/// A handle that is cheap to clone; reading through it reads what is in force.
#[derive(Clone)]
pub struct LiveCatalogue {
    inner: Arc<Inner>,
}

struct Inner {
    in_force: RwLock<InForce>,
    last_change: watch::Sender<LastChange>,
}

/// What the log's last change tells.
#[derive(PartialEq, Eq)]
enum LastChange {
    Unread,
    /// There never was one.
    Nothing,
    Told(Told),
}

/// The additions that the log tells of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Told {
    pub fingerprint: String,
    /// When the log was told, in Unix milliseconds.
    pub at: i64,
}

/// What was in force stays in memory: types are referred to for as long as the service runs, and changes are rare.
#[derive(Clone, Copy)]
struct InForce {
    catalogue: &'static Catalogue,
    files: &'static [AddedFile],
}

impl InForce {
    fn new(files: Vec<AddedFile>) -> Result<Self, Mistakes> {
        let texts: Vec<_> = files.iter().map(|f| (f.name.clone(), f.text.clone())).collect();
        let catalogue = Catalogue::load(&texts)?;
        Ok(Self { catalogue: Box::leak(Box::new(catalogue)), files: Vec::leak(files) })
    }
}

impl LiveCatalogue {
    /// The built-in catalogue and these files.
    pub fn new(files: Vec<AddedFile>) -> Result<Self, Mistakes> {
        let in_force = RwLock::new(InForce::new(files)?);
        Ok(Self {
            inner: Arc::new(Inner {
                in_force,
                last_change: watch::Sender::new(LastChange::Unread),
            }),
        })
    }

    /// Replaces the additions; what is wrong leaves everything as it was. Whether anything changed.
    pub fn apply(&self, files: &[AddedFile]) -> Result<bool, Mistakes> {
        if self.in_force().files == files {
            return Ok(false);
        }
        let new = InForce::new(files.to_vec())?;
        *self.inner.in_force.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(true)
    }

    /// The additions in force.
    pub fn files(&self) -> &'static [AddedFile] {
        self.in_force().files
    }

    /// What the log tells, as soon as that is known, `None` where it tells of nothing; needs [`LiveCatalogue::follow`].
    pub async fn told(&self) -> Option<Told> {
        let mut last = self.inner.last_change.subscribe();
        // The sender lives as long as this handle.
        match last.wait_for(|last| *last != LastChange::Unread).await.as_deref() {
            Ok(LastChange::Told(told)) => Some(told.clone()),
            Ok(LastChange::Unread | LastChange::Nothing) | Err(_) => None,
        }
    }

    fn in_force(&self) -> InForce {
        *self.inner.in_force.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the log's changes until `shutdown`; `current` holds once the last of them is applied.
    pub async fn follow(
        self,
        nats: Nats,
        current: Condition,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let filter = Some(subject::category_filter(CATEGORY));
        let options = FollowOptions { filter, ..FollowOptions::default() };
        let mut follower = Follower::last_per_subject(&nats, StreamId::Activity.name(), options);
        current.missing("the last change of the catalogue is being read");
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = follower.next() => event,
            };
            if let FollowEvent::Messages(messages) = event {
                messages.iter().for_each(|message| self.learn(message));
            }
            if follower.lag() == 0 {
                self.inner.last_change.send_if_modified(|last| {
                    let is_unread = *last == LastChange::Unread;
                    if is_unread {
                        *last = LastChange::Nothing;
                    }
                    is_unread
                });
                current.holds();
            }
        }
    }

    fn learn(&self, message: &LogMessage) {
        let Some(files) = files_of(message) else { return };
        let told = Told { fingerprint: fingerprint(&files), at: message.stored_at };
        self.inner.last_change.send_replace(LastChange::Told(told));
        match self.apply(&files) {
            Ok(true) => info!(sequence = message.sequence, "the catalogue was changed"),
            Ok(false) => {}
            // The write side runs another version: what it knows and this one does not stays unknown here.
            Err(mistakes) => error!(%mistakes, "a change of the catalogue cannot be applied"),
        }
    }
}

impl Deref for LiveCatalogue {
    type Target = Catalogue;

    fn deref(&self) -> &Catalogue {
        self.in_force().catalogue
    }
}

fn files_of(message: &LogMessage) -> Option<Vec<AddedFile>> {
    #[derive(Deserialize)]
    struct Changed {
        #[serde(default)]
        files: Vec<AddedFile>,
    }
    let payload = message.payload.clone();
    let event = Envelope::from_message(&message.subject, &message.headers, payload).ok()?;
    if event.event_type != CHANGED {
        return None;
    }
    serde_json::from_slice::<Changed>(&event.data).ok().map(|changed| changed.files)
}

/// Equal for equal additions.
pub fn fingerprint(files: &[AddedFile]) -> String {
    let mut digest = Sha256::new();
    for part in files.iter().flat_map(|file| [&file.name, &file.text]) {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    digest.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The catalogue with every `*.toml` of the folder, in the order of their names.
pub fn load(folder: Option<&Path>) -> Result<LiveCatalogue, LoadError> {
    let files = folder.map(read_folder).transpose()?.unwrap_or_default();
    Ok(LiveCatalogue::new(files)?)
}

/// What an operator adds.
pub fn read_folder(folder: &Path) -> Result<Vec<AddedFile>, LoadError> {
    let files = toml_files(folder)
        .map_err(|source| LoadError::Unreadable { path: folder.to_owned(), source })?;
    Ok(files.into_iter().map(|(name, text)| AddedFile { name, text }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = "category = \"custom\"\n[[event]]\nname = \"order.placed\"\nsummary = \"An order.\"\n\
        entity = \"{orderId}\"\nchannels = [\"calls\"]\nexample = { orderId = \"o-1\" }\n\
        [event.schema]\nrequired = [\"orderId\"]\nproperties = { orderId = \"id\" }";

    fn file(text: &str) -> AddedFile {
        AddedFile { name: "mine.toml".to_owned(), text: text.to_owned() }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let told = load(Some(Path::new("/nowhere"))).err().unwrap().to_string();
        assert!(told.starts_with("/nowhere cannot be read"), "{told}");
    }

    #[test]
    fn what_is_wrong_in_an_added_file_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine.toml"), "[[event]]\nnam = 1").unwrap();
        let told = load(Some(folder.path())).err().unwrap().to_string();
        assert!(told.contains("mine.toml"), "{told}");
    }

    #[test]
    fn every_handle_sees_a_change_and_none_sees_a_wrong_one() {
        let catalogue = load(None).unwrap();
        let other = catalogue.clone();
        assert!(other.by_type("custom.order.placed").is_none());
        assert!(catalogue.apply(&[file(ORDER)]).unwrap());
        assert!(other.by_type("custom.order.placed").is_some());
        assert!(!catalogue.apply(&[file(ORDER)]).unwrap(), "it is so already");
        assert!(catalogue.apply(&[file("[[event]]\nnam = 1")]).is_err());
        assert!(other.by_type("custom.order.placed").is_some(), "the old one stays in force");
        assert_ne!(fingerprint(other.files()), fingerprint(&[]));
    }
}
