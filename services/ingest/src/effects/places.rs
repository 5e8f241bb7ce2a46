//! Places for calls to others: few for each tenant, fewer for what failed before, so that one whose receiver is dead
//! delays nobody else and its retries delay no first attempt. It must not know what is called.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::Tenant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Calls to others at one time. One who does not answer holds a place for the deadline of an attempt, no longer.
const AT_ONCE: usize = 64;
const OF_TENANT: usize = 8;
const RETRIES: usize = AT_ONCE / 2;
const RETRIES_OF_TENANT: usize = OF_TENANT / 2;
/// First attempts of one tenant that wait for a place; what is more comes again from the log.
const WAITING_OF_TENANT: usize = 64;
/// Short beside an attempt; who waits is looked after meanwhile.
const WAIT: Duration = Duration::from_secs(3);
/// Tenants remembered although nothing of theirs goes on.
const TENANTS: usize = 1_000;

/// What of one tenant goes on.
struct Own {
    now: Arc<Semaphore>,
    retries: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
}

pub(super) struct Places {
    all: Arc<Semaphore>,
    retries: Arc<Semaphore>,
    tenants: Mutex<HashMap<Tenant, Arc<Own>>>,
}

/// Held while somebody is called.
#[derive(Debug)]
pub(super) struct Place {
    _held: Vec<OwnedSemaphorePermit>,
}

impl Own {
    fn new() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self {
            now: places(OF_TENANT),
            retries: places(RETRIES_OF_TENANT),
            waiting: places(WAITING_OF_TENANT),
        }
    }
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            retries: Arc::new(Semaphore::new(RETRIES)),
            tenants: Mutex::default(),
        }
    }

    /// A place for what was tried so often; `None` says that it has to come again.
    pub(super) async fn enter(&self, tenant: &Tenant, tries: u64) -> Option<Place> {
        let own = self.own(tenant);
        if tries > 0 {
            return self.retry(&own);
        }
        let _waits = own.waiting.clone().try_acquire_owned().ok()?;
        let places = async {
            let own = own.now.clone().acquire_owned().await.ok()?;
            Some(vec![own, self.all.clone().acquire_owned().await.ok()?])
        };
        timeout(WAIT, places).await.ok()?.map(|held| Place { _held: held })
    }

    /// A retry waits in the log, never here.
    fn retry(&self, own: &Own) -> Option<Place> {
        let places = [&own.retries, &self.retries, &own.now, &self.all].into_iter();
        let held = places.map(|places| places.clone().try_acquire_owned().ok());
        Some(Place { _held: held.collect::<Option<_>>()? })
    }

    fn own(&self, tenant: &Tenant) -> Arc<Own> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.len() >= TENANTS && !tenants.contains_key(tenant) {
            tenants.retain(|_, own| own.is_used());
        }
        tenants.entry(tenant.clone()).or_insert_with(|| Arc::new(Own::new())).clone()
    }
}

impl Own {
    fn is_used(&self) -> bool {
        self.now.available_permits() < OF_TENANT
            || self.waiting.available_permits() < WAITING_OF_TENANT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Tenant {
        Tenant::parse(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_tenant_takes_no_more_than_its_places() {
        let (places, acme) = (Places::new(), tenant("acme"));
        let mut held = Vec::new();
        for _ in 0..OF_TENANT {
            held.push(places.enter(&acme, 0).await.expect("a place"));
        }
        assert!(places.enter(&acme, 0).await.is_none(), "it has waited for nothing");
        assert!(places.enter(&tenant("beta"), 0).await.is_some());
        let (next, ()) = tokio::join!(places.enter(&acme, 0), async { drop(held.pop()) });
        assert!(next.is_some(), "who waits gets the place that is given back");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_leave_room_for_first_attempts() {
        let (places, acme) = (Places::new(), tenant("acme"));
        let mut held = Vec::new();
        while let Some(place) = places.enter(&acme, 1).await {
            held.push(place);
        }
        assert_eq!(held.len(), RETRIES_OF_TENANT);
        assert!(places.enter(&acme, 0).await.is_some());
        // Nor do the retries of all tenants take every place.
        for number in 0..AT_ONCE {
            held.extend(places.enter(&tenant(&format!("t{number}")), 1).await);
        }
        assert_eq!(held.len(), RETRIES);
        assert!(places.enter(&tenant("beta"), 0).await.is_some());
    }
}
