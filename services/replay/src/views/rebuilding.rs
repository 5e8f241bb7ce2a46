//! Builds views anew beside the live ones, from a baseline and the log, and puts them in their place when they have
//! caught up: on an operator's wish, when a fold has changed, and after a start, which knows no past.
//! What is built must be what is live, byte for byte; when it is not, somebody is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::StreamId;
use domain::replay::view::{BuildState, Progress};
use domain::views::View;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_message::LogMessage;
use runtime::log_reader::LogReader;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::turns::Turns;
use super::folded::{Folded, hex};
use super::store::{Store, baseline};
use super::{Views, reading, snapshot};
use crate::meters::Meters;

mod turns;

/// What comes together costs less than what comes one by one.
const PACE: Duration = Duration::from_millis(5);
/// How often a build begins anew behind what retention removes meanwhile.
const ATTEMPTS: usize = 5;
/// More wishes than this wait for nobody: whoever asks is told to ask later.
const WAITING: usize = 16;

/// One wish to build some views of a stream.
#[derive(Debug)]
struct Job {
    stream: StreamId,
    views: Vec<&'static View>,
    number: usize,
    /// Somebody waits for the hash of what was built.
    is_asked: bool,
    /// How often it could not be built.
    failures: u32,
}

/// Where wishes are made and their progress is seen.
pub(crate) struct Builds {
    wishes: mpsc::Sender<Job>,
    told: Mutex<VecDeque<Progress>>,
    /// Names this node among those that answer.
    node: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("as many views as may wait to be built already")]
pub(crate) struct Full;

impl Builds {
    pub(crate) fn new() -> (Arc<Self>, Queue) {
        let (wishes, queue) = mpsc::channel(WAITING);
        let node = runtime::ids::unguessable();
        let builds = Self { wishes, told: Mutex::default(), node };
        (Arc::new(builds), Queue(queue))
    }

    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Has views of one stream built anew; the number is asked for their progress with.
    pub(crate) fn wish(
        &self,
        stream: StreamId,
        views: Vec<&'static View>,
        is_asked: bool,
    ) -> Result<usize, Full> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let number = told.back().map_or(1, |last| last.job + 1);
        self.wishes
            .try_send(Job { stream, views, number, is_asked, failures: 0 })
            .map_err(|_| Full)?;
        if told.len() > WAITING * 4 {
            told.pop_front();
        }
        told.push_back(Progress { node: self.node.clone(), job: number, ..Progress::default() });
        Ok(number)
    }

    pub(crate) fn progress(&self, job: usize) -> Option<Progress> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.iter().find(|progress| progress.job == job).cloned()
    }

    fn tell(&self, job: usize, change: impl FnOnce(&mut Progress)) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = told.iter_mut().find(|progress| progress.job == job) {
            change(progress);
        }
    }
}

/// The wishes in their order.
pub(crate) struct Queue(mpsc::Receiver<Job>);

/// What a build begins with.
struct Begun {
    built: Folded,
    /// Views that the baseline is older than.
    rest: Vec<&'static View>,
    /// Whether nothing is missing before it.
    is_whole: bool,
}

pub(crate) struct Builder {
    nats: Nats,
    views: Arc<Views>,
    builds: Arc<Builds>,
    store: Store,
    log: LogReader,
    meters: Meters,
}

