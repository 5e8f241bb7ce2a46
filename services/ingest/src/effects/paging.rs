//! Pages the webhook of a tier that was called: signed, under one id however often it is tried.
//!
//! The address comes from the operator's file alone and redirects are not followed, so nobody else chooses who is called.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use domain::aggregate::RecordedEvent;
use domain::catalogue::Publication;
use domain::escalation::Webhook;
use domain::signatures::standard_webhooks::{self, ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER};
use domain::token::{EntityToken, Tenant, Token};
use domain::{Address, Envelope, StreamId};
use http::{Request, header};
use runtime::clock;
use runtime::durable::Job;
use runtime::telemetry::chain;
use serde_json::{Value, json};
use tracing::{info, warn};

use super::places::Places;
use super::tries::Tries;
use super::{Outside, UNTIL_WARM};
use crate::escalation::{Alerts, Registry, recorded};
use crate::metrics::Effect;
use crate::worker::{Settled, pause};

const SOURCE: &str = "/escalation/pages";
/// With these pauses about ten minutes; the chain goes on meanwhile, and its next round pages again.
const ATTEMPTS: u64 = 14;
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Paging {
    outside: Arc<Outside>,
    chains: Registry,
    alerts: Alerts,
    places: Places,
    tries: Tries,
}

/// One call to one tier.
struct Page {
    tenant: Tenant,
    id: String,
    step: u64,
    tier: String,
    event: RecordedEvent,
}

/// Why a page was not taken.
enum Failed {
    /// Trying again may help.
    Attempt(String),
    Final(&'static str),
}

impl Paging {
    pub(super) fn new(outside: Arc<Outside>, chains: Registry, alerts: Alerts) -> Self {
        Self { outside, chains, alerts, places: Places::new(), tries: Tries::default() }
    }

    pub(super) async fn handle(&self, job: Arc<Job>) -> Settled {
        let Some((envelope, event)) = recorded(&job) else { return Settled::Never };
        let Some(page) = Page::of(&envelope, event) else { return Settled::Done };
        if !self.outside.is_warm(StreamId::Crisis) {
            return Settled::Later(UNTIL_WARM);
        }
        if job.delivered > 1 && self.is_settled(&page).await {
            return Settled::Done;
        }
        let Some(place) = self.places.enter(&page.tenant, self.tries.of(&page.id)).await else {
            return Settled::Later(pause(job.delivered, LONGEST_PAUSE));
        };
        let called = self.call(&page, job.delivered).await;
        drop(place);
        let tries = self.tries.of(&page.id);
        let outcome = match called {
            Ok(()) => None,
            Err(Failed::Attempt(error)) if tries < ATTEMPTS => {
                warn!(error, step = page.step, tries, "a page was not taken");
                self.outside.intake.metrics().effect(Effect::PageRetried);
                return Settled::Later(pause(tries, LONGEST_PAUSE));
            }
            Err(Failed::Attempt(error)) => Some(error),
            Err(Failed::Final(error)) => Some(error.to_owned()),
        };
        self.record(&page, tries, outcome).await
    }

    async fn is_settled(&self, page: &Page) -> bool {
        self.outside.is_recorded(StreamId::Crisis, &page.tenant, SOURCE, &page.id).await
    }

    async fn call(&self, page: &Page, delivered: u64) -> Result<(), Failed> {
        // A page that is late anyway is spared when somebody has answered meanwhile.
        if delivered > 1 && !self.waits(page).await {
            return Err(Failed::Final("The alert was answered before the page was taken."));
        }
        let chains = self.chains.current();
        let webhook = chains.of(&page.tenant).webhook_of(page.step, &page.tier);
        let Some(webhook) = webhook else {
            return Err(Failed::Final("The tier has no webhook any more."));
        };
        let request = page.request(webhook).map_err(|_| Failed::Final("It cannot be sent."))?;
        self.tries.add(&page.id);
        match self.outside.client.send(request).await {
            Ok(answer) if answer.status().is_success() => Ok(()),
            Ok(answer) => {
                let status = answer.status().as_u16();
                Err(Failed::Attempt(format!("The webhook answered {status}.")))
            }
            // Its own words, never the address, which may hold a secret.
            Err(error) => Err(Failed::Attempt(format!("The webhook was not reached: {error}."))),
        }
    }

    /// Whether the alert still waits for a human. If that cannot be told it does.
    async fn waits(&self, page: &Page) -> bool {
        let Ok(category) = Token::parse("crisis") else { return true };
        let about = |name| page.event.field(name);
        let entity = about("conversationId").or_else(|| about("userId")).unwrap_or_default();
        let entity = EntityToken::from_external(entity);
        let address = Address::new(&page.tenant, &category, &entity);
        let Ok(state) = self.alerts.load(&address).await else { return true };
        state.open().is_some_and(|alert| alert.waits() && about("alertId") == Some(&*alert.id))
    }

    async fn record(&self, page: &Page, attempts: u64, error: Option<String>) -> Settled {
        let (metrics, is_done) = (self.outside.intake.metrics(), error.is_none());
        let mut data = json!({
            "alertId": page.event.field("alertId"),
            "pageId": page.id,
            "tier": page.tier,
            "step": page.step,
            "attempts": attempts,
        });
        let event_type = match error {
            None => "crisis.page.done",
            Some(error) => {
                data["error"] = error.into();
                "crisis.page.failed"
            }
        };
        let outcome = Publication::new(event_type, SOURCE, data);
        match self.outside.record(&page.tenant, SOURCE, &page.id, outcome).await {
            Ok(()) => {
                self.tries.forget(&page.id);
                metrics.effect(if is_done { Effect::Paged } else { Effect::PageFailed });
                info!(step = page.step, attempts, is_done, "a tier was paged");
                Settled::Done
            }
            Err(error) => {
                warn!(error = chain(&error), "the outcome of a page is not recorded yet");
                Settled::Later(pause(attempts, LONGEST_PAUSE))
            }
        }
    }
}

impl Page {
    /// `None` for a step that pages nobody.
    fn of(envelope: &Envelope, event: RecordedEvent) -> Option<Self> {
        Some(Self {
            tenant: envelope.tenant.clone(),
            id: event.field("pageId")?.to_owned(),
            step: event.data.get("step").and_then(Value::as_u64)?,
            tier: event.field("tier")?.to_owned(),
            event,
        })
    }

    /// The same bytes for every attempt, signed anew: a receiver refuses old signatures.
    fn request(&self, webhook: &Webhook) -> Result<Request<Bytes>, http::Error> {
        let body = Bytes::from(self.body());
        let (at, signature) = standard_webhooks::sign(&webhook.key, &self.id, &body, clock::now());
        Request::post(&*webhook.url)
            .header(header::CONTENT_TYPE, "application/json")
            .header(ID_HEADER, &self.id)
            .header(TIMESTAMP_HEADER, at)
            .header(SIGNATURE_HEADER, signature)
            .body(body)
    }

    /// Enough to act on and nothing of what was said.
    fn body(&self) -> String {
        let about = |name| self.event.field(name);
        json!({
            "type": "crisis.escalated",
            "timestamp": about("timestamp"),
            "data": {
                "tenant": self.tenant.as_str(),
                "alertId": about("alertId"),
                "severity": about("severity"),
                "tier": self.tier,
                "step": self.step,
                "pageId": self.id,
            },
        })
        .to_string()
    }
}
