//! Merges what several channels hold into one order: by stored time between streams, in the log's order
//! within one, each event once. Upwards or downwards.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::postings::Run;
use super::stream_index::StreamIndex;

/// The asked channels' events of one stream, each once, in the order of the walk.
pub(super) struct Lane<'a> {
    runs: Vec<Run<'a>>,
    /// What each run gives next, nearest first; a downward walk orders by the complement.
    heads: BinaryHeap<Reverse<(u64, usize)>>,
    flip: u64,
}

impl<'a> Lane<'a> {
    pub(super) fn new(newest_first: bool) -> Self {
        let flip = if newest_first { u64::MAX } else { 0 };
        Self { runs: Vec::new(), heads: BinaryHeap::new(), flip }
    }

    /// Adds one channel's run.
    pub(super) fn add(&mut self, mut run: Run<'a>) {
        if let Some(sequence) = run.next() {
            self.heads.push(Reverse((sequence ^ self.flip, self.runs.len())));
            self.runs.push(run);
        }
    }

    fn peek(&self) -> Option<u64> {
        self.heads.peek().map(|Reverse((rank, _))| rank ^ self.flip)
    }

    /// Moves every run past the event that [`Self::peek`] shows.
    fn advance(&mut self) {
        let Some(current) = self.peek() else { return };
        while self.peek() == Some(current) {
            let Some(Reverse((_, run))) = self.heads.pop() else { return };
            if let Some(sequence) = self.runs.get_mut(run).and_then(Iterator::next) {
                self.heads.push(Reverse((sequence ^ self.flip, run)));
            }
        }
    }
}

/// One event of the merged order: stream, sequence, stored time.
pub(super) type Place = (usize, u64, i64);

/// The lanes of all streams as one walk.
pub(super) struct Merge<'a> {
    lanes: Vec<(&'a StreamIndex, Lane<'a>)>,
    /// The next event of each lane.
    next: Vec<Option<(u64, i64)>>,
    newest_first: bool,
}

impl<'a> Merge<'a> {
    pub(super) fn new(lanes: Vec<(&'a StreamIndex, Lane<'a>)>, newest_first: bool) -> Self {
        let next = lanes.iter().map(|(stream, lane)| look(stream, lane)).collect();
        Self { lanes, next, newest_first }
    }

    fn nearest(&self) -> Option<Place> {
        let places = self.next.iter().enumerate();
        let places = places.filter_map(|(lane, next)| next.map(|(seq, at)| (lane, seq, at)));
        if self.newest_first {
            places.max_by_key(|(lane, _, at)| (*at, *lane))
        } else {
            places.min_by_key(|(lane, _, at)| (*at, *lane))
        }
    }
}

impl Iterator for Merge<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let place = self.nearest()?;
        if let (Some((stream, lane)), Some(next)) =
            (self.lanes.get_mut(place.0), self.next.get_mut(place.0))
        {
            lane.advance();
            *next = look(stream, lane);
        }
        Some(place)
    }
}

fn look(stream: &StreamIndex, lane: &Lane<'_>) -> Option<(u64, i64)> {
    let sequence = lane.peek()?;
    Some((sequence, stream.stored_at(sequence).unwrap_or_default()))
}
