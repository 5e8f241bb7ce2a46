//! The keys that opened what an attempt works with. Once one of them is destroyed nothing that it opened may be sent
//! on, and nothing that follows from it may be kept under another key.
//!
//! It must not know what was opened.

use domain::protection::{DataKey, Protection, Subject, seal_bytes, seal_fields, subjects_in};
use domain::token::Tenant;
use runtime::ids;
use runtime::vault::Vault;
use serde_json::{Map, Value};

#[derive(Clone)]
pub(crate) struct Keys {
    vault: Vault,
    noted: Vec<(Subject, DataKey)>,
}

impl Keys {
    pub(crate) fn none(vault: Vault) -> Self {
        Self { vault, noted: Vec::new() }
    }

    /// Notes the keys of everybody whose sealed texts are in some JSON, before it is opened with them.
    pub(crate) fn note(&mut self, tenant: &Tenant, sealed: &[u8]) {
        for person in subjects_in(sealed, tenant) {
            let key = self.vault.known(&person);
            self.keep(person, key);
        }
    }

    /// Notes a person's key, if there is one that can be had.
    pub(crate) async fn note_of(&mut self, person: Subject) {
        let key = self.vault.key(&person).await.ok().flatten();
        self.keep(person, key);
    }

    fn keep(&mut self, person: Subject, key: Option<DataKey>) {
        if let Some(key) = key.filter(|_| self.of(&person).is_none()) {
            self.noted.push((person, key));
        }
    }

    /// Whether none of them has been destroyed since, as far as is known here.
    pub(crate) fn stand(&self) -> bool {
        self.noted.iter().all(|(person, key)| self.vault.known(person).as_ref() == Some(key))
    }

    /// Returns once one of them has been destroyed.
    pub(crate) async fn destroyed(&self) {
        let mut news = self.vault.destroyed();
        while self.stand() {
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Seals fields with the noted key of the person, also with one that has been destroyed meanwhile: then nobody
    /// reads them, while a key made anew would keep what was to be forgotten. Without one it leaves them as they are.
    pub(crate) fn seal(
        &self,
        data: &mut Map<String, Value>,
        protection: &Protection,
        person: &Subject,
    ) {
        if let Some(key) = self.of(person) {
            seal_fields(data, protection, person, key, ids::random_bytes);
        }
    }

    /// The same of sound; `None` without a key of the person.
    pub(crate) fn seal_bytes(&self, person: &Subject, plain: &[u8]) -> Option<Vec<u8>> {
        self.of(person).map(|key| seal_bytes(key, person, plain, ids::random_bytes()))
    }

    fn of(&self, person: &Subject) -> Option<&DataKey> {
        self.noted.iter().find(|(noted, _)| noted == person).map(|(_, key)| key)
    }
}
