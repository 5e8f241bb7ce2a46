//! Pages for sessions: an answer to what a session behind the tail wishes, whatever it takes.

use std::collections::VecDeque;
use std::time::Duration;

use domain::position::{Position, fingerprint};
use domain::replay::{EventRef, RefsAnswer, RefsRequest};
use domain::{Channel, StreamId, Tenant};
use tracing::debug;

use super::{Library, LibraryError, PAGE, range};
use crate::entry::Place;
use crate::session::{Page, PageWish};

/// The pause before the read side is asked again; it doubles up to the longest.
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A page and the channels of which retention has removed something that the session had not been given.
pub(crate) struct Answered {
    pub page: Page,
    pub expired: Vec<Channel>,
}

impl Library {
    /// Answers a wish; asks again for as long as the read side is away or has not indexed that far.
    pub(crate) async fn page(&self, tenant: &Tenant, wish: &PageWish) -> Answered {
        let mut pause = PAUSE;
        loop {
            match self.try_page(tenant, wish).await {
                Ok(answered) if is_progress(&answered, wish) => return answered,
                Ok(_) => {}
                Err(error) => debug!(%error, "a page is asked for again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_page(&self, tenant: &Tenant, wish: &PageWish) -> Result<Answered, LibraryError> {
        let channels = wish.channels.iter();
        let request = RefsRequest {
            channels: channels.map(|(name, after)| range(name, after.sequences())).collect(),
            upto: wish.upto.sequences(),
            limit: PAGE,
            newest_first: false,
        };
        let answer = self.refs(tenant, &request).await?;
        let found = self.entries(tenant, &answer.refs).await?;
        let mut expired = expired(&answer, wish);
        if found.iter().any(Option::is_none) && expired.is_empty() {
            // Retention came between the index and the read: any of the channels may have lost something.
            expired = wish.channels.iter().map(|(channel, _)| channel.clone()).collect();
        }
        let entries: VecDeque<_> = found.into_iter().flatten().collect();
        Ok(Answered { page: Page { entries, reached: reached(&answer, wish) }, expired })
    }
}

fn is_progress(answered: &Answered, wish: &PageWish) -> bool {
    !answered.page.entries.is_empty()
        || !answered.expired.is_empty()
        || answered.page.reached.includes(&wish.upto)
}

fn expired(answer: &RefsAnswer, wish: &PageWish) -> Vec<Channel> {
    let was_removed = |channel: &Channel| {
        answer.removed.iter().any(|removed| removed.channel == channel.as_str())
    };
    wish.channels.iter().map(|(channel, _)| channel).filter(|c| was_removed(c)).cloned().collect()
}

/// The session's position after the page: behind its last event of each stream, or where the wish ends.
fn reached(answer: &RefsAnswer, wish: &PageWish) -> Position {
    let mut reached = wish.from;
    for place in answer.refs.iter().filter_map(place_of) {
        let epoch = wish.upto.get(place.stream).epoch;
        reached.set(place.stream, place.position(epoch));
    }
    if answer.more {
        return reached;
    }
    for stream in StreamId::ALL {
        let mut end = wish.upto.get(stream);
        let indexed = answer.head[stream.index()];
        if end.sequence > indexed {
            // Beyond what the answering node knows nothing has been looked for.
            end.sequence = indexed;
            end.fingerprint = 0;
        }
        if end.sequence > reached.sequence(stream) {
            reached.set(stream, end);
        }
    }
    reached
}

fn place_of(place: &EventRef) -> Option<Place> {
    let stream = StreamId::from_index(usize::from(place.stream))?;
    Some(Place { stream, sequence: place.sequence, stored_at: place.stored_at })
}

impl Library {
    /// Whether a position belongs to the log as it is now: no stream was put back behind the holder's back.
    pub(crate) async fn recognises(&self, position: &Position) -> Result<bool, LibraryError> {
        for stream in StreamId::ALL {
            let at = position.get(stream);
            if at.sequence == 0 {
                continue;
            }
            let (head, epoch) = self.inner.hub.with_tail(|tail| {
                let head = tail.head().get(stream);
                (head.sequence, head.epoch)
            });
            if at.epoch != 0 && at.epoch != epoch {
                return Ok(false);
            }
            if at.sequence > head && !self.is_stored_up_to(stream, at.sequence).await? {
                return Ok(false);
            }
            if at.fingerprint != 0 && !self.has_fingerprint(stream, at).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Another node may be ahead of this one; the stream itself knows.
    async fn is_stored_up_to(&self, stream: StreamId, sequence: u64) -> Result<bool, LibraryError> {
        let state = self.inner.reader.stream_info(stream.name()).await;
        let state = state.map_err(|_| LibraryError::Unavailable)?;
        Ok(state.last_sequence >= sequence)
    }

    async fn has_fingerprint(
        &self,
        stream: StreamId,
        at: domain::position::StreamPosition,
    ) -> Result<bool, LibraryError> {
        let base = self.inner.hub.with_tail(|tail| tail.base().get(stream));
        if base.sequence == at.sequence && base.fingerprint != 0 {
            return Ok(base.fingerprint == at.fingerprint);
        }
        let place = EventRef { stream: stream.index() as u8, sequence: at.sequence, stored_at: 0 };
        let found = self.any_entries(&[place]).await?;
        // What retention has removed cannot be compared; the index tells whether anything was lost by it.
        let stored = found.into_iter().flatten().next().and_then(|entry| entry.place);
        Ok(stored.is_none_or(|place| fingerprint(place.stored_at) == at.fingerprint))
    }

    /// Drops what was read of a stream that was put back.
    pub(crate) fn forget(&self, stream: StreamId) {
        let mut cache = self.inner.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        cache.forget(stream.index() as u8);
    }
}
