//! A position in the whole log: for every stream how far its holder has been given.
//! Positions of one stream compare by sequence; between streams nothing is ordered.

use crate::stream::{self, StreamId};

/// How far into one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct StreamPosition {
    /// The stream's random epoch, new after a restore; 0 where nothing is known of the stream.
    pub epoch: u32,
    /// The last sequence given; 0 = from the beginning.
    pub sequence: u64,
    /// [`fingerprint`] of the event at `sequence`; 0 = not known, not compared.
    pub fingerprint: u16,
}

/// 16 bits of an event's stored time, so that a stream put back to an older copy and written on is noticed.
/// `stored_at` is Unix milliseconds. Never 0.
pub fn fingerprint(stored_at: i64) -> u16 {
    let mixed = (stored_at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed >> 48) as u16).max(1)
}

/// One [`StreamPosition`] per stream, in the order of [`StreamId::ALL`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Position([StreamPosition; stream::COUNT]);

impl Position {
    pub const fn new(streams: [StreamPosition; stream::COUNT]) -> Self {
        Self(streams)
    }

    pub fn get(&self, stream: StreamId) -> StreamPosition {
        self.0[stream.index()]
    }

    pub fn sequence(&self, stream: StreamId) -> u64 {
        self.0[stream.index()].sequence
    }

    pub fn sequences(&self) -> [u64; stream::COUNT] {
        self.0.map(|at| at.sequence)
    }

    pub fn set(&mut self, stream: StreamId, at: StreamPosition) {
        self.0[stream.index()] = at;
    }

    /// Whether the event at `sequence` of `stream` has been given to the holder.
    pub fn covers(&self, stream: StreamId, sequence: u64) -> bool {
        self.sequence(stream) >= sequence
    }

    /// Whether everything that `other` covers is covered.
    pub fn includes(&self, other: &Self) -> bool {
        StreamId::ALL.into_iter().all(|stream| self.covers(stream, other.sequence(stream)))
    }

    /// The further of both, per stream.
    pub fn max(&self, other: &Self) -> Self {
        self.pick(other, |mine, theirs| mine.sequence >= theirs.sequence)
    }

    /// The nearer of both, per stream.
    pub fn min(&self, other: &Self) -> Self {
        self.pick(other, |mine, theirs| mine.sequence <= theirs.sequence)
    }

    fn pick(&self, other: &Self, keep: impl Fn(&StreamPosition, &StreamPosition) -> bool) -> Self {
        Self(std::array::from_fn(|i| {
            if keep(&self.0[i], &other.0[i]) { self.0[i] } else { other.0[i] }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(calls: u64, crisis: u64) -> Position {
        let mut position = Position::default();
        position.set(StreamId::Calls, StreamPosition { epoch: 1, sequence: calls, fingerprint: 7 });
        position
            .set(StreamId::Crisis, StreamPosition { epoch: 2, sequence: crisis, fingerprint: 8 });
        position
    }

    #[test]
    fn positions_compare_per_stream() {
        let (a, b) = (at(5, 1), at(3, 4));
        assert!(!a.includes(&b) && !b.includes(&a));
        assert_eq!(a.max(&b), at(5, 4));
        assert_eq!(a.min(&b), at(3, 1));
        assert!(a.max(&b).includes(&a) && a.max(&b).includes(&b));
    }

    #[test]
    fn a_fingerprint_is_never_the_unknown_one() {
        assert!((0..100_000).all(|ms| fingerprint(ms) != 0));
        assert_ne!(fingerprint(1_700_000_000_000), fingerprint(1_700_000_000_001));
    }
}
