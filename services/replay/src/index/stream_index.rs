//! One stream's part of the index: for every channel of every tenant where its events stand, when each
//! event was stored, and what retention has taken away. It can be thrown away and rebuilt alone.

use std::collections::HashMap;

use super::postings::Postings;
use super::times::Times;

/// Fixed cost of a channel besides its name and sequences: the table's entry with its slack and two allocations.
const CHANNEL_COST: usize = (size_of::<(Box<str>, Postings)>() + 1) * 8 / 7 + 32;

/// Sweep once that many events have gone and they are an eighth of what is held.
const SWEEP_AT_LEAST: usize = 10_000;
const SWEEP_SHARE: usize = 8;

#[derive(Clone, Debug, Default)]
pub(crate) struct StreamIndex {
    pub(super) epoch: u32,
    /// The oldest sequence that is still stored.
    pub(super) first: u64,
    /// The last sequence that has been indexed.
    pub(super) head: u64,
    /// Events up to here were removed before this index saw them, so nobody knows whose they were.
    pub(super) unseen: u64,
    pub(super) times: Times,
    pub(super) channels: HashMap<Box<str>, Postings>,
    /// Highest swept sequence by [`fingerprint`] of the channel. It outlives the channel's last event:
    /// without it a client of a channel that has become empty would not be told of its loss.
    /// Two channels that share a fingerprint cause a needless gap at worst.
    pub(super) removed: HashMap<u64, u64>,
    /// `first` when channels were last swept.
    swept: u64,
    bytes: usize,
    key: String,
}

impl StreamIndex {
    pub(crate) fn new(epoch: u32) -> Self {
        Self { epoch, ..Self::default() }
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(crate) fn head(&self) -> u64 {
        self.head
    }

    pub(crate) fn first(&self) -> u64 {
        self.first.max(1)
    }

    pub(crate) fn events(&self) -> usize {
        self.times.len()
    }

    pub(crate) fn channels(&self) -> usize {
        self.channels.len()
    }

    /// Roughly what the index occupies.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.times.heap() + self.removed.capacity() * 17
    }

    pub(crate) fn stored_at(&self, sequence: u64) -> Option<i64> {
        self.times.get(sequence)
    }

    /// Adds the next event. What is not beyond the head is known already.
    /// A jump means that events were removed before they could be seen.
    pub(crate) fn push<'a>(
        &mut self,
        sequence: u64,
        stored_at: i64,
        tenant: &str,
        channels: impl IntoIterator<Item = &'a str>,
    ) {
        if sequence <= self.head {
            return;
        }
        if sequence > self.head + 1 {
            self.unseen = sequence - 1;
        }
        if self.times.len() == 0 {
            self.first = self.first.max(sequence);
            self.swept = self.first;
        }
        self.head = sequence;
        self.times.push(sequence, stored_at);
        for channel in channels {
            self.add(tenant, channel, sequence);
        }
    }

    fn add(&mut self, tenant: &str, channel: &str, sequence: u64) {
        write_key(&mut self.key, tenant, channel);
        if !self.channels.contains_key(self.key.as_str()) {
            self.bytes += self.key.len() + CHANNEL_COST;
            self.channels.insert(self.key.as_str().into(), Postings::default());
        }
        if let Some(postings) = self.channels.get_mut(self.key.as_str()) {
            self.bytes -= postings.heap();
            postings.push(sequence);
            self.bytes += postings.heap();
        }
    }

    /// Takes over a whole channel; only for a snapshot that is being read.
    pub(super) fn insert(&mut self, key: &str, postings: Postings) {
        self.bytes += key.len() + CHANNEL_COST + postings.heap();
        self.channels.insert(key.into(), postings);
    }

    pub(crate) fn postings(&self, key: &str) -> Option<&Postings> {
        self.channels.get(key)
    }

    /// Retention has removed what stands below `first`.
    /// Channels are not touched until enough has gone; until then answers leave the removed events out.
    pub(crate) fn truncate(&mut self, first: u64) {
        if first <= self.first {
            return;
        }
        self.first = first;
        self.times.forget_below(first);
        let gone = self.gone();
        if gone >= SWEEP_AT_LEAST && gone >= self.times.len() / SWEEP_SHARE {
            self.sweep();
        }
    }

    /// The stream is empty and will go on behind `last`.
    pub(crate) fn skip_to(&mut self, last: u64) {
        if last > self.head {
            self.head = last;
            self.unseen = last;
        }
        self.truncate(last + 1);
    }

    fn gone(&self) -> usize {
        usize::try_from(self.first.saturating_sub(self.swept)).unwrap_or(usize::MAX)
    }

    /// Lets go of removed events, channel by channel, and notes the highest of each.
    pub(crate) fn sweep(&mut self) {
        self.swept = self.first;
        let (first, removed, bytes) = (self.first, &mut self.removed, &mut self.bytes);
        self.channels.retain(|key, postings| {
            if let Some(highest) = postings.highest_below(first) {
                removed.insert(fingerprint(key), highest);
                *bytes -= postings.heap();
                *postings = postings.kept_from(first);
                *bytes += postings.heap();
            }
            if postings.is_empty() {
                *bytes -= key.len() + CHANNEL_COST + postings.heap();
            }
            !postings.is_empty()
        });
        self.channels.shrink_to_fit();
    }

    /// Whether anything beyond `after` has been removed at all, of whatever channel.
    pub(crate) fn may_have_removed(&self, after: u64) -> bool {
        after < self.unseen || after + 1 < self.first
    }

    /// The highest removed sequence that did belong, or that may have belonged, to a channel; 0 = none.
    pub(crate) fn highest_removed(&self, key: &str) -> u64 {
        let swept = self.removed.get(&fingerprint(key)).copied().unwrap_or(0);
        let waiting = self.postings(key).and_then(|postings| postings.highest_below(self.first));
        self.unseen.max(swept).max(waiting.unwrap_or(0))
    }

    /// The last sequence before the first event stored after `at`.
    pub(crate) fn position_at(&self, at: i64) -> u64 {
        let next = self.times.first_after(at).map_or(self.head, |sequence| sequence - 1);
        next.max(self.first() - 1)
    }
}

/// A channel of a tenant as one string. A tenant holds no slash, so two different pairs never share one.
pub(crate) fn write_key(out: &mut String, tenant: &str, channel: &str) {
    out.clear();
    out.push_str(tenant);
    out.push('/');
    out.push_str(channel);
}

/// FNV-1a with a final mix. It is stored in snapshots and must never change.
pub(super) fn fingerprint(key: &str) -> u64 {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93)
}
