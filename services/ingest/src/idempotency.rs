//! Which message ids one stream has stored in the last days, in a few bytes each.
//!
//! Pure: no clock, no log, no locks. It answers "perhaps, look at these sequences" or "certainly not"; the
//! caller confirms a hit in the log, so a chance collision costs a read and never an event.
//!
//! New events go into a small hash map. By age or count it is sealed into a sorted array of 8 bytes per event
//! ([`Segment`]); sealed segments of one size are merged, so that a lookup probes a dozen arrays and not one
//! per hour. Memory is bounded by the caller, who drops the oldest segment.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

mod segment;

pub use segment::Segment;

/// How an index seals and merges.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Events in the hash map before it is sealed.
    pub seal_count: usize,
    /// Milliseconds between the first and the newest event of the hash map before it is sealed.
    pub seal_age: i64,
    /// Segments of one level that are merged into one of the next.
    pub fan_in: usize,
    /// No merge gives more events than this: the unit that is dropped when memory runs out.
    pub largest: usize,
    /// No merge spans more milliseconds than this: the unit that expires.
    pub widest: i64,
}

const HOUR: i64 = 3_600_000;

impl Shape {
    /// A shape whose largest segment is an eighth of `memory` bytes.
    pub fn for_memory(memory: usize) -> Self {
        Self {
            // Sealing sorts under the caller's lock; so many take about two milliseconds.
            seal_count: 32_768,
            seal_age: HOUR,
            fan_in: 4,
            largest: (memory / 8 / 9).max(131_072),
            widest: 18 * HOUR,
        }
    }
}

/// Segments that are probed at once.
const TOGETHER: usize = 16;

/// Each step touches all segments before the next begins: memory is slow, but fetches that do not wait for each
/// other overlap, and nearly every lookup is a miss in every segment.
fn find_together(group: &[Arc<Segment>], hash: u64, found: &mut Vec<u64>) {
    let mut buckets = [(0, 0); TOGETHER];
    for (bucket, segment) in buckets.iter_mut().zip(group) {
        *bucket = segment.bucket(hash);
    }
    let firsts = buckets.iter().zip(group).map(|(bucket, segment)| segment.entry(bucket.0));
    std::hint::black_box(firsts.fold(0, |all, entry| all ^ entry));
    for (bucket, segment) in buckets.iter().zip(group) {
        segment.find(*bucket, hash, found);
    }
}

/// The stored message ids of one stream, as hashes, with the sequence each one stands at.
#[derive(Debug)]
pub struct Index {
    shape: Shape,
    recent: Recent,
    /// Oldest first.
    sealed: Vec<Arc<Segment>>,
}

/// The part of the index that still grows.
#[derive(Debug, Default)]
struct Recent {
    entries: HashMap<u64, u64, BuildHasherDefault<Identity>>,
    span: Option<Span>,
}

/// The stored times (unix milliseconds) and sequences that a segment covers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Span {
    pub oldest: i64,
    pub newest: i64,
    pub first: u64,
    pub last: u64,
}

impl Span {
    fn of(sequence: u64, stored_at: i64) -> Self {
        Self { oldest: stored_at, newest: stored_at, first: sequence, last: sequence }
    }

    fn and(self, other: Self) -> Self {
        Self {
            oldest: self.oldest.min(other.oldest),
            newest: self.newest.max(other.newest),
            first: self.first.min(other.first),
            last: self.last.max(other.last),
        }
    }

    fn covers_sequences(self) -> u64 {
        self.last - self.first
    }
}

impl Index {
    pub fn new(shape: Shape) -> Self {
        Self { shape, recent: Recent::default(), sealed: Vec::new() }
    }

    /// The sequences at which a message with this hash may stand; nearly always none or one.
    pub fn candidates(&self, hash: u64) -> Vec<u64> {
        let mut found = Vec::new();
        if let Some(sequence) = self.recent.entries.get(&hash) {
            found.push(*sequence);
        }
        for group in self.sealed.chunks(TOGETHER) {
            find_together(group, hash, &mut found);
        }
        found
    }

