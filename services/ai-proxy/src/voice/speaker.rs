//! Sound on its way to who listens, and into the object store where the settings keep it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use domain::Tenant;
use domain::envelope::rfc3339;
use runtime::clock;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use serde_json::json;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::lane::Chunk;
use super::sentences;
use crate::answering::Recorder;
use crate::answering::keys::Keys;
use crate::answering::record::{Record, RecordError};
use crate::metrics::Metrics;
use crate::providers::{Question, Sound};
use crate::tenants::Turn;

/// The most bytes of sound in one event.
const PIECE: usize = 256 * 1024;
/// The most sound of one answer that is sent.
const MAX_SOUND: usize = 8 * 1024 * 1024;
const BUCKET: &str = "media";
const STORE_WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone)]
pub(crate) struct Speaker {
    recorder: Recorder,
    metrics: Metrics,
}

/// Sound that may be kept.
pub(super) struct Kept {
    tenant: Tenant,
    conversation: String,
    user: String,
    chunk: String,
    from: &'static str,
    sound: Bytes,
    content_type: String,
    /// That it follows from.
    keys: Keys,
}

impl Speaker {
    pub(crate) fn new(recorder: Recorder, metrics: Metrics) -> Self {
        Self { recorder, metrics }
    }

    /// Speaks an answer, where the service can. The answer itself is stored already: a failure costs the sound alone.
    /// What has been erased meanwhile is spoken no further, and sound that follows from it is neither sent nor kept.
    pub(crate) async fn say(
        &self,
        tenant: &Tenant,
        question: &Question,
        keys: &Keys,
        turn: &Turn,
        text: &str,
    ) {
        let spoken = tokio::select! {
            biased;
            () = keys.destroyed() => None,
            spoken = self.spoken(turn, text) => spoken,
        };
        let Some(sound) = spoken else { return };
        self.metrics.speech("spoken");
        let (conversation, user) = (&question.conversation, &question.user);
        self.send(tenant, conversation, user, keys, Some(&question.message), &sound).await;
        let kept = Kept {
            tenant: tenant.clone(),
            conversation: conversation.clone(),
            user: user.clone(),
            chunk: question.message.clone(),
            from: "ai",
            sound: sound.data,
            content_type: sound.content_type,
            keys: keys.clone(),
        };
        self.keep(kept, turn.keep_audio()).await;
    }

    /// The text as sound: long ones in parts, whose sound is joined as players take MP3.
    async fn spoken(&self, turn: &Turn, text: &str) -> Option<Sound> {
        let mut whole: Option<Sound> = None;
        for part in sentences::parts(text) {
            let spoken = timeout(turn.patience_to_speak(), turn.provider().speak(part)).await;
            let sound = match spoken {
                Ok(Ok(sound)) => sound?,
                Ok(Err(failure)) => {
                    self.unspoken(failure.reason.name());
                    return None;
                }
                Err(_) => {
                    self.unspoken("timeout");
                    return None;
                }
            };
            whole = Some(match whole {
                None => sound,
                Some(before) => before.joined(&sound),
            });
        }
        whole
    }

    fn unspoken(&self, reason: &'static str) {
        self.metrics.speech(reason);
        debug!(reason, "an answer could not be spoken");
    }

    /// Sends sound to who listens, in pieces that fit an event.
    pub(super) async fn send(
        &self,
        tenant: &Tenant,
        conversation: &str,
        user: &str,
        keys: &Keys,
        chunk: Option<&str>,
        sound: &Sound,
    ) {
        if sound.data.len() > MAX_SOUND {
            return self.unspoken("too_large");
        }
        let pieces = sound.data.chunks(PIECE);
        let last = pieces.len().saturating_sub(1);
        for (index, piece) in pieces.enumerate().take_while(|_| keys.stand()) {
            let mut data = json!({
                "conversationId": conversation,
                "contentType": sound.content_type,
                "index": index,
                "last": index == last,
                "data_base64": STANDARD.encode(piece),
            });
            for (name, value) in [("userId", Some(user)), ("chunkId", chunk)] {
                if let Some(value) = value.filter(|it| !it.is_empty()) {
                    data[name] = json!(value);
                }
            }
            self.recorder.live(tenant, "voice.audio", data).await;
        }
    }

    /// A voice is as personal as what it says: an erasure must reach it in the object store and in its backups.
    async fn sealed(&self, kept: &Kept) -> Result<Vec<u8>, RecordError> {
        if kept.user.is_empty() {
            return Ok(kept.sound.to_vec());
        }
        self.recorder.sealed_sound(&kept.tenant, &kept.user, &kept.sound, &kept.keys).await
    }

    /// Stores sound for as long as the settings say; not at all where they say nothing.
    pub(super) async fn keep(&self, kept: Kept, time: Option<Duration>) {
        let Some(time) = time.filter(|_| kept.keys.stand()) else { return };
        let key =
            format!("voice/{}/{}/{}-{}", kept.tenant, kept.conversation, kept.chunk, kept.from);
        let stored = async {
            let sound = self.sealed(&kept).await?;
            let objects = self.recorder.nats().objects(BUCKET, STORE_WITHIN).await?;
            Ok::<_, BoxError>(objects.put(&key, &mut &sound[..]).await?)
        };
        let size = match stored.await {
            Ok(size) => size,
            Err(error) => {
                self.metrics.speech("not_kept");
                return warn!(error = %chain(&*error), "sound was not kept");
            }
        };
        let mut data = json!({
            "conversationId": kept.conversation,
            "chunkId": kept.chunk,
            "from": kept.from,
            "expiresAt": rfc3339(clock::now() + time),
            "media": { "bucket": BUCKET, "key": key, "size": size, "contentType": kept.content_type },
        });
        if !kept.user.is_empty() {
            data["userId"] = json!(kept.user);
            data["sealed"] = json!(true);
        }
        let key = format!("kept:{}:{}", kept.chunk, kept.from);
        let record = Record { tenant: &kept.tenant, kind: "voice.kept", key, data, cause: None };
        if let Err(error) = self.recorder.unguarded(record).await {
            warn!(error = %chain(&error), "sound is kept and not told");
        }
    }
}

impl Chunk {
    pub(super) fn kept(&self, from: &'static str, sound: Bytes, content_type: String) -> Kept {
        Kept {
            tenant: self.key.tenant.clone(),
            conversation: self.conversation.clone(),
            user: self.user.clone(),
            chunk: self.id.clone(),
            from,
            sound,
            content_type,
            keys: self.keys.clone(),
        }
    }
}
