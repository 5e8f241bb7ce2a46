//! The applications in force with their keys: one immutable value that a reload or a refresh replaces.

use std::sync::Arc;

use domain::identity::Identity;
use http::Uri;
use jsonwebtoken::Algorithm;

use crate::auth::applications::{Application, KeySource, TenantRule};
use crate::auth::claims::NO_KEY;
use crate::auth::keys::{Key, KeyMaker};
use crate::auth::{AuthError, token};

#[derive(Default)]
pub(super) struct State(Vec<Loaded>);

#[derive(Clone)]
struct Loaded {
    application: Arc<Application>,
    /// `None` until a key set has been fetched for the first time.
    keys: Option<Arc<[Key]>>,
}

impl State {
    /// Key sets already fetched from the same address are taken over from `before`.
    pub(super) fn new(applications: Vec<Application>, before: &Self, maker: &KeyMaker) -> Self {
        let load = |application: Application| {
            let keys = match &application.key {
                None => Some(Arc::default()),
                Some(KeySource::Secret(secret)) => Some([maker.secret(secret.expose())].into()),
                Some(KeySource::Public(pem)) => Some(maker.public(pem).into_iter().collect()),
                Some(KeySource::Jwks(url)) => before.set_of(url),
            };
            Loaded { application: Arc::new(application), keys }
        };
        Self(applications.into_iter().map(load).collect())
    }

    pub(super) fn applications(&self) -> impl Iterator<Item = &Application> {
        self.0.iter().map(|loaded| &*loaded.application)
    }

    pub(super) fn origins(&self) -> impl Iterator<Item = String> {
        self.applications().flat_map(|application| application.origins.iter().cloned())
    }

    /// The application and the id of the key that verify a token: by its issuer, else by who can.
    pub(super) fn verifier(
        &self,
        parts: &token::Parts<'_>,
    ) -> Result<(&Application, u64), AuthError> {
        let issuer = parts.claims.iss.as_ref();
        let issued =
            |loaded: &&Loaded| issuer.is_some() && loaded.application.issuer.as_ref() == issuer;
        let named = self.0.iter().any(|loaded| issued(&loaded));
        let asked = self.0.iter().filter(|loaded| {
            if named { issued(loaded) } else { loaded.application.issuer.is_none() }
        });
        let mut refusal = Refusal::default();
        for loaded in asked {
            for key in loaded.keys.iter().flat_map(|keys| keys.iter()) {
                if key.serves(parts.algorithm, parts.kid.as_deref())
                    && key.verifies(parts.message.as_bytes(), parts.signature)
                {
                    return Ok((&loaded.application, key.id));
                }
                refusal.algorithm(key.algorithm, parts.algorithm);
            }
            refusal.unfetched |= loaded.keys.is_none();
        }
        Err(refusal.error())
    }

    pub(super) fn still_lets_in(&self, identity: &Identity) -> bool {
        let of_it = |loaded: &&Loaded| loaded.application.name == identity.application;
        let Some(loaded) = self.0.iter().find(of_it) else { return false };
        let application = &loaded.application;
        let same_tenant = match &application.tenant {
            TenantRule::Fixed(tenant) => *tenant == identity.tenant,
            TenantRule::FromToken { .. } => true,
        };
        let key_is_there = match &loaded.keys {
            _ if identity.key == NO_KEY => {
                application.anonymous.is_some() || application.auth_proxy.is_some()
            }
            Some(keys) => keys.iter().any(|key| key.id == identity.key),
            // A new address of the key set: nobody is sent away before it has been asked.
            None => true,
        };
        same_tenant && key_is_there
    }

    pub(super) fn knows_its_keys(&self) -> bool {
        self.0.iter().all(|loaded| loaded.keys.is_some())
    }

    /// The addresses of key sets, each once.
    pub(super) fn set_addresses(&self) -> Vec<Uri> {
        let mut addresses = Vec::new();
        for application in self.applications() {
            if let Some(KeySource::Jwks(url)) = &application.key
                && !addresses.contains(url)
            {
                addresses.push(url.clone());
            }
        }
        addresses
    }

    /// The same with the keys fetched from `url`; `None` when that changes nothing.
    pub(super) fn with_set(&self, url: &Uri, keys: Vec<Key>) -> Option<Self> {
        let keys: Arc<[Key]> = keys.into();
        let mut changed = false;
        let replaced = self.0.iter().map(|loaded| {
            let mut loaded = loaded.clone();
            if matches!(&loaded.application.key, Some(KeySource::Jwks(own)) if own == url) {
                changed |= !same_keys(loaded.keys.as_deref(), &keys);
                loaded.keys = Some(keys.clone());
            }
            loaded
        });
        let state = Self(replaced.collect());
        changed.then_some(state)
    }

    fn set_of(&self, url: &Uri) -> Option<Arc<[Key]>> {
        let same = |loaded: &&Loaded| matches!(&loaded.application.key, Some(KeySource::Jwks(own)) if own == url);
        self.0.iter().find(same)?.keys.clone()
    }
}

fn same_keys(before: Option<&[Key]>, now: &[Key]) -> bool {
    before.is_some_and(|before| before.iter().map(|key| key.id).eq(now.iter().map(|key| key.id)))
}

/// Why no key verified a token.
#[derive(Default)]
struct Refusal {
    right_algorithm: bool,
    wrong_algorithm: bool,
    unfetched: bool,
}

impl Refusal {
    fn algorithm(&mut self, key: Algorithm, token: Algorithm) {
        self.right_algorithm |= key == token;
        self.wrong_algorithm |= key != token;
    }

    fn error(&self) -> AuthError {
        match self {
            Self { unfetched: true, .. } => AuthError::Unavailable,
            Self { wrong_algorithm: true, right_algorithm: false, .. } => AuthError::Algorithm,
            _ => AuthError::Signature,
        }
    }
}
