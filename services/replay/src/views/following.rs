//! Keeps the views of one stream at the stream's head.

use std::sync::Arc;
use std::time::Duration;

use domain::StreamId;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::log_reader::StreamState;
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::folded::{Folded, views_of};
use super::keeping;
use super::rebuilding::Builds;
use super::store::Store;
use super::{Views, reading};
use crate::meters::Meters;

/// Whoever asks for what is not folded yet waits longer than this.
const PACE: Duration = Duration::from_millis(5);

pub(crate) struct Live {
    stream: StreamId,
    views: Arc<Views>,
    meters: Meters,
    condition: Condition,
    store: Store,
    builds: Arc<Builds>,
    /// What the stream held when we began.
    target: Option<u64>,
}

impl Live {
    pub(crate) fn new(
        stream: StreamId,
        views: Arc<Views>,
        meters: Meters,
        condition: Condition,
        nats: &Nats,
        builds: &Arc<Builds>,
    ) -> Self {
        condition.missing("not there or not reachable yet");
        let (store, builds) = (Store::new(nats), builds.clone());
        Self { stream, views, meters, condition, store, builds, target: None }
    }

    pub(crate) async fn run(
        mut self,
        nats: Nats,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        let log = nats.log_reader();
        let begun = tokio::select! {
            begun = keeping::load(&self.store, &log, self.stream) => begun,
            () = shutdown.cancelled() => return Ok(()),
        };
        *self.views.live_mut(self.stream) = begun.folded;
        let mut is_partial = begun.is_partial;
        let mut follower = self.follower(&nats);
        loop {
            // A snapshot knows no past; and what the fold makes of the log now is what counts.
            is_partial = is_partial && !self.is_to_be_built();
            let event = tokio::select! {
                event = follower.next() => event,
                () = shutdown.cancelled() => return Ok(()),
            };
            match event {
                FollowEvent::Attached(found) => self.attached(&found),
                FollowEvent::Messages(messages) => {
                    reading::fold_all(&mut self.views.live_mut(self.stream), &messages);
                }
                FollowEvent::Rewound(found) => self.rewound(&found),
            }
            self.views.tell_head(self.stream);
            let lag = i64::try_from(follower.lag()).unwrap_or(i64::MAX);
            self.meters.view_lag.get_or_create(&[("stream", self.stream.name())]).set(lag);
            self.check_caught_up();
        }
    }

    /// Whether the wish to build the views anew has found a place; the next event is time enough for another try.
    fn is_to_be_built(&self) -> bool {
        let wished = self.builds.wish(self.stream, views_of(self.stream).to_vec(), false);
        if let Err(error) = wished {
            debug!(stream = %self.stream, %error, "views are built anew later");
        }
        wished.is_ok()
    }

    fn follower(&self, nats: &Nats) -> Follower {
        let (head, epoch) = {
            let folded = self.views.live(self.stream);
            (folded.head(), folded.epoch())
        };
        let options = FollowOptions { pace: Some(PACE), ..FollowOptions::default() };
        let follower = Follower::new(nats, self.stream.name(), Start::AfterSequence(head), options);
        if head > 0 { follower.expecting_epoch(epoch) } else { follower }
    }

    fn attached(&mut self, found: &StreamState) {
        let mut folded = self.views.live_mut(self.stream);
        if folded.head() == 0 {
            folded.set_epoch(found.epoch);
        }
        skip_removed(&mut folded, found);
        self.target.get_or_insert(found.last_sequence);
    }

    fn rewound(&mut self, found: &StreamState) {
        warn!(stream = %self.stream, "the stream is another copy than before: folding it anew");
        self.views.set_caught_up(self.stream, false);
        let mut folded = self.views.live_mut(self.stream);
        *folded = Folded::new(self.stream, views_of(self.stream), found.epoch);
        skip_removed(&mut folded, found);
        self.target = Some(found.last_sequence);
    }

    fn check_caught_up(&self) {
        let Some(target) = self.target else { return };
        if self.views.is_caught_up(self.stream) {
            return;
        }
        let head = self.views.live(self.stream).head();
        if head >= target {
            self.views.set_caught_up(self.stream, true);
            self.condition.holds();
            info!(stream = %self.stream, sequence = head, "views folded");
        } else {
            self.condition.missing(format!("folded up to {head} of {target}"));
        }
    }
}

/// An empty stream goes on behind its last sequence.
fn skip_removed(folded: &mut Folded, found: &StreamState) {
    if found.messages == 0 {
        folded.fold(found.last_sequence, 0, None);
    }
}
