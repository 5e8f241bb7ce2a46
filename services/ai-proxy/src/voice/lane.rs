//! One conversation's pieces of speech, one after the other: heard, told as text, said as a message, answered by sound.
//! What another instance has accepted before is waited for, so that texts come in the order they were said.

use std::time::Duration;

use bytes::Bytes;
use domain::command::Actor;
use domain::identity::Role;
use domain::{Command, Tenant};
use runtime::telemetry::chain;
use runtime::{clock, ids};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, warn};

use super::intake::Voice;
use super::places::Place;
use crate::answering::fact::Key;
use crate::answering::keys::Keys;
use crate::answering::record::{Record, RecordError};
use crate::limits::pause;
use crate::metrics::Metrics;
use crate::providers::{Failure, Heard, Reason, Speech};
use crate::tenants::{NotNow, Turn};

/// A lane in which nothing happens ends.
const IDLE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a piece waits for a place among the tenant's requests.
const PLACE_WITHIN: Duration = Duration::from_secs(5);
/// What a gateway that has a text at the same time as this instance takes to hand it on.
const HAND_OVER: Duration = Duration::from_millis(100);
const PAUSE: Duration = Duration::from_millis(250);
/// What a piece may take beyond one request: its lease is longer by a little more.
const RETRIES_WITHIN: Duration = Duration::from_secs(4);
/// How often the AI service may fail at one piece; all of it within the piece's time.
const MOST_FAILURES: u32 = 3;
/// What the sender is told, as application 001 words it.
const FAILED: &str = "Voice processing failed";

/// A piece of speech that was accepted.
pub(crate) struct Chunk {
    pub(super) key: Key,
    pub(super) conversation: String,
    pub(super) user: String,
    /// Of the user, as it was when the piece came; what is erased meanwhile becomes no text under another.
    pub(super) keys: Keys,
    pub(super) connection: Option<String>,
    pub(super) id: String,
    pub(super) sound: Bytes,
    /// Its place in the log's order.
    pub(super) sequence: u64,
    pub(super) _held: Place,
}

pub(super) struct Lane {
    pub(super) voice: Voice,
    pub(super) metrics: Metrics,
}

impl Lane {
    pub(super) async fn run(self, key: Key, mut chunks: mpsc::Receiver<Chunk>) {
        loop {
            match timeout(IDLE, chunks.recv()).await {
                Ok(Some(chunk)) => self.process(&chunk).await,
                Ok(None) => return,
                Err(_) if self.voice.leave(&key, &mut chunks) => return,
                Err(_) => {}
            }
        }
    }

    async fn process(&self, chunk: &Chunk) {
        self.state(chunk, "listening").await;
        let heard = self.hear(chunk).await;
        self.wait_for_those_before(chunk).await;
        let heard = heard.and_then(|heard| match chunk.keys.stand() {
            true => Ok(heard),
            false => Err(Reason::Erased.into()),
        });
        let told = match heard {
            Ok((heard, turn)) => self.told(chunk, heard, &turn).await,
            Err(failure) => {
                self.metrics.speech(failure.reason.name());
                self.failed(chunk, &failure).await
            }
        };
        if let Err(error) = told {
            warn!(error = %chain(&error), "a piece of speech was lost on its way into the log");
        }
    }

    /// As text. A service that fails for a moment is asked again, as with a written message, while there is time.
    async fn hear(&self, chunk: &Chunk) -> Result<(Heard, Turn), Failure> {
        let patience = self.voice.inner.tenants.service(chunk.key.tenant.as_str());
        let until = Instant::now() + patience.settings.deadlines.first + RETRIES_WITHIN;
        let mut failures = 0;
        loop {
            let once = tokio::select! {
                biased;
                () = chunk.keys.destroyed() => Err(Reason::Erased.into()),
                once = self.hear_once(chunk, until) => once,
            };
            let failure = match once {
                Ok(heard) => return Ok(heard),
                Err(failure) => failure,
            };
            failures += 1;
            let rest = pause(failures, &failure, ids::jitter(u64::MAX));
            let again = rest.map(|rest| Instant::now() + rest).filter(|again| *again < until);
            match again.filter(|_| failure.reason.is_passing() && failures < MOST_FAILURES) {
                Some(again) => sleep_until(again).await,
                None => return Err(failure),
            }
        }
    }

    async fn hear_once(&self, chunk: &Chunk, until: Instant) -> Result<(Heard, Turn), Failure> {
        let mut turn = self.turn(chunk).await?;
        let speech = Speech {
            conversation: chunk.conversation.clone(),
            chunk: chunk.id.clone(),
            request_id: ids::ordered(),
            sound: chunk.sound.clone(),
        };
        let until = until.min(Instant::now() + turn.patience());
        let heard = timeout_at(until, turn.provider().hear(&speech)).await;
        match heard.unwrap_or_else(|_| Err(Reason::Timeout.into())) {
            Ok(heard) => {
                turn.succeeded();
                Ok((heard, turn))
            }
            Err(failure) => {
                turn.failed(&failure);
                Err(failure)
            }
        }
    }

