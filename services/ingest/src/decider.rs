//! Decides commands: every one once, whoever asks how often and whatever dies meanwhile.
//!
//! What there is to decide on comes from the log by the sequences that this instance's own tails have seen; what is
//! decided goes there by guarded appends. Crisis commands have a stream, a durable and lanes of their own: they wait behind
//! nothing. Several instances share the durables; no entity belongs to any of them.

use std::sync::Arc;
use std::time::Duration;

use runtime::metrics::Metrics as Registry;
use runtime::nats::Nats;
use runtime::ops::Readiness;
use runtime::tasks::{BoxError, Tasks};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::intake::Intake;

mod answered;
mod entities;
mod execute;
mod index;
mod metrics;
mod record;
mod signals;
mod tail;
#[cfg(test)]
mod tests;
mod worker;

pub(crate) use execute::{Decider, Undecided};
pub(crate) use record::Keep;

use metrics::Metrics;
use signals::Signals;
use tail::Tail;
use worker::{Queue, Worker};

const CRISIS: &str = "crisis";
/// A durable, and the lanes in which its commands are decided beside each other.
const ALL_OTHERS: Queue = Queue {
    stream: "COMMANDS",
    durable: "ingest",
    lanes: 64,
    of_crises: false,
    longest_pause: Duration::from_secs(30),
};
const OF_CRISES: Queue = Queue {
    stream: "CRISIS_COMMANDS",
    durable: "ingest",
    lanes: 16,
    of_crises: true,
    longest_pause: Duration::from_secs(5),
};
/// Where crisis commands were before they had a stream of their own; a store of that time may still hold some.
const EARLIER: Queue =
    Queue { stream: "COMMANDS", durable: "ingest-crisis", lanes: 4, ..OF_CRISES };
const ASK_EVERY: Duration = Duration::from_secs(3);

/// Starts the tails and the workers among `tasks`; the handle decides for others in this process.
pub(crate) fn start(
    tasks: &mut Tasks,
    nats: &Nats,
    intake: &Intake,
    registry: &Registry,
    readiness: &Readiness,
    grace: Duration,
) -> Decider {
    let stop = tasks.shutdown();
    let tails: Vec<_> = Tail::all().into_iter().map(Arc::new).collect();
    let signals = Arc::new(Signals::default());
    for tail in &tails {
        let warm = readiness.condition(tail.condition());
        let (name, tail) = (format!("tail of {}", tail.category()), tail.clone());
        let (nats, signals, stop) = (nats.clone(), signals.clone(), stop.clone());
        tasks.spawn(name, async move { tail.follow(nats, &signals, warm, stop).await });
    }
    let decider =
        Decider::new(nats, tails, signals.clone(), intake.clone(), Metrics::new(registry));
    for queue in [OF_CRISES, ALL_OTHERS, EARLIER] {
        let working = work(Worker::new(&decider, queue, nats, intake.log()), grace, stop.clone());
        tasks.spawn(format!("commands of {}.{}", queue.stream, queue.durable), working);
    }
    let intake = intake.clone();
    tasks.spawn("signals", async move { signals.tell(&intake, stop).await });
    decider
}

/// Fetches nothing before the states can be folded from what the tails have seen. Crises wait for no tail: the log's
/// leader is asked for each of them meanwhile, so that a long history delays no alert after a start.
async fn work(worker: Worker, grace: Duration, stop: CancellationToken) -> Result<(), BoxError> {
    let queue = worker.queue();
    let awaited = |tail: &&Arc<Tail>| queue == ALL_OTHERS && tail.category() != CRISIS;
    for tail in worker.decider().tails().iter().filter(awaited) {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tail.is_warm() => {}
        }
    }
    if queue == EARLIER {
        let is_there = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            is_there = is_there(worker.nats(), queue) => is_there,
        };
        if !is_there {
            stop.cancelled().await;
            return Ok(());
        }
    }
    worker.run(grace, stop).await
}

/// Only a store that is older than this program has it. Asked until there is an answer: what is there may be an alert
/// that nobody has raised.
async fn is_there(nats: &Nats, queue: Queue) -> bool {
    loop {
        match nats.log_reader().has_durable(queue.stream, queue.durable).await {
            Ok(is_there) => return is_there,
            Err(error) => debug!(%error, "whether there are commands of before is not known yet"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
