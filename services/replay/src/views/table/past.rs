//! What a table was: marks, and which events lie between a mark and the moment asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use domain::views::{Change, Event, Rows, View};

use super::slots::Bytes;
use super::{Asked, MARKS, Mark, Page, Table, Touch};

/// What it takes to tell what some entries were: their rows as of a mark, and the events to fold into them.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) scratch: Scratch,
    /// In the stream's order, each once.
    pub(crate) sequences: Vec<u64>,
}

impl Table {
    pub(super) fn mark(&mut self) {
        let (slots, exceptions) = (self.slots.clone(), self.exceptions.clone());
        self.marks.push_back(Mark { sequence: self.upto, slots, exceptions });
        self.since_mark = 0;
        if self.marks.len() > MARKS {
            let mut place = 0;
            self.marks.retain(|_| {
                place += 1;
                // The first stays: it is how far back one can ask.
                place > MARKS / 2 || place % 2 == 1
            });
        }
    }

    pub(super) fn touch(&mut self, slot: u32, sequence: u64) {
        self.since_mark += 1;
        let last = self.touches.back();
        if last.is_some_and(|last| (last.sequence, last.slot) == (sequence, slot)) {
            return;
        }
        self.touches.push_back(Touch { sequence, slot });
    }

    /// Retention never comes to a stream that keeps everything: its past is bounded by letting the earlier half go.
    pub(super) fn bound_past(&mut self) {
        if self.touches.len() > self.most_touches {
            let half = self.touches.get(self.touches.len() / 2).map_or(0, |touch| touch.sequence);
            self.truncate(half);
        }
    }

    /// The earliest moment that can be told.
    pub(crate) fn earliest(&self) -> u64 {
        self.marks.front().map_or(self.upto, |mark| mark.sequence)
    }

    /// Retention has removed what stands below `first`: what can be told only with it is let go.
    pub(crate) fn truncate(&mut self, first: u64) {
        if self.earliest() + 1 >= first {
            return;
        }
        // Now can always be told, and from now on again everything.
        if self.marks.back().is_none_or(|mark| mark.sequence + 1 < first) {
            self.mark();
        }
        self.marks.retain(|mark| mark.sequence + 1 >= first);
        let earliest = self.earliest();
        self.touches.drain(..self.touches.partition_point(|touch| touch.sequence <= earliest));
        self.turns.drain(..self.turns.partition_point(|turn| turn.sequence <= earliest));
    }

    fn mark_before(&self, at: u64) -> Option<&Mark> {
        let behind = self.marks.partition_point(|mark| mark.sequence <= at);
        self.marks.get(behind.checked_sub(1)?)
    }

    /// The entries of a list as of a sequence; `None` when that is too long ago.
    pub(crate) fn page_at(&self, at: u64, after: Option<u32>, limit: usize) -> Option<Page> {
        let mark = self.mark_before(at)?;
        let count = self.entries.partition_point(|entry| entry.created <= at) as u32;
        let mut exceptions = mark.exceptions.clone();
        let from = self.turns.partition_point(|turn| turn.sequence <= mark.sequence);
        let turns = self.turns.range(from..).take_while(|turn| turn.sequence <= at);
        for turn in turns {
            let exceptions = Arc::make_mut(&mut exceptions);
            if turn.is_exception {
                exceptions.insert(turn.entry);
            } else {
                exceptions.remove(&turn.entry);
            }
        }
        Some(self.page_of(&exceptions, count, after, limit))
    }

    /// What some entries were as of a sequence; `None` when that is too long ago.
    pub(crate) fn plan(&self, entries: &[u32], at: u64) -> Option<Plan> {
        let mark = self.mark_before(at)?;
        let mut slots = BTreeSet::new();
        let mut scratch = Scratch::default();
        for &number in entries {
            let Some(entry) = self.entries.get(number as usize) else { continue };
            let rows = scratch.0.entry(entry.key.clone()).or_default();
            let all = entry.head.iter().map(|slot| ("", *slot));
            for (name, slot) in all.chain(entry.rows.iter().map(|(name, slot)| (&**name, *slot))) {
                slots.insert(slot);
                if let Some(content) = mark.slots.get(slot) {
                    rows.insert(name.into(), content.clone());
                }
            }
        }
        let from = self.touches.partition_point(|touch| touch.sequence <= mark.sequence);
        let touches = self.touches.range(from..).take_while(|touch| touch.sequence <= at);
        let mut sequences: Vec<u64> = touches
            .filter(|touch| slots.contains(&touch.slot))
            .map(|touch| touch.sequence)
            .collect();
        sequences.dedup();
        Some(Plan { scratch, sequences })
    }
}

/// Some entries' rows apart from the table, to fold events into. Other entries are none of its business.
#[derive(Debug, Default)]
pub(crate) struct Scratch(BTreeMap<Arc<str>, BTreeMap<Box<str>, Bytes>>);

impl Scratch {
    pub(crate) fn fold(&mut self, view: &View, event: &Event<'_>) {
        (view.fold)(event, self);
    }

    pub(crate) fn show(&self, view: &View, key: &str, asked: Asked<'_>) -> Option<String> {
        let rows = self.0.get(key)?;
        let head = rows.get("").map(|content| &**content);
        let named = rows.iter().filter(|(name, _)| !name.is_empty());
        asked.show(view, key, head, named.map(|(name, content)| (&**name, &**content)).rev())
    }
}

impl Rows for Scratch {
    fn update(&mut self, entry: &str, row: &str, change: &mut dyn FnMut(Option<&[u8]>) -> Change) {
        let Some(rows) = self.0.get_mut(entry) else { return };
        match change(rows.get(row).map(|content| &**content)) {
            Change::Keep => {}
            Change::Put(content) => {
                rows.insert(row.into(), content.into());
            }
            Change::Remove => {
                rows.remove(row);
            }
        }
    }

    fn clear(&mut self, entry: &str) {
        if let Some(rows) = self.0.get_mut(entry) {
            rows.clear();
        }
    }
}
