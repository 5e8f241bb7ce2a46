//! Answers what is unanswered in one conversation, in order, as long as this instance may.

use std::sync::Arc;
use std::time::Duration;

use domain::{EntityToken, StreamId};
use runtime::{clock, ids};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::board::{Board, Unread};
use super::claim::holder;
use super::crisis;
use super::fact::Key;
use super::fold::{Conversation, Open};
use super::plan::{Step, next};
use super::question::{self, Asked, Read};
use super::record::{Record, RecordError, Recorder};
use super::round::{Progress, Round};
use crate::metrics::Metrics;
use crate::prompts::Templates;
use crate::providers::Reason;
use crate::screen::Alarm;
use crate::tenants::Tenants;
use crate::voice::Speaker;

/// When another try is worth it after the log was away.
const LOG_AWAY: Duration = Duration::from_secs(1);
/// What the sender is told, as application 001 words it.
struct Told {
    code: &'static str,
    message: &'static str,
}

const UNAVAILABLE: Told = Told { code: "ai_unavailable", message: "Failed to get AI response" };
const EXHAUSTED: Told = Told { code: "ai_budget_exhausted", message: UNAVAILABLE.message };

#[derive(Clone)]
pub(crate) struct Worker {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) recorder: Recorder,
    pub(super) board: Board,
    pub(super) tenants: Tenants,
    pub(super) templates: Templates,
    pub(super) metrics: Metrics,
    pub(super) speaker: Speaker,
    pub(super) alarm: Alarm,
    pub(super) me: String,
    pub(super) abandon: CancellationToken,
}

/// Where it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rest {
    /// Nothing is unanswered.
    Done,
    /// To be looked at again then.
    Later(Duration),
}

/// Why a message gets no answer.
#[derive(Clone, Copy)]
pub(super) struct GivenUp {
    pub(super) reason: Reason,
    /// That have begun, those before it was said again among them.
    pub(super) attempts: u32,
}

/// What keeps a worker from going on now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stopped(pub(super) Duration);

impl From<RecordError> for Stopped {
    fn from(_: RecordError) -> Self {
        Self(LOG_AWAY)
    }
}

impl From<Unread> for Stopped {
    fn from(_: Unread) -> Self {
        Self(LOG_AWAY)
    }
}

