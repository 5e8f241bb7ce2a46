//! One view of one tenant: its rows now, and what it takes to tell what they were. Pure.
//!
//! What a row was is told by a mark, a copy-on-write state of the whole table, and the events behind the mark that
//! touched the row; which those are is kept, so that nothing else has to be read from the log.

mod past;
mod slots;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use domain::views::{Change, Detail, Entry as Shown, Event, Listing, Rows, View};

pub(crate) use past::Plan;
use slots::{Bytes, Slots};

/// The most events between two marks.
const SPACING: usize = 10_000;
/// The most marks; beyond it the older half is thinned, and asking there reads more of the log.
const MARKS: usize = 256;
/// The most changes whose places are kept, 16 bytes each: how far back one can ask where retention never comes.
const TOUCHES: usize = 1 << 24;

#[derive(Debug)]
pub(crate) struct Table {
    view: &'static View,
    entries: Vec<Entry>,
    by_key: HashMap<Arc<str>, u32>,
    found_by: HashMap<Box<str>, BTreeSet<u32>>,
    slots: Slots,
    /// Entries that the list does not treat as it treats most.
    exceptions: Arc<BTreeSet<u32>>,
    /// Events up to here are in it.
    upto: u64,
    bytes: usize,
    // The past.
    marks: VecDeque<Mark>,
    touches: VecDeque<Touch>,
    turns: VecDeque<Turn>,
    since_mark: usize,
    spacing: usize,
    most_touches: usize,
}

#[derive(Debug)]
struct Entry {
    key: Arc<str>,
    /// The event that first told of it. Later entries have later ones.
    created: u64,
    head: Option<u32>,
    rows: BTreeMap<Box<str>, u32>,
}

/// The table's content right after an event.
#[derive(Clone, Debug)]
struct Mark {
    sequence: u64,
    slots: Slots,
    exceptions: Arc<BTreeSet<u32>>,
}

/// An event changed a row.
#[derive(Clone, Copy, Debug)]
struct Touch {
    sequence: u64,
    slot: u32,
}

/// With an event an entry became an exception of the list, or none.
#[derive(Clone, Copy, Debug)]
struct Turn {
    sequence: u64,
    entry: u32,
    is_exception: bool,
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) entries: Vec<u32>,
    pub(crate) more: bool,
    pub(crate) total: usize,
}

impl Table {
    /// An empty one as of `base`; of what was before nothing is known.
    pub(crate) fn new(view: &'static View, base: u64) -> Self {
        let empty = Mark { sequence: base, slots: Slots::default(), exceptions: Arc::default() };
        Self {
            view,
            entries: Vec::new(),
            by_key: HashMap::new(),
            found_by: HashMap::new(),
            slots: Slots::default(),
            exceptions: Arc::default(),
            upto: base,
            bytes: 0,
            marks: VecDeque::from([empty]),
            touches: VecDeque::new(),
            turns: VecDeque::new(),
            since_mark: 0,
            spacing: SPACING,
            most_touches: TOUCHES,
        }
    }

