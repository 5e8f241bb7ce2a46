//! Which events an entity has: hash of its address → their sequences. Pure; no clock, no log, no locks.
//!
//! Bounded: entities are kept in two generations; when the younger is full the older is forgotten. What is forgotten
//! is found in the log again at a price, so the index always says whether it knows all of an entity's events.

use std::collections::HashMap;
use std::mem;

/// What a map's slot and a list's head take, besides 8 bytes an event.
const OVERHEAD: usize = 72;

#[derive(Debug)]
pub(super) struct Index {
    young: Generation,
    old: Generation,
    /// Of one generation, in bytes.
    limit: usize,
    /// Nothing was ever forgotten: who is not here has no events.
    complete: bool,
}

#[derive(Debug, Default)]
struct Generation {
    places: HashMap<u64, Places>,
    bytes: usize,
}

/// Ascending sequences of one entity, or of all entities that share its hash.
#[derive(Debug, Default)]
struct Places {
    /// There are none before the first.
    whole: bool,
    sequences: Vec<u64>,
}

impl Places {
    fn bytes(&self) -> usize {
        OVERHEAD + 8 * self.sequences.len()
    }

    fn knows_all_after(&self, revision: u64) -> bool {
        self.whole || self.sequences.first().is_some_and(|first| *first <= revision)
    }
}

impl Generation {
    fn put(&mut self, hash: u64, places: Places) {
        self.bytes += places.bytes();
        self.places.insert(hash, places);
    }

    fn take(&mut self, hash: u64) -> Option<Places> {
        let places = self.places.remove(&hash)?;
        self.bytes -= places.bytes();
        Some(places)
    }
}

impl Index {
    pub(super) fn new(bytes: usize) -> Self {
        let (young, old) = Default::default();
        Self { young, old, limit: bytes / 2, complete: true }
    }

    /// An event was seen; events come in the stream's order, but what was learnt may be further.
    pub(super) fn insert(&mut self, hash: u64, sequence: u64) {
        if let Some(places) = self.old.take(hash) {
            self.young.put(hash, places);
        }
        let Some(places) = self.young.places.get_mut(&hash) else {
            let places = Places { whole: self.complete, sequences: vec![sequence] };
            self.young.put(hash, places);
            return self.keep_to_limit();
        };
        if places.sequences.last() < Some(&sequence) {
            places.sequences.push(sequence);
            self.young.bytes += 8;
            self.keep_to_limit();
        }
    }

    /// The sequences behind a revision up to which an entity is known; `None` if only the log can tell.
    pub(super) fn after(&mut self, hash: u64, revision: u64) -> Option<Vec<u64>> {
        if let Some(places) = self.old.take(hash) {
            self.young.put(hash, places);
        }
        let Some(places) = self.young.places.get(&hash) else {
            return self.complete.then(Vec::new);
        };
        let known = places.knows_all_after(revision).then(|| {
            let from = places.sequences.partition_point(|sequence| *sequence <= revision);
            places.sequences[from..].to_vec()
        });
        self.keep_to_limit();
        known
    }

    /// All of an entity's events, as the log was asked.
    pub(super) fn learn(&mut self, hash: u64, mut sequences: Vec<u64>) {
        let known = self.young.take(hash).or_else(|| self.old.take(hash)).unwrap_or_default();
        let last = sequences.last().copied().unwrap_or(0);
        sequences.extend(known.sequences.into_iter().filter(|sequence| *sequence > last));
        self.young.put(hash, Places { whole: true, sequences });
        self.keep_to_limit();
    }

    /// The stream is another one.
    pub(super) fn clear(&mut self) {
        *self = Self::new(self.limit * 2);
    }

    fn keep_to_limit(&mut self) {
        if self.young.bytes > self.limit {
            let forgotten = mem::replace(&mut self.old, mem::take(&mut self.young));
            self.complete &= forgotten.places.is_empty();
        }
    }

    #[cfg(test)]
    fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entitys_events_are_found_behind_a_revision() {
        let mut index = Index::new(1 << 20);
        for (hash, sequence) in [(1, 3), (2, 4), (1, 7), (1, 9)] {
            index.insert(hash, sequence);
        }
        assert_eq!(index.after(1, 0), Some(vec![3, 7, 9]));
        assert_eq!(index.after(1, 7), Some(vec![9]));
        assert_eq!(index.after(1, 9), Some(vec![]));
        assert_eq!(index.after(3, 0), Some(vec![]), "nothing was forgotten: there are none");
    }

    #[test]
    fn what_is_seen_twice_counts_once() {
        let mut index = Index::new(1 << 20);
        [5, 5, 4].into_iter().for_each(|sequence| index.insert(1, sequence));
        assert_eq!(index.after(1, 0), Some(vec![5]));
    }

    #[test]
    fn memory_is_bounded_and_what_was_forgotten_is_never_taken_for_nothing() {
        let mut index = Index::new(10_000);
        for sequence in 1..=10_000 {
            index.insert(sequence % 500, sequence);
            assert!(index.bytes() <= 10_000 + 2 * OVERHEAD);
        }
        assert_eq!(index.after(9_999, 0), None, "an entity that nobody knows");
        let recent = 10_000 % 500;
        assert_eq!(index.after(recent, 0), None, "only its newest events are known");
        assert_eq!(index.after(recent, 10_000), Some(vec![]), "who is that far needs no others");
    }

    #[test]
    fn an_entity_in_use_is_not_forgotten() {
        let mut index = Index::new(10_000);
        index.insert(7, 1);
        for sequence in 2..2_000 {
            index.insert(1_000 + sequence, sequence);
            assert_eq!(index.after(7, 0), Some(vec![1]), "at {sequence}");
        }
    }

    #[test]
    fn what_the_log_tells_makes_an_entity_known_again() {
        let mut index = Index::new(400);
        (1..=100).for_each(|sequence| index.insert(sequence, sequence));
        index.insert(3, 101);
        assert_eq!(index.after(3, 0), None);
        index.learn(3, vec![3]);
        assert_eq!(index.after(3, 0), Some(vec![3, 101]), "what came meanwhile stays");
    }

    #[test]
    fn another_stream_begins_with_nothing() {
        let mut index = Index::new(400);
        (1..=100).for_each(|sequence| index.insert(sequence, sequence));
        index.clear();
        assert_eq!(index.after(100, 0), Some(vec![]));
    }
}
