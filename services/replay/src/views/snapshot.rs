//! The views of one stream as bytes: a version, the content, a checksum. What cannot be trusted is an error, never a
//! guess. A view of an older version keeps its rows: what retention has removed is known from nothing else.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use domain::views::{self, View};
use domain::{StreamId, Tenant};
use sha2::{Digest as _, Sha256};

use super::folded::Folded;
use super::table::Table;
use crate::index::postings::{read_varint, write_varint};

const VERSION: u8 = 1;
const CHECKSUM: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("the snapshot has a form this build does not read")]
    Version,
    #[error("the snapshot's checksum does not match")]
    Checksum,
    #[error("the snapshot is of another stream")]
    Stream,
    #[error("the snapshot's content makes no sense")]
    Content,
}

/// A snapshot that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The views asked for that were in it.
    pub(crate) folded: Folded,
    /// Those of them that another version of the fold has written.
    pub(crate) outdated: Vec<&'static str>,
}

/// The content without its checksum.
pub(crate) fn encode(folded: &Folded) -> Vec<u8> {
    let size = folded.tables().map(|(_, table)| table.bytes()).sum::<usize>();
    let mut out = Vec::with_capacity(size + 4_096);
    out.extend([VERSION, folded.stream().index() as u8]);
    write_varint(&mut out, u64::from(folded.epoch()));
    write_varint(&mut out, folded.head());
    write_varint(&mut out, u64::try_from(folded.stored_at()).unwrap_or(0));
    // A view without a single entry has been folded too.
    write_varint(&mut out, folded.views().len() as u64);
    for view in folded.views().iter() {
        text(&mut out, view.name.as_bytes());
        write_varint(&mut out, u64::from(view.version));
    }
    write_varint(&mut out, folded.tables().count() as u64);
    for (tenant, table) in folded.tables() {
        text(&mut out, tenant.as_str().as_bytes());
        text(&mut out, table.view().name.as_bytes());
        write_table(&mut out, table);
    }
    out
}

fn write_table(out: &mut Vec<u8>, table: &Table) {
    write_varint(out, table.count() as u64);
    for (key, created, rows) in table.entries() {
        text(out, key.as_bytes());
        write_varint(out, created);
        for (name, content) in rows {
            // One more than the length, so that 0 ends the rows.
            write_varint(out, content.len() as u64 + 1);
            out.extend_from_slice(content);
            text(out, name.as_bytes());
        }
        write_varint(out, 0);
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    write_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Reads those of some views that are there.
pub(crate) fn decode(
    stream: StreamId,
    wanted: &[&'static View],
    bytes: &[u8],
) -> Result<Loaded, Unreadable> {
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
    content.get(2..).and_then(|rest| read(stream, wanted, rest)).ok_or(Unreadable::Content)
}

fn read(stream: StreamId, wanted: &[&'static View], mut rest: &[u8]) -> Option<Loaded> {
    let input = &mut rest;
    let epoch = u32::try_from(read_varint(input)?).ok()?;
    let (head, stored_at) = (read_varint(input)?, i64::try_from(read_varint(input)?).ok()?);
    let (mut found, mut outdated) = (Vec::new(), Vec::new());
    for _ in 0..read_varint(input)? {
        let name = read_text(input)?;
        let version = read_varint(input)?;
        if let Some(view) = wanted.iter().find(|view| view.name == name) {
            found.push(*view);
            outdated.extend((u64::from(view.version) != version).then_some(view.name));
        }
    }
    let found: Arc<[&'static View]> = found.into();
    let mut folded = Folded::new(stream, found.clone(), epoch);
    folded.begin_at(head, stored_at);
    for _ in 0..read_varint(input)? {
        let tenant = Tenant::parse(read_text(input)?).ok()?;
        let name = read_text(input)?;
        let is_wanted = found.iter().any(|view| view.name == name);
        read_table(input, folded.table_mut(&tenant, name).filter(|_| is_wanted))?;
    }
    folded.begin_past();
    input.is_empty().then_some(Loaded { folded, outdated })
}

fn read_table(input: &mut &[u8], mut table: Option<&mut Table>) -> Option<()> {
    for _ in 0..read_varint(input)? {
        let key = read_text(input)?;
        let created = read_varint(input)?;
        let entry = table.as_deref_mut().map(|table| table.restore(key, created));
        while let Some(length) = read_varint(input)?.checked_sub(1) {
            let content = take(input, usize::try_from(length).ok()?)?;
            let name = read_text(input)?;
            if let Some((table, entry)) = table.as_deref_mut().zip(entry) {
                table.restore_row(entry, name, content);
            }
        }
    }
    Some(())
}

fn read_text<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(read_varint(input)?).ok()?;
    std::str::from_utf8(take(input, length)?).ok()
}

fn take<'a>(input: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(count)?;
    *input = rest;
    Some(taken)
}

/// Names the views of a stream that a snapshot does not have.
pub(crate) fn missing(folded: &Folded) -> Vec<&'static View> {
    let of_stream = views::ALL.iter().filter(|view| view.stream == folded.stream());
    of_stream.filter(|view| folded.views().iter().all(|known| known.name != view.name)).collect()
}