    pub(crate) fn view(&self) -> &'static View {
        self.view
    }

    /// Roughly what the rows occupy, without what is kept of the past.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.len()
    }

    /// Takes the next event in; one that is not beyond what is folded is in it already.
    pub(crate) fn fold(&mut self, event: &Event<'_>) {
        if event.sequence <= self.upto {
            return;
        }
        self.upto = event.sequence;
        (self.view.fold)(event, &mut Writer { table: self, sequence: event.sequence });
        if self.since_mark >= self.spacing {
            self.mark();
        }
        self.bound_past();
    }

    /// Notes that nothing up to `sequence` is missing, though nothing of it was for this table.
    pub(crate) fn skip_to(&mut self, sequence: u64) {
        self.upto = self.upto.max(sequence);
    }

    /// Puts an entry where a snapshot had it; its rows follow.
    pub(crate) fn restore(&mut self, key: &str, created: u64) -> u32 {
        self.entry(key, created)
    }

    pub(crate) fn restore_row(&mut self, entry: u32, row: &str, content: &[u8]) {
        let slot = self.slot(entry, row);
        self.put(entry, slot, row, Some(content.into()));
    }

    /// The past begins with what there is now.
    pub(crate) fn begin_past(&mut self) {
        (self.touches, self.turns, self.marks) = Default::default();
        self.mark();
    }

    fn entry(&mut self, key: &str, sequence: u64) -> u32 {
        if let Some(&entry) = self.by_key.get(key) {
            return entry;
        }
        let entry = self.entries.len() as u32;
        let key: Arc<str> = key.into();
        self.bytes += key.len() + size_of::<Entry>() + 32;
        self.by_key.insert(key.clone(), entry);
        self.entries.push(Entry { key, created: sequence, head: None, rows: BTreeMap::new() });
        if matches!(self.view.listing, Listing::All) {
            // Until it has a head.
            self.turn(entry, true, sequence);
        }
        entry
    }

    fn find_slot(&self, entry: u32, row: &str) -> Option<u32> {
        let entry = self.entries.get(entry as usize)?;
        if row.is_empty() { entry.head } else { entry.rows.get(row).copied() }
    }

    fn slot(&mut self, entry: u32, row: &str) -> u32 {
        if let Some(slot) = self.find_slot(entry, row) {
            return slot;
        }
        let slot = self.slots.add();
        self.bytes += row.len() + 32;
        if let Some(entry) = self.entries.get_mut(entry as usize) {
            if row.is_empty() {
                entry.head = Some(slot);
            } else {
                entry.rows.insert(row.into(), slot);
            }
        }
        slot
    }

    fn put(&mut self, entry: u32, slot: u32, row: &str, content: Option<Bytes>) {
        let old = self.slots.get(slot).cloned();
        self.bytes += content.as_ref().map_or(0, |content| content.len());
        self.bytes -= old.as_ref().map_or(0, |old| old.len());
        if row.is_empty() {
            self.note_head(entry, old.as_deref(), content.as_deref());
        }
        self.slots.set(slot, content);
    }

    fn note_head(&mut self, entry: u32, old: Option<&[u8]>, new: Option<&[u8]>) {
        let is_usual = self.view.listing.shows(new) == matches!(self.view.listing, Listing::All);
        if self.exceptions.contains(&entry) == is_usual {
            self.turn(entry, !is_usual, self.upto);
        }
        let Some(found_by) = self.view.found_by else { return };
        let (old, new) = (old.and_then(found_by), new.and_then(found_by));
        if old == new {
            return;
        }
        if let Some(old) = old.as_deref()
            && let Some(entries) = self.found_by.get_mut(old)
        {
            entries.remove(&entry);
            if entries.is_empty() {
                self.found_by.remove(old);
            }
        }
        if let Some(new) = new {
            self.found_by.entry(new.into()).or_default().insert(entry);
        }
    }

    fn turn(&mut self, entry: u32, is_exception: bool, sequence: u64) {
        let exceptions = Arc::make_mut(&mut self.exceptions);
        if is_exception {
            exceptions.insert(entry)
        } else {
            exceptions.remove(&entry)
        };
        self.turns.push_back(Turn { sequence, entry, is_exception });
    }

    /// The entry that is found by something else than its key; of several the newest.
    pub(crate) fn find_by(&self, value: &str) -> Option<&str> {
        let newest = *self.found_by.get(value)?.last()?;
        self.entries.get(newest as usize).map(|entry| &*entry.key)
    }

    /// The entries of a list as of now, newest first, behind one of them.
    pub(crate) fn page(&self, after: Option<u32>, limit: usize) -> Page {
        self.page_of(&self.exceptions, self.entries.len() as u32, after, limit)
    }

    fn page_of(
        &self,
        exceptions: &BTreeSet<u32>,
        count: u32,
        after: Option<u32>,
        limit: usize,
    ) -> Page {
        let end = after.map_or(count, |after| after.min(count));
        let (mut entries, total): (Vec<u32>, usize) = match self.view.listing {
            Listing::All => {
                let usual = (0..end).rev().filter(|entry| !exceptions.contains(entry));
                (usual.take(limit + 1).collect(), count as usize - exceptions.len())
            }
            Listing::Chosen(_) => {
                let chosen = exceptions.range(..end).rev().copied();
                (chosen.take(limit + 1).collect(), exceptions.len())
            }
        };
        let more = entries.len() > limit;
        entries.truncate(limit);
        Page { entries, more, total }
    }

    /// An entry's number, by its key.
    pub(crate) fn number(&self, key: &str) -> Option<u32> {
        self.by_key.get(key).copied()
    }

    pub(crate) fn key(&self, entry: u32) -> &str {
        self.entries.get(entry as usize).map_or("", |entry| &entry.key)
    }

    /// An entry as JSON, as of now.
    pub(crate) fn show(&self, entry: u32, asked: Asked<'_>) -> Option<String> {
        let entry = self.entries.get(entry as usize)?;
        let content = |slot: &u32| self.slots.get(*slot).map(|bytes| &**bytes);
        let head = entry.head.as_ref().and_then(content);
        let rows = entry.rows.iter().filter_map(|(name, slot)| Some((&**name, content(slot)?)));
        asked.show(self.view, &entry.key, head, rows.rev())
    }

    /// Whether another has the same entries in the same order with the same rows.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.count() == other.count()
            && self
                .entries()
                .zip(other.entries())
                .all(|(one, two)| (one.0, one.1) == (two.0, two.1) && one.2.eq(two.2))
    }

    /// Every entry in its order, with its rows: what a snapshot holds and a digest is made of.
    pub(crate) fn entries(
        &self,
    ) -> impl Iterator<Item = (&str, u64, impl Iterator<Item = (&str, &[u8])>)> {
        self.entries.iter().map(|entry| {
            let head = entry.head.map(|slot| ("", slot));
            let named = entry.rows.iter().map(|(name, slot)| (&**name, *slot));
            let rows = head.into_iter().chain(named);
            let rows = rows.filter_map(|(name, slot)| Some((name, &**self.slots.get(slot)?)));
            (&*entry.key, entry.created, rows)
        })
    }
}

