//! One stream's index as bytes: a version, the content, a checksum. What cannot be trusted is an error, never a
//! guess; the log has everything but the removed highs, and without a snapshot those are answered conservatively.

use domain::StreamId;
use sha2::{Digest, Sha256};

use super::postings::{Postings, read_varint, write_varint};
use super::stream_index::StreamIndex;

const VERSION: u8 = 1;
const CHECKSUM: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the snapshot has a version this build does not read")]
    Version,
    #[error("the snapshot's checksum does not match")]
    Checksum,
    #[error("the snapshot is of another stream")]
    Stream,
    #[error("the snapshot's content makes no sense")]
    Content,
}

/// The content without its checksum.
pub(crate) fn encode(stream: StreamId, index: &StreamIndex) -> Vec<u8> {
    let mut out = vec![VERSION, stream.index() as u8];
    out.reserve(index.bytes());
    for number in [u64::from(index.epoch), index.first, index.head, index.unseen] {
        write_varint(&mut out, number);
    }
    encode_times(index, &mut out);
    write_varint(&mut out, index.channels.len() as u64);
    for (key, postings) in &index.channels {
        encode_channel(key, postings, &mut out);
    }
    write_varint(&mut out, index.removed.len() as u64);
    for (fingerprint, highest) in &index.removed {
        out.extend_from_slice(&fingerprint.to_le_bytes());
        write_varint(&mut out, *highest);
    }
    out
}

/// Adds the checksum, which takes longer than the rest and needs no index to be held still.
pub(crate) fn seal(mut content: Vec<u8>) -> Vec<u8> {
    let checksum = Sha256::digest(&content);
    content.extend_from_slice(&checksum);
    content
}

fn encode_times(index: &StreamIndex, out: &mut Vec<u8>) {
    write_varint(out, index.times.len() as u64);
    let (mut sequence, mut stored_at) = (0, 0);
    for (next, at) in index.times.iter() {
        write_varint(out, next - sequence);
        write_varint(out, zigzag(at.wrapping_sub(stored_at)));
        (sequence, stored_at) = (next, at);
    }
}

fn encode_channel(key: &str, postings: &Postings, out: &mut Vec<u8>) {
    write_varint(out, key.len() as u64);
    out.extend_from_slice(key.as_bytes());
    write_varint(out, postings.len() as u64);
    let mut last = 0;
    for sequence in postings.iter() {
        write_varint(out, sequence - last);
        last = sequence;
    }
}

pub(crate) fn decode(stream: StreamId, bytes: &[u8]) -> Result<StreamIndex, Unreadable> {
    if bytes.first() != Some(&VERSION) {
        return Err(Unreadable::Version);
    }
    let split = bytes.len().checked_sub(CHECKSUM).ok_or(Unreadable::Checksum)?;
    let (content, checksum) = bytes.split_at(split);
    if Sha256::digest(content).as_slice() != checksum {
        return Err(Unreadable::Checksum);
    }
    if content.get(1) != Some(&(stream.index() as u8)) {
        return Err(Unreadable::Stream);
    }
    content.get(2..).and_then(decode_content).ok_or(Unreadable::Content)
}

fn decode_content(mut rest: &[u8]) -> Option<StreamIndex> {
    let input = &mut rest;
    let mut index = StreamIndex::new(u32::try_from(read_varint(input)?).ok()?);
    index.first = read_varint(input)?;
    index.head = read_varint(input)?;
    index.unseen = read_varint(input)?;
    decode_times(&mut index, input)?;
    for _ in 0..read_varint(input)? {
        decode_channel(&mut index, input)?;
    }
    for _ in 0..read_varint(input)? {
        let fingerprint = u64::from_le_bytes(take(input, 8)?.try_into().ok()?);
        index.removed.insert(fingerprint, read_varint(input)?);
    }
    input.is_empty().then_some(index)
}

fn decode_times(index: &mut StreamIndex, input: &mut &[u8]) -> Option<()> {
    let (mut sequence, mut stored_at) = (0u64, 0i64);
    for _ in 0..read_varint(input)? {
        sequence = sequence.checked_add(read_varint(input)?)?;
        stored_at = stored_at.wrapping_add(unzigzag(read_varint(input)?));
        index.times.push(sequence, stored_at);
    }
    (sequence <= index.head).then_some(())
}

fn decode_channel(index: &mut StreamIndex, input: &mut &[u8]) -> Option<()> {
    let length = usize::try_from(read_varint(input)?).ok()?;
    let key = std::str::from_utf8(take(input, length)?).ok()?;
    let mut postings = Postings::default();
    let mut sequence = 0u64;
    for _ in 0..read_varint(input)? {
        sequence = sequence.checked_add(read_varint(input)?)?;
        postings.push(sequence);
    }
    postings.shrink();
    index.insert(key, postings);
    (sequence <= index.head).then_some(())
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
