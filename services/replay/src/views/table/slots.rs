//! Rows by number, in chunks that are shared with earlier states until they change.

use std::sync::Arc;

const CHUNK: usize = 64;

pub(crate) type Bytes = Arc<[u8]>;

/// Cloning it costs a pointer a chunk; a changed row costs its chunk's pointers once per clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    chunks: Vec<Arc<Vec<Option<Bytes>>>>,
    count: u32,
}

impl Slots {
    /// A new row without content.
    pub(crate) fn add(&mut self) -> u32 {
        let slot = self.count;
        self.count += 1;
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK => Arc::make_mut(chunk).push(None),
            _ => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(None);
                self.chunks.push(Arc::new(chunk));
            }
        }
        slot
    }

    /// `None` as well for a row that is not there yet.
    pub(crate) fn get(&self, slot: u32) -> Option<&Bytes> {
        let slot = slot as usize;
        self.chunks.get(slot / CHUNK)?.get(slot % CHUNK)?.as_ref()
    }

    pub(crate) fn set(&mut self, slot: u32, content: Option<Bytes>) {
        let slot = slot as usize;
        let chunk = self.chunks.get_mut(slot / CHUNK).map(Arc::make_mut);
        if let Some(place) = chunk.and_then(|chunk| chunk.get_mut(slot % CHUNK)) {
            *place = content;
        }
    }
}
