//! Keeps the index of the quarantine at the stream's head.

use std::sync::Arc;
use std::time::Duration;

use domain::{Tenant, subject};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_message::LogMessage;
use runtime::nats::Nats;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::shelf::{ALL, STREAM};
use crate::index::stream_index::StreamIndex;
use crate::indexing::note_removals;
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
    let mut shelving = Shelving { state, target: None };
    loop {
        tokio::select! {
            event = follower.next() => shelving.apply(event),
            () = shutdown.cancelled() => return Ok(()),
        }
    }
}

struct Shelving {
    state: Arc<State>,
    /// What the stream held when we began with it; once that is indexed, operators are answered.
    target: Option<u64>,
}

impl Shelving {
    fn apply(&mut self, event: FollowEvent) {
        match event {
            FollowEvent::Attached(found) => {
                note_removals(&mut self.state.quarantine_mut(), &found);
                self.target.get_or_insert(found.last_sequence);
            }
            FollowEvent::Messages(messages) => index(&mut self.state.quarantine_mut(), &messages),
            FollowEvent::Rewound(found) => {
                warn!("the quarantine is another copy than before: indexing it anew");
                self.state.set_quarantine_ready(false);
                let mut index = self.state.quarantine_mut();
                *index = StreamIndex::new(found.epoch);
                note_removals(&mut index, &found);
                self.target = Some(found.last_sequence);
            }
        }
        let head = self.state.quarantine().head();
        if self.target.is_some_and(|target| head >= target) {
            self.state.set_quarantine_ready(true);
        }
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

#[cfg(test)]
mod tests {
    use runtime::log_reader::StreamState;
    use runtime::metrics::Metrics;

    use super::*;
    use crate::meters::Meters;

    #[test]
    fn a_quarantine_put_back_is_not_answered_from_until_it_is_indexed_anew() {
        let state = Arc::new(State::new(Meters::new(&Metrics::new())));
        let mut shelving = Shelving { state: state.clone(), target: None };
        let found = |messages: u64, epoch: u32| StreamState {
            first_sequence: 1,
            last_sequence: messages,
            messages,
            bytes: 0,
            epoch,
        };
        let indexed = |sequences: std::ops::RangeInclusive<u64>| {
            for sequence in sequences {
                state.quarantine_mut().push(sequence, 0, "acme", [ALL]);
            }
        };
        shelving.apply(FollowEvent::Attached(found(0, 1)));
        assert!(state.is_quarantine_ready());
        shelving.apply(FollowEvent::Rewound(found(10, 2)));
        assert!(!state.is_quarantine_ready(), "nothing of it is known yet");
        indexed(1..=9);
        shelving.apply(FollowEvent::Messages(Vec::new()));
        assert!(!state.is_quarantine_ready());
        indexed(10..=10);
        shelving.apply(FollowEvent::Messages(Vec::new()));
        assert!(state.is_quarantine_ready());
    }
}
