//! Notices what retention removes from the streams' beginnings.

use std::sync::Arc;
use std::time::Duration;

use domain::StreamId;
use runtime::log_reader::LogReader;
use runtime::tasks::BoxError;
use runtime::telemetry::chain;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::indexing::note_removals;
use crate::state::State;

/// Polls the streams' first sequences until told to stop, and keeps the gauges of the index true.
pub(crate) async fn watch(
    reader: LogReader,
    state: Arc<State>,
    every: Duration,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    loop {
        let round = async {
            tokio::time::sleep(every).await;
            for stream in StreamId::ALL {
                look(&reader, &state, stream).await;
            }
        };
        tokio::select! {
            () = round => state.measure(),
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

async fn look(reader: &LogReader, state: &State, stream: StreamId) {
    match reader.stream_info(stream.name()).await {
        Ok(found) => {
            let mut index = state.index_mut();
            // Another copy of the stream is the follower's to notice; its sequences mean nothing here.
            if index.stream(stream).epoch() == found.epoch {
                note_removals(index.stream_mut(stream), &found);
            }
        }
        // The follower and readiness tell about a stream that stays away; the next round asks again.
        Err(error) => debug!(stream = %stream, error = %chain(&error), "no word of the stream"),
    }
}
