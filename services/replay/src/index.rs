//! The channel index: where each channel's events stand in the log, so that a page of a sparse channel
//! never scans a stream. Pure: it is told what the log holds and knows nothing of NATS, tasks or the clock.

mod merge;
pub(crate) mod postings;
pub(crate) mod snapshot;
pub(crate) mod stream_index;
#[cfg(test)]
mod tests;
mod times;

use domain::replay::{
    AtAnswer, ChannelRange, EventRef, RefsAnswer, RefsRequest, RemovedChannel, Sequences,
};
use domain::{StreamId, Tenant};

use merge::{Lane, Merge};
use postings::Run;
use stream_index::{StreamIndex, write_key};

/// The most references in one answer, whatever is asked for.
pub const MAX_REFS: usize = 1_000;

/// The most channels in one request.
pub const MAX_CHANNELS: usize = 1_000;

/// The index of all event streams.
#[derive(Debug, Default)]
pub struct Index {
    streams: [StreamIndex; domain::stream::COUNT],
}

/// How much an [`Index`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Size {
    pub events: usize,
    pub channels: usize,
    pub bytes: usize,
}

impl Index {
    /// Takes the next event of a stream in; one that is not beyond the stream's head is known already.
    pub fn push<'a>(
        &mut self,
        stream: StreamId,
        sequence: u64,
        stored_at: i64,
        tenant: &str,
        channels: impl IntoIterator<Item = &'a str>,
    ) {
        self.stream_mut(stream).push(sequence, stored_at, tenant, channels);
    }

    /// Retention has removed what stands below `first`; of what has gone each channel's highest stays known.
    pub fn truncate(&mut self, stream: StreamId, first: u64) {
        self.stream_mut(stream).truncate(first);
    }

    /// The stream is empty and goes on behind `last`.
    pub fn skip_to(&mut self, stream: StreamId, last: u64) {
        self.stream_mut(stream).skip_to(last);
    }

    /// Begins a stream anew, for one that was put back to an older copy.
    pub fn reset(&mut self, stream: StreamId, epoch: u32) {
        *self.stream_mut(stream) = StreamIndex::new(epoch);
    }

    /// One page of a tenant's events of some channels.
    ///
    /// Within one stream a page is always a prefix of what is left, so asking again with the last sequence got
    /// in each stream as every channel's `after` (newest first: one less as `upto`) misses and repeats nothing.
    pub fn refs(&self, tenant: &Tenant, request: &RefsRequest) -> RefsAnswer {
        let keys: Vec<String> = request.channels.iter().map(|range| key(tenant, range)).collect();
        let limit = request.limit.min(MAX_REFS);
        let mut merge = self.merge(&keys, request);
        let refs: Vec<EventRef> = merge.by_ref().take(limit).map(event_ref).collect();
        let more = merge.next().is_some();
        RefsAnswer {
            refs,
            more,
            removed: self.removed(&keys, &request.channels),
            head: self.each(StreamIndex::head),
            first: self.each(StreamIndex::first),
        }
    }

    fn merge(&self, keys: &[String], request: &RefsRequest) -> Merge<'_> {
        let lanes = self.streams.iter().enumerate().map(|(s, stream)| {
            let mut lane = Lane::new(request.newest_first);
            for (key, range) in keys.iter().zip(&request.channels) {
                let Some(postings) = stream.postings(key) else { continue };
                let (after, upto) = (range.after[s].max(stream.first() - 1), request.upto[s]);
                if postings.last() <= after || upto <= after {
                    continue;
                }
                lane.add(if request.newest_first {
                    Run::backward(postings, upto, after)
                } else {
                    Run::forward(postings, after, upto)
                });
            }
            (stream, lane)
        });
        Merge::new(lanes.collect(), request.newest_first)
    }

    fn removed(&self, keys: &[String], channels: &[ChannelRange]) -> Vec<RemovedChannel> {
        let asked = keys.iter().zip(channels);
        asked.filter_map(|(key, range)| self.removed_of(key, range)).collect()
    }

    fn removed_of(&self, key: &str, range: &ChannelRange) -> Option<RemovedChannel> {
        let pairs = || self.streams.iter().zip(range.after);
        if !pairs().any(|(stream, after)| stream.may_have_removed(after)) {
            return None;
        }
        let highest = self.each(|stream| stream.highest_removed(key));
        let lost = highest.iter().zip(range.after).any(|(highest, after)| after < *highest);
        lost.then(|| RemovedChannel { channel: range.channel.clone(), highest })
    }

    /// The position of the log at a moment: per stream, the last event before the first one stored later.
    /// A moment before the oldest stored event gives the position just before that event.
    pub fn position_at(&self, at: i64) -> AtAnswer {
        AtAnswer { sequences: self.each(|stream| stream.position_at(at)) }
    }

    pub fn heads(&self) -> Sequences {
        self.each(StreamIndex::head)
    }

    pub fn size(&self) -> Size {
        self.streams.iter().fold(Size::default(), |sum, stream| Size {
            events: sum.events + stream.events(),
            channels: sum.channels + stream.channels(),
            bytes: sum.bytes + stream.bytes(),
        })
    }

    pub(crate) fn stream(&self, stream: StreamId) -> &StreamIndex {
        &self.streams[stream.index()]
    }

    pub(crate) fn replace(&mut self, stream: StreamId, index: StreamIndex) {
        self.streams[stream.index()] = index;
    }

    pub(crate) fn stream_mut(&mut self, stream: StreamId) -> &mut StreamIndex {
        &mut self.streams[stream.index()]
    }

    fn each(&self, read: impl Fn(&StreamIndex) -> u64) -> Sequences {
        std::array::from_fn(|s| read(&self.streams[s]))
    }
}

fn key(tenant: &Tenant, range: &ChannelRange) -> String {
    let mut key = String::new();
    write_key(&mut key, tenant.as_str(), &range.channel);
    key
}

fn event_ref((stream, sequence, stored_at): merge::Place) -> EventRef {
    EventRef { stream: stream as u8, sequence, stored_at }
}
