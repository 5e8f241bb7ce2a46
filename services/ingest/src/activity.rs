//! Tells administrators what has been decided, as it happens: one `system.activity` for each noteworthy event.
//!
//! A durable of each stream brings the events for as long as they are not told of. What is told is stored under a
//! message id that follows from the event's, so whatever dies, and however many instances work, it is told once.

use std::sync::Arc;
use std::time::Duration;

use domain::catalogue::Publication;
use domain::{StreamId, activity};
use runtime::durable::{Durable, Job};
use runtime::nats::Nats;
use runtime::tasks::{BoxError, Tasks};
use runtime::telemetry::chain;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::escalation::recorded;
use crate::intake::Intake;
use crate::metrics::Way;
use crate::worker::{self, Settled, pause};

const DURABLE: &str = "ingest-activity";
const SOURCE: &str = "/activity";
/// Where something is decided that administrators follow.
const STREAMS: [StreamId; 3] = [StreamId::Conversations, StreamId::Crisis, StreamId::Messages];
/// One after the other, so that a session's end is told behind its start.
const AT_ONCE: usize = 1;
const FETCHED_AHEAD: usize = 8;
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) fn start(tasks: &mut Tasks, nats: &Nats, intake: &Intake) {
    for stream in STREAMS {
        let work = work(nats.clone(), intake.clone(), stream, tasks.shutdown());
        tasks.spawn(format!("activity of {stream}"), work);
    }
}

/// Nothing is fetched before repeats are recognised: what would be handed back would come in another order.
async fn work(
    nats: Nats,
    intake: Intake,
    stream: StreamId,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    while !intake.is_warm(StreamId::Activity) {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    let durable = Durable::open(&nats, stream.name(), DURABLE).with_batch(FETCHED_AHEAD);
    let handle = |job: Arc<Job>| {
        let intake = intake.clone();
        async move { tell(&intake, &job).await }
    };
    worker::work(durable, AT_ONCE, shutdown, handle).await
}

async fn tell(intake: &Intake, job: &Job) -> Settled {
    let Some((envelope, event)) = recorded(job) else { return Settled::Never };
    let Some(told) = activity::of(&event) else { return Settled::Done };
    let activity = Publication {
        key: Some(event.id.clone()),
        time: Some(envelope.time),
        causation_id: Some(event.id),
        ..Publication::new(activity::ACTIVITY, SOURCE, told.into())
    };
    let admitted = match intake.admit_own(&envelope.tenant, activity) {
        Ok(admitted) => admitted,
        Err(refusal) => {
            error!(sequence = job.message.sequence, %refusal, "an activity that the catalogue refuses");
            return Settled::Never;
        }
    };
    match intake.store(Way::Own, admitted).await {
        Ok(_) => Settled::Done,
        Err(error) => {
            warn!(error = chain(&error), "an activity waits for the log");
            Settled::Later(pause(job.delivered, LONGEST_PAUSE))
        }
    }
}
