//! Accepts pieces of speech: each gets its place in the log's order before it is answered, or a reason why not.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use domain::command::command_header;
use domain::envelope::header;
use domain::subject::{conversation_of_voice, voice_requests};
use domain::{EntityToken, Tenant};
use runtime::ids;
use runtime::ops::Condition;
use runtime::requests::Request;
use runtime::tasks::{BoxError, Connections};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::lane::{self, Chunk};
use super::places::{Place, Places};
use super::{PREFIX, Speaker};
use crate::answering::fact::Key;
use crate::answering::keys::Keys;
use crate::answering::record::{Record, user_of};
use crate::answering::{Board, Recorder};
use crate::metrics::Metrics;
use crate::tenants::Tenants;

/// Instances that share the requests.
const QUEUE: &str = "ai-proxy";
/// The longest piece; the gateway refuses longer ones before.
const MAX_CHUNK: usize = 1_000_000;
/// Pieces of one conversation that wait; more are refused until there is a place.
const WAITING: usize = 4;
const RETRY: Duration = Duration::from_secs(1);
/// Besides what the AI service may take: appending, and waiting for what was said before.
const SPARE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Voice {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) recorder: Recorder,
    pub(super) board: Board,
    pub(super) tenants: Tenants,
    pub(super) speaker: Speaker,
    lanes: Mutex<HashMap<Key, mpsc::Sender<Chunk>>>,
    places: Places,
}

/// Why a piece is not taken.
struct Refused {
    code: &'static str,
    message: &'static str,
}

const BUSY: Refused = Refused {
    code: "voice_busy",
    message: "Speech comes faster than it is understood; send the chunk again in a moment.",
};
const UNAVAILABLE: Refused = Refused {
    code: "voice_unavailable",
    message: "Nobody takes speech right now; send the chunk again in a moment, or write instead.",
};
const TOO_LARGE: Refused = Refused {
    code: "chunk_too_large",
    message: "A chunk of voice has at most 1000000 bytes; send smaller ones.",
};
const BAD: Refused =
    Refused { code: "bad_payload", message: "A chunk of voice needs a conversation and a user." };

impl Voice {
    pub(crate) fn new(
        recorder: Recorder,
        board: Board,
        tenants: Tenants,
        speaker: Speaker,
    ) -> Self {
        let (lanes, places) = (Mutex::default(), Places::default());
        Self { inner: Arc::new(Inner { recorder, board, tenants, speaker, lanes, places }) }
    }
}

/// Answers requests until `stop`, then ends what was accepted within `grace`.
pub(crate) async fn run(
    voice: Voice,
    metrics: Metrics,
    ready: Condition,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let work = Connections::new();
    let nats = voice.inner.recorder.nats().clone();
    while !stop.is_cancelled() {
        let Ok(mut requests) = nats.serve(&voice_requests(), QUEUE).await else {
            ready.missing("requests with speech cannot be listened for");
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETRY) => continue,
            }
        };
        ready.holds();
        loop {
            let request = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    requests.stop().await;
                    break;
                }
                request = requests.next() => request,
            };
            let Some(request) = request else { break };
            let (voice, metrics, lanes) = (voice.clone(), metrics.clone(), work.clone());
            work.spawn(async move {
                let answer = voice.take(&request, &metrics, &lanes).await;
                if let Err(error) = request.respond(answer.to_string().into()).await {
                    debug!(%error, "a chunk's answer was not sent");
                }
            });
        }
    }
    lock(&voice.inner.lanes).clear();
    work.drain(grace.mul_f64(0.9)).await;
    Ok(())
}

impl Voice {
    async fn take(&self, request: &Request, metrics: &Metrics, lanes: &Connections) -> Value {
        match self.accept(request, metrics, lanes).await {
            Ok(chunk) => json!({ "ok": true, "chunkId": chunk }),
            Err(refused) => {
                metrics.speech(refused.code);
                json!({ "ok": false, "code": refused.code, "message": refused.message })
            }
        }
    }

