//! How often something outside was really tried. Deliveries do not say it: a job is also handed back because it is not
//! its turn, and comes again when an acknowledgement is lost or an instance dies.
//!
//! Kept in memory, so an instance that starts anew tries as often as if nothing had been: too often, never too seldom.

use std::collections::HashMap;
use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// As many as the durables let be unacknowledged. Where there are more, the older half is forgotten.
const MOST: usize = 20_000;

#[derive(Default)]
pub(super) struct Tries {
    generations: Mutex<(HashMap<String, u64>, HashMap<String, u64>)>,
}

impl Tries {
    /// How often it was tried.
    pub(super) fn of(&self, key: &str) -> u64 {
        let (young, old) = &*self.lock();
        young.get(key).or_else(|| old.get(key)).copied().unwrap_or(0)
    }

    /// It has been tried once more; how often now.
    pub(super) fn add(&self, key: &str) -> u64 {
        let (young, old) = &mut *self.lock();
        if young.len() >= MOST / 2 {
            *old = mem::take(young);
        }
        let before = old.remove(key);
        let tries = young.entry(key.to_owned()).or_insert(before.unwrap_or(0));
        *tries += 1;
        *tries
    }

    /// It is settled.
    pub(super) fn forget(&self, key: &str) {
        let (young, old) = &mut *self.lock();
        young.remove(key);
        old.remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, (HashMap<String, u64>, HashMap<String, u64>)> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_until_they_are_settled_and_memory_is_bounded() {
        let tries = Tries::default();
        assert_eq!((tries.of("a"), tries.add("a"), tries.add("a"), tries.of("a")), (0, 1, 2, 2));
        for number in 0..MOST * 2 {
            tries.add(&number.to_string());
            tries.add("a");
        }
        assert_eq!(tries.of("a"), 2 + MOST as u64 * 2, "what is tried is not forgotten");
        let kept = tries.lock();
        assert!(kept.0.len() + kept.1.len() <= MOST);
    }

    #[test]
    fn what_is_settled_begins_anew() {
        let tries = Tries::default();
        tries.add("a");
        tries.forget("a");
        assert_eq!(tries.of("a"), 0);
    }
}