impl Worker {
    pub(crate) fn new(
        recorder: Recorder,
        board: Board,
        tenants: Tenants,
        templates: Templates,
        metrics: Metrics,
        speaker: Speaker,
        alarm: Alarm,
    ) -> Self {
        let (me, abandon) = (holder(), CancellationToken::new());
        let inner =
            Inner { recorder, board, tenants, templates, metrics, speaker, alarm, me, abandon };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn board(&self) -> &Board {
        &self.inner.board
    }

    /// Makes whatever is begun give its claim back.
    pub(crate) fn abandon(&self) {
        self.inner.abandon.cancel();
    }

    /// Answers message after message.
    pub(crate) async fn answer(&self, key: &Key) -> Rest {
        loop {
            match self.step(key).await {
                Ok(true) => {}
                Ok(false) => return Rest::Done,
                Err(Stopped(rest)) => return Rest::Later(rest),
            }
        }
    }

    /// One look at the conversation and what follows from it; `false` when nothing is unanswered.
    async fn step(&self, key: &Key) -> Result<bool, Stopped> {
        if self.inner.abandon.is_cancelled() {
            return Err(Stopped(Duration::ZERO));
        }
        let conversation = self.inner.board.conversation(key).await?;
        match next(&conversation, &self.inner.me, clock::unix_millis()) {
            Step::Nothing => return Ok(false),
            Step::Wait { for_ms } => return Err(Stopped(spread(for_ms))),
            Step::GiveUp { message, revision } => {
                let end = GivenUp { reason: Reason::Abandoned, attempts: message.attempts };
                self.inner.fail(key, &message, None, end, revision).await?;
            }
            Step::Attempt { message, number, revision } => {
                let (failures, after) = (message.failures, message.after());
                let progress = Progress { number, revision, failures, after };
                Box::pin(self.attempt(key, &conversation, &message, progress)).await?;
            }
        }
        Ok(true)
    }

    async fn attempt(
        &self,
        key: &Key,
        conversation: &Conversation,
        message: &Open,
        progress: Progress,
    ) -> Result<(), Stopped> {
        let inner = &*self.inner;
        let prompt = inner.templates.of(key.tenant.as_str());
        let tenant = &key.tenant;
        match question::read(&inner.recorder, tenant, conversation, message, &prompt).await {
            Ok(Read::Asked(asked)) => {
                crisis::screen_first(&inner.recorder, &inner.alarm, key, &asked).await;
                Round { inner, key, message, asked: *asked, prompt }.attempts(progress).await
            }
            Ok(Read::Erased) => {
                let end = GivenUp { reason: Reason::Erased, attempts: message.attempts };
                Ok(inner.fail(key, message, None, end, progress.revision).await?)
            }
            Ok(Read::Gone) => {
                warn!("a message that waits for its answer cannot be read any more");
                let end = GivenUp { reason: Reason::Malformed, attempts: message.attempts };
                Ok(inner.fail(key, message, None, end, progress.revision).await?)
            }
            Err(error) => {
                debug!(%error, "a message cannot be read now");
                Err(Stopped(LOG_AWAY))
            }
        }
    }
}

impl Inner {
    /// What a conversation is called outside. Its token says so, unless it had to be encoded.
    async fn conversation(&self, key: &Key, message: &Open) -> Result<String, RecordError> {
        let name = key.entity.as_str();
        if EntityToken::from_external(name) == key.entity {
            return Ok(name.to_owned());
        }
        let reader = self.recorder.nats().log_reader();
        let read = reader.get(StreamId::Conversations.name(), message.sequence).await;
        let stored = read.ok().flatten().ok_or(RecordError::Unavailable)?;
        let data: Value =
            serde_json::from_slice(&stored.payload).map_err(|_| RecordError::Unavailable)?;
        data["conversationId"].as_str().map(str::to_owned).ok_or(RecordError::Unavailable)
    }

    /// Tells the sender that there is no answer. The same message sent again is attempted again.
    pub(super) async fn fail(
        &self,
        key: &Key,
        message: &Open,
        asked: Option<&Asked>,
        end: GivenUp,
        revision: u64,
    ) -> Result<(), RecordError> {
        let reason = end.reason.name();
        let question = asked.map(|asked| &asked.question);
        let conversation = match question {
            Some(question) => question.conversation.clone(),
            None => self.conversation(key, message).await?,
        };
        let told = if end.reason == Reason::BudgetExhausted { EXHAUSTED } else { UNAVAILABLE };
        let mut data = json!({
            "conversationId": &conversation, "messageId": message.id, "message": told.message,
            "code": told.code, "attempts": end.attempts, "reason": reason,
        });
        let user = question.map(|it| it.user.clone()).filter(|user| !user.is_empty());
        if let (Some(fields), Some(user)) = (data.as_object_mut(), user) {
            fields.insert("userId".to_owned(), json!(user));
        }
        let record = Record {
            tenant: &key.tenant,
            kind: "ai.failed",
            key: format!("failed:{}:{revision}", message.sequence),
            data,
            cause: asked.and_then(|asked| asked.event_id.as_deref()),
        };
        let stored = match self.recorder.guarded(record, revision).await {
            Ok(stored) => stored,
            // Whoever came first has done something about it.
            Err(RecordError::Conflict) => revision + 1,
            Err(error) => return Err(error),
        };
        self.recorder.state(&key.tenant, &conversation, "idle").await;
        self.metrics.gave_up(reason);
        self.board.reached(stored).await.map_err(|_| RecordError::Unavailable)
    }
}

/// A little later than asked, so that those who wait for the same do not come at once.
pub(super) fn spread(for_ms: i64) -> Duration {
    let least = u64::try_from(for_ms).unwrap_or(0);
    Duration::from_millis(least + ids::jitter(least / 4 + 50))
}
