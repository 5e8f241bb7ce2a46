//! One place of the local order: an entry, the position after it, and the frames that its readers share.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use domain::cursor::{Cursor, CursorKeys};
use domain::position::Position;

use crate::entry::Entry;
use crate::wires::{self, Wire};

pub(crate) struct Slot {
    pub entry: Arc<Entry>,
    /// The position after this entry in the local order.
    pub after: Position,
    /// Per variant and wire, with `after` as their cursor.
    frames: Box<[[OnceLock<Bytes>; wires::COUNT]]>,
}

impl Slot {
    pub(super) fn new(entry: Arc<Entry>, after: Position) -> Self {
        let frames = entry.variants().iter().map(|_| Default::default()).collect();
        Self { entry, after, frames }
    }

    /// A variant's frame with the local order's own cursor, encoded by the first who asks.
    /// Wrong for one that another frame of the same event follows: that one needs a cursor of its own.
    pub(crate) fn shared_frame(&self, variant: usize, wire: Wire, keys: &CursorKeys) -> Bytes {
        let make = || {
            let cursor = Cursor { position: self.after, ..Cursor::default() };
            let text = keys.encode(&self.entry.envelope.tenant, &cursor);
            wire.finish(&self.entry.body(variant, wire), &text)
        };
        match wire.index() {
            Some(kept) => self.frames[variant][kept].get_or_init(make).clone(),
            None => make(),
        }
    }
}