    /// Remembers one stored message.
    pub fn insert(&mut self, hash: u64, sequence: u64, stored_at: i64) {
        let span = Span::of(sequence, stored_at);
        // The first of two messages with one id is the one that later ones are duplicates of.
        self.recent.entries.entry(hash).or_insert(sequence);
        self.recent.span = Some(self.recent.span.map_or(span, |whole| whole.and(span)));
        if self.recent_is_full() {
            self.seal();
        }
    }

    fn recent_is_full(&self) -> bool {
        let Some(span) = self.recent.span else { return false };
        self.recent.entries.len() >= self.shape.seal_count
            || span.newest - span.oldest >= self.shape.seal_age
            || span.covers_sequences() >= u64::from(u32::MAX) - 1
    }

    fn seal(&mut self) {
        let recent = std::mem::take(&mut self.recent);
        let Some(span) = recent.span else { return };
        self.sealed.push(Arc::new(Segment::build(recent.entries.into_iter().collect(), span, 0)));
    }

    /// The neighbours that should become one segment, if there are any. Merging sorts millions of entries,
    /// so it is the caller's to do outside its lock; [`Index::replace`] puts the result in place.
    pub fn due_merge(&self) -> Option<Vec<Arc<Segment>>> {
        let fan_in = self.shape.fan_in;
        let windows = self.sealed.windows(fan_in);
        let mut due = windows.filter(|run| run.iter().all(|s| s.level() == run[0].level()));
        due.find(|run| self.may_become_one(run)).map(<[_]>::to_vec)
    }

    fn may_become_one(&self, run: &[Arc<Segment>]) -> bool {
        let Some(span) = run.iter().map(|s| s.span()).reduce(Span::and) else { return false };
        run.iter().map(|s| s.len()).sum::<usize>() <= self.shape.largest
            && span.newest - span.oldest <= self.shape.widest
            && span.covers_sequences() < u64::from(u32::MAX)
    }

    /// Puts a merged segment in the place of its parts; does nothing when they are gone meanwhile.
    pub fn replace(&mut self, parts: &[Arc<Segment>], merged: Segment) {
        let Some(first) = parts.first() else { return };
        let Some(at) = self.sealed.iter().position(|s| Arc::ptr_eq(s, first)) else { return };
        let there = self.sealed[at..].iter().zip(parts).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        if there == parts.len() {
            self.sealed.splice(at..at + parts.len(), [Arc::new(merged)]);
        }
    }

    /// Drops every segment whose newest event was stored before `horizon`; returns how many events went.
    pub fn expire(&mut self, horizon: i64) -> usize {
        let before = self.len();
        self.sealed.retain(|segment| segment.span().newest >= horizon);
        if self.recent.span.is_some_and(|span| span.newest < horizon) {
            self.recent = Recent::default();
        }
        before - self.len()
    }

    /// When the newest event of the oldest sealed segment was stored.
    pub fn oldest_sealed(&self) -> Option<i64> {
        self.sealed.first().map(|segment| segment.span().newest)
    }

    /// Drops the oldest sealed segment; returns how many events went with it.
    pub fn drop_oldest(&mut self) -> usize {
        if self.sealed.is_empty() { 0 } else { self.sealed.remove(0).len() }
    }

    /// Forgets everything: the stream was put back to an older copy.
    pub fn clear(&mut self) {
        *self = Self::new(self.shape);
    }

    pub fn len(&self) -> usize {
        self.recent.entries.len() + self.sealed.iter().map(|segment| segment.len()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn segments(&self) -> usize {
        self.sealed.len()
    }

    /// Bytes of heap in use.
    pub fn bytes(&self) -> usize {
        // A hash map of pairs keeps 17 bytes a slot.
        self.recent.entries.capacity() * 8 / 7 * 17
            + self.sealed.iter().map(|segment| segment.bytes()).sum::<usize>()
    }
}

/// The keys are hashes already.
#[derive(Debug, Default)]
struct Identity(u64);

impl Hasher for Identity {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

#[cfg(test)]
mod tests;
