//! From an admitted event to the log: recognise a repeat, append, wait for the acknowledgement.
//! Every way in ends here. It must not know HTTP.

use std::sync::Arc;
use std::time::{Duration, Instant};

use domain::catalogue::{Admitted, Defaults, Publication, Refusal};
use domain::envelope::Envelope;
use domain::token::Tenant;
use runtime::catalogue::LiveCatalogue;
use runtime::event_log::{AppendError, EventLog};
use runtime::log_reader::ReadError;
use runtime::messaging::MessagingError;
use runtime::nats::Nats;
use runtime::vault::{Vault, VaultError};
use runtime::{clock, ids};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::contacts::Contacts;
use crate::memory::Memory;
use crate::metrics::{Metrics, Way};
use crate::protection;

/// How long storing one event may take, repeats after a lost connection included.
const APPEND_WITHIN: Duration = Duration::from_secs(5);

/// A handle that is cheap to clone.
#[derive(Clone)]
pub(crate) struct Intake {
    inner: Arc<Inner>,
}

struct Inner {
    catalogue: LiveCatalogue,
    vault: Vault,
    contacts: Contacts,
    memory: Memory,
    nats: Nats,
    log: EventLog,
    metrics: Metrics,
    places: Semaphore,
}

/// What became of one event, as callers are told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub(crate) struct Stored {
    pub id: String,
    #[serde(rename = "type")]
    pub event_type: String,
    /// `None` for an ephemeral event, which went to who is there and is stored nowhere.
    pub stream: Option<&'static str>,
    pub sequence: Option<u64>,
    pub duplicate: bool,
}

