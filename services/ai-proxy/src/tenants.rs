//! Each tenant's AI service with what bounds it: places for answers, the circuit breaker, the tokens of the last hour.
//! So a tenant whose service is slow or sick costs the others nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::clock;
use runtime::http_client::{Client, Limits};
use runtime::tasks::BoxError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::error;

use crate::limits::{Admitted, Breaker, BreakerState, Spending};
use crate::providers::{Endpoint, Ezri, Failure, OpenAi, Provider, Reason, Scripted, Unreachable};
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
#[derive(Clone, PartialEq, Eq, Debug)]
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
    admitted: Admitted,
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
            provider: provider(&settings, self.client(settings.deadlines.connect)),
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
        let Some(admitted) = lock(&service.breaker).admits(now) else {
            return Err(NotNow::Failed(Reason::CircuitOpen.into()));
        };
        Ok(Turn { service, _place: place, admitted, told: false })
    }

    /// Connections are shared by all who wait equally long for one.
    fn client(&self, connect: Duration) -> Result<Client, BoxError> {
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

    /// How long a part of an answer may take to become sound.
    pub(crate) fn patience_to_speak(&self) -> Duration {
        self.service.settings.deadlines.total
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
            lock(&self.service.breaker).failed(self.admitted, clock::unix_millis());
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if !self.told {
            lock(&self.service.breaker).left(self.admitted);
        }
    }
}

/// The service that the settings name; one that cannot be spoken to fails, and nobody answers in its place.
fn provider(settings: &Settings, client: Result<Client, BoxError>) -> Box<dyn Provider> {
    let endpoint =
        |client| Endpoint::new(client, &settings.url, settings.key.clone(), settings.deadlines);
    match (settings.kind, client) {
        (Kind::Scripted, _) => Box::new(Scripted::default()),
        (Kind::OpenAi, Ok(client)) => {
            Box::new(OpenAi::new(endpoint(client), settings.models.clone()))
        }
        (Kind::Ezri, Ok(client)) => Box::new(Ezri::new(endpoint(client))),
        (kind, Err(error)) => {
            error!(%error, "no AI service can be reached: TLS cannot be set up");
            Box::new(Unreachable(if kind == Kind::Ezri { "ezri" } else { "openai" }))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::providers::{Question, Speech};

    #[tokio::test]
    async fn without_tls_a_service_is_unreachable_and_no_script_answers_in_its_place() {
        let settings = Settings::of(Kind::OpenAi);
        let service = provider(&settings, Err("no TLS".into()));
        assert_eq!(service.name(), "openai");
        let (pieces, _heard) = mpsc::channel(1);
        let question = Question {
            conversation: "c".into(),
            user: "7".into(),
            message: "m".into(),
            request_id: "r".into(),
            idempotency_key: "k".into(),
            text: "Hello.".into(),
            system: String::new(),
            history: Vec::new(),
            crisis_text: String::new(),
        };
        let failed = service.answer(&question, &pieces).await.err().unwrap();
        assert_eq!(failed.reason, Reason::Unreachable);
        let speech = Speech {
            conversation: "c".into(),
            chunk: "v".into(),
            request_id: "r".into(),
            sound: "".into(),
        };
        assert_eq!(service.hear(&speech).await.err().unwrap().reason, Reason::Unreachable);
    }
}
