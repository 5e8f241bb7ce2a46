//! Snapshots of views in the object store, several of each stream: the newest for a restart, an older one in which
//! everything is folded that retention has removed, to rebuild from, and some between for when it reaches that one.

use std::time::Duration;

use domain::StreamId;
use domain::views::View;
use runtime::log_reader::StreamState;
use runtime::nats::Nats;
use runtime::object_store::{ObjectError, Objects};
use runtime::telemetry::chain;
use tracing::warn;

use super::folded::Folded;
use super::snapshot::{self, Loaded};

const BUCKET: &str = "views";
/// For a whole snapshot, read or written.
const DEADLINE: Duration = Duration::from_secs(120);
const LARGEST: usize = 2 << 30;
/// How many snapshots of a stream there are.
const PLACES: usize = 8;

#[derive(Clone)]
pub(crate) struct Store {
    nats: Nats,
}

/// A snapshot, without its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    place: usize,
    epoch: u32,
    pub(crate) head: u64,
}

impl Store {
    pub(crate) fn new(nats: &Nats) -> Self {
        Self { nats: nats.clone() }
    }

    async fn objects(&self) -> Result<Objects, ObjectError> {
        self.nats.objects(BUCKET, DEADLINE).await
    }

    /// A stream's snapshots, oldest first.
    pub(crate) async fn list(&self, stream: StreamId) -> Result<Vec<Kept>, ObjectError> {
        let listed = self.objects().await?.list().await?;
        let own = listed.iter().filter_map(|listed| {
            let place = listed.name.strip_prefix(stream.name())?.strip_prefix('.')?.parse().ok()?;
            let (epoch, head) = listed.description.split_once(' ')?;
            Some(Kept { place, epoch: epoch.parse().ok()?, head: head.parse().ok()? })
        });
        let mut own: Vec<Kept> = own.collect();
        own.sort_by_key(|kept| kept.head);
        Ok(own)
    }

