//! What becomes of messages that cannot be screened now, or never: when they are tried again, and what is told of them.
//! It must not know why.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::Tenant;

/// A person may be in danger: it is tried again at once, and for as long as it takes.
const AGAIN: Duration = Duration::from_millis(250);
/// What is away for longer is not asked without a pause by everything that waits.
const LONGEST: Duration = Duration::from_secs(10);
/// Every how many tries it is told again.
const TOLD_EVERY: u64 = 20;
/// What is remembered of each kind. Beyond it nobody more is told of whose key cannot be read.
const MOST: usize = 10_000;

/// The pause behind a try; 1 is the first.
pub(super) fn pause(tried: u64) -> Duration {
    let doubled = u32::try_from(tried.saturating_sub(1).min(16)).unwrap_or(16);
    AGAIN.saturating_mul(1 << doubled).min(LONGEST)
}

pub(super) fn is_told(tried: u64) -> bool {
    tried <= 1 || tried.is_multiple_of(TOLD_EVERY)
}

/// Whose key cannot be read.
#[derive(Default)]
pub(super) struct Locked {
    told: Mutex<HashSet<(Tenant, String)>>,
}

impl Locked {
    /// Whether it is to be told: once for each.
    pub(super) fn is_news(&self, tenant: &Tenant, user: &str) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < MOST && told.insert((tenant.clone(), user.to_owned()))
    }
}

/// Messages whose writer has been offered help while the alert could not be stored, by their places in the log: once
/// is enough. Another instance does not know of them, and may offer it once more when the log has forgotten its id.
#[derive(Default)]
pub(super) struct Helped {
    messages: Mutex<HashSet<u64>>,
}

impl Helped {
    pub(super) fn is(&self, message: u64) -> bool {
        self.messages().contains(&message)
    }

    /// One that is not remembered is offered help again.
    pub(super) fn remember(&self, message: u64) {
        let mut messages = self.messages();
        if messages.len() < MOST {
            messages.insert(message);
        }
    }

    pub(super) fn forget(&self, message: u64) {
        self.messages().remove(&message);
    }

    fn messages(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_ten_seconds_and_no_further() {
        let pauses = [1, 2, 3, 6, 7, 1_000, u64::MAX].map(|tried| pause(tried).as_millis());
        assert_eq!(pauses, [250, 500, 1_000, 8_000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn the_first_try_and_now_and_then_a_later_one_is_told_and_each_person_once() {
        let told: Vec<u64> = (1..=60).filter(|tried| is_told(*tried)).collect();
        assert_eq!(told, [1, 20, 40, 60]);
        let (locked, tenant) = (Locked::default(), Tenant::parse("acme").unwrap());
        let news = ["7", "7", "8", "7"].map(|user| locked.is_news(&tenant, user));
        assert_eq!(news, [true, false, true, false]);
    }
}
