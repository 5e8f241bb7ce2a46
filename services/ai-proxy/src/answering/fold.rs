//! What is unanswered in a conversation, and who is at it: a pure fold of its events.
//!
//! Every instance that has folded the same events knows the same. Time is the log's.

use std::collections::VecDeque;

use super::fact::{Attempted, Fact, Stored};

/// Messages and answers remembered for the AI's view of what was said before.
pub(crate) const TURNS: usize = 64;
/// The outcome of an attempt that brought an answer.
const ANSWERED: &str = "answered";
/// What became of an attempt that left no word, as when its instance was killed or stopped.
const UNKNOWN: &str = "unknown";
/// Messages that are settled and still recognised when they come again.
const SETTLED: usize = 128;

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct Conversation {
    /// The last event under the guard, which the next one must name.
    pub revision: u64,
    /// The last event of any kind.
    pub seen: u64,
    /// Unanswered messages in the log's order.
    pub open: VecDeque<Open>,
    pub claim: Option<Claim>,
    /// Where messages and answers stand, the newest last.
    pub turns: VecDeque<u64>,
    settled: VecDeque<Settled>,
    /// Speech that is being processed, in the order it was said.
    chunks: Vec<Chunk>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Chunk {
    id: String,
    sequence: u64,
    until: i64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Open {
    pub id: String,
    pub sequence: u64,
    pub stored_at: i64,
    /// Attempts that have begun, those before it was said again among them: clients go by the highest.
    pub attempts: u32,
    /// How many of them were before it was said again.
    pub before: u32,
    /// Attempts that the AI service failed since; the others ended without a word.
    pub failures: u32,
    /// What became of the last attempt, where that is known.
    after: Option<String>,
}

/// A message that is answered, or has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Settled {
    id: String,
    sequence: u64,
    outcome: Outcome,
}

/// Who answers now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub message: String,
    pub number: u32,
    pub holder: String,
    /// Unix milliseconds by the log's clock.
    pub until: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Answered,
    /// After so many attempts.
    Failed(u32),
}

impl Conversation {
    /// Takes the next event in. One that was taken in already changes nothing.
    pub(crate) fn apply(&mut self, stored: &Stored) {
        if stored.sequence <= self.seen {
            return;
        }
        self.seen = stored.sequence;
        if stored.guarded {
            self.revision = stored.sequence;
        }
        match &stored.fact {
            Fact::Message { id } => self.said(id, stored),
            Fact::Attempt { message, number, failures, holder, lease_ms } => {
                if let Some(open) = self.open.iter_mut().find(|open| open.id == *message) {
                    (open.attempts, open.failures) = (open.attempts.max(*number), *failures);
                    open.after = None;
                }
                self.claim = Some(Claim {
                    message: message.clone(),
                    number: *number,
                    holder: holder.clone(),
                    until: stored.at.saturating_add(*lease_ms),
                });
            }
            Fact::Extended { message, number, holder, lease_ms } => {
                if let Some(claim) = &mut self.claim
                    && claim.is(message, *number, holder)
                {
                    claim.until = stored.at.saturating_add(*lease_ms);
                }
            }
            Fact::Answered { message } => {
                self.turn(stored.sequence);
                self.settle(message, Outcome::Answered);
            }
            Fact::Failed { message } => {
                let open = self.open.iter().find(|open| open.id == *message);
                let attempts = open.map_or(0, |open| open.attempts);
                self.settle(message, Outcome::Failed(attempts));
            }
            Fact::Used { attempt: Some(attempt), .. } => self.attempted(attempt),
            Fact::Received { chunk, lease_ms } => {
                self.chunks.retain(|it| it.until > stored.at);
                self.chunks.push(Chunk {
                    id: chunk.clone(),
                    sequence: stored.sequence,
                    until: stored.at.saturating_add(*lease_ms),
                });
            }
            Fact::Heard { chunk } => self.chunks.retain(|it| it.id != *chunk),
            Fact::Started | Fact::Used { .. } | Fact::Other => {}
        }
    }

    /// Whether a message waits for its answer.
    pub(crate) fn is_open(&self, sequence: u64) -> bool {
        self.open.iter().any(|open| open.sequence == sequence)
    }

    /// Whether this attempt is the one that may answer.
    pub(crate) fn is_held(&self, message: &str, number: u32, holder: &str) -> bool {
        self.claim.as_ref().is_some_and(|claim| claim.is(message, number, holder))
            && self.open.iter().any(|open| open.id == message)
    }

    /// Whether nothing that was said before a piece of speech is still being processed.
    pub(crate) fn is_next_chunk(&self, sequence: u64, now: i64) -> bool {
        !self.chunks.iter().any(|it| it.sequence < sequence && it.until > now)
    }

    /// A message that failed may be said again and is attempted anew; any other repeat says nothing.
    fn said(&mut self, id: &str, stored: &Stored) {
        if self.open.iter().any(|open| open.id == *id) {
            return;
        }
        let mut attempts = 0;
        if let Some(at) = self.settled.iter().position(|known| known.id == id) {
            let Outcome::Failed(before) = self.settled[at].outcome else { return };
            attempts = before;
            // It was said once: as it was said now, and now.
            let earlier = self.settled.remove(at).map(|settled| settled.sequence);
            self.turns.retain(|turn| Some(*turn) != earlier);
        }
        self.turn(stored.sequence);
        self.open.push_back(Open {
            id: id.to_owned(),
            sequence: stored.sequence,
            stored_at: stored.at,
            attempts,
            before: attempts,
            failures: 0,
            after: None,
        });
    }

    /// An attempt has ended; one that failed is remembered, whoever attempts next.
    fn attempted(&mut self, attempt: &Attempted) {
        let open = self.open.iter_mut().find(|open| open.id == attempt.message);
        if let Some(open) = open.filter(|open| open.attempts == attempt.number)
            && attempt.outcome != ANSWERED
        {
            open.failures += 1;
            open.after = Some(attempt.outcome.clone());
        }
    }

    fn settle(&mut self, message: &str, outcome: Outcome) {
        let open = self.open.iter().position(|open| open.id == *message);
        let open = open.and_then(|at| self.open.remove(at));
        let sequence = open.map(|open| open.sequence);
        if self.claim.as_ref().is_some_and(|claim| claim.message == *message) {
            self.claim = None;
        }
        if self.settled.len() >= SETTLED {
            self.settled.pop_front();
        }
        let (id, sequence) = (message.to_owned(), sequence.unwrap_or_default());
        self.settled.push_back(Settled { id, sequence, outcome });
    }

    fn turn(&mut self, sequence: u64) {
        if self.turns.len() >= TURNS {
            self.turns.pop_front();
        }
        self.turns.push_back(sequence);
    }
}

impl Open {
    /// What became of the attempt before the next one; `None` where that is the first since it was said.
    pub(crate) fn after(&self) -> Option<String> {
        let is_first = self.attempts == self.before;
        self.after.clone().or_else(|| (!is_first).then(|| UNKNOWN.to_owned()))
    }
}

impl Claim {
    fn is(&self, message: &str, number: u32, holder: &str) -> bool {
        self.message == message && self.number == number && self.holder == holder
    }
}
