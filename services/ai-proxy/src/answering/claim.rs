//! The right to answer one message: an attempt event under the conversation's guard, extended while it lasts.
//! Whoever comes later takes it over once it has run out, and then nothing more can be stored under this one.

use std::time::Duration;

use domain::token::Tenant;
use runtime::ids;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::board::Board;
use super::fact::Key;
use super::fold::Open;
use super::record::{Record, RecordError, Recorder};

/// How long an instance that died keeps the others waiting.
pub(crate) const LEASE: Duration = Duration::from_secs(10);
/// Early enough that one append that hangs does not cost the claim.
const EXTEND_AFTER: Duration = Duration::from_secs(4);

/// What is attempted.
pub(crate) struct Attempt<'a> {
    pub key: &'a Key,
    pub conversation: &'a str,
    pub message: &'a Open,
    pub number: u32,
    pub failures: u32,
    /// The failure before.
    pub after: Option<String>,
    pub provider: &'static str,
    pub cause: Option<&'a str>,
}

pub(crate) struct Claim<'a> {
    recorder: &'a Recorder,
    board: &'a Board,
    me: &'a str,
    pub attempt: Attempt<'a>,
    revision: u64,
    extend_at: Instant,
    extensions: u32,
}

impl<'a> Claim<'a> {
    /// Refused when somebody else has appended behind `revision`.
    pub(crate) async fn take(
        recorder: &'a Recorder,
        board: &'a Board,
        me: &'a str,
        attempt: Attempt<'a>,
        revision: u64,
    ) -> Result<Self, RecordError> {
        let extend_at = Instant::now() + EXTEND_AFTER;
        let mut claim = Self { recorder, board, me, attempt, revision, extend_at, extensions: 0 };
        let attempt = &claim.attempt;
        let mut data = claim.data(json!({
            "failures": attempt.failures,
            "provider": attempt.provider,
            "holder": me,
            "leaseMs": millis(LEASE),
        }));
        if let (Some(fields), Some(after)) = (data.as_object_mut(), &attempt.after) {
            fields.insert("after".to_owned(), json!(after));
        }
        // An id of this instance's own: two that attempt at the same time must not pass for one.
        let record = claim.record("ai.attempt", &format!("attempt:{me}"), data);
        claim.revision = recorder.guarded(record, revision).await?;
        Ok(claim)
    }

    /// The last event under the guard that this one knows of.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// When it has to be extended.
    pub(crate) fn extend_at(&self) -> Instant {
        self.extend_at
    }

    /// Holds it for as long again; `Conflict` says that it is lost.
    pub(crate) async fn extend(&mut self) -> Result<(), RecordError> {
        self.extend_at = Instant::now() + EXTEND_AFTER;
        self.lease(LEASE).await
    }

    /// Gives it back before it runs out, for an orderly stop.
    pub(crate) async fn release(&mut self) -> Result<(), RecordError> {
        self.lease(Duration::ZERO).await
    }

    async fn lease(&mut self, lease: Duration) -> Result<(), RecordError> {
        self.extensions += 1;
        let data = self.data(json!({ "holder": self.me, "leaseMs": millis(lease) }));
        let what = format!("extended:{}:{}", self.me, self.extensions);
        self.append("ai.attempt.extended", &what, data).await
    }

    /// Appends under the guard as long as the claim is this one's. `what` tells apart what one attempt appends.
    pub(crate) async fn append(
        &mut self,
        kind: &'static str,
        what: &str,
        data: Value,
    ) -> Result<(), RecordError> {
        let key = self.record(kind, what, Value::Null).key;
        self.append_as(kind, key, data).await
    }

    /// The same under a key that other attempts have too, for what may be stored only once.
    pub(crate) async fn append_as(
        &mut self,
        kind: &'static str,
        key: String,
        data: Value,
    ) -> Result<(), RecordError> {
        loop {
            let (tenant, cause) = (&self.attempt.key.tenant, self.attempt.cause);
            let record = Record { tenant, kind, key: key.clone(), data: data.clone(), cause };
            match self.recorder.guarded(record, self.revision).await {
                Ok(revision) => {
                    self.revision = revision;
                    return Ok(());
                }
                Err(RecordError::Conflict) => self.look_again().await?,
                Err(other) => return Err(other),
            }
        }
    }

    /// Waits until the tail shows what came first: something that leaves the claim as it is, or another's.
    async fn look_again(&mut self) -> Result<(), RecordError> {
        let (key, before) = (self.attempt.key, self.revision);
        self.board.reached(before + 1).await.map_err(|_| RecordError::Unavailable)?;
        for _ in 0..LOOKS {
            let conversation = self.board.conversation(key).await;
            let conversation = conversation.map_err(|_| RecordError::Unavailable)?;
            if conversation.revision > before {
                let (message, number) = (&self.attempt.message.id, self.attempt.number);
                if !conversation.is_held(message, number, self.me) {
                    return Err(RecordError::Conflict);
                }
                self.revision = conversation.revision;
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err(RecordError::Unavailable)
    }

    /// Whether it still is this one's, as far as the tail has come.
    pub(crate) fn is_held(&self) -> bool {
        let (message, number) = (&self.attempt.message.id, self.attempt.number);
        let held = self.board.known(self.attempt.key, |it| {
            // The tail may not have come as far as the attempt itself.
            it.revision < self.revision || it.is_held(message, number, self.me)
        });
        held.unwrap_or(true)
    }

    pub(crate) fn tenant(&self) -> &'a Tenant {
        &self.attempt.key.tenant
    }

    /// With what every event of an attempt holds.
    pub(crate) fn data(&self, mut data: Value) -> Value {
        if let Some(fields) = data.as_object_mut() {
            let attempt = &self.attempt;
            fields.insert("conversationId".to_owned(), json!(attempt.conversation));
            fields.insert("messageId".to_owned(), json!(attempt.message.id));
            fields.insert("attempt".to_owned(), json!(attempt.number));
        }
        data
    }

    fn record(&self, kind: &'static str, what: &str, data: Value) -> Record<'a> {
        let attempt = &self.attempt;
        // The message's place, since one that failed may be said again under its id.
        let key = format!("{what}:{}:{}", attempt.message.sequence, attempt.number);
        Record { tenant: &attempt.key.tenant, kind, key, data, cause: attempt.cause }
    }
}

const LOOKS: u32 = 40;
const LOOK_EVERY: Duration = Duration::from_millis(25);

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The id of this process among those that answer.
pub(crate) fn holder() -> String {
    ids::unguessable()
}
