//! The live feed: one follower per stream and the ephemeral signals, merged in order of arrival into the tail.
//! It begins a little in the past, so that the tail is warm before the first client comes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::Catalogue;
use domain::envelope::{Unreadable, header};
use domain::position::{Position, StreamPosition};
use domain::{Envelope, StreamId};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_message::LogMessage;
use runtime::log_reader::{ReadError, StreamState};
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::{BoxError, Tasks};
use runtime::vault::{Vault, VaultError};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

use crate::edge::{Edge, Shared};
use crate::entry::{Entry, Place};
use crate::receipts;
use crate::typing;

mod waves;

use waves::Waves;

/// Batches that wait for the merge; a full queue holds the follower back, which loses nothing.
const WAITING: usize = 8;
/// Ephemeral events that wait for the merge; beyond it the newest are let go and counted.
const SIGNALS: usize = 1_024;
/// The pause before a stream that cannot be read is asked for again.
const RETRY: Duration = Duration::from_millis(500);

/// What reaches the merge.
enum News {
    Messages(StreamId, Vec<LogMessage>),
    Rewound(StreamId, StreamState),
    /// The follower has reached what was the head when it began.
    Warm(StreamId),
}

/// Where each stream's follower begins, and the position that is.
pub(crate) struct Beginning {
    starts: [u64; domain::stream::COUNT],
    heads: [u64; domain::stream::COUNT],
    pub position: Position,
}

/// Looks every stream up, for as long as it takes; `condition` says what is missing meanwhile.
pub(crate) async fn beginning(nats: &Nats, warm: u64, condition: &Condition) -> Beginning {
    loop {
        match look_up(nats, warm).await {
            Ok(beginning) => return beginning,
            Err(error) => {
                condition.missing(format!("the event streams cannot be read: {error}"));
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

async fn look_up(nats: &Nats, warm: u64) -> Result<Beginning, ReadError> {
    let reader = nats.log_reader();
    let mut beginning = Beginning {
        starts: Default::default(),
        heads: Default::default(),
        position: Position::default(),
    };
    for stream in StreamId::ALL {
        let state = reader.stream_info(stream.name()).await?;
        let oldest = state.first_sequence.saturating_sub(1);
        let start = state.last_sequence.saturating_sub(warm).max(oldest);
        let epoch = state.epoch;
        beginning.starts[stream.index()] = start;
        beginning.heads[stream.index()] = state.last_sequence;
        let at = StreamPosition { epoch, sequence: start, fingerprint: 0 };
        beginning.position.set(stream, at);
    }
    Ok(beginning)
}

/// Starts the followers and the merge. `condition` holds once the tail has reached the head of every stream.
pub(crate) fn start(tasks: &mut Tasks, edge: &Edge, beginning: &Beginning, condition: Condition) {
    let (news, merge) = mpsc::channel(WAITING);
    for stream in StreamId::ALL {
        let start = Start::AfterSequence(beginning.starts[stream.index()]);
        let follower = Follower::new(&edge.nats, stream.name(), start, FollowOptions::default());
        let head = beginning.heads[stream.index()];
        let (news, stop) = (news.clone(), tasks.shutdown());
        let vault = edge.vault.clone();
        tasks.spawn(format!("feed {stream}"), async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = follow(stream, follower, head, news, vault) => {}
            }
            Ok(())
        });
    }
    // A queue of their own: a follower that catches up would leave them no room.
    let (signals, live) = mpsc::channel(SIGNALS);
    let (listener, stop) = (edge.clone(), tasks.shutdown());
    tasks.spawn("feed live", async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = listen(&listener, signals) => {}
        }
        Ok(())
    });
    let (edge, stop) = (edge.clone(), tasks.shutdown());
    tasks.spawn("feed merge", async move {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = run(Merge { news: merge, live }, &edge, condition) => ended,
        }
    });
}

async fn follow(
    stream: StreamId,
    mut follower: Follower,
    head: u64,
    news: mpsc::Sender<News>,
    vault: Vault,
) {
    let mut is_warm = false;
    let mut reached = 0;
    loop {
        let item = match follower.next().await {
            FollowEvent::Attached(_) => None,
            FollowEvent::Messages(messages) => {
                reached = messages.last().map_or(reached, |last| last.sequence);
                while let Err(error) = prepare(&vault, &messages).await {
                    warn!(%error, "sealed events wait for their keys");
                    tokio::time::sleep(RETRY).await;
                }
                Some(News::Messages(stream, messages))
            }
            FollowEvent::Rewound(state) => {
                warn!(stream = stream.name(), "the stream was put back; clients begin anew");
                follower.restart(Start::AfterSequence(state.last_sequence));
                Some(News::Rewound(stream, state))
            }
        };
        if let Some(item) = item
            && news.send(item).await.is_err()
        {
            return;
        }
        if !is_warm && (reached >= head || follower.lag() == 0) {
            is_warm = true;
            if news.send(News::Warm(stream)).await.is_err() {
                return;
            }
        }
    }
}

async fn listen(edge: &Shared, signals: mpsc::Sender<Arc<Entry>>) {
    loop {
        let subject = domain::subject::ephemeral_filter(None);
        let Ok(mut arriving) = edge.nats.subscribe(&subject).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while let Some(signal) = arriving.next().await {
            let except = signal.headers.get(header::EXCEPT).map(str::to_owned);
            match Envelope::from_message(&signal.subject, &signal.headers, signal.payload) {
                Ok(envelope) if is_repeated(edge, &envelope) => {}
                Ok(envelope) => {
                    let entry = Entry::signal(envelope, except, &edge.catalogue);
                    // Ephemeral events are for who keeps up: what does not fit the queue is let go.
                    if signals.try_send(entry).is_err() {
                        edge.meters.signals_dropped.inc();
                    }
                }
                Err(reason) => debug!(%reason, "an ephemeral event that cannot be read"),
            }
        }
    }
}

