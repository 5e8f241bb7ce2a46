//! Keeps the index of the quarantine at the stream's head.

use std::sync::Arc;
use std::time::Duration;

use domain::{Tenant, subject};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_message::LogMessage;
use runtime::log_reader::StreamState;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;

use super::shelf::{ALL, STREAM};
use crate::index::stream_index::StreamIndex;
use crate::state::State;

/// Operators do not notice.
const PACE: Duration = Duration::from_millis(100);

pub(crate) async fn follow(
    nats: Nats,
    state: Arc<State>,
    shutdown: CancellationToken,
) -> Result<(), BoxError> {
    let options =
        FollowOptions { headers_only: true, pace: Some(PACE), ..FollowOptions::default() };
    let mut follower = Follower::new(&nats, STREAM, Start::AfterSequence(0), options);
    let mut target = None;
    loop {
        let event = tokio::select! {
            event = follower.next() => event,
            () = shutdown.cancelled() => return Ok(()),
        };
        match event {
            FollowEvent::Attached(found) => {
                note_removals(&mut state.quarantine_mut(), &found);
                target.get_or_insert(found.last_sequence);
            }
            FollowEvent::Messages(messages) => index(&mut state.quarantine_mut(), &messages),
            FollowEvent::Rewound(found) => {
                *state.quarantine_mut() = StreamIndex::new(found.epoch);
                note_removals(&mut state.quarantine_mut(), &found);
            }
        }
        let head = state.quarantine().head();
        if target.is_some_and(|target| head >= target) {
            state.set_quarantine_ready();
        }
    }
}

pub(crate) fn note_removals(index: &mut StreamIndex, found: &StreamState) {
    if found.messages == 0 {
        index.skip_to(found.last_sequence);
    } else {
        index.truncate(found.first_sequence);
    }
}

fn index(index: &mut StreamIndex, messages: &[LogMessage]) {
    for message in messages {
        let tenant = subject::tenant_of(&message.subject).ok();
        let origin = subject::origin_of(&message.subject);
        let shelves = tenant.as_ref().and(origin).map(|origin| [ALL, origin]);
        let tenant = tenant.as_ref().map_or("", Tenant::as_str);
        index.push(message.sequence, message.stored_at, tenant, shelves.into_iter().flatten());
    }
}
