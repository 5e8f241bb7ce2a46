//! Each tenant's AI service with what bounds it: places for answers, the circuit breaker, the tokens of the last hour.
//! So a tenant whose service is slow or sick costs the others nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::clock;
use runtime::http_client::{Client, Limits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use crate::limits::{Breaker, BreakerState, Spending};
use crate::providers::{Endpoint, Ezri, Failure, OpenAi, Provider, Reason, Scripted};
use crate::settings::{Kind, Price, Registry, Settings};

/// Tenants whose tokens are counted; one entry is an hour of minutes.
const MOST: usize = 100_000;

#[derive(Clone)]
pub(crate) struct Tenants {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Registry,
    services: Mutex<HashMap<String, Arc<Service>>>,
    spending: Mutex<HashMap<String, Spending>>,
    clients: Mutex<HashMap<Duration, Client>>,
}

/// One tenant's AI service as its settings describe it.
pub(crate) struct Service {
    pub settings: Arc<Settings>,
    pub provider: Box<dyn Provider>,
    places: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
}

/// Why a question is not asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotNow {
    /// A place gets free sooner or later.
    Full,
    /// It fails.
    Failed(Failure),
}

/// A question that may be asked. Dropped without a word it says nothing about the service.
pub(crate) struct Turn {
    service: Arc<Service>,
    _place: OwnedSemaphorePermit,
    told: bool,
}

impl Tenants {
    pub(crate) fn new(registry: Registry) -> Self {
        let inner = Inner {
            registry,
            services: Mutex::default(),
            spending: Mutex::default(),
            clients: Mutex::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The tenant's service; one made anew when its settings have changed.
    pub(crate) fn service(&self, tenant: &str) -> Arc<Service> {
        let settings = self.inner.registry.of(tenant);
        let mut services = lock(&self.inner.services);
        if let Some(known) = services.get(tenant)
            && (Arc::ptr_eq(&known.settings, &settings) || known.settings == settings)
        {
            return known.clone();
        }
        let service = Arc::new(Service {
            provider: self.provider(&settings),
            places: Arc::new(Semaphore::new(settings.concurrency.min(Semaphore::MAX_PERMITS))),
            breaker: Mutex::default(),
            settings,
        });
        services.insert(tenant.to_owned(), service.clone());
        service
    }

    /// Tokens that some instance has used.
    pub(crate) fn used(&self, tenant: &str, at: i64, tokens: u64) {
        let mut spending = lock(&self.inner.spending);
        if spending.len() < MOST || spending.contains_key(tenant) {
            spending.entry(tenant.to_owned()).or_default().add(at, tokens);
        }
    }

    /// Services that are left alone now.
    pub(crate) fn open_breakers(&self) -> usize {
        let now = clock::unix_millis();
        let services = lock(&self.inner.services);
        let open =
            |service: &&Arc<Service>| lock(&service.breaker).state(now) != BreakerState::Closed;
        services.values().filter(open).count()
    }

    /// A place to ask the tenant's service.
    pub(crate) fn turn(&self, tenant: &str) -> Result<Turn, NotNow> {
        let service = self.service(tenant);
        let now = clock::unix_millis();
        let budget = service.settings.tokens_per_hour;
        if budget > 0 {
            let mut spending = lock(&self.inner.spending);
            let used = spending.get_mut(tenant).map_or(0, |it| it.last_hour(now));
            if used >= budget {
                return Err(NotNow::Failed(Reason::BudgetExhausted.into()));
            }
        }
        let place = service.places.clone().try_acquire_owned().map_err(|_| NotNow::Full)?;
        if !lock(&service.breaker).admits(now) {
            return Err(NotNow::Failed(Reason::CircuitOpen.into()));
        }
        Ok(Turn { service, _place: place, told: false })
    }

    fn provider(&self, settings: &Settings) -> Box<dyn Provider> {
        if settings.kind == Kind::Scripted {
            return Box::new(Scripted::default());
        }
        let client = match self.client(settings.deadlines.connect) {
            Ok(client) => client,
            Err(error) => {
                error!(%error, "no AI service can be reached: TLS cannot be set up");
                return Box::new(Scripted::default());
            }
        };
        let key = settings.key.clone();
        let endpoint = Endpoint::new(client, &settings.url, key, settings.deadlines);
        match settings.kind {
            Kind::OpenAi => Box::new(OpenAi::new(endpoint, settings.models.clone())),
            Kind::Ezri | Kind::Scripted => Box::new(Ezri::new(endpoint)),
        }
    }

    /// Connections are shared by all who wait equally long for one.
    fn client(&self, connect: Duration) -> Result<Client, runtime::tasks::BoxError> {
        let mut clients = lock(&self.inner.clients);
        if let Some(client) = clients.get(&connect) {
            return Ok(client.clone());
        }
        let client = Client::new(Limits { deadline: connect, ..Limits::default() })?;
        clients.insert(connect, client.clone());
        Ok(client)
    }
}

impl Turn {
    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.service.provider
    }

    /// How long sound is kept.
    pub(crate) fn keep_audio(&self) -> Option<Duration> {
        self.service.settings.keep_audio
    }

    /// How long one piece of speech may take.
    pub(crate) fn patience(&self) -> Duration {
        self.service.settings.deadlines.first
    }

    pub(crate) fn price(&self) -> Option<&Price> {
        self.service.settings.price.as_ref()
    }

    pub(crate) fn succeeded(&mut self) {
        self.told = true;
        lock(&self.service.breaker).succeeded();
    }

    pub(crate) fn failed(&mut self, failure: &Failure) {
        if failure.reason.is_outage() {
            self.told = true;
            lock(&self.service.breaker).failed(clock::unix_millis());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.told {
            lock(&self.service.breaker).left();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
