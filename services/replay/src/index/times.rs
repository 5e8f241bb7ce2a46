//! When each event of one stream was stored, in about four bytes an event.
//! Knows nothing of channels.

use std::collections::VecDeque;

const CHUNK: usize = 4_096;

/// How far a server's clock may step back inside a chunk before a new one is begun.
const SLACK_MS: i64 = 3_600_000;

#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    chunks: VecDeque<Chunk>,
    /// The latest time of all that has been pushed.
    latest: i64,
    count: usize,
}

/// Consecutive sequences from `first` on.
#[derive(Clone, Debug)]
struct Chunk {
    first: u64,
    base: i64,
    offsets: Vec<u32>,
    /// The latest time in this chunk and all before it; times themselves may step back, this cannot.
    latest: i64,
}

impl Times {
    /// Sequences must ascend; a gap costs a new chunk.
    pub(crate) fn push(&mut self, sequence: u64, stored_at: i64) {
        self.latest = if self.count == 0 { stored_at } else { self.latest.max(stored_at) };
        let latest = self.latest;
        self.count += 1;
        if let Some(chunk) = self.chunks.back_mut()
            && let Some(offset) = chunk.offset_for(sequence, stored_at)
        {
            chunk.offsets.push(offset);
            chunk.latest = latest;
            return;
        }
        let base = stored_at.saturating_sub(SLACK_MS);
        let offset = u32::try_from(stored_at - base).unwrap_or(0);
        self.chunks.push_back(Chunk { first: sequence, base, offsets: vec![offset], latest });
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<i64> {
        let chunk = self.chunks.partition_point(|chunk| chunk.first <= sequence).checked_sub(1)?;
        self.chunks.get(chunk)?.get(sequence)
    }

    /// The sequence of the first event that was stored after `at`.
    pub(crate) fn first_after(&self, at: i64) -> Option<u64> {
        let chunk = self.chunks.get(self.chunks.partition_point(|chunk| chunk.latest <= at))?;
        let within = chunk.offsets.iter().position(|o| chunk.base + i64::from(*o) > at)?;
        Some(chunk.first + within as u64)
    }

    /// Forgets chunks that end below `sequence`.
    pub(crate) fn forget_below(&mut self, sequence: u64) {
        while self.chunks.front().is_some_and(|chunk| chunk.end() <= sequence) {
            let gone = self.chunks.pop_front();
            self.count -= gone.map_or(0, |chunk| chunk.offsets.len());
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, i64)> {
        self.chunks.iter().flat_map(|chunk| {
            let times = chunk.offsets.iter().map(|offset| chunk.base + i64::from(*offset));
            (chunk.first..).zip(times)
        })
    }

    /// Heap bytes in use.
    pub(crate) fn heap(&self) -> usize {
        let offsets: usize = self.chunks.iter().map(|chunk| chunk.offsets.capacity() * 4).sum();
        offsets + self.chunks.capacity() * size_of::<Chunk>()
    }
}

impl Chunk {
    fn end(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// The offset of an event that may be appended here.
    fn offset_for(&self, sequence: u64, stored_at: i64) -> Option<u32> {
        let fits = sequence == self.end() && self.offsets.len() < CHUNK;
        let offset = stored_at.checked_sub(self.base).filter(|_| fits)?;
        u32::try_from(offset).ok()
    }

    fn get(&self, sequence: u64) -> Option<i64> {
        let place = usize::try_from(sequence.checked_sub(self.first)?).ok()?;
        Some(self.base + i64::from(*self.offsets.get(place)?))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_time_is_found_again_whatever_gaps_and_clock_steps(
            steps in prop::collection::vec((1u64..3, -5_000_000_000i64..5_000_000_000), 0..200),
            at in -5_000_000_000i64..5_000_000_000,
        ) {
            let (mut times, mut list, mut sequence) = (Times::default(), Vec::new(), 0);
            for (step, stored_at) in steps {
                sequence += step;
                times.push(sequence, stored_at);
                list.push((sequence, stored_at));
            }
            prop_assert_eq!(times.iter().collect::<Vec<_>>(), list.clone());
            prop_assert_eq!(times.len(), list.len());
            for (sequence, stored_at) in &list {
                prop_assert_eq!(times.get(*sequence), Some(*stored_at));
            }
            let first = list.iter().find(|(_, stored_at)| *stored_at > at).map(|(s, _)| *s);
            prop_assert_eq!(times.first_after(at), first);
        }
    }

    #[test]
    fn what_was_never_stored_has_no_time() {
        let mut times = Times::default();
        (5..10_000).for_each(|sequence| times.push(sequence, sequence as i64));
        times.forget_below(6_000);
        assert_eq!((times.get(4), times.get(10_000)), (None, None));
        assert_eq!((times.get(5), times.get(6_000)), (None, Some(6_000)));
        assert!(times.len() < 6_000);
    }
}
