//! Attempts at one message: until it is answered, given up, or somebody else's.

use std::sync::Arc;
use std::time::Duration;

use runtime::{clock, ids};
use tokio::time::{Instant, sleep_until};

use super::attempt::{self, Ended, Tools};
use super::claim::{Attempt, Claim};
use super::fact::Key;
use super::fold::Open;
use super::question::Asked;
use super::record::RecordError;
use super::worker::{GivenUp, Inner, Stopped, spread};
use crate::limits::pause;
use crate::prompts::Prompt;
use crate::providers::{Failure, Reason};
use crate::tenants::{NotNow, Turn};

/// Failures of the AI service after which a message is given up.
const MOST_FAILURES: u32 = 3;
/// How long a message waits for a place among the tenant's answers, about.
const FULL_MS: i64 = 750;
const AT_ONCE: Stopped = Stopped(Duration::ZERO);

/// How far the attempts at a message have come.
pub(super) struct Progress {
    /// Of the attempt that comes.
    pub(super) number: u32,
    pub(super) revision: u64,
    pub(super) failures: u32,
    /// The failure before it.
    pub(super) after: Option<String>,
}

pub(super) struct Round<'a> {
    pub(super) inner: &'a Inner,
    pub(super) key: &'a Key,
    pub(super) message: &'a Open,
    pub(super) asked: Asked,
    pub(super) prompt: Arc<Prompt>,
}

impl Round<'_> {
    /// `Ok` when the conversation is to be looked at again now.
    pub(super) async fn attempts(mut self, mut progress: Progress) -> Result<(), Stopped> {
        loop {
            // What was erased is not sent once more; the next look finds out what is left.
            if !self.asked.keys.stand() {
                return Ok(());
            }
            self.asked.question.request_id = ids::ordered();
            let turn = match self.inner.tenants.turn(self.key.tenant.as_str()) {
                Ok(turn) => turn,
                Err(NotNow::Full) => return Err(Stopped(spread(FULL_MS))),
                Err(NotNow::Failed(failure)) => {
                    // This attempt does not begin.
                    let attempts = progress.number.saturating_sub(1);
                    return self.fail(&failure, attempts, progress.revision).await;
                }
            };
            let mut claim = match self.claim(&turn, &progress).await {
                Ok(claim) => claim,
                // Whoever came first is seen at the next look.
                Err(RecordError::Conflict) => {
                    return Ok(self.inner.board.reached(progress.revision + 1).await?);
                }
                Err(error) => return Err(error.into()),
            };
            let price = turn.price().cloned();
            let tools = Tools {
                recorder: &self.inner.recorder,
                metrics: &self.inner.metrics,
                question: &self.asked.question,
                keys: &self.asked.keys,
                prompt: &self.prompt,
                price: price.as_ref(),
                speaker: &self.inner.speaker,
                abandon: &self.inner.abandon,
            };
            self.inner.metrics.writing.inc();
            let ended = attempt::run(&mut claim, turn, &tools).await;
            self.inner.metrics.writing.dec();
            match self.judge(&mut claim, ended, progress).await? {
                Some(next) => progress = next,
                None => return Ok(self.inner.board.reached(claim.revision()).await?),
            }
        }
    }

    async fn claim(&self, turn: &Turn, progress: &Progress) -> Result<Claim<'_>, RecordError> {
        let inner = self.inner;
        let attempt = Attempt {
            key: self.key,
            conversation: &self.asked.question.conversation,
            message: self.message,
            number: progress.number,
            failures: progress.failures,
            after: progress.after.clone(),
            provider: turn.provider().name(),
            cause: self.asked.event_id.as_deref(),
        };
        let claim =
            Claim::take(&inner.recorder, &inner.board, &inner.me, attempt, progress.revision)
                .await?;
        if progress.number == 1 {
            let waited = clock::unix_millis() - self.message.stored_at;
            inner.metrics.waited(waited);
        }
        Ok(claim)
    }

    /// The next attempt; `None` when the message is settled or taken over.
    async fn judge(
        &self,
        claim: &mut Claim<'_>,
        ended: Ended,
        before: Progress,
    ) -> Result<Option<Progress>, Stopped> {
        let metrics = &self.inner.metrics;
        let failure = match ended {
            Ended::Answered => {
                metrics.attempt("answered");
                metrics.answers.inc();
                return Ok(None);
            }
            Ended::Lost => {
                metrics.attempt("lost");
                metrics.lost_claims.inc();
                return Ok(None);
            }
            Ended::Unavailable => {
                metrics.attempt("unavailable");
                return Err(RecordError::Unavailable.into());
            }
            Ended::Failed(failure) => failure,
        };
        metrics.attempt(failure.reason.name());
        if failure.reason == Reason::Erased {
            // The message itself, or something said before it: the next look tells.
            return Ok(None);
        }
        let failures = before.failures + 1;
        let rest = pause(failures, &failure, ids::jitter(u64::MAX));
        match rest.filter(|_| failure.reason.is_passing() && failures < MOST_FAILURES) {
            None => {
                self.fail(&failure, before.number, claim.revision()).await?;
                Ok(None)
            }
            Some(rest) => {
                self.rest(claim, rest).await?;
                let (number, revision) = (before.number + 1, claim.revision());
                Ok(Some(Progress {
                    number,
                    revision,
                    failures,
                    after: Some(failure.reason.name().to_owned()),
                }))
            }
        }
    }

    /// Waits and keeps the claim meanwhile; no longer than what was asked is there.
    async fn rest(&self, claim: &mut Claim<'_>, rest: Duration) -> Result<(), Stopped> {
        let until = Instant::now() + rest;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Ok(()),
                () = self.asked.keys.destroyed() => return Ok(()),
                () = self.inner.abandon.cancelled() => {
                    // It runs out by itself where it cannot be given back.
                    let _ = claim.release().await;
                    return Err(AT_ONCE);
                }
                () = sleep_until(claim.extend_at()) => {
                    if matches!(claim.extend().await, Err(RecordError::Conflict)) {
                        return Err(AT_ONCE);
                    }
                }
            }
        }
    }

    async fn fail(&self, failure: &Failure, attempts: u32, revision: u64) -> Result<(), Stopped> {
        let end = GivenUp { reason: failure.reason, attempts };
        let failed = self.inner.fail(self.key, self.message, Some(&self.asked), end, revision);
        Ok(failed.await?)
    }
}
