//! Keeps one stream's part of the index at the stream's head, headers only.

use std::sync::Arc;
use std::time::Duration;

use domain::envelope::header;
use domain::subject;
use domain::{StreamId, Tenant};
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_message::LogMessage;
use runtime::log_reader::StreamState;
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::index::stream_index::StreamIndex;
use crate::snapshots::Snapshots;
use crate::state::State;

/// Who asks for a page that is not indexed yet asks again after longer than this.
const PACE: Duration = Duration::from_millis(5);

/// Follows one stream into the index, from its snapshot if there is a good one.
pub(crate) struct Indexer {
    stream: StreamId,
    state: Arc<State>,
    condition: Condition,
    /// What the stream held when we began; once indexed, this stream is caught up.
    target: Option<u64>,
}

impl Indexer {
    pub(crate) fn new(stream: StreamId, state: Arc<State>, condition: Condition) -> Self {
        condition.missing("not there or not reachable yet");
        Self { stream, state, condition, target: None }
    }

    pub(crate) async fn run(
        mut self,
        nats: Nats,
        snapshots: Snapshots,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let begin = async {
            if let Some(index) = snapshots.load(self.stream).await {
                self.state.index_mut().replace(self.stream, index);
            }
            self.follower(&nats)
        };
        let mut follower = tokio::select! {
            follower = begin => follower,
            () = shutdown.cancelled() => return Ok(()),
        };
        loop {
            tokio::select! {
                event = follower.next() => self.apply(event, follower.lag()),
                () = shutdown.cancelled() => return Ok(()),
            }
        }
    }

    fn follower(&self, nats: &Nats) -> Follower {
        let (head, epoch) = {
            let index = self.state.index();
            (index.stream(self.stream).head(), index.stream(self.stream).epoch())
        };
        let options =
            FollowOptions { headers_only: true, pace: Some(PACE), ..FollowOptions::default() };
        let start = Start::AfterSequence(head);
        let follower = Follower::new(nats, self.stream.name(), start, options);
        if head > 0 { follower.expecting_epoch(epoch) } else { follower }
    }

    fn apply(&mut self, event: FollowEvent, lag: u64) {
        match event {
            FollowEvent::Attached(found) => self.attached(&found),
            FollowEvent::Messages(messages) => self.index(&messages),
            FollowEvent::Rewound(found) => self.rewound(&found),
        }
        self.state.meters.lag.get_or_create(&[("stream", self.stream.name())]).set(lag as i64);
        self.check_caught_up();
    }

    fn attached(&mut self, found: &StreamState) {
        let mut index = self.state.index_mut();
        if index.stream(self.stream).head() == 0 {
            index.reset(self.stream, found.epoch);
        }
        note_removals(index.stream_mut(self.stream), found);
        self.target.get_or_insert(found.last_sequence);
    }

    fn rewound(&mut self, found: &StreamState) {
        warn!(stream = %self.stream, "the stream is another copy than before: indexing it anew");
        self.state.set_caught_up(self.stream, false);
        let mut index = self.state.index_mut();
        index.reset(self.stream, found.epoch);
        note_removals(index.stream_mut(self.stream), found);
        self.target = Some(found.last_sequence);
    }

    fn index(&self, messages: &[LogMessage]) {
        let mut index = self.state.index_mut();
        for message in messages {
            let channels = message.headers.get(header::CHANNELS).unwrap_or_default();
            let (tenant, channels) = match subject::tenant_of(&message.subject) {
                Ok(tenant) => (Some(tenant), channels),
                // It has a place in the stream all the same: left out it would look like a removed event.
                Err(_) => (None, ""),
            };
            let tenant = tenant.as_ref().map_or("", Tenant::as_str);
            let channels = channels.split(',').filter(|name| !name.is_empty());
            index.push(self.stream, message.sequence, message.stored_at, tenant, channels);
        }
    }

    fn check_caught_up(&self) {
        let Some(target) = self.target else { return };
        if self.state.is_caught_up(self.stream) {
            return;
        }
        let head = self.state.index().stream(self.stream).head();
        if head >= target {
            self.state.set_caught_up(self.stream, true);
            self.condition.holds();
            info!(stream = %self.stream, sequence = head, "indexed");
        } else {
            self.condition.missing(format!("indexed up to {head} of {target}"));
        }
    }
}

/// Takes note of what retention has removed from the beginning of a stream.
pub(crate) fn note_removals(index: &mut StreamIndex, found: &StreamState) {
    if found.messages == 0 {
        index.skip_to(found.last_sequence);
    } else {
        index.truncate(found.first_sequence);
    }
}
