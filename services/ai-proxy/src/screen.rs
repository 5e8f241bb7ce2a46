//! Screens every user message for a person in danger, on a durable of its own: whatever the AI service does or does not.
//!
//! A finding sends the person help and raises an alert, both under ids that follow from the message, so that a message
//! that comes again adds nothing. It must not know what the AI answered.

use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::{Defaults, Publication};
use domain::command::Actor;
use domain::safety::{Finding, Severity};
use domain::{Command, Envelope, Role, StreamId};
use runtime::catalogue::LiveCatalogue;
use runtime::durable::{Durable, Job};
use runtime::event_log::{Append, AppendError};
use runtime::metrics::Metrics as Registry;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::histogram::Histogram;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::vault::{Vault, VaultError};
use runtime::{clock, ids};
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

mod settings;

pub use settings::Settings;

const DURABLE: &str = "ai-screen";
const MESSAGE: &str = "conversation.message";
const STATE_CHANGE: &str = "safety.state_change";
/// The source of what the screen appends, and the actor of what it asks for.
const SOURCE: &str = "/screen";
const ACTOR: &str = "screen";

/// Messages that are screened at one time; beyond it fetching waits.
const AT_ONCE: usize = 64;
/// A person may be in danger: it is tried again at once, and for as long as it takes.
const AGAIN: Duration = Duration::from_millis(250);

/// Screens until `shutdown`, then ends what has begun and gives the rest back.
pub(crate) async fn run(
    nats: Nats,
    catalogue: LiveCatalogue,
    vault: Vault,
    settings: Settings,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let metrics = Metrics::new(&registry);
    let screen = Arc::new(Screen { nats: nats.clone(), catalogue, vault, settings, metrics });
    let mut durable = Durable::open(&nats, StreamId::Conversations.name(), DURABLE);
    let mut begun = JoinSet::new();
    loop {
        let job = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            Some(_) = begun.join_next(), if !begun.is_empty() => continue,
            job = durable.next(), if begun.len() < AT_ONCE => job,
        };
        let screen = screen.clone();
        begun.spawn(async move { screen.work(&job).await });
    }
    durable.close().await;
    while begun.join_next().await.is_some() {}
    Ok(())
}

struct Screen {
    nats: Nats,
    catalogue: LiveCatalogue,
    vault: Vault,
    settings: Settings,
    metrics: Metrics,
}

/// Why a message is not screened yet.
#[derive(Debug, thiserror::Error)]
enum Waits {
    #[error(transparent)]
    Append(#[from] AppendError),
    #[error(transparent)]
    Vault(#[from] VaultError),
}

struct Metrics {
    screened: Counter,
    found: Counter,
    seconds: Histogram,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        Self {
            screened: registry.counter("ai_screened", "User messages screened for a crisis"),
            found: registry.counter("ai_screen_found", "Messages that tell of a person in danger"),
            seconds: registry
                .seconds("ai_screen_seconds", "From a message's storing to its alert's"),
        }
    }
}

/// What a message to screen holds.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    conversation_id: String,
    user_id: String,
    message: String,
}

impl Screen {
    async fn work(&self, job: &Job) {
        let settled = match self.settle(job).await {
            Ok(()) => job.ack().await,
            Err(error) => {
                error!(error = chain(&error), sequence = job.message.sequence, "an alert waits");
                job.nak(AGAIN).await
            }
        };
        if let Err(error) = settled {
            debug!(%error, sequence = job.message.sequence, "screening");
        }
    }

    async fn settle(&self, job: &Job) -> Result<(), Waits> {
        let stored = &job.message;
        let envelope = match Envelope::from_message(
            &stored.subject,
            &stored.headers,
            stored.payload.clone(),
        ) {
            Ok(envelope) if envelope.event_type == MESSAGE => envelope,
            Ok(_) => return Ok(()),
            Err(error) => {
                warn!(%error, sequence = stored.sequence, "no event");
                return Ok(());
            }
        };
        // What is in the log is valid, so this is a message; its text stays out of the log of this program.
        self.vault.prepare(&envelope.tenant, &envelope.data).await?;
        let opened = self.vault.open(&envelope.tenant, &envelope.data);
        let Ok(message) = serde_json::from_slice::<Message>(&opened) else {
            warn!(sequence = stored.sequence, "a message that cannot be read was not screened");
            return Ok(());
        };
        self.metrics.screened.inc();
        let Some(finding) = self.settings.rules.screen(&message.message) else { return Ok(()) };
        self.metrics.found.inc();
        let (told, raised) = tokio::join!(
            self.offer_help(&envelope, &message, finding.severity),
            self.raise(&envelope, &message, &finding)
        );
        told?;
        raised?;
        let waited = clock::unix_millis().saturating_sub(stored.stored_at).max(0);
        self.metrics.seconds.observe(Duration::from_millis(waited.unsigned_abs()).as_secs_f64());
        Ok(())
    }

    /// To the person: something to hold on to, before anybody has looked.
    async fn offer_help(
        &self,
        envelope: &Envelope,
        message: &Message,
        severity: Severity,
    ) -> Result<(), AppendError> {
        let Some(state) = state(severity) else { return Ok(()) };
        let data = json!({
            "userId": message.user_id,
            "conversationId": message.conversation_id,
            "state": state,
            "resources": self.settings.resources(&envelope.tenant),
        });
        let mut publication = Publication::new(STATE_CHANGE, SOURCE, data);
        publication.key = Some(envelope.id.clone());
        publication.causation_id = Some(envelope.id.clone());
        let defaults = Defaults { id: ids::ordered(), now: clock::now() };
        let admitted = match self.catalogue.admit_own(&envelope.tenant, publication, defaults) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                error!(%refusal, "help could not be offered; see the resources of SAFETY_DIR");
                return Ok(());
            }
        };
        let log = self.nats.event_log();
        log.publish_envelope(&admitted.subject, &admitted.message_id, &admitted.envelope, None)
            .await?;
        Ok(())
    }

    async fn raise(
        &self,
        envelope: &Envelope,
        message: &Message,
        finding: &Finding,
    ) -> Result<(), AppendError> {
        let command = raise(envelope, message, finding, self.settings.rules.version());
        let Ok(subject) = command.subject() else { return Ok(()) };
        self.nats
            .event_log()
            .append(Append {
                subject,
                message_id: format!("{}:{SOURCE}:{}", envelope.tenant, envelope.id),
                headers: command.headers(),
                payload: command.payload(),
                expect: None,
            })
            .await?;
        Ok(())
    }
}

fn raise(envelope: &Envelope, message: &Message, finding: &Finding, rules: &str) -> Command {
    let data = json!({
        "userId": message.user_id,
        "conversationId": message.conversation_id,
        "severity": finding.severity.name(),
        "signals": finding.signals,
        "raisedBy": format!("{ACTOR} {rules}"),
    });
    Command {
        id: format!("{ACTOR}-{}", envelope.id),
        kind: "crisis.raise".to_owned(),
        tenant: envelope.tenant.clone(),
        entity: message.conversation_id.clone(),
        actor: Actor { user: ACTOR.to_owned(), role: Role::Service },
        connection: None,
        reply: None,
        time: clock::now(),
        data: data.as_object().cloned().unwrap_or_default(),
    }
}

/// What the person's application is told; a message that is only worth a look changes nothing for its writer.
const fn state(severity: Severity) -> Option<&'static str> {
    match severity {
        Severity::Imminent | Severity::High => Some("crisis"),
        Severity::Moderate => Some("at_risk"),
        Severity::Low => None,
    }
}
