//! Commands that are decided and answered here, and not done because something that follows could not be told: handed
//! out again, they are neither decided nor answered a second time. Forgotten, they are, which harms nobody.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use runtime::LogMessage;

/// Twice as many as the durables let be unacknowledged; those that another instance has finished are among them.
const MOST: usize = 2_000;

/// A stored command. Its time tells it from one of a stream that was made anew.
type Stored = (u64, i64);

#[derive(Default)]
pub(super) struct Answered {
    records: Mutex<HashMap<Stored, u64>>,
}

impl Answered {
    /// Where the record of a command stands.
    pub(super) fn take(&self, command: &LogMessage) -> Option<u64> {
        self.lock().remove(&stored(command))
    }

    pub(super) fn keep(&self, command: &LogMessage, record: u64) {
        let mut records = self.lock();
        if records.len() >= MOST {
            records.clear();
        }
        records.insert(stored(command), record);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Stored, u64>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stored(command: &LogMessage) -> Stored {
    (command.sequence, command.stored_at)
}