    /// `None` for one that cannot be read; another may be.
    pub(crate) async fn read(
        &self,
        stream: StreamId,
        kept: Kept,
        wanted: &[&'static View],
    ) -> Option<Loaded> {
        let name = name(stream, kept.place);
        let read = async { self.objects().await?.get(&name, LARGEST).await };
        let bytes = read
            .await
            .inspect_err(|error| warn!(%stream, error = %chain(error), "a snapshot cannot be read"))
            .ok()?;
        let wanted = wanted.to_vec();
        let decode = move || snapshot::decode(stream, &wanted, &bytes);
        let decoded = tokio::task::spawn_blocking(decode).await.ok()?;
        let loaded =
            decoded.inspect_err(|error| warn!(%stream, %error, "snapshot refused")).ok()?;
        // Another node has put a newer one in its place meanwhile.
        (loaded.folded.head() == kept.head).then_some(loaded)
    }

    /// Writes a snapshot down, in the place of the one that is least needed.
    pub(crate) async fn write(
        &self,
        stream: StreamId,
        (epoch, head): (u32, u64),
        content: Vec<u8>,
        found: &StreamState,
    ) -> Result<(), ObjectError> {
        let place = place_for(&self.list(stream).await?, epoch, head, found.first_sequence);
        let described = format!("{epoch} {head}");
        let sealed = tokio::task::spawn_blocking(move || crate::index::snapshot::seal(content));
        let sealed = sealed.await.map_err(|error| ObjectError::Failed(error.into()))?;
        // It would take the place of one that can be read, and then there were none.
        readable(sealed.len(), LARGEST)?;
        let objects = self.objects().await?;
        objects.put_described(&name(stream, place), described, &mut sealed.as_slice()).await?;
        Ok(())
    }
}

/// Whether what has this size can be read again.
fn readable(bytes: usize, largest: usize) -> Result<(), ObjectError> {
    if bytes <= largest { Ok(()) } else { Err(ObjectError::TooLarge) }
}

fn name(stream: StreamId, place: usize) -> String {
    format!("{stream}.{place}")
}

/// The snapshot to rebuild from: the oldest behind which the log still has everything.
pub(crate) fn baseline(kept: &[Kept], found: &StreamState) -> Option<Kept> {
    kept.iter().copied().find(|kept| is_usable(*kept, found.epoch, found.first_sequence))
}

/// The snapshots to begin with, best first. One that is too old is better than none: what it has is nowhere else.
pub(crate) fn newest_first(kept: &[Kept], found: &StreamState) -> Vec<Kept> {
    let of_stream = |kept: &&Kept| kept.epoch == found.epoch && kept.head <= found.last_sequence;
    kept.iter().rev().filter(of_stream).copied().collect()
}

fn is_usable(kept: Kept, epoch: u32, first: u64) -> bool {
    kept.epoch == epoch && kept.head + 1 >= first
}

fn place_for(kept: &[Kept], epoch: u32, head: u64, first: u64) -> usize {
    let free = (0..PLACES).find(|place| kept.iter().all(|kept| kept.place != *place));
    let useless = || kept.iter().find(|kept| !is_usable(**kept, epoch, first) || kept.head == head);
    free.or_else(|| useless().map(|kept| kept.place)).unwrap_or_else(|| {
        // Not the oldest, which is the baseline; of the others the one that leaves the smallest hole.
        let holes = kept.windows(3).map(|three| (three[2].head - three[0].head, three[1].place));
        let newest = kept.last().map(|newest| newest.place);
        holes.min().map(|(_, place)| place).or(newest).unwrap_or(0)
    })
}

/// Whether retention comes close to the newest snapshot: a quarter of the log is to lie before the next baseline.
pub(crate) fn is_pressed(newest: Option<u64>, head: u64, first: u64) -> bool {
    let quarter = head.saturating_sub(first) / 4;
    newest.unwrap_or(0) + 1 < first + quarter && newest != Some(head)
}

/// What a stream's views are as bytes, with their place.
pub(crate) fn content(folded: &Folded) -> ((u32, u64), Vec<u8>) {
    ((folded.epoch(), folded.head()), snapshot::encode(folded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(heads: &[u64]) -> Vec<Kept> {
        let at = |(place, head): (usize, &u64)| Kept { place, epoch: 1, head: *head };
        heads.iter().enumerate().map(at).collect()
    }

    #[test]
    fn a_snapshot_takes_a_free_place_then_a_useless_one_then_the_densest() {
        let some = kept(&[10, 20, 30]);
        assert_eq!(place_for(&some, 1, 40, 1), 3);
        let full = kept(&[10, 20, 30, 40, 41, 60, 70, 80]);
        assert_eq!(place_for(&full, 1, 90, 15), 0, "retention has passed it");
        assert_eq!(place_for(&full, 2, 90, 1), 0, "another life of the stream");
        assert_eq!(place_for(&full, 1, 90, 5), 3, "the baseline stays");
        assert_eq!(place_for(&full, 1, 70, 5), 6, "the same once more");
    }

    #[test]
    fn there_is_always_a_baseline_however_long_snapshots_come_and_events_go() {
        let mut all: Vec<Kept> = Vec::new();
        for round in 1..500u64 {
            let (head, first) = (round * 100, (round * 100).saturating_sub(2_000).max(1));
            let place = place_for(&all, 1, head, first);
            all.retain(|kept| kept.place != place);
            all.push(Kept { place, epoch: 1, head });
            all.sort_by_key(|kept| kept.head);
            assert!(all.len() <= PLACES);
            let found = StreamState {
                first_sequence: first,
                last_sequence: head,
                messages: 1,
                bytes: 1,
                epoch: 1,
            };
            let baseline = baseline(&all, &found).unwrap();
            assert!(baseline.head + 1 >= first);
            assert!(first == 1 || baseline.head < head, "not only the newest: {all:?}");
        }
    }

    #[test]
    fn what_could_not_be_read_again_is_not_written() {
        assert!(readable(LARGEST, LARGEST).is_ok());
        assert!(matches!(readable(LARGEST + 1, LARGEST), Err(ObjectError::TooLarge)));
    }

    #[test]
    fn a_snapshot_is_due_before_retention_reaches_the_newest() {
        assert!(is_pressed(None, 100, 1));
        assert!(is_pressed(Some(10), 1_000, 11));
        assert!(!is_pressed(Some(900), 1_000, 11));
        assert!(!is_pressed(Some(1_000), 1_000, 1_001));
    }
}
