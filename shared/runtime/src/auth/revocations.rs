//! Tokens and users that are no longer let in. Whoever learns of a revocation tells it here; live connections are told at once.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use domain::identity::Identity;
use domain::token::Tenant;
use tokio::sync::broadcast;

/// Far more than a day of revocations; beyond it the oldest end would be lost, so further ones are refused loudly.
const MOST: usize = 1_000_000;
/// Who lags behind by more is told so and checks every connection it holds.
const NEWS: usize = 1_024;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Revoked {
    /// One token, by `jti`.
    Token(Arc<str>),
    /// Every token of a user, by `sub`.
    User(Arc<str>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    pub tenant: Tenant,
    pub what: Revoked,
    /// Unix seconds after which it need not be remembered, since the tokens it is about have expired.
    pub until: i64,
}

impl Revocation {
    pub fn concerns(&self, identity: &Identity) -> bool {
        let named = match &self.what {
            Revoked::Token(id) => identity.token_id.as_ref() == Some(id),
            Revoked::User(user) => identity.user == *user,
        };
        named && identity.tenant == self.tenant
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{MOST} revocations are in force; no more can be remembered")]
pub struct TooMany;

/// A cheap-clone handle.
#[derive(Clone, Debug)]
pub struct Revocations(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    in_force: RwLock<HashMap<(Tenant, Revoked), i64>>,
    news: broadcast::Sender<Revocation>,
}

impl Default for Revocations {
    fn default() -> Self {
        let news = broadcast::Sender::new(NEWS);
        Self(Arc::new(Inner { in_force: RwLock::default(), news }))
    }
}

impl Revocations {
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes effect at once; the same revocation again extends it. `now` (Unix seconds) is for forgetting old ones.
    pub fn revoke(&self, revocation: Revocation, now: i64) -> Result<(), TooMany> {
        if revocation.until <= now {
            return Ok(());
        }
        let mut in_force = self.0.in_force.write().unwrap_or_else(PoisonError::into_inner);
        if in_force.len() >= MOST {
            in_force.retain(|_, until| *until > now);
        }
        let key = (revocation.tenant.clone(), revocation.what.clone());
        if in_force.len() >= MOST && !in_force.contains_key(&key) {
            return Err(TooMany);
        }
        let until = in_force.entry(key).or_default();
        *until = revocation.until.max(*until);
        drop(in_force);
        // Nobody listening is fine: the next check finds it in the set.
        let _listeners = self.0.news.send(revocation);
        Ok(())
    }

    pub fn is_revoked(&self, identity: &Identity, now: i64) -> bool {
        let in_force = self.0.in_force.read().unwrap_or_else(PoisonError::into_inner);
        if in_force.is_empty() {
            return false;
        }
        let holds = |what| in_force.get(&(identity.tenant.clone(), what)).is_some_and(|t| *t > now);
        holds(Revoked::User(identity.user.clone()))
            || identity.token_id.clone().is_some_and(|id| holds(Revoked::Token(id)))
    }

    /// Revocations from now on. A receiver that reads `Lagged` checks every connection by `is_revoked`.
    pub fn subscribe(&self) -> broadcast::Receiver<Revocation> {
        self.0.news.subscribe()
    }
}
