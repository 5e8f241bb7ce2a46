//! ElevenLabs' bodies, up to 64 MiB: verified while they stream by, their audio put into the object store.
//!
//! The signature covers the whole body, so the audio is stored before it is known to be genuine;
//! it is deleted again if it is not.

use std::time::Duration;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use bytes::Bytes;
use domain::providers::elevenlabs::StoredAudio;
use domain::signatures::elevenlabs::{self, Header};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http_body_util::BodyExt as _;
use runtime::clock;
use runtime::config::Secret;
use runtime::http::Problem;
use runtime::ids;
use runtime::object_store::{ObjectError, Objects};
use runtime::telemetry::chain;
use sha2::Sha256;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::webhooks::text;
use super::{App, BodyLimits};
use crate::answer;
use crate::audio::{Limits, Refused, Splitter};
use crate::receive::Webhook;
use crate::sources::Source;

const BUCKET: &str = "media";
const KIND: &str = "post-call";
const CONTENT_TYPE: &str = "audio/mpeg";
/// For the whole body; the provider's own limit is not known.
const WITHIN: Duration = Duration::from_secs(60);
/// Audio between the reader of the body and the object store.
const PIPE: usize = 256 * 1024;

type Macs<'a> = Vec<(&'a [u8], Hmac<Sha256>)>;

pub(super) async fn verified(
    app: &App,
    source: &Source,
    parts: &Parts,
    body: Body,
) -> Result<Webhook, Problem> {
    let signature = text(&parts.headers, elevenlabs::HEADER);
    let signature = signature.as_deref().ok_or(domain::signatures::Reason::Missing);
    let claimed = signature.and_then(Header::parse).map_err(answer::unproven)?;
    let mut reading = Reading::begin(source, claimed.timestamp, app.bodies);
    // Most bodies are small; only audio opens the object store.
    let audio = reading.run(app, body).await?;
    let received = clock::now();
    let secrets: Vec<&[u8]> = reading.macs.iter().map(|(secret, _)| *secret).collect();
    let proven = claimed.check(&secrets, |secret| reading.mac(secret), received);
    if let Err(reason) = proven {
        discard(app, audio.as_ref()).await;
        return Err(answer::unproven(reason));
    }
    let (rest, _) = reading.splitter.finish();
    Ok(Webhook {
        kind: KIND.to_owned(),
        body: Bytes::from(rest),
        content_type: text(&parts.headers, header::CONTENT_TYPE.as_str()),
        id: None,
        audio,
        received,
    })
}

/// Deletes what turned out not to be genuine, or to be stored already.
pub(super) async fn discard(app: &App, audio: Option<&StoredAudio>) {
    let Some(audio) = audio else { return };
    let deleted = async { app.nats.objects(&audio.bucket, WITHIN).await?.delete(&audio.key).await };
    if let Err(error) = deleted.await {
        warn!(
            error = chain(&error),
            key = audio.key,
            "audio nobody refers to stays until it expires"
        );
    }
}

struct Reading<'a> {
    macs: Macs<'a>,
    splitter: Splitter,
}

