//! Ends calls at their provider when somebody asked to, and says what became of it.

use std::sync::Arc;
use std::time::Duration;

use domain::StreamId;
use domain::aggregate::RecordedEvent;
use domain::catalogue::Publication;
use domain::token::Tenant;
use runtime::durable::Job;
use runtime::telemetry::chain;
use serde_json::{Map, Value};
use tracing::{info, warn};

use super::places::Places;
use super::tries::Tries;
use super::twilio::{Failed, Twilio};
use super::{Outside, UNTIL_WARM};
use crate::escalation::recorded;
use crate::metrics::Effect;
use crate::worker::{Settled, pause};

const SOURCE: &str = "/effects/calls";
/// With these pauses about two minutes: nobody waits longer for a call to end.
const ATTEMPTS: u64 = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const NOT_CONFIGURED: &str = "No provider is configured to end calls at: set TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN of the ingest service.";

pub(super) struct Calls {
    outside: Arc<Outside>,
    twilio: Option<Twilio>,
    places: Places,
    tries: Tries,
}

impl Calls {
    pub(super) fn new(outside: Arc<Outside>, twilio: Option<Twilio>) -> Self {
        Self { outside, twilio, places: Places::new(), tries: Tries::default() }
    }

    pub(super) async fn handle(&self, job: Arc<Job>) -> Settled {
        let Some((envelope, event)) = recorded(&job) else { return Settled::Never };
        let Some(call_sid) = event.field("callSid") else { return Settled::Never };
        let (tenant, key) = (&envelope.tenant, &event.id);
        if !self.outside.is_warm(StreamId::Calls) {
            return Settled::Later(UNTIL_WARM);
        }
        if job.delivered > 1 && self.outside.is_recorded(StreamId::Calls, tenant, SOURCE, key).await
        {
            return Settled::Done;
        }
        let Some(_place) = self.places.enter(tenant, self.tries.of(key)).await else {
            return Settled::Later(pause(job.delivered, LONGEST_PAUSE));
        };
        let tries = self.tries.add(key);
        let ended = match &self.twilio {
            Some(twilio) => twilio.end(&self.outside.client, call_sid).await,
            None => Err(Failed::Final(NOT_CONFIGURED.to_owned())),
        };
        let error = match ended {
            Ok(()) => None,
            Err(Failed::Attempt(error)) if tries < ATTEMPTS => {
                warn!(error, tries, "a call is not ended yet");
                self.outside.intake.metrics().effect(Effect::CallRetried);
                return Settled::Later(pause(tries, LONGEST_PAUSE));
            }
            Err(Failed::Attempt(error) | Failed::Final(error)) => Some(error),
        };
        self.record(tenant, &event, tries, error).await
    }

    async fn record(
        &self,
        tenant: &Tenant,
        asked: &RecordedEvent,
        attempts: u64,
        error: Option<String>,
    ) -> Settled {
        let (metrics, is_done) = (self.outside.intake.metrics(), error.is_none());
        let kept = ["callSid", "requestedBy", "commandId"].into_iter();
        let mut data: Map<String, Value> = kept
            .filter_map(|name| Some((name.to_owned(), asked.data.get(name)?.clone())))
            .collect();
        data.extend(error.map(|error| ("error".to_owned(), error.into())));
        let event_type = if is_done { "call.termination.done" } else { "call.termination.failed" };
        let outcome = Publication::new(event_type, SOURCE, Value::Object(data));
        match self.outside.record(tenant, SOURCE, &asked.id, outcome).await {
            Ok(()) => {
                self.tries.forget(&asked.id);
                metrics.effect(if is_done { Effect::CallEnded } else { Effect::CallFailed });
                info!(attempts, is_done, "a call was to be ended");
                Settled::Done
            }
            Err(error) => {
                warn!(error = chain(&error), "the outcome of a call's end is not recorded yet");
                Settled::Later(pause(attempts, LONGEST_PAUSE))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::protection::WrappingKeys;
    use runtime::durable::Durable;
    use runtime::http_client::Client;
    use runtime::metrics::Metrics as Registry;
    use runtime::tasks::owned;
    use runtime::test_support::TestNats;
    use runtime::vault::Vault;
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::intake::Intake;
    use crate::memory::{self, Memory};
    use crate::metrics::{Metrics, Way};

    /// How often it was handed back before it had its turn.
    const HAND_BACKS: u64 = 3 * ATTEMPTS;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_that_waited_long_for_its_turn_is_tried_as_often_as_any() {
        let server = TestNats::start().await;
        let nats = server.nats("ingest").await;
        let memory = Memory::new(nats.log_reader(), 1 << 20);
        let catalogue = runtime::catalogue::load(None).unwrap();
        let vault = Vault::new(&nats, WrappingKeys::new(b"the platform's key", None));
        let metrics = Metrics::new(&Registry::new());
        let intake = Intake::new(&nats, catalogue, vault, memory.clone(), metrics, 16);
        let asked = json!({ "callSid": "CA1", "requestedBy": "7" });
        let asked = Publication::new("call.termination.requested", "test", asked);
        let asked = intake.admit_own(&Tenant::parse("acme").unwrap(), asked).unwrap();
        intake.store(Way::Http, asked).await.unwrap();
        let feed = memory::feed(memory, nats.clone(), StreamId::Calls, CancellationToken::new());
        let _feeding = owned(async move { feed.await.unwrap() });
        let outside = Outside { intake, client: Client::new(crate::effects::LIMITS).unwrap() };
        let outside = Arc::new(outside);
        while !outside.is_warm(StreamId::Calls) {
            tokio::task::yield_now().await;
        }
        // Nobody listens there.
        let twilio = Twilio::at("http://127.0.0.1:1");
        let calls = Calls::new(outside, Some(twilio));
        let mut job = Durable::open(&nats, "CALLS", "ingest-effects").next().await;
        job.delivered += HAND_BACKS;
        let job = Arc::new(job);
        for attempt in 1..ATTEMPTS {
            let settled = calls.handle(job.clone()).await;
            assert!(matches!(settled, Settled::Later(_)), "after {attempt}: {settled:?}");
        }
        assert_eq!(calls.handle(job).await, Settled::Done, "its end is told then");
        let told = server.nats("admin").await.log_reader().get("CALLS", 2).await.unwrap().unwrap();
        assert!(told.subject.ends_with(".termination-failed"), "{}", told.subject);
    }
}
