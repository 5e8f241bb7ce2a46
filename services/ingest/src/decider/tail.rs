//! Follows the events of the entities that decide commands: headers alone, one follower for each category.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{Address, StreamId, aggregates, subject};
use runtime::LogMessage;
use runtime::follow::{FollowEvent, FollowOptions, Follower, Start};
use runtime::nats::Nats;
use runtime::ops::Condition;
use runtime::tasks::BoxError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::index::Index;
use super::signals::Signals;

/// Of memory for each category's index; a call takes about 130 bytes, so a million calls fit.
const INDEX_BYTES: usize = 128 << 20;
/// Calls are observed far more often than commanded; a command waits for so much at most.
const PACE_OF_CALLS: Duration = Duration::from_millis(5);

/// One category's events as far as they were seen.
pub(super) struct Tail {
    category: &'static str,
    stream: StreamId,
    hashes: RandomState,
    index: Mutex<Index>,
    progress: watch::Sender<Progress>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Progress {
    pub(super) seen: u64,
    /// Everything that was stored before the start has been seen.
    pub(super) warm: bool,
    /// Grows whenever the stream turns out to be another one.
    pub(super) life: u64,
}

impl Tail {
    /// One for each category whose commands are decided.
    pub(super) fn all() -> Vec<Self> {
        let known = aggregates::CATEGORIES.into_iter();
        known
            .filter_map(|category| {
                Some(Self::new(category, StreamId::of_category(category)?, INDEX_BYTES))
            })
            .collect()
    }

    pub(super) fn new(category: &'static str, stream: StreamId, index_bytes: usize) -> Self {
        let index = Mutex::new(Index::new(index_bytes));
        let progress = watch::Sender::new(Progress::default());
        Self { category, stream, hashes: RandomState::new(), index, progress }
    }

    pub(super) fn category(&self) -> &'static str {
        self.category
    }

    /// Its name among the conditions of readiness.
    pub(super) fn condition(&self) -> &'static str {
        match self.category {
            "call" => "commands of calls",
            "campaign" => "commands of campaigns",
            "conversation" => "commands of conversations",
            "crisis" => "commands of crises",
            _ => "commands of notifications",
        }
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    pub(super) fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    pub(super) fn hash(&self, address: &Address) -> u64 {
        self.hash_of(&address.guard())
    }

    /// Waits until an event was seen, or one behind it; false if that takes too long.
    pub(super) async fn reaches(&self, sequence: u64, within: Duration) -> bool {
        let mut progress = self.progress.subscribe();
        let reached = progress.wait_for(|progress| progress.seen >= sequence);
        tokio::time::timeout(within, reached).await.is_ok_and(|reached| reached.is_ok())
    }

    pub(super) async fn is_warm(&self) {
        let mut progress = self.progress.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _warm = progress.wait_for(|progress| progress.warm).await;
    }

    pub(super) fn index(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The guard of an address, or a subject without its name: both name the entity alone.
    fn hash_of(&self, subject: &str) -> u64 {
        self.hashes.hash_one(subject.rsplit_once('.').map_or(subject, |(entity, _)| entity))
    }

    fn saw(&self, messages: &[LogMessage]) {
        let mut index = self.index();
        for message in messages {
            index.insert(self.hash_of(&message.subject), message.sequence);
        }
        drop(index);
        if let Some(last) = messages.last() {
            self.progress.send_modify(|progress| progress.seen = last.sequence);
        }
    }

    fn forget(&self) {
        self.index().clear();
        self.progress.send_modify(|progress| {
            *progress = Progress { seen: 0, warm: false, life: progress.life + 1 };
        });
    }

    /// Follows until `shutdown`. `warm` holds once everything has been seen that was there at the start.
    pub(super) async fn follow(
        &self,
        nats: Nats,
        signals: &Signals,
        warm: Condition,
        shutdown: CancellationToken,
    ) -> Result<(), BoxError> {
        // Calls have a stream of their own, which holds little that this process has not appended itself.
        let own = self.category == "call";
        let pace = own.then_some(PACE_OF_CALLS);
        let filter = (!own).then(|| subject::category_filter(self.category));
        let options = FollowOptions { headers_only: true, filter, pace, own };
        let mut follower =
            Follower::new(&nats, self.stream.name(), Start::AfterSequence(0), options);
        warm.missing("reading what was decided");
        loop {
            let event = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                event = follower.next() => event,
            };
            match event {
                FollowEvent::Attached(_) => {}
                FollowEvent::Messages(messages) => {
                    self.saw(&messages);
                    signals.saw(self.category, &messages, self.progress().warm);
                }
                FollowEvent::Rewound(_) => {
                    self.forget();
                    signals.forget(self.category);
                    warm.missing("reading what was decided");
                    // How far it lags is known when it has attached again.
                    continue;
                }
            }
            if follower.lag() == 0 && !self.progress().warm {
                self.progress.send_modify(|progress| progress.warm = true);
                warm.holds();
            }
        }
    }
}
