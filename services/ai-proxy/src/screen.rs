//! Screens every user message for a person in danger, on a durable of its own: whatever the AI service does or does not.
//!
//! A finding sends the person help and raises an alert, both under ids that follow from the message, so that a message
//! that comes again adds nothing. It must not know what the AI answered.

use std::sync::Arc;
use std::time::Duration;

use domain::safety::Finding;
use domain::{Envelope, StreamId};
use runtime::clock;
use runtime::durable::{Durable, Job};
use runtime::event_log::AppendError;
use runtime::metrics::Metrics as Registry;
use runtime::metrics::metrics::counter::Counter;
use runtime::metrics::metrics::histogram::Histogram;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use runtime::vault::{Vault, VaultError};
use serde::Deserialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

mod alarm;
mod settings;
mod unread;

use self::unread::{Helped, Locked};

pub(crate) use alarm::{Alarm, Said, key_of};
pub use settings::{Offered, Settings};

const DURABLE: &str = "ai-screen";
const MESSAGE: &str = "conversation.message";
/// What was said aloud. It is a message as well, unless that was refused or never came to be.
const TRANSCRIPTION: &str = "voice.transcription";
/// Keeps what was said where a conversation is over.
const REFUSED: &str = "conversation.rejected";

/// Messages that are screened at one time; beyond it fetching waits.
const AT_ONCE: usize = 64;

/// Screens until `shutdown`, then ends what has begun and gives the rest back.
pub(crate) async fn run(
    nats: Nats,
    alarm: Alarm,
    vault: Vault,
    registry: Registry,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let metrics = Metrics::new(&registry);
    let screen = Arc::new(Screen::new(alarm, vault, metrics));
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
    alarm: Alarm,
    vault: Vault,
    metrics: Metrics,
    locked: Locked,
    helped: Helped,
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
    unreadable: Counter,
    seconds: Histogram,
}

impl Metrics {
    fn new(registry: &Registry) -> Self {
        Self {
            screened: registry.counter("ai_screened", "User messages screened for a crisis"),
            found: registry.counter("ai_screen_found", "Messages that tell of a person in danger"),
            unreadable: registry
                .counter("ai_screen_unreadable", "Messages that could not be read and screened"),
            seconds: registry
                .seconds("ai_screen_seconds", "From a message's storing to its alert's"),
        }
    }
}

/// What is to be screened: a message, speech as text, or a message that was refused.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    #[serde(alias = "entity")]
    conversation_id: String,
    #[serde(default, alias = "saidBy")]
    user_id: String,
    /// In a refusal it says why.
    #[serde(default)]
    message: String,
    #[serde(default, alias = "said")]
    text: String,
    #[serde(default)]
    message_id: String,
    /// The command that brings spoken words has the id of their piece.
    #[serde(default, alias = "commandId")]
    chunk_id: String,
}

impl Message {
    /// What was said, and the id that it has among what was said.
    fn said(&self, event_type: &str) -> (&str, &str) {
        if event_type == MESSAGE {
            (&self.message, &self.message_id)
        } else {
            (&self.text, &self.chunk_id)
        }
    }
}

impl Screen {
    fn new(alarm: Alarm, vault: Vault, metrics: Metrics) -> Self {
        Self { alarm, vault, metrics, locked: Locked::default(), helped: Helped::default() }
    }

    async fn work(&self, job: &Job) {
        let settled = match self.settle(job).await {
            Ok(()) => job.ack().await,
            Err(error) => {
                if unread::is_told(job.delivered) {
                    error!(
                        error = chain(&error),
                        sequence = job.message.sequence,
                        delivered = job.delivered,
                        "an alert waits"
                    );
                }
                job.nak(unread::pause(job.delivered)).await
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
            Ok(it) if [MESSAGE, TRANSCRIPTION, REFUSED].contains(&&*it.event_type) => it,
            Ok(_) => return Ok(()),
            Err(error) => {
                warn!(%error, sequence = stored.sequence, "no event");
                self.metrics.unreadable.inc();
                return Ok(());
            }
        };
        // What is in the log is valid, so this is a message; its text stays out of the log of this program.
        let is_locked = match self.vault.prepare(&envelope.tenant, &envelope.data).await {
            Ok(()) => false,
            // No other try can help, and it would hold the place of one that can be screened.
            Err(VaultError::Wrapped) => true,
            Err(unreachable) => return Err(unreachable.into()),
        };
        let opened = self.vault.open(&envelope.tenant, &envelope.data);
        let Ok(message) = serde_json::from_slice::<Message>(&opened) else {
            warn!(sequence = stored.sequence, "a message that cannot be read was not screened");
            self.metrics.unreadable.inc();
            return Ok(());
        };
        if is_locked {
            self.metrics.unreadable.inc();
            if self.locked.is_news(&envelope.tenant, &message.user_id) {
                error!(tenant = %envelope.tenant, sequence = stored.sequence,
                    "what somebody says is not screened: the key is wrapped with an unknown platform key");
            }
        }
        let (text, id) = message.said(&envelope.event_type);
        if text.is_empty() {
            return Ok(());
        }
        self.metrics.screened.inc();
        let Some(finding) = self.alarm.find(text) else { return Ok(()) };
        self.metrics.found.inc();
        let said = Said {
            tenant: &envelope.tenant,
            key: key_of(id, &envelope.id),
            cause: &envelope.id,
            conversation: &message.conversation_id,
            user: &message.user_id,
        };
        self.raise(&said, &finding, stored.sequence).await?;
        let waited = clock::unix_millis().saturating_sub(stored.stored_at).max(0);
        self.metrics.seconds.observe(Duration::from_millis(waited.unsigned_abs()).as_secs_f64());
        Ok(())
    }

    /// Help and alert side by side: where either cannot be stored the other may be.
    async fn raise(
        &self,
        said: &Said<'_>,
        finding: &Finding,
        sequence: u64,
    ) -> Result<(), AppendError> {
        let help = async {
            if self.helped.is(sequence) {
                return Ok(());
            }
            self.alarm.offer_help(said, finding.severity).await
        };
        let (told, raised) = tokio::join!(help, self.alarm.raise(said, finding));
        if told.is_ok() && raised.is_err() {
            self.helped.remember(sequence);
        }
        told?;
        raised?;
        self.helped.forget(sequence);
        Ok(())
    }
}
