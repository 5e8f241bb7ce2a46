//! A sealed, sorted, compact part of the index: 8 bytes per event and a directory of at most half a byte.
//!
//! Of a hash the upper 40 bits are kept: the uppermost by the place in the array (the directory's bucket), the
//! lower 32 in the entry, beside the sequence as an offset from the segment's first. Since the bucket has at
//! least 8 bits, all 40 can be read back, which is what merging needs.

use std::sync::Arc;

use super::Span;

/// Bits of a hash that tell entries apart.
const KEPT: u32 = 40;
const FEWEST_BUCKET_BITS: u32 = 8;
/// Entries per bucket, on average, are between this and its double.
const BUCKET: usize = 8;

#[derive(Debug)]
pub struct Segment {
    level: u8,
    span: Span,
    bucket_bits: u32,
    /// Where each bucket begins in `entries`, and the end of the last one.
    directory: Box<[u32]>,
    /// Lower 32 of the 40 kept bits, then the offset of the sequence.
    entries: Box<[u64]>,
}

impl Segment {
    /// `pairs` are hashes with sequences inside `span`, in any order.
    pub fn build(mut pairs: Vec<(u64, u64)>, span: Span, level: u8) -> Self {
        pairs.sort_unstable();
        let bucket_bits = bucket_bits(pairs.len());
        let mut directory = vec![0_u32; (1 << bucket_bits) + 1];
        for (hash, _) in &pairs {
            directory[bucket_of(*hash, bucket_bits) + 1] += 1;
        }
        let mut end = 0;
        for count in &mut directory {
            end += *count;
            *count = end;
        }
        let entries =
            pairs.iter().map(|(hash, at)| u64::from(low(*hash)) << 32 | (at - span.first));
        Self {
            level,
            span,
            bucket_bits,
            entries: entries.collect(),
            directory: directory.into_boxed_slice(),
        }
    }

    /// One segment of the next level with everything that `parts` hold.
    pub fn merge(parts: &[Arc<Self>]) -> Option<Self> {
        let span = parts.iter().map(|part| part.span).reduce(Span::and)?;
        let level = parts.iter().map(|part| part.level).max()?.saturating_add(1);
        let mut pairs = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
        for part in parts {
            pairs.extend(part.pairs());
        }
        Some(Self::build(pairs, span, level))
    }

    /// Where the entries of hashes like this one begin and end.
    pub(super) fn bucket(&self, hash: u64) -> (u32, u32) {
        let bucket = bucket_of(hash, self.bucket_bits);
        (self.directory[bucket], self.directory[bucket + 1])
    }

    /// One entry, or 0 behind the last.
    pub(super) fn entry(&self, at: u32) -> u64 {
        self.entries.get(at as usize).copied().unwrap_or(0)
    }

    /// Appends the sequences in the bucket at which a message with this hash may stand.
    pub(super) fn find(&self, (from, to): (u32, u32), hash: u64, found: &mut Vec<u64>) {
        let wanted = low(hash);
        for entry in &self.entries[from as usize..to as usize] {
            if (entry >> 32) as u32 == wanted {
                found.push(self.sequence(*entry));
            }
        }
    }

    /// The kept bits of every hash (the others zero) with its sequence.
    fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.directory.windows(2).enumerate().flat_map(move |(bucket, bounds)| {
            let upper = (bucket as u64) << (64 - self.bucket_bits) & !0 << 56;
            let entries = &self.entries[bounds[0] as usize..bounds[1] as usize];
            entries
                .iter()
                .map(move |entry| (upper | (entry >> 32) << (64 - KEPT), self.sequence(*entry)))
        })
    }

    fn sequence(&self, entry: u64) -> u64 {
        self.span.first + (entry & u64::from(u32::MAX))
    }

    pub fn level(&self) -> u8 {
        self.level
    }

    pub fn span(&self) -> Span {
        self.span
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.entries.len() * 8 + self.directory.len() * 4
    }
}

fn bucket_bits(count: usize) -> u32 {
    (count / BUCKET).max(1).ilog2().clamp(FEWEST_BUCKET_BITS, KEPT - 8)
}

fn bucket_of(hash: u64, bits: u32) -> usize {
    (hash >> (64 - bits)) as usize
}

/// The lower 32 of the 40 kept bits.
fn low(hash: u64) -> u32 {
    (hash >> (64 - KEPT)) as u32
}