    async fn turn(&self, chunk: &Chunk) -> Result<Turn, Failure> {
        let deadline = Instant::now() + PLACE_WITHIN;
        loop {
            match self.voice.inner.tenants.turn(chunk.key.tenant.as_str()) {
                Ok(turn) => return Ok(turn),
                Err(NotNow::Failed(failure)) => return Err(failure),
                Err(NotNow::Full) if Instant::now() < deadline => {
                    sleep(PAUSE).await;
                }
                Err(NotNow::Full) => return Err(Reason::Timeout.into()),
            }
        }
    }

    /// Until everything said before has become text, or whoever was at it has had its time.
    async fn wait_for_those_before(&self, chunk: &Chunk) {
        let board = &self.voice.inner.board;
        if board.reached(chunk.sequence).await.is_err() {
            return;
        }
        let Ok(mut known) = board.conversation(&chunk.key).await else { return };
        while !known.is_next_chunk(chunk.sequence, clock::unix_millis()) {
            sleep(LOOK_EVERY).await;
            match board.conversation(&chunk.key).await {
                Ok(newer) => known = newer,
                Err(_) => return,
            }
        }
    }

    async fn told(&self, chunk: &Chunk, heard: Heard, turn: &Turn) -> Result<(), RecordError> {
        let text = heard.text.trim();
        let mut data = self.data(chunk);
        data["text"] = json!(text);
        let recorder = &self.voice.inner.recorder;
        let (tenant, key) = (&chunk.key.tenant, format!("heard:{}", chunk.id));
        if !text.is_empty() {
            // What the user says, on the way that every message takes. First, so that who dies behind this line has
            // lost nothing that is not in the log; the text is for who listens, and for the screen where the message
            // is refused.
            recorder.command(message(chunk, text)).await?;
        }
        let record = Record { tenant, kind: "voice.transcription", key, data, cause: None };
        let stored = recorder.unguarded(record).await?;
        self.metrics.speech("heard");
        let speaker = &self.voice.inner.speaker;
        if let Some(reply) = heard.reply {
            self.behind(stored).await;
            let (user, id) = (&chunk.user, Some(&*chunk.id));
            speaker.send(tenant, &chunk.conversation, user, &chunk.keys, id, &reply).await;
            speaker.keep(chunk.kept("ai", reply.data, reply.content_type), turn.keep_audio()).await;
        }
        let (sound, kind) = (chunk.sound.clone(), "application/octet-stream".to_owned());
        speaker.keep(chunk.kept("user", sound, kind), turn.keep_audio()).await;
        self.state(chunk, "idle").await;
        Ok(())
    }

    /// Sound goes on its own way to who listens, which is the shorter one: it waits until the text has come out of the
    /// log here, and so at the gateways.
    async fn behind(&self, text: u64) {
        if self.voice.inner.board.reached(text).await.is_err() {
            debug!("sound goes out before its text has been seen");
        }
        sleep(HAND_OVER).await;
    }

    async fn failed(&self, chunk: &Chunk, failure: &Failure) -> Result<(), RecordError> {
        let (tenant, reason) = (&chunk.key.tenant, failure.reason.name());
        let record = unheard(tenant, &chunk.conversation, &chunk.id, &chunk.user, reason);
        self.voice.inner.recorder.unguarded(record).await?;
        self.state(chunk, "idle").await;
        Ok(())
    }

    async fn state(&self, chunk: &Chunk, state: &'static str) {
        self.voice.inner.recorder.state(&chunk.key.tenant, &chunk.conversation, state).await;
    }

    fn data(&self, chunk: &Chunk) -> Value {
        json!({ "conversationId": chunk.conversation, "chunkId": chunk.id, "userId": chunk.user })
    }
}

/// Word that a piece could not be processed; the same however often it is told.
pub(super) fn unheard<'a>(
    tenant: &'a Tenant,
    conversation: &str,
    chunk: &str,
    user: &str,
    reason: &'static str,
) -> Record<'a> {
    let mut data = json!({ "conversationId": conversation, "chunkId": chunk, "message": FAILED,
        "code": "voice_unavailable", "reason": reason });
    if !user.is_empty() {
        data["userId"] = json!(user);
    }
    Record { tenant, kind: "ai.failed", key: format!("unheard:{chunk}"), data, cause: None }
}

fn message(chunk: &Chunk, text: &str) -> Command {
    let data = json!({
        "conversationId": chunk.conversation, "message": text, "messageId": chunk.id,
    });
    Command {
        id: chunk.id.clone(),
        kind: "conversation.message".to_owned(),
        tenant: chunk.key.tenant.clone(),
        entity: chunk.conversation.clone(),
        actor: Actor { user: chunk.user.clone(), role: Role::User },
        connection: chunk.connection.clone(),
        reply: None,
        time: clock::now(),
        data: data.as_object().cloned().unwrap_or_default(),
    }
}
