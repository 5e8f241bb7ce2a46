//! The sequences of one channel in one stream, ascending, in one to two bytes each.
//! Knows nothing of channels, times or streams.

/// Entries per block: the first of a block is kept in full, so a search decodes at most this many.
const BLOCK: usize = 64;

/// Delta-encoded sequences with a mark at the start of every block but the first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Postings {
    first: u64,
    last: u64,
    count: u32,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    sequence: u64,
    offset: u32,
}

impl Postings {
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    pub(crate) fn len(&self) -> usize {
        self.count as usize
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Heap bytes in use.
    pub(crate) fn heap(&self) -> usize {
        self.bytes.capacity() + self.marks.capacity() * size_of::<Mark>()
    }

    /// Appends; a sequence that is not beyond the last one is already there.
    pub(crate) fn push(&mut self, sequence: u64) {
        if self.is_empty() {
            self.first = sequence;
        } else if sequence <= self.last {
            return;
        } else if self.len().is_multiple_of(BLOCK) {
            self.marks.push(Mark { sequence, offset: self.bytes.len() as u32 });
        } else {
            write_varint(&mut self.bytes, sequence - self.last);
        }
        self.last = sequence;
        self.count += 1;
    }

    pub(crate) fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.marks.shrink_to_fit();
    }

    fn blocks(&self) -> usize {
        self.len().div_ceil(BLOCK)
    }

    /// The block in which `sequence` stands or would stand.
    fn block_of(&self, sequence: u64) -> usize {
        self.marks.partition_point(|mark| mark.sequence <= sequence)
    }

    /// Decodes one block into `out`, which is emptied first.
    fn decode(&self, block: usize, out: &mut Vec<u64>) {
        out.clear();
        let (mut sequence, offset) = match block.checked_sub(1).and_then(|b| self.marks.get(b)) {
            Some(mark) => (mark.sequence, mark.offset as usize),
            None => (self.first, 0),
        };
        let entries = self.len().saturating_sub(block * BLOCK).min(BLOCK);
        let mut rest = self.bytes.get(offset..).unwrap_or_default();
        for entry in 0..entries {
            if entry > 0 {
                sequence += read_varint(&mut rest).unwrap_or_default();
            }
            out.push(sequence);
        }
    }

    /// The highest sequence below `sequence`.
    pub(crate) fn highest_below(&self, sequence: u64) -> Option<u64> {
        let below = sequence.checked_sub(1)?;
        if self.is_empty() || self.first > below {
            return None;
        }
        let mut entries = Vec::new();
        self.decode(self.block_of(below), &mut entries);
        entries.into_iter().rev().find(|entry| *entry <= below)
    }

    pub(crate) fn iter(&self) -> Run<'_> {
        Run::forward(self, 0, u64::MAX)
    }

    /// The same without what stands below `sequence`.
    pub(crate) fn kept_from(&self, sequence: u64) -> Self {
        let mut kept = Self::default();
        Run::forward(self, sequence.saturating_sub(1), u64::MAX).for_each(|entry| kept.push(entry));
        kept.shrink();
        kept
    }
}

/// Walks the sequences of a range in one direction, a decoded block at a time.
pub(crate) struct Run<'a> {
    postings: &'a Postings,
    backwards: bool,
    after: u64,
    upto: u64,
    /// The next block to decode, if any.
    next_block: Option<usize>,
    /// What is left of the current block; the next one is at the end.
    entries: Vec<u64>,
}

impl<'a> Run<'a> {
    /// Upwards: what is beyond `after` and not beyond `upto`.
    pub(crate) fn forward(postings: &'a Postings, after: u64, upto: u64) -> Self {
        Self::new(postings, false, after, upto)
    }

    /// Downwards: the same range from its end.
    pub(crate) fn backward(postings: &'a Postings, upto: u64, after: u64) -> Self {
        Self::new(postings, true, after, upto)
    }

    fn new(postings: &'a Postings, backwards: bool, after: u64, upto: u64) -> Self {
        let begin = if backwards { upto } else { after };
        let next_block = (!postings.is_empty()).then(|| postings.block_of(begin));
        Self { postings, backwards, after, upto, next_block, entries: Vec::new() }
    }

    /// Decodes the next block; past the end of the range there is none.
    fn load(&mut self, block: usize) {
        self.postings.decode(block, &mut self.entries);
        let inside = match (self.backwards, self.entries.as_slice()) {
            (true, [first, ..]) => *first > self.after,
            (false, [.., last]) => *last < self.upto,
            (_, []) => false,
        };
        let (after, upto) = (self.after, self.upto);
        self.entries.retain(|entry| *entry > after && *entry <= upto);
        self.next_block = if self.backwards {
            block.checked_sub(1)
        } else {
            self.entries.reverse();
            Some(block + 1).filter(|next| *next < self.postings.blocks())
        };
        self.next_block = self.next_block.filter(|_| inside);
    }
}

impl Iterator for Run<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        while self.entries.is_empty() {
            self.load(self.next_block?);
        }
        self.entries.pop()
    }
}

pub(crate) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// `None` when the input ends early or the number has more than 64 bits.
pub(crate) fn read_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn postings(sequences: &[u64]) -> Postings {
        let mut postings = Postings::default();
        sequences.iter().for_each(|sequence| postings.push(*sequence));
        postings
    }

    proptest! {
        #[test]
        fn runs_searches_and_cuts_agree_with_a_plain_list(
            set in prop::collection::btree_set(1u64..5_000, 0..400),
            pivot in 0u64..5_100,
            span in 0u64..2_000,
        ) {
            let list: Vec<u64> = set.into_iter().collect();
            let packed = postings(&list);
            prop_assert_eq!(packed.iter().collect::<Vec<_>>(), list.clone());
            let upto = pivot + span;
            let up: Vec<u64> = list.iter().copied().filter(|s| *s > pivot && *s <= upto).collect();
            let down: Vec<u64> = up.iter().rev().copied().collect();
            prop_assert_eq!(Run::forward(&packed, pivot, upto).collect::<Vec<_>>(), up);
            prop_assert_eq!(Run::backward(&packed, upto, pivot).collect::<Vec<_>>(), down);
            let below = list.iter().rev().copied().find(|s| *s < pivot);
            prop_assert_eq!(packed.highest_below(pivot), below);
            let kept: Vec<u64> = list.iter().copied().filter(|s| *s >= pivot).collect();
            prop_assert_eq!(packed.kept_from(pivot).iter().collect::<Vec<_>>(), kept);
        }

        #[test]
        fn a_varint_is_read_back_and_never_past_its_end(value: u64) {
            let mut bytes = Vec::new();
            write_varint(&mut bytes, value);
            prop_assert_eq!(read_varint(&mut &bytes[..]), Some(value));
            prop_assert_eq!(read_varint(&mut &bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn a_repeated_sequence_is_kept_once() {
        assert_eq!(postings(&[3, 3, 2, 9]).iter().collect::<Vec<_>>(), [3, 9]);
    }
}