    async fn accept(
        &self,
        request: &Request,
        metrics: &Metrics,
        lanes: &Connections,
    ) -> Result<String, Refused> {
        if request.payload.len() > MAX_CHUNK {
            return Err(TOO_LARGE);
        }
        let (tenant, entity) = conversation_of_voice(&request.subject).map_err(|_| BAD)?;
        let conversation = request.headers.get(header::SUBJECT).ok_or(BAD)?.to_owned();
        if EntityToken::from_external(&conversation) != entity {
            return Err(BAD);
        }
        let user = request.headers.get(command_header::ACTOR).ok_or(BAD)?.to_owned();
        let held = self.inner.places.take(&tenant).ok_or(BUSY)?;
        let key = Key::new(&tenant, &entity);
        // A place first: what has a place in the log's order must be processed.
        let place = self.lane(&key, metrics, lanes).try_reserve_owned().map_err(|_| BUSY)?;
        let connection = request.headers.get(command_header::CONNECTION).map(str::to_owned);
        let mut keys = self.inner.recorder.keys();
        if let Ok(person) = user_of(&tenant, &user) {
            keys.note_of(person).await;
        }
        let chunk = format!("{PREFIX}{}", ids::unguessable());
        let sound = request.payload.clone();
        let arrived = Arrived { conversation, user, keys, connection, chunk, sound };
        let sequence = self.note(&tenant, &arrived).await?;
        let id = arrived.chunk.clone();
        place.send(arrived.at(key, sequence, held));
        Ok(id)
    }

    /// Gives a piece its place in the log's order.
    async fn note(&self, tenant: &Tenant, arrived: &Arrived) -> Result<u64, Refused> {
        let service = self.inner.tenants.service(tenant.as_str());
        let lease = service.settings.deadlines.first + SPARE;
        let data = json!({
            "conversationId": arrived.conversation,
            "chunkId": arrived.chunk,
            "userId": arrived.user,
            "bytes": arrived.sound.len(),
            "leaseMs": u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
        });
        let key = format!("received:{}", arrived.chunk);
        let record = Record { tenant, kind: "voice.received", key, data, cause: None };
        self.inner.recorder.unguarded(record).await.map_err(|_| UNAVAILABLE)
    }

    /// Where this conversation's pieces wait for their turn.
    fn lane(&self, key: &Key, metrics: &Metrics, lanes: &Connections) -> mpsc::Sender<Chunk> {
        let mut all = lock(&self.inner.lanes);
        all.retain(|_, lane| !lane.is_closed());
        if let Some(lane) = all.get(key) {
            return lane.clone();
        }
        let (sender, chunks) = mpsc::channel(WAITING);
        all.insert(key.clone(), sender.clone());
        let lane = lane::Lane { voice: self.clone(), metrics: metrics.clone() };
        lanes.spawn(lane.run(key.clone(), chunks));
        sender
    }

    /// Ends a lane in which nothing waits.
    pub(super) fn leave(&self, key: &Key, chunks: &mut mpsc::Receiver<Chunk>) -> bool {
        let mut all = lock(&self.inner.lanes);
        // The one sender that is left is the table's own: nobody is about to send.
        if !chunks.is_empty() || all.get(key).is_some_and(|it| it.strong_count() > 1) {
            return false;
        }
        chunks.close();
        all.remove(key);
        true
    }
}

/// A piece that has come and has no place in the order yet.
struct Arrived {
    conversation: String,
    user: String,
    keys: Keys,
    connection: Option<String>,
    chunk: String,
    sound: Bytes,
}

impl Arrived {
    fn at(self, key: Key, sequence: u64, held: Place) -> Chunk {
        let Self { conversation, user, keys, connection, chunk, sound } = self;
        let id = chunk;
        Chunk { key, conversation, user, keys, connection, id, sound, sequence, _held: held }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
