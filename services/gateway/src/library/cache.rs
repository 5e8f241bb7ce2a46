//! Decoded events that were read from the log, bounded in bytes; the oldest read go first.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use futures_util::future::{BoxFuture, Shared};

use super::LibraryError;
use crate::entry::Entry;

/// Stream and sequence.
pub(super) type Key = (u8, u64);

/// What one fetch found; `None`: not stored any more.
pub(super) type Fetched = HashMap<Key, Option<Arc<Entry>>>;

/// A fetch of some events under way, with its result for everyone who waits for it.
pub(super) type Batch = Shared<BoxFuture<'static, Result<Arc<Fetched>, LibraryError>>>;

enum Cell {
    Coming(Batch),
    /// `None`: not stored any more.
    Here(Option<Arc<Entry>>),
}

pub(super) enum Found {
    Entry(Option<Arc<Entry>>),
    Coming(Batch),
    Nothing,
}

pub(super) struct Cache {
    cells: HashMap<Key, Cell>,
    order: VecDeque<(Key, usize)>,
    bytes: usize,
    limit: usize,
}

impl Cache {
    pub(super) fn new(limit: usize) -> Self {
        Self { cells: HashMap::new(), order: VecDeque::new(), bytes: 0, limit }
    }

    pub(super) fn get(&self, stream: u8, sequence: u64) -> Found {
        match self.cells.get(&(stream, sequence)) {
            Some(Cell::Here(entry)) => Found::Entry(entry.clone()),
            Some(Cell::Coming(batch)) => Found::Coming(batch.clone()),
            None => Found::Nothing,
        }
    }

    pub(super) fn announce(&mut self, stream: u8, sequences: &[u64], batch: &Batch) {
        for &sequence in sequences {
            self.cells.insert((stream, sequence), Cell::Coming(batch.clone()));
        }
    }

    pub(super) fn give_up(&mut self, stream: u8, sequences: &[u64]) {
        for &sequence in sequences {
            self.cells.remove(&(stream, sequence));
        }
    }

    pub(super) fn put(&mut self, stream: u8, sequence: u64, entry: Option<Arc<Entry>>) {
        let key = (stream, sequence);
        let size = entry.as_ref().map_or(64, |entry| entry.size());
        self.cells.insert(key, Cell::Here(entry));
        self.order.push_back((key, size));
        self.bytes += size;
        while self.bytes > self.limit {
            let Some((oldest, size)) = self.order.pop_front() else { return };
            self.cells.remove(&oldest);
            self.bytes -= size;
        }
    }

    /// Everything read of a stream that was put back is another stream's.
    pub(super) fn forget(&mut self, stream: u8) {
        self.cells.retain(|(of, _), _| *of != stream);
        self.order.retain(|((of, _), _)| *of != stream);
        self.bytes = self.order.iter().map(|(_, size)| size).sum();
    }
}