/// Whether clients know it already, since it only says that something goes on.
fn is_repeated(edge: &Shared, envelope: &Envelope) -> bool {
    envelope.event_type == typing::INDICATOR && !edge.typing.is_news(envelope)
}

/// What the merge reads from.
struct Merge {
    news: mpsc::Receiver<News>,
    live: mpsc::Receiver<Arc<Entry>>,
}

impl Merge {
    /// Waits until something is there, at most until `due`; `false` when nothing comes any more.
    async fn wait(
        &mut self,
        due: Option<Instant>,
        waiting: &mut VecDeque<News>,
        signals: &mut Vec<Arc<Entry>>,
    ) -> bool {
        let now = Instant::now();
        tokio::select! {
            Some(signal) = self.live.recv() => signals.push(signal),
            Some(news) = self.news.recv() => waiting.push_back(news),
            () = tokio::time::sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            else => return false,
        }
        true
    }

    /// Takes what else is there already.
    fn take(&mut self, waiting: &mut VecDeque<News>, signals: &mut Vec<Arc<Entry>>) {
        // Before the stored events: a piece of what is being said comes before the record of all of it.
        while let Ok(signal) = self.live.try_recv() {
            signals.push(signal);
        }
        while let Ok(news) = self.news.try_recv() {
            waiting.push_back(news);
        }
    }
}

async fn run(mut merge: Merge, edge: &Shared, condition: Condition) -> Result<(), BoxError> {
    let (hub, catalogue, vault) = (&edge.hub, &edge.catalogue, &edge.vault);
    let mut cold: Vec<StreamId> = StreamId::ALL.to_vec();
    condition.missing("the newest events are being read");
    let mut waves = Waves::new();
    let mut waiting = VecDeque::new();
    let mut entries = Vec::new();
    loop {
        if waves.is_rolling() {
            // Whoever was woken runs, and so does whatever else is ready.
            tokio::task::yield_now().await;
        } else if !merge.wait(waves.due(), &mut waiting, &mut entries).await {
            return Ok(());
        }
        merge.take(&mut waiting, &mut entries);
        for item in waiting.drain(..) {
            match item {
                News::Messages(stream, messages) => {
                    let decoded = messages.into_iter();
                    let decoded = decoded.filter_map(|m| decode(stream, m, catalogue, vault));
                    if stream != StreamId::Crisis {
                        entries.extend(decoded);
                        continue;
                    }
                    let critical: Vec<_> = decoded.collect();
                    learn(edge, &critical);
                    waves.be_careful();
                    waves.add(hub, hub.push(std::mem::take(&mut entries)));
                    hub.append(critical);
                }
                News::Rewound(stream, state) => {
                    hub.append(std::mem::take(&mut entries));
                    edge.library.forget(stream);
                    hub.restart(stream, position_of(&state));
                }
                News::Warm(stream) => {
                    cold.retain(|other| *other != stream);
                    if cold.is_empty() {
                        info!("the tail is warm");
                        condition.holds();
                    }
                }
            }
        }
        if !entries.is_empty() {
            waves.add(hub, hub.push(std::mem::take(&mut entries)));
        }
        waves.step(hub);
    }
}

/// What other gateways have delivered of critical events.
fn learn(edge: &Shared, entries: &[Arc<Entry>]) {
    for entry in entries.iter().filter(|entry| entry.envelope.event_type == receipts::KEPT) {
        edge.receipts.learn(&entry.envelope);
    }
}

fn position_of(state: &StreamState) -> StreamPosition {
    StreamPosition { epoch: state.epoch, sequence: state.last_sequence, fingerprint: 0 }
}

/// Sees to it that what is sealed in these messages can be opened, where its key still exists.
pub(crate) async fn prepare(
    vault: &Vault,
    messages: impl IntoIterator<Item = &LogMessage>,
) -> Result<(), VaultError> {
    for message in messages {
        if let Ok(tenant) = domain::subject::tenant_of(&message.subject) {
            match vault.prepare(&tenant, &message.payload).await {
                // No attempt can help; it is told where the key was met, and the text stays sealed.
                Ok(()) | Err(VaultError::Wrapped) => {}
                Err(unreachable) => return Err(unreachable),
            }
        }
    }
    Ok(())
}

/// A stored message as an entry. What cannot be read never got past the gate, so it is a fault of the platform.
pub(crate) fn decode(
    stream: StreamId,
    message: LogMessage,
    catalogue: &Catalogue,
    vault: &Vault,
) -> Option<Arc<Entry>> {
    let place = Place { stream, sequence: message.sequence, stored_at: message.stored_at };
    match Envelope::from_message(&message.subject, &message.headers, message.payload) {
        Ok(envelope) => Some(Entry::stored(place, envelope, catalogue, Some(vault))),
        Err(reason) => {
            report(stream, place.sequence, &reason);
            None
        }
    }
}

fn report(stream: StreamId, sequence: u64, reason: &Unreadable) {
    error!(stream = stream.name(), sequence, %reason, "a stored event cannot be read");
}
