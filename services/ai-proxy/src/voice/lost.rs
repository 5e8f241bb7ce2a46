//! Tells the person when speech that was accepted got lost, as when the process that had it was killed: some instance
//! does, whichever sees it first, under an id that makes all of them one.

use std::time::Duration;

use domain::StreamId;
use runtime::clock;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use serde::Deserialize;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::lane::unheard;
use crate::answering::record::RecordError;
use crate::answering::{Board, Late, Recorder};
use crate::metrics::Metrics;

const LOOK_EVERY: Duration = Duration::from_secs(1);
const REASON: &str = "lost";

/// What was accepted, as the log has it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Received {
    conversation_id: String,
    #[serde(default)]
    user_id: String,
}

pub(crate) async fn run(
    recorder: Recorder,
    board: Board,
    metrics: Metrics,
    stop: CancellationToken,
) -> Result<(), BoxError> {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = looks.tick() => {}
        }
        for late in board.late(clock::unix_millis()) {
            match tell(&recorder, &late).await {
                Ok(()) => metrics.speech(REASON),
                Err(error) => {
                    debug!(error = %chain(&error), "lost speech is told at the next look");
                }
            }
        }
    }
}

async fn tell(recorder: &Recorder, late: &Late) -> Result<(), RecordError> {
    let reader = recorder.nats().log_reader();
    let read = reader.get(StreamId::Conversations.name(), late.sequence).await;
    let stored = read.map_err(|_| RecordError::Unavailable)?;
    let received = stored.and_then(|it| serde_json::from_slice::<Received>(&it.payload).ok());
    let Some(Received { conversation_id, user_id }) = received else {
        return Err(RecordError::Unfit);
    };
    warn!("speech that was accepted was lost with the process that had it; its sender is told");
    let tenant = &late.key.tenant;
    recorder.unguarded(unheard(tenant, &conversation_id, &late.chunk, &user_id, REASON)).await?;
    recorder.state(tenant, &conversation_id, "idle").await;
    Ok(())
}
