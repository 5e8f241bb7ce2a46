//! What to do next in a conversation: a pure decision over its fold.

use super::fold::{Conversation, Open};

/// Attempts that may begin for one message. The AI service may fail far fewer; the rest is for processes that died.
const MOST_ATTEMPTS: u32 = 24;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Nothing,
    /// Another instance is at it until then, in milliseconds.
    Wait {
        for_ms: i64,
    },
    Attempt {
        message: Open,
        number: u32,
        /// The last event under the guard.
        revision: u64,
    },
    /// Too many attempts have ended without a word.
    GiveUp {
        message: Open,
        revision: u64,
    },
}

/// The oldest message first: messages of one conversation are answered in order.
pub(crate) fn next(conversation: &Conversation, me: &str, now: i64) -> Step {
    let Some(message) = conversation.open.front() else { return Step::Nothing };
    // One instance works on a conversation once at a time, so a claim of its own is a left-over.
    let other = conversation.claim.as_ref().filter(|claim| claim.holder != me && claim.until > now);
    if let Some(claim) = other {
        return Step::Wait { for_ms: claim.until - now };
    }
    let (message, revision) = (message.clone(), conversation.revision);
    if message.attempts.saturating_sub(message.before) >= MOST_ATTEMPTS {
        return Step::GiveUp { message, revision };
    }
    Step::Attempt { number: message.attempts + 1, message, revision }
}