/// Why an event is not known to be stored. It may be sent again: a repeat is recognised.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntakeError {
    #[error("too many events are being stored")]
    Overloaded,
    #[error("the last 72 hours are still being read; a repeat could be taken for new")]
    Warming,
    #[error("the log could not be asked for an earlier copy")]
    Recall(#[source] ReadError),
    #[error("the keys of people's data cannot be reached")]
    Seal(#[source] VaultError),
    #[error("the log did not store it")]
    Append(#[source] AppendError),
    #[error("it could not be sent")]
    Send(#[source] MessagingError),
}

impl IntakeError {
    /// Whether the event itself is the reason, so that sending it again cannot help.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::Append(AppendError::TooLarge) | Self::Send(MessagingError::TooLarge))
    }

    /// Whether the event may be in the log although nobody knows.
    pub(crate) fn may_be_stored(&self) -> bool {
        matches!(self, Self::Append(AppendError::Unknown))
    }
}

impl Intake {
    /// `in_flight` bounds the requests that wait for the log; what is more is refused at once.
    pub(crate) fn new(
        nats: &Nats,
        catalogue: LiveCatalogue,
        vault: Vault,
        memory: Memory,
        metrics: Metrics,
        in_flight: usize,
    ) -> Self {
        let inner = Inner {
            catalogue,
            contacts: Contacts::new(nats, &vault, &metrics),
            vault,
            memory,
            nats: nats.clone(),
            log: nats.event_log().with_deadline(APPEND_WITHIN),
            metrics,
            places: Semaphore::new(in_flight),
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn catalogue(&self) -> &LiveCatalogue {
        &self.inner.catalogue
    }

    pub(crate) fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    pub(crate) fn contacts(&self) -> &Contacts {
        &self.inner.contacts
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    pub(crate) fn log(&self) -> &EventLog {
        &self.inner.log
    }

    /// A place among those who wait for the log, held until the answer.
    pub(crate) fn enter(&self) -> Result<SemaphorePermit<'_>, IntakeError> {
        if !self.inner.memory.is_warm() {
            return Err(IntakeError::Warming);
        }
        self.inner.places.try_acquire().map_err(|_| IntakeError::Overloaded)
    }

    /// A fact, whatever its type: what a provider reported, an administrator said or has done, as a gateway has checked,
    /// and what the platform itself tells.
    pub(crate) fn admit_own(
        &self,
        tenant: &Tenant,
        publication: Publication,
    ) -> Result<Admitted, Refusal> {
        let defaults = defaults(&publication);
        self.inner.catalogue.admit_own(tenant, publication, defaults)
    }

    /// What a publisher sent: decisions of the platform are refused.
    pub(crate) fn admit(
        &self,
        tenant: &Tenant,
        publication: Publication,
    ) -> Result<Admitted, Refusal> {
        let defaults = defaults(&publication);
        self.inner.catalogue.admit(tenant, publication, defaults)
    }

    /// Stores one event, or finds that it is stored, or sends it to who is there. Ephemeral events are not
    /// deduplicated: nobody could be told where the first one is.
    pub(crate) async fn store(
        &self,
        way: Way,
        mut admitted: Admitted,
    ) -> Result<Stored, IntakeError> {
        let started = Instant::now();
        let (sequence, duplicate) = self.put(way, &mut admitted).await?;
        self.inner.metrics.append_seconds.observe(started.elapsed().as_secs_f64());
        self.inner.metrics.stored(way, duplicate);
        let stream = admitted.stream.map(domain::StreamId::name);
        let Admitted { envelope, .. } = admitted;
        Ok(Stored { id: envelope.id, event_type: envelope.event_type, stream, sequence, duplicate })
    }

    /// [`Self::store`], unless it is stored under the key that it had a span of time ago, which was its id too.
    /// JetStream's own window knows nothing of that key; who repeats pauses for longer than the memory lags.
    pub(crate) async fn store_unless_known(
        &self,
        way: Way,
        admitted: Admitted,
        earlier_key: Option<String>,
    ) -> Result<Stored, IntakeError> {
        let (Some(id), Some(stream)) = (earlier_key, admitted.stream) else {
            return self.store(way, admitted).await;
        };
        let Envelope { tenant, source, .. } = &admitted.envelope;
        let earlier = self.inner.memory.recall(stream, &format!("{tenant}:{source}:{id}")).await;
        let Some(sequence) = earlier.map_err(IntakeError::Recall)? else {
            return self.store(way, admitted).await;
        };
        self.inner.metrics.stored(way, true);
        let (event_type, stream) = (admitted.envelope.event_type, Some(stream.name()));
        Ok(Stored { id, event_type, stream, sequence: Some(sequence), duplicate: true })
    }

    /// Whether a repeat in this stream is recognised.
    pub(crate) fn is_warm(&self, stream: domain::StreamId) -> bool {
        self.inner.memory.knows(stream)
    }

    /// Whether an event with this message id is known to be stored; unknown is no.
    pub(crate) async fn is_stored(&self, stream: domain::StreamId, message_id: &str) -> bool {
        self.inner.memory.recall(stream, message_id).await.is_ok_and(|place| place.is_some())
    }

    async fn put(
        &self,
        way: Way,
        event: &mut Admitted,
    ) -> Result<(Option<u64>, bool), IntakeError> {
        let Some(stream) = event.stream else {
            let headers = event.envelope.headers();
            let sent = self.inner.nats.publish(
                event.subject.as_str(),
                &headers,
                event.envelope.data.clone(),
            );
            return sent.await.map(|()| (None, false)).map_err(IntakeError::Send);
        };
        // Who comes from outside has been turned away at the entrance. What the platform tells itself may have been
        // told before a restart, and its job comes again.
        if way == Way::Own && !self.inner.memory.knows(stream) {
            return Err(IntakeError::Warming);
        }
        let earlier = self.inner.memory.recall(stream, &event.message_id).await;
        if let Some(sequence) = earlier.map_err(IntakeError::Recall)? {
            return Ok((Some(sequence), true));
        }
        protection::seal(self, event).await.map_err(IntakeError::Seal)?;
        let appended = self.inner.log.publish_envelope(
            &event.subject,
            &event.message_id,
            &event.envelope,
            None,
        );
        let appended = appended.await.map_err(IntakeError::Append)?;
        self.inner.memory.appended(stream, appended.sequence);
        Ok((Some(appended.sequence), appended.duplicate))
    }
}

/// An id is made only where it is needed.
fn defaults(publication: &Publication) -> Defaults {
    let id = if publication.id.is_some() { String::new() } else { ids::ordered() };
    Defaults { id, now: clock::now() }
}

#[cfg(test)]
mod tests {
    use domain::protection::WrappingKeys;
    use runtime::metrics::Metrics as Registry;
    use runtime::tasks::owned;
    use runtime::test_support::TestNats;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_platform_tells_itself_waits_until_repeats_are_recognised() {
        let server = TestNats::start().await;
        let client = server.nats("ingest").await;
        let memory = Memory::new(client.log_reader(), 1 << 20);
        let catalogue = runtime::catalogue::load(None).unwrap();
        let counts = Metrics::new(&Registry::new());
        let vault = Vault::new(&client, WrappingKeys::new(b"the platform's key", None));
        let intake = Intake::new(&client, catalogue, vault, memory.clone(), counts, 16);
        let follow_up = || {
            let data = json!({ "userId": "7", "conversationId": "c-9" });
            let told = Publication { key: Some("k".to_owned()), ..told(data) };
            intake.admit_own(&Tenant::parse("acme").unwrap(), told).unwrap()
        };
        let cold = intake.store(Way::Own, follow_up()).await;
        assert!(matches!(cold, Err(IntakeError::Warming)), "{cold:?}");
        let stream = domain::StreamId::Conversations;
        let stored = client.log_reader().stream_info(stream.name()).await.unwrap();
        assert_eq!(stored.messages, 0);
        let feed = crate::memory::feed(memory, client.clone(), stream, CancellationToken::new());
        let _feeding = owned(async move { feed.await.unwrap() });
        for duplicate in [false, true] {
            let mut stored = intake.store(Way::Own, follow_up()).await;
            while matches!(stored, Err(IntakeError::Warming)) {
                tokio::task::yield_now().await;
                stored = intake.store(Way::Own, follow_up()).await;
            }
            assert_eq!(stored.unwrap().duplicate, duplicate);
        }
    }

    fn told(data: serde_json::Value) -> Publication {
        Publication::new("session.started", "/decisions", data)
    }
}