impl<'a> Reading<'a> {
    fn begin(source: &'a Source, timestamp: &str, bodies: BodyLimits) -> Self {
        let secrets = source.secrets.iter().map(|secret: &Secret| secret.expose().as_bytes());
        let macs = secrets.filter_map(|secret| {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret).ok()?;
            mac.update(timestamp.as_bytes());
            mac.update(b".");
            Some((secret, mac))
        });
        let limits = Limits { whole: bodies.audio, without_audio: bodies.whole };
        Self { macs: macs.collect(), splitter: Splitter::new(limits) }
    }

    /// The hexadecimal HMAC of what was read, by one of the source's secrets.
    fn mac(&self, secret: &[u8]) -> String {
        let own = self.macs.iter().find(|(key, _)| *key == secret);
        let bytes = own.map(|(_, mac)| mac.clone().finalize().into_bytes());
        bytes.iter().flatten().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the body to its end; returns where its audio was put, if it had any.
    async fn run(&mut self, app: &App, mut body: Body) -> Result<Option<StoredAudio>, Problem> {
        let deadline = Instant::now() + WITHIN;
        while let Some(piece) = next(&mut body, deadline).await? {
            let audio = self.take(&piece).map_err(refused)?;
            if !audio.is_empty() {
                return self.store(app, body, audio, deadline).await.map(Some);
            }
        }
        Ok(None)
    }

    fn take(&mut self, piece: &[u8]) -> Result<Vec<u8>, Refused> {
        for (_, mac) in &mut self.macs {
            mac.update(piece);
        }
        self.splitter.feed(piece)
    }

    /// The rest of the body, its audio on its way to the object store meanwhile.
    async fn store(
        &mut self,
        app: &App,
        body: Body,
        first: Vec<u8>,
        deadline: Instant,
    ) -> Result<StoredAudio, Problem> {
        let _place = app.uploads.try_acquire().map_err(|_| busy())?;
        let objects = app.nats.objects(BUCKET, WITHIN).await.map_err(|e| unavailable(&e))?;
        let key = ids::ordered();
        let (audio, mut pipe) = tokio::io::duplex(PIPE);
        let (read, put) =
            tokio::join!(self.pump(body, first, audio, deadline), objects.put(&key, &mut pipe));
        let size = match (read, put) {
            (Ok(()), Ok(size)) => size,
            (read, put) => return Err(self.give_up(&objects, &key, read, put).await),
        };
        let content_type = CONTENT_TYPE.to_owned();
        Ok(StoredAudio { bucket: BUCKET.to_owned(), key, size: size as u64, content_type })
    }

    async fn give_up(
        &self,
        objects: &Objects,
        key: &str,
        read: Result<(), Problem>,
        put: Result<usize, ObjectError>,
    ) -> Problem {
        if put.is_ok()
            && let Err(error) = objects.delete(key).await
        {
            warn!(error = chain(&error), key, "audio nobody refers to stays until it expires");
        }
        match (read, put) {
            (Err(problem), _) => problem,
            (Ok(()), Err(error)) => unavailable(&error),
            (Ok(()), Ok(_)) => unavailable(&ObjectError::Timeout),
        }
    }

    async fn pump(
        &mut self,
        mut body: Body,
        first: Vec<u8>,
        mut audio: DuplexStream,
        deadline: Instant,
    ) -> Result<(), Problem> {
        let mut decoded = first;
        loop {
            // A store that has given up closed its end; what it says is what counts.
            let written = timeout_at(deadline, audio.write_all(&decoded)).await;
            if !matches!(written, Ok(Ok(()))) {
                return Ok(());
            }
            match next(&mut body, deadline).await? {
                Some(piece) => decoded = self.take(&piece).map_err(refused)?,
                None => return Ok(()),
            }
        }
    }
}

async fn next(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| {
            let detail = "The body took too long; send it again.";
            Problem::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", detail)
        })?;
        let Some(frame) = frame else { return Ok(None) };
        let frame = frame.map_err(|_| {
            let detail = "The body ended before it was complete; send it again.";
            Problem::new(StatusCode::BAD_REQUEST, "incomplete_body", detail)
        })?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

fn refused(refused: Refused) -> Problem {
    match refused {
        Refused::TooLarge { limit } => {
            let detail = format!("The body is larger than {limit} bytes.");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail).with("limit", limit)
        }
        Refused::NotBase64 => {
            let detail = "full_audio is not base64; nothing was stored.";
            Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", detail)
        }
    }
}

fn busy() -> Problem {
    let detail = "Too many recordings are being stored; send this again.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", detail).retry_after(5)
}

fn unavailable(error: &ObjectError) -> Problem {
    debug!(error = chain(error), "audio was not stored");
    let detail = "The audio could not be stored; send this again.";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log_unavailable", detail).retry_after(1)
}
