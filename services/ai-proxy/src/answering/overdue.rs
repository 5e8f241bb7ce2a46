//! Pieces of speech that were accepted and of which nothing has come in time: whoever had them has died with them.
//!
//! Pure: time is handed in. It must not know what is done about it.

use std::collections::HashMap;

use super::fact::{Fact, Key, Stored};

/// Clocks differ, and an instance that is only slow is given a little more.
const MARGIN_MS: i64 = 2_000;
/// What was told as late and still is so is told again.
const AGAIN_MS: i64 = 5_000;
/// Pieces that are watched; what comes when all places are taken is not missed when it gets lost.
const MOST: usize = 20_000;

#[derive(Default)]
pub(crate) struct Overdue {
    waiting: HashMap<(Key, String), Waiting>,
}

struct Waiting {
    sequence: u64,
    until: i64,
}

/// A piece of which nothing has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Late {
    pub key: Key,
    pub chunk: String,
    /// Where it was accepted.
    pub sequence: u64,
}

impl Overdue {
    /// Takes the next event in.
    pub(super) fn take(&mut self, key: &Key, stored: &Stored) {
        match &stored.fact {
            Fact::Received { chunk, lease_ms } if self.waiting.len() < MOST => {
                let until = stored.at.saturating_add(*lease_ms);
                let waiting = Waiting { sequence: stored.sequence, until };
                self.waiting.insert((key.clone(), chunk.clone()), waiting);
            }
            // The message that it became counts as well, whose id is the piece's: it is what must not get lost.
            Fact::Heard { chunk } | Fact::Message { id: chunk } if !self.waiting.is_empty() => {
                self.waiting.remove(&(key.clone(), chunk.clone()));
            }
            _ => {}
        }
    }

    /// Those that are late now, each once in a while until something has come of it.
    pub(super) fn due(&mut self, now: i64) -> Vec<Late> {
        let mut late = Vec::new();
        for ((key, chunk), waiting) in &mut self.waiting {
            if waiting.until + MARGIN_MS <= now {
                waiting.until = now + AGAIN_MS - MARGIN_MS;
                let (key, chunk) = (key.clone(), chunk.clone());
                late.push(Late { key, chunk, sequence: waiting.sequence });
            }
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use domain::token::{EntityToken, Tenant};

    use super::*;

    const LEASE: i64 = 10_000;

    fn key() -> Key {
        Key::new(&Tenant::parse("acme").unwrap(), &EntityToken::from_external("c-1"))
    }

    fn given(facts: Vec<Fact>) -> Overdue {
        let mut overdue = Overdue::default();
        for (at, fact) in facts.into_iter().enumerate() {
            let stored = Stored { sequence: at as u64 + 1, at: 0, guarded: false, fact };
            overdue.take(&key(), &stored);
        }
        overdue
    }

    fn received(chunk: &str) -> Fact {
        Fact::Received { chunk: chunk.into(), lease_ms: LEASE }
    }

    #[test]
    fn what_nothing_came_of_is_late_once_its_time_is_over_and_again_later() {
        let mut overdue = given(vec![received("v-1")]);
        assert!(overdue.due(LEASE).is_empty());
        let late = Late { key: key(), chunk: "v-1".into(), sequence: 1 };
        assert_eq!(overdue.due(LEASE + MARGIN_MS), std::slice::from_ref(&late));
        assert!(overdue.due(LEASE + MARGIN_MS + 1).is_empty(), "somebody is at it");
        assert_eq!(overdue.due(LEASE + MARGIN_MS + AGAIN_MS), [late]);
    }

    #[test]
    fn what_became_text_or_a_message_or_has_failed_is_not_late() {
        for settled in [Fact::Heard { chunk: "v-1".into() }, Fact::Message { id: "v-1".into() }] {
            assert!(given(vec![received("v-1"), settled]).due(2 * LEASE).is_empty());
        }
    }
}
