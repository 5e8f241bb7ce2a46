//! Wakes conversations up: a delivery says that something was said, and is acknowledged once nothing waits any more.
//! It must not know how a conversation is answered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{StreamId, Subject};
use runtime::durable::{Durable, Job};
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Connections};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::fact::Key;
use super::worker::{Rest, Worker};

const DURABLE: &str = "ai-answer";
/// The subject name of what the user says.
const MESSAGE: &str = "message";
/// Conversations that one instance works on at one time; the others get what is more.
const MOST: usize = 4096;
/// Well within the durable's `ack_wait` of ten seconds.
const STILL_AT_IT: Duration = Duration::from_secs(3);
const FULL: Duration = Duration::from_millis(500);
const BEHIND: Duration = Duration::from_secs(1);

/// The deliveries of each conversation that is worked on.
type Working = Arc<Mutex<HashMap<Key, Vec<Arc<Job>>>>>;

/// Takes deliveries until `stop`, then ends what has begun within `grace`.
pub(crate) async fn run(
    nats: Nats,
    worker: Worker,
    grace: Duration,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let working = Working::default();
    let begun = Connections::new();
    let mut durable = Durable::open(&nats, StreamId::Conversations.name(), DURABLE);
    let mut ticks = interval(STILL_AT_IT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let job = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {
                still_at_it(&working).await;
                continue;
            }
            job = durable.next() => job,
        };
        take(job, &worker, &working, &begun).await;
    }
    durable.close().await;
    // Most answers end by themselves; the others are left to another instance before this one is made to stop.
    let hand_over = async {
        tokio::time::sleep(grace.mul_f64(0.6)).await;
        worker.abandon();
        std::future::pending().await
    };
    tokio::select! {
        _ = begun.drain(grace.mul_f64(0.9)) => Ok(()),
        ended = hand_over => ended,
    }
}

async fn take(job: Job, worker: &Worker, working: &Working, begun: &Connections) {
    let Some(key) = spoken(&job) else {
        settle(&job, Rest::Done).await;
        return;
    };
    let (sequence, job) = (job.message.sequence, Arc::new(job));
    match enter(working, &key, &job) {
        Entered::Joined => return,
        Entered::Full => return settle(&job, Rest::Later(FULL)).await,
        Entered::New => drop(job),
    }
    let (worker, mut here) = (worker.clone(), Here { key, working: working.clone(), left: false });
    begun.spawn(async move {
        // Without the message in its own tail an instance cannot know whether it is answered.
        let rest = match worker.board().reached(sequence).await {
            Ok(()) => work(&worker, &here.key, &here.working).await,
            Err(_) => Err(BEHIND),
        };
        let (jobs, rest) = match rest {
            Ok(jobs) => {
                // From here on the entry may be another's.
                here.forget();
                (jobs, Rest::Done)
            }
            Err(delay) => (here.leave(), Rest::Later(delay)),
        };
        for job in jobs {
            settle(&job, rest).await;
        }
    });
}

enum Entered {
    /// The conversation is worked on and the delivery waits with the others of it.
    Joined,
    New,
    Full,
}

fn enter(working: &Working, key: &Key, job: &Arc<Job>) -> Entered {
    let mut all = lock(working);
    if let Some(jobs) = all.get_mut(key) {
        jobs.push(job.clone());
        return Entered::Joined;
    }
    if all.len() >= MOST {
        return Entered::Full;
    }
    all.insert(key.clone(), vec![job.clone()]);
    Entered::New
}

/// A conversation that is worked on. However that ends, its deliveries are not held any longer.
struct Here {
    key: Key,
    working: Working,
    left: bool,
}

impl Here {
    fn leave(&mut self) -> Vec<Arc<Job>> {
        if std::mem::replace(&mut self.left, true) {
            return Vec::new();
        }
        lock(&self.working).remove(&self.key).unwrap_or_default()
    }
}

impl Here {
    /// The entry was taken out already.
    fn forget(&mut self) {
        self.left = true;
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        // Those still here come again after the durable's `ack_wait`.
        drop(self.leave());
    }
}

/// Works until nothing waits, deliveries that came meanwhile included; gives all of them, or when to come again.
async fn work(worker: &Worker, key: &Key, working: &Working) -> Result<Vec<Arc<Job>>, Duration> {
    loop {
        if let Rest::Later(delay) = Box::pin(worker.answer(key)).await {
            return Err(delay);
        }
        let newest = newest(lock(working).get(key));
        worker.board().reached(newest).await.map_err(|_| BEHIND)?;
        let mut all = lock(working);
        let is_idle = worker.board().known(key, |it| it.open.is_empty()) == Some(true);
        // Under the lock no delivery can join one that is about to end.
        if is_idle && self::newest(all.get(key)) == newest {
            return Ok(all.remove(key).unwrap_or_default());
        }
    }
}

fn newest(jobs: Option<&Vec<Arc<Job>>>) -> u64 {
    jobs.into_iter().flatten().map(|job| job.message.sequence).max().unwrap_or(0)
}

/// The conversation in which something was said.
fn spoken(job: &Job) -> Option<Key> {
    let subject = Subject::parse(&job.message.subject).ok()?;
    let address = subject.address();
    (subject.name().as_str() == MESSAGE).then(|| Key::new(address.tenant(), address.entity()))
}

async fn settle(job: &Job, rest: Rest) {
    let settled = match rest {
        Rest::Done => job.ack().await,
        Rest::Later(delay) => job.nak(delay).await,
    };
    if let Err(error) = settled {
        debug!(%error, "a delivery comes again");
    }
}

async fn still_at_it(working: &Working) {
    let jobs: Vec<Arc<Job>> = lock(working).values().flatten().cloned().collect();
    for job in jobs {
        // One that does not reach the server means a second look at a conversation that is worked on.
        let _ = job.in_progress().await;
    }
}

fn lock(working: &Working) -> MutexGuard<'_, HashMap<Key, Vec<Arc<Job>>>> {
    working.lock().unwrap_or_else(PoisonError::into_inner)
}