/// How an entry is to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) detail: Detail,
    /// The most rows of an entry.
    pub(crate) limit: usize,
    pub(crate) since: Option<&'a str>,
}

impl Asked<'_> {
    /// `rows` from the last name to the first.
    fn show<'r>(
        self,
        view: &View,
        key: &str,
        head: Option<&[u8]>,
        rows: impl Iterator<Item = (&'r str, &'r [u8])>,
    ) -> Option<String> {
        let limit = match self.detail {
            _ if view.counts_rows => usize::MAX,
            Detail::Full => self.limit,
            Detail::Line => 0,
        };
        let mut rows = rows.peekable();
        let mut taken: Vec<_> = rows.by_ref().take(limit).collect();
        taken.reverse();
        let more = rows.peek().is_some();
        let shown = Shown { key, head, rows: &taken, limit: self.limit, more, since: self.since };
        (view.show)(&shown, self.detail)
    }
}

/// Lets a fold change the table.
struct Writer<'a> {
    table: &'a mut Table,
    sequence: u64,
}

impl Rows for Writer<'_> {
    fn update(&mut self, entry: &str, row: &str, change: &mut dyn FnMut(Option<&[u8]>) -> Change) {
        let table = &mut *self.table;
        let number = table.number(entry);
        let known = number.and_then(|entry| table.find_slot(entry, row));
        let present = known.and_then(|slot| table.slots.get(slot));
        let content = match change(present.map(|bytes| &**bytes)) {
            Change::Put(new) if present.is_none_or(|old| **old != new[..]) => Some(new.into()),
            Change::Remove if present.is_some() => None,
            Change::Keep | Change::Put(_) | Change::Remove => return,
        };
        let entry = number.unwrap_or_else(|| table.entry(entry, self.sequence));
        let slot = known.unwrap_or_else(|| table.slot(entry, row));
        table.put(entry, slot, row, content);
        table.touch(slot, self.sequence);
    }

    fn clear(&mut self, entry: &str) {
        let table = &mut *self.table;
        let Some(number) = table.number(entry) else { return };
        let Some(entry) = table.entries.get(number as usize) else { return };
        let named = entry.rows.iter().map(|(name, slot)| (name.clone(), *slot));
        let all: Vec<_> =
            entry.head.iter().map(|slot| (Box::from(""), *slot)).chain(named).collect();
        for (row, slot) in all {
            if table.slots.get(slot).is_some() {
                table.put(number, slot, &row, None);
                table.touch(slot, self.sequence);
            }
        }
    }
}