#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("the log cannot be read")]
    Log(#[from] runtime::log_reader::ReadError),
    #[error("snapshots cannot be listed")]
    Store(#[from] runtime::object_store::ObjectError),
    #[error("the stream became another copy meanwhile")]
    Rewound,
    #[error("retention removed what was to be folded next")]
    Overtaken,
}

impl Builder {
    pub(crate) fn new(nats: &Nats, views: Arc<Views>, builds: Arc<Builds>, meters: Meters) -> Self {
        let (store, log) = (Store::new(nats), nats.log_reader());
        Self { nats: nats.clone(), views, builds, store, log, meters }
    }

    pub(crate) async fn run(
        self,
        queue: Queue,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let mut turns = Turns::new(self.views.clone(), queue.0);
        let working = async {
            while let Some(job) = turns.next().await {
                if let Err(error) = Box::pin(self.build(&job)).await {
                    let (number, message) = (job.number, chain(&error));
                    warn!(stream = %job.stream, error = message, "views could not be built");
                    let comes_again = turns.again(job);
                    self.builds.tell(number, |progress| {
                        let failed = (BuildState::Failed, Some(message));
                        (progress.state, progress.message) =
                            if comes_again { (BuildState::Waiting, failed.1) } else { failed };
                    });
                }
            }
        };
        tokio::select! {
            () = working => {}
            () = shutdown.cancelled() => {}
        }
        Ok(())
    }

    async fn build(&self, job: &Job) -> Result<(), BuildError> {
        let rest = self.build_known(job).await?;
        if !rest.is_empty() {
            // The baseline is older than these views: they know what the log still has.
            let found = self.log.stream_info(job.stream.name()).await?;
            let mut fresh = Folded::new(job.stream, rest.into(), found.epoch);
            fresh.begin_at(found.first_sequence.saturating_sub(1), 0);
            self.catch_up(job, &mut fresh, false).await?;
        }
        if job.is_asked {
            self.tell_digest(job).await;
        }
        self.builds.tell(job.number, |progress| progress.state = BuildState::Done);
        Ok(())
    }

    /// Builds what is known whole, as far as it is; names the views that are not.
    async fn build_known(&self, job: &Job) -> Result<Vec<&'static View>, BuildError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Begun { mut built, rest, is_whole } = self.begin(job).await?;
            match self.catch_up(job, &mut built, is_whole).await {
                Err(BuildError::Overtaken) if attempts < ATTEMPTS => {
                    info!(stream = %job.stream, "retention overtook a build: it begins anew");
                }
                done => return done.map(|()| rest),
            }
        }
    }

    /// The baseline with those views that it has, and the others.
    async fn begin(&self, job: &Job) -> Result<Begun, BuildError> {
        let found = self.log.stream_info(job.stream.name()).await?;
        let kept = self.store.list(job.stream).await?;
        let whole = found.first_sequence <= 1 && found.messages > 0;
        if !whole
            && let Some(kept) = baseline(&kept, &found)
            && let Some(loaded) = self.store.read(job.stream, kept, &job.views).await
        {
            let rest = snapshot::missing(&loaded.folded);
            let rest =
                rest.into_iter().filter(|view| job.views.iter().any(|v| v.name == view.name));
            let rest = rest.collect();
            return Ok(Begun { built: loaded.folded, rest, is_whole: true });
        }
        let mut empty = Folded::new(job.stream, job.views.clone().into(), found.epoch);
        empty.begin_at(found.first_sequence.saturating_sub(1), 0);
        Ok(Begun { built: empty, rest: Vec::new(), is_whole: whole })
    }

    /// Folds the log until the built views stand where the live ones do, and swaps them in.
    async fn catch_up(
        &self,
        job: &Job,
        built: &mut Folded,
        is_whole: bool,
    ) -> Result<(), BuildError> {
        if built.views().is_empty() {
            return Ok(());
        }
        let begun = built.head();
        let options = FollowOptions { pace: Some(PACE), ..FollowOptions::default() };
        let start = Start::AfterSequence(begun);
        let mut follower = Follower::new(&self.nats, job.stream.name(), start, options)
            .expecting_epoch(built.epoch());
        let mut ahead: VecDeque<LogMessage> = VecDeque::new();
        loop {
            match follower.next().await {
                FollowEvent::Rewound(_) => return Err(BuildError::Rewound),
                FollowEvent::Attached(found) if found.messages == 0 => {
                    built.fold(found.last_sequence, 0, None);
                }
                FollowEvent::Attached(_) => {}
                FollowEvent::Messages(messages) => {
                    let read = ahead.back().map_or(built.head(), |last| last.sequence);
                    let next = messages.first().map_or(read, |first| first.sequence);
                    if is_whole && next > read + 1 {
                        self.check_present(job, read + 1).await?;
                    }
                    ahead.extend(messages);
                }
            }
            let live = self.views.live(job.stream).head();
            fold_upto(built, &mut ahead, live);
            self.builds.tell(job.number, |progress| {
                progress.state = BuildState::Building;
                progress.total = live.saturating_sub(begun);
                progress.done = built.head().saturating_sub(begun);
            });
            if self.take_over(job, built, &mut ahead)? {
                return Ok(());
            }
            // A batch is folded in milliseconds; others have work too.
            tokio::task::yield_now().await;
        }
    }

    /// A hole in what was read is one of the log's own, or has been made by retention: then what was built lacks
    /// something that the live views have, and must not take their place.
    async fn check_present(&self, job: &Job, sequence: u64) -> Result<(), BuildError> {
        let found = self.log.stream_info(job.stream.name()).await?;
        if found.first_sequence > sequence { Err(BuildError::Overtaken) } else { Ok(()) }
    }

    /// Once everything is read that the live views have, both stand at the same place and are compared.
    fn take_over(
        &self,
        job: &Job,
        built: &mut Folded,
        ahead: &mut VecDeque<LogMessage>,
    ) -> Result<bool, BuildError> {
        let read = ahead.back().map_or(built.head(), |last| last.sequence);
        let mut live = self.views.live_mut(job.stream);
        if live.epoch() != built.epoch() {
            return Err(BuildError::Rewound);
        }
        if read < live.head() {
            return Ok(false);
        }
        fold_upto(built, ahead, live.head());
        let mut same = true;
        for view in built.views().iter() {
            if !live.is_same(built, view.name) {
                same = false;
                self.meters.view_mismatches.inc();
                warn!(stream = %job.stream, view = view.name, "built anew, a view is another than before");
            }
        }
        let sequence = built.head();
        let empty = Folded::new(job.stream, built.views().clone(), built.epoch());
        live.take_over(std::mem::replace(built, empty));
        drop(live);
        self.builds.tell(job.number, |progress| {
            progress.same = Some(same && progress.same != Some(false));
            progress.done = progress.total;
        });
        info!(stream = %job.stream, sequence, same, "views built anew took over");
        Ok(true)
    }

    /// The hash of what is live now, with its place.
    async fn tell_digest(&self, job: &Job) {
        let (views, stream) = (self.views.clone(), job.stream);
        let names: Vec<&'static str> = job.views.iter().map(|view| view.name).collect();
        let digest = move || {
            let live = views.live(stream);
            let digests: Vec<String> = names.iter().map(|name| hex(&live.digest(name))).collect();
            (live.head(), digests.join(" "))
        };
        if let Ok((sequence, digest)) = tokio::task::spawn_blocking(digest).await {
            self.builds.tell(job.number, |progress| {
                (progress.sequence, progress.digest) = (sequence, Some(digest));
            });
        }
    }
}

fn fold_upto(built: &mut Folded, ahead: &mut VecDeque<LogMessage>, upto: u64) {
    let count = ahead.partition_point(|message| message.sequence <= upto);
    let due: Vec<LogMessage> = ahead.drain(..count).collect();
    reading::fold_all(built, &due);
}
